//! Identities that hold to rounding.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use thermograd::{
    Block, Control, Couplings, Course, Direction, Error, Group, Hardware, Imperfection, Key, Moments,
    Protocol, Ridge, Schedule, Substrate, SubstrateConfig, Topology, to_f64,
};

use crate::common::{distance, double, networks, normals, per_unit, random};

#[test]
fn force_is_minus_the_gradient_of_energy_by_finite_differences() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 3, Key::new(1));
        let (potential, field) = (substrate.potential(), substrate.field(&clamped).unwrap());
        let x = normals(3, substrate.free_units(), 0.8, Key::new(2));
        let gradient = to_f64(potential.gradient(x.clone(), field.clone()));
        let units = substrate.free_units();
        let h = 1e-5;
        for unit in 0..units {
            let nudge: Vec<f64> = (0..units).map(|i| if i == unit { h } else { 0.0 }).collect();
            let nudge = Tensor::<2>::from_data(burn::tensor::TensorData::new(nudge, [1, units]), double());
            let energy = |x: Tensor<2>| to_f64(potential.energy(x, field.clone()));
            let (up, down) = (energy(x.clone() + nudge.clone()), energy(x.clone() - nudge));
            for row in 0..3 {
                let slope = (up[row] - down[row]) / (2.0 * h);
                let expected = gradient[row * units + unit];
                // Central differences: error h²V‴/6 ≈ 1e-9, rounding 1e-16 V/h ≈ 1e-10.
                assert!((slope - expected).abs() < 1e-8 * (1.0 + expected.abs()), "{name}, unit {unit}");
            }
        }
    }
}

#[test]
fn force_is_minus_the_gradient_of_energy_by_autodiff() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 3, Key::new(1));
        let (potential, field) = (substrate.potential(), substrate.field(&clamped).unwrap());
        let x = normals(3, substrate.free_units(), 0.8, Key::new(2)).autodiff().require_grad();
        let gradients = potential.energy(x.clone(), field.clone()).sum().backward();
        let by_autodiff = to_f64(x.grad(&gradients).unwrap().inner());
        let by_formula = to_f64(potential.gradient(x.inner(), field.inner()));
        assert!(distance(&by_autodiff, &by_formula) < 1e-12, "{name}");
    }
}

/// The energy from blocks equals the definition, summed over pairs, each once.
#[test]
fn energy_counts_each_pair_once() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 1, Key::new(3));
        let x = normals(1, substrate.free_units(), 1.0, Key::new(4));
        let energy = to_f64(substrate.potential().energy(x.clone(), substrate.field(&clamped).unwrap()))[0];
        // The values of all groups, including clamped ones.
        let (state, mut clamps) = (to_f64(x), clamped.into_iter());
        let values: Vec<Vec<f64>> = topology
            .groups
            .iter()
            .map(|group| match group.clamped {
                true => to_f64(clamps.next().unwrap()),
                false => state[topology.columns(&group.name).unwrap()].to_vec(),
            })
            .collect();
        let bias = to_f64(substrate.bias());
        let mut expected = 0.0;
        let (j2, j4) = (per_unit(&topology, |group| &group.j2), per_unit(&topology, |group| &group.j4));
        for (unit, x) in state.iter().enumerate() {
            expected += j2[unit] * x * x + j4[unit] * x.powi(4) + bias[unit] * x;
        }
        for (index, block) in topology.blocks.iter().enumerate() {
            let (a, b) = (topology.group(&block.from).unwrap(), topology.group(&block.to).unwrap());
            let coupling = to_f64(substrate.coupling(index));
            for (i, x) in values[a].iter().enumerate() {
                for (j, y) in values[b].iter().enumerate() {
                    if a != b || i < j {
                        expected += coupling[i * values[b].len() + j] * x * y;
                    }
                }
            }
        }
        assert!((energy - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{name}: {energy} {expected}");
    }
}

#[test]
fn couplings_within_a_group_are_symmetric_without_diagonal_whatever_is_stored() {
    let topology = Topology::all_to_all([Group::free("unit", 6)]);
    let substrate = SubstrateConfig::new(topology).init(double()).unwrap();
    let substrate = substrate.with_coupling(0, normals(6, 6, 1.0, Key::new(5))).unwrap();
    let coupling = to_f64(substrate.coupling(0));
    for i in 0..6 {
        assert_eq!(coupling[i * 6 + i], 0.0);
        (0..6).for_each(|j| assert_eq!(coupling[i * 6 + j], coupling[j * 6 + i]));
    }
}

#[test]
fn first_law_holds_to_rounding() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 8, Key::new(6));
        let field = substrate.field(&clamped).unwrap();
        let x0 = normals(8, substrate.free_units(), 0.5, Key::new(7));
        let schedule = Schedule::new(1e-3, 0.5).unwrap();
        let run = substrate.trajectory(x0.clone(), field.clone(), schedule, 1, Key::new(8)).unwrap();
        let by_energy = to_f64(substrate.heat(x0, run.last(), field.clone()));
        let by_path = to_f64(substrate.path_heat(&run, field));
        let worst = distance(&by_energy, &by_path) / substrate.free_units() as f64;
        assert!(worst < 1e-9, "{name}: {worst:e} kT per unit");
    }
}

/// ln P/P̃ = −½Σ Δx·(∇V + ∇V′)/kT + (Δt/4kT) Σ μ(|∇V′|² − |∇V|²): the second sum telescopes.
#[test]
fn entropy_production_is_the_difference_of_the_actions() {
    for (name, topology) in networks() {
        let kt = 0.7;
        let (substrate, clamped) = random(&topology, kt, 4, Key::new(9));
        let field = substrate.field(&clamped).unwrap();
        let x0 = normals(4, substrate.free_units(), 0.5, Key::new(10));
        let schedule = Schedule::new(2e-3, 0.2).unwrap();
        let run = substrate.trajectory(x0.clone(), field.clone(), schedule, 1, Key::new(11)).unwrap();
        let entropy = to_f64(substrate.entropy_production(&run, field.clone()).unwrap());
        let potential = substrate.potential();
        let rate = |x: Tensor<2>| {
            let gradient = potential.gradient(x, field.clone());
            let mobility = per_unit(&topology, |group| &group.mobility);
            let mobility = Tensor::<1>::from_data(mobility.as_slice(), double()).unsqueeze_dim(0);
            to_f64((gradient.clone() * gradient * mobility).sum_dim(1))
        };
        let [times, _, units] = run.states.dims();
        let states = to_f64(run.states.clone());
        let gradients = to_f64(potential.gradient(
            run.states.clone().reshape([times * 4, units]),
            field.clone().expand([4, units]).repeat_dim(0, times),
        ));
        let (first, last) = (rate(x0), rate(run.last()));
        for row in 0..4 {
            let at = |t: usize, unit: usize| (t * 4 + row) * units + unit;
            let mut sum = schedule.dt * (last[row] - first[row]) / (4.0 * kt);
            for t in 0..times - 1 {
                for unit in 0..units {
                    let dx = states[at(t + 1, unit)] - states[at(t, unit)];
                    sum -= dx * (gradients[at(t, unit)] + gradients[at(t + 1, unit)]) / (2.0 * kt);
                }
            }
            assert!((sum - entropy[row]).abs() < 1e-9 * (1.0 + sum.abs()), "{name}: {sum} {}", entropy[row]);
        }
    }
}

#[test]
fn streamed_action_is_the_recorded_one() {
    let (_, topology) = &networks()[0];
    let (substrate, clamped) = random(topology, 1.0, 5, Key::new(12));
    let field = substrate.field(&clamped).unwrap();
    let x0 = Tensor::zeros([5, substrate.free_units()], double());
    let schedule = Schedule::new(1e-3, 0.05).unwrap();
    for direction in [Direction::Forward, Direction::Reverse] {
        let run = substrate.trajectory(x0.clone(), field.clone(), schedule, 1, Key::new(13)).unwrap();
        let recorded = to_f64(substrate.action(&run, field.clone(), direction).unwrap());
        let action = substrate.step_action(schedule.dt, direction).unwrap();
        let mut streamed = vec![0.0; 5];
        let sum = |step: &thermograd::Step| {
            let values = to_f64(action.of_step(step, field.clone()));
            streamed.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        };
        substrate.simulate(x0.clone(), field.clone(), schedule, Key::new(13), sum).unwrap();
        assert!(distance(&recorded, &streamed) < 1e-9);
    }
}

/// Without noise the scheme is of order 1: halving Δt halves the distance to the limit.
#[test]
fn noiseless_error_is_of_first_order() {
    let (_, topology) = &networks()[0];
    let (substrate, clamped) = random(topology, 0.0, 2, Key::new(14));
    let field = substrate.field(&clamped).unwrap();
    let x0 = normals(2, substrate.free_units(), 0.5, Key::new(15));
    let end = |dt: f64| {
        let schedule = Schedule::new(dt, 0.2).unwrap();
        to_f64(substrate.forward(x0.clone(), field.clone(), schedule, Key::new(0)))
    };
    let limit = end(0.2 / 65_536.0);
    let errors: Vec<f64> = [64.0, 128.0, 256.0].map(|steps| distance(&end(0.2 / steps), &limit)).to_vec();
    for pair in errors.windows(2) {
        let ratio = pair[0] / pair[1];
        assert!((1.9..2.1).contains(&ratio), "errors {errors:?}");
    }
}

#[test]
fn unstable_steps_are_refused_with_the_limit() {
    // Two harmonic units, stiffness matrix [[2, 1], [1, 2]]: λ = 3, limit 2/3.
    let topology = Topology::all_to_all([Group::free("unit", 2).wells(1.0, 0.0)]);
    let substrate = SubstrateConfig::new(topology).init(double()).unwrap();
    let one = Tensor::<2>::from_data([[0.0, 1.0], [1.0, 0.0]], double());
    let substrate = substrate.with_coupling(0, one).unwrap();
    assert!((substrate.step_limit() - 2.0 / 3.0).abs() < 1e-6);
    let x0 = Tensor::zeros([1, 2], double());
    let run = |dt| substrate.trajectory(x0.clone(), x0.clone(), Schedule { dt, steps: 10 }, 1, Key::new(0));
    run(0.66).unwrap();
    match run(0.67) {
        Err(Error::StepTooLarge { dt, limit, rate }) => {
            assert_eq!(dt, 0.67);
            assert!((limit - 2.0 / 3.0).abs() < 1e-6 && (rate - 3.0).abs() < 1e-5);
        }
        other => panic!("{other:?}"),
    }
}

/// Three harmonic units in a ring: the eigenvalues of 2J₂ + J are 2J₂ + 2J once and 2J₂ − J twice. A quartic unit
/// next to them may couple with any strength.
#[test]
fn harmonic_units_that_do_not_hold_together_are_refused_with_the_eigenvalue() {
    let mut topology = Topology::all_to_all([Group::free("harmonic", 3).wells(1.0, 0.0)]);
    topology.groups.push(Group::free("quartic", 1).wells(-2.0, 0.1));
    topology.blocks.push(Block::full("harmonic", "quartic"));
    let run = |j: f64| {
        let substrate = SubstrateConfig::new(topology.clone()).init(double()).unwrap();
        let substrate = substrate.with_pair_couplings(0, &[j; 3]).unwrap();
        let substrate = substrate.with_pair_couplings(1, &[40.0; 3]).unwrap();
        let schedule = Schedule { dt: 1e-3, steps: 10 };
        let x0 = Tensor::zeros([1, 4], double());
        let run = substrate.simulate(x0, substrate.field(&[]).unwrap(), schedule, Key::new(0), |_| {});
        (run.map(drop), Couplings::of(&substrate, schedule, None))
    };
    for j in [-0.99, -0.5, 0.0, 1.0, 1.99] {
        let (run, couplings) = run(j);
        run.unwrap();
        Couplings::decode(&couplings.encode().unwrap()).unwrap();
    }
    for (j, smallest) in [(-1.0, 0.0), (-10.0, -18.0), (2.0, 0.0), (5.0, -3.0)] {
        let (run, couplings) = run(j);
        for refused in [run, couplings.encode().and_then(|bytes| Couplings::decode(&bytes)).map(drop)] {
            match refused {
                Err(Error::NotJointlyConfining { eigenvalue, units }) => {
                    assert!((eigenvalue - smallest).abs() < 1e-7 && units == 3, "{j}: {eigenvalue}");
                }
                other => panic!("{j}: {other:?}"),
            }
        }
    }
}

/// Shifts of wells by a protocol are taken into account, at every knot and in between, where crossing gains may both
/// be large.
#[test]
fn units_that_a_protocol_lets_go_are_refused() {
    let topology = Topology::all_to_all([Group::free("unit", 2).wells(1.0, 0.0)]);
    let substrate = SubstrateConfig::new(topology).init(double()).unwrap();
    let substrate = substrate.with_pair_couplings(0, &[1.0]).unwrap();
    let run = |gain: f64, well: f64| {
        let row = |value| Tensor::<2>::full([1, 2], value, double());
        let knot = |gain, well| Control { gain: Some(row(gain)), well: Some(row(well)), ..row(0.0).into() };
        let protocol = Protocol::new(vec![0.0, 0.01], vec![knot(1.0, 0.0), knot(gain, well)]).unwrap();
        substrate.simulate(
            Tensor::zeros([1, 2], double()),
            protocol,
            Schedule { dt: 1e-3, steps: 20 },
            Key::new(0),
            |_| {},
        )
    };
    // Smallest eigenvalue 2(1 + d) − s².
    run(1.4, 0.0).unwrap();
    run(1.0, -0.49).unwrap();
    assert!(matches!(run(1.5, 0.0), Err(Error::NotJointlyConfining { .. })));
    assert!(matches!(run(1.0, -0.51), Err(Error::NotJointlyConfining { .. })));

    // At each knot one of the gains is zero; halfway their product is one, and 2 − 10 is below zero.
    let strong = substrate.with_pair_couplings(0, &[-10.0]).unwrap();
    let row = |values: [f64; 2]| Tensor::<2>::from_data([values], double());
    let knot = |gains| Control { gain: Some(row(gains)), ..row([0.0, 0.0]).into() };
    let crossing = Protocol::new(vec![0.0, 10.0], vec![knot([2.0, 0.0]), knot([0.0, 2.0])]).unwrap();
    let schedule = Schedule { dt: 1e-3, steps: 10 };
    let run = strong.simulate(row([0.0, 0.0]), crossing, schedule, Key::new(0), |_| {});
    assert!(matches!(run, Err(Error::NotJointlyConfining { .. })));
    // The same from a file.
    let course = Course {
        times: vec![0.0, 10.0],
        gains: std::collections::BTreeMap::from([("a".into(), vec![2.0, 0.0]), ("b".into(), vec![0.0, 2.0])]),
        ..Course::default()
    };
    let groups = ["a", "b"].map(|name| Group::free(name, 1).wells(1.0, 0.0));
    let apart = SubstrateConfig::new(Topology::all_to_all(groups)).init(double()).unwrap();
    let block = apart.topology().blocks.iter().position(|block| block.from != block.to).unwrap();
    let apart = apart.with_pair_couplings(block, &[-10.0]).unwrap();
    let file = Couplings::of(&apart, schedule, None).with_course(Some(course));
    assert!(matches!(file.validate(), Err(Error::NotJointlyConfining { .. })));

    // Couplings with a bandwidth follow the same condition.
    let device = Hardware::ideal(strong).with(Imperfection::Bandwidth { rate: 10.0 }, Key::new(0)).unwrap();
    let run = device.simulate(row([0.0, 0.0]), row([0.0, 0.0]), schedule, Key::new(0), |_| {});
    assert!(matches!(run, Err(Error::NotJointlyConfining { .. })));
}

#[test]
fn divergence_names_unit_step_trajectory_and_energy() {
    let topology = Topology::all_to_all([Group::free("calm", 2), Group::free("wild", 3)]);
    let substrate = SubstrateConfig::new(topology).init(&Device::flex()).unwrap();
    // One unit of one trajectory starts far out in the quartic well, where Δt = 0.01 is unstable.
    let mut start = vec![0.0_f32; 4 * 5];
    start[2 * 5 + 3] = 30.0;
    let x0 = Tensor::<2>::from_data(burn::tensor::TensorData::new(start, [4, 5]), &Device::flex());
    let field = Tensor::zeros([1, 5], &Device::flex());
    let error =
        substrate.trajectory(x0, field, Schedule { dt: 0.01, steps: 100 }, 1, Key::new(0)).unwrap_err();
    let Error::Diverged(divergence) = error else { panic!("{error}") };
    assert_eq!((divergence.group.as_str(), divergence.unit, divergence.trajectory), ("wild", 1, 2));
    assert!(divergence.step < 10 && divergence.energy.unwrap() > 1e6, "{divergence}");
    assert!((divergence.time - 0.01 * (divergence.step + 1) as f64).abs() < 1e-12);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let (_, topology) = &networks()[0];
    let (substrate, clamped) = random(topology, 1.0, 3, Key::new(16));
    let wide = |columns| Tensor::<2>::zeros([3, columns], double());
    assert!(matches!(substrate.field(&[wide(4)]), Err(Error::Shape { .. })));
    assert!(matches!(substrate.field(&[]), Err(Error::Shape { .. })));
    let field = substrate.field(&clamped).unwrap();
    let schedule = Schedule { dt: 1e-3, steps: 1 };
    let run = |x0, field| substrate.trajectory(x0, field, schedule, 1, Key::new(0));
    assert!(matches!(run(wide(6), field.clone()), Err(Error::Shape { .. })));
    assert!(matches!(run(wide(7), wide(6)), Err(Error::Shape { .. })));
    assert!(Schedule::new(0.0, 1.0).is_err() && Schedule::new(1e-3, f64::NAN).is_err());
}

/// Moments of stochastic trajectories, and the action of the same steps.
fn guided(substrate: &Substrate, clamped: &[Tensor<2>], ridge: Ridge) -> (Substrate, Tensor<2>, Tensor<2>) {
    let batch = clamped.first().map_or(64, |values| values.dims()[0]);
    let field = substrate.field(clamped).unwrap().expand([batch, substrate.free_units()]);
    let x0 = normals(batch, substrate.free_units(), 0.5, Key::new(21));
    let schedule = Schedule::new(1e-3, 0.05).unwrap();
    let run = substrate.trajectory(x0, field, schedule, 1, Key::new(22)).unwrap();
    let (before, after) = run.steps();
    let untrained = substrate.config().init(double()).unwrap();
    let mut moments = Moments::new(&untrained);
    if clamped.is_empty() {
        moments.add(&untrained, &[], before.clone(), after.clone(), schedule.dt).unwrap();
    } else {
        // In two parts to be merged: images 0–19 and the rest, at every time.
        let [rows, units] = before.dims();
        let part = |x: &Tensor<2>, images: std::ops::Range<usize>| {
            let times = x.clone().reshape([rows / batch, batch, units]).slice_dim(1, images.clone());
            times.reshape([rows / batch * images.len(), units])
        };
        for images in [0..20, 20..batch] {
            let clamps: Vec<_> = clamped.iter().map(|c| c.clone().slice_dim(0, images.clone())).collect();
            let mut own = Moments::new(&untrained);
            let (before, after) = (part(&before, images.clone()), part(&after, images));
            own.add(&untrained, &clamps, before, after, schedule.dt).unwrap();
            moments.merge(&own);
        }
    }
    (moments.optimum(&untrained, ridge).unwrap(), before, after)
}

#[test]
fn exact_optimum_is_where_the_gradient_of_the_action_vanishes() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 60, Key::new(20));
        let (solved, before, after) =
            guided(&substrate, &clamped, Ridge { clamped: 0.0, free: 0.0, ..Ridge::default() });
        let scale =
            gradient_of_action(&substrate.config().init(double()).unwrap(), &clamped, &before, &after);
        let at_optimum = gradient_of_action(&solved, &clamped, &before, &after);
        assert!(at_optimum < 1e-7 * scale, "{name}: {at_optimum:e} of {scale:e}");
    }
}

#[test]
fn exact_optimum_refuses_sparse_inputs_and_nothing() {
    let mut topology = Topology::bipartite(Group::clamped("input", 2), Group::free("unit", 2));
    let untrained = SubstrateConfig::new(topology.clone()).init(double()).unwrap();
    assert!(matches!(Moments::new(&untrained).optimum(&untrained, Ridge::default()), Err(Error::Exact(_))));
    topology.blocks[0].pattern = thermograd::Pattern::Pairs(vec![[0, 0]]);
    let sparse = SubstrateConfig::new(topology).init(double()).unwrap();
    let mut moments = Moments::new(&sparse);
    let x = Tensor::zeros([3, 2], double());
    moments.add(&sparse, std::slice::from_ref(&x), x.clone(), x.clone(), 1e-3).unwrap();
    let error = moments.optimum(&sparse, Ridge::default()).unwrap_err().to_string();
    assert!(error.contains("sparse"), "{error}");
}

/// Without ridge and with exact data, the optimum is the computer that generated the noiseless trajectories.
#[test]
fn exact_optimum_recovers_the_couplings_of_noiseless_trajectories() {
    let topology = Topology::all_to_all([Group::clamped("input", 3), Group::free("unit", 4)]);
    let (substrate, clamped) = random(&topology, 0.0, 60, Key::new(23));
    let (solved, ..) = guided(&substrate, &clamped, Ridge { clamped: 0.0, free: 0.0, ..Ridge::default() });
    for block in 0..topology.blocks.len() {
        let (found, truth) = (to_f64(solved.coupling(block)), to_f64(substrate.coupling(block)));
        assert!(distance(&found, &truth) < 1e-6);
    }
    assert!(distance(&to_f64(solved.bias()), &to_f64(substrate.bias())) < 1e-6);
}

/// The largest entry of the gradient of the mean action with respect to all parameters.
fn gradient_of_action(
    substrate: &Substrate,
    clamped: &[Tensor<2>],
    before: &Tensor<2>,
    after: &Tensor<2>,
) -> f64 {
    let tracked = substrate.valid().train();
    let batch = clamped.first().map_or(1, |values| values.dims()[0]);
    let rows = before.dims()[0];
    let field = match clamped.is_empty() {
        true => tracked.field(&[]).unwrap(),
        false => tracked.field(clamped).unwrap().repeat_dim(0, rows / batch),
    };
    let action = tracked.step_action(1e-3, Direction::Forward).unwrap();
    let loss = action.of(before.clone(), after.clone(), field).mean();
    let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &tracked);
    burn::module::list_param_ids(&tracked)
        .into_iter()
        .filter_map(|id| gradients.get::<2>(id))
        .flat_map(to_f64)
        .fold(0.0, |largest, value| largest.max(value.abs()))
}

#[test]
fn a_block_may_be_described_either_way_round() {
    let groups = || vec![Group::clamped("input", 3), Group::free("unit", 2)];
    let one = Topology { groups: groups(), blocks: vec![Block::full("input", "unit")] };
    let other = Topology { groups: groups(), blocks: vec![Block::full("unit", "input")] };
    let coupling = normals(3, 2, 1.0, Key::new(24));
    let image = normals(4, 3, 1.0, Key::new(25));
    let field = |topology, coupling| {
        let substrate = SubstrateConfig::new(topology).init(double()).unwrap();
        to_f64(substrate.with_coupling(0, coupling).unwrap().field(std::slice::from_ref(&image)).unwrap())
    };
    assert_eq!(field(one, coupling.clone()), field(other, coupling.transpose()));
}
