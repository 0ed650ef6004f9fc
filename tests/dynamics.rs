//! Machines on the one loop: changing temperatures, units that all differ, and a user-defined machine.

use burn::tensor::{Device, Tensor, TensorData};
use thermograd::{
    Control, Direction, Dynamics, Error, Estimate, Group, Imperfection, Integrator, Key, Ledger, Overdamped,
    Protocol, Recorder, Schedule, SubstrateConfig, Topology, Trajectory, Well, run, to_f64,
};

use crate::common::{distance, double, networks, normals, random};

#[path = "../examples/oscillators.rs"]
mod oscillators;

fn row(values: &[f64]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), double())
}

/// Two oscillators: their phase difference has the density e^(K cos φ/kT), with ⟨cos φ⟩ = I₁(K/kT)/I₀(K/kT).
#[test]
fn oscillators_of_a_user_run_on_the_same_loop() {
    let (k, kt, rows) = (1.0, 0.5, 20_000);
    let coupling = Tensor::<2>::from_data([[0.0, k], [k, 0.0]], &Device::flex());
    let machine = oscillators::Oscillators { coupling, kt, dt: 0.01, key: Key::new(331) };
    let start = Tensor::<2>::zeros([rows, 2], &Device::flex());
    let mut recorder = Recorder::new(start.clone(), 200);
    run(&machine, start, 400, |step| recorder.observe(step)).unwrap();
    let recorded = recorder.trajectory(machine.dt);
    assert_eq!((recorded.states.dims(), recorded.interval), ([3, rows, 2], 2.0));
    let theta = recorded.last();
    let cosines: Vec<f64> = to_f64(theta.clone()).chunks(2).map(|pair| (pair[0] - pair[1]).cos()).collect();
    let bessel = |n: f64| -> f64 {
        let angle = |k: usize| std::f64::consts::PI * (k as f64 + 0.5) / 2000.0;
        (0..2000).map(|i| (n * angle(i)).cos() * (k / kt * angle(i).cos()).exp()).sum()
    };
    let (found, exact) = (Estimate::of(&cosines), bessel(1.0) / bessel(0.0));
    // Weak order 1: a relative bias of about Δt times the stiffness 2K; the initial state is forgotten at a rate of
    // 2·kT.
    let allowed = 4.9 * found.standard_error() + 0.02 * exact + (-4.0_f64).exp() * 0.3;
    println!("⟨cos φ⟩ {:.4}, exact {exact:.4} ± {allowed:.4}", found.mean);
    assert!((found.mean - exact).abs() < allowed);
    let in_step = Estimate::of(&oscillators::order(&theta)).mean;
    assert!(in_step > 0.5 && in_step < 1.0);

    // The divergence of a user-defined machine is reported like any other.
    let wild = oscillators::Oscillators { dt: f64::MAX, ..machine };
    let error = run(&wild, Tensor::ones([2, 2], &Device::flex()), 50, |_| {}).unwrap_err();
    let Error::Diverged(place) = error else { panic!("{error}") };
    assert_eq!((place.step, place.group.as_str(), place.energy), (0, "oscillator", None));
    assert!(!place.to_string().contains("energy"), "{place}");
}

/// The sum of the states overflows single precision, but each of them is finite.
#[test]
fn large_finite_states_have_not_diverged() {
    let topology = Topology { groups: vec![Group::free("unit", 8).wells(1.0, 0.0)], blocks: vec![] };
    let device = Device::flex();
    let substrate = SubstrateConfig::new(topology).init(&device).unwrap();
    let field = Tensor::<2>::zeros([2, 8], &device);
    let dynamics = Overdamped::new(&substrate, field, 1e-3, Key::new(334)).unwrap();
    let large = Tensor::<2>::full([2, 8], 3e38, &device);
    assert!(!large.clone().sum().into_scalar::<f32>().is_finite());
    assert_eq!(dynamics.diverged(&large), None);
    let beyond = large.slice_assign([1..2, 5..6], Tensor::full([1, 1], f32::INFINITY, &device));
    let place = dynamics.diverged(&beyond).unwrap();
    assert_eq!((place.trajectory, place.group.as_str(), place.unit), (1, "unit", 5));
}

/// A protocol with a constant kT is equivalent to a substrate at that temperature: state, action, heat.
#[test]
fn a_temperature_of_the_protocol_is_one_of_the_substrate() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 3, Key::new(332));
        let warm = substrate.clone().with_config(substrate.config().clone().with_kt(0.4)).unwrap();
        let (field, schedule) = (substrate.field(&clamped).unwrap(), Schedule::new(2e-3, 0.1).unwrap());
        let x0 = normals(3, substrate.free_units(), 0.5, Key::new(333));
        let bath = Control::from(field.clone()).with_kt(0.4);
        let own = warm.trajectory(x0.clone(), field.clone(), schedule, 1, Key::new(334)).unwrap();
        let given = substrate.trajectory(x0, bath.clone(), schedule, 1, Key::new(334)).unwrap();
        let gap = distance(&to_f64(own.states.clone()), &to_f64(given.states));
        // The spread of a unit's noise is rounded to single precision at the substrate's temperature.
        assert!(gap < 1e-6, "{name}: {gap:e}");
        for direction in [Direction::Forward, Direction::Reverse] {
            let [a, b] = [
                warm.action(&own, field.clone(), direction).unwrap(),
                substrate.action(&own, bath.clone(), direction).unwrap(),
            ];
            let (a, b) = (to_f64(a), to_f64(b));
            assert!(distance(&a, &b) < 1e-9 * a[0], "{name}");
        }
    }
}

/// Annealing: a harmonic unit whose bath cools slowly follows ⟨x²⟩ = kT(t)/2J₂ up to a known lag, no work is done, and
/// the entropy given to the bath is the sum of heat over temperature.
#[test]
fn a_bath_that_cools_is_followed_and_accounted_for() {
    let (j2, rows, units) = (1.0, 512, 64);
    let groups = vec![Group::free("unit", units).wells(j2, 0.0)];
    let substrate = SubstrateConfig::new(Topology { groups, blocks: vec![] }).init(double()).unwrap();
    let (dt, end) = (0.01, 4.0);
    let hot = Control::from(substrate.field(&[]).unwrap());
    let knots = vec![hot.clone().with_kt(2.0), hot.clone().with_kt(0.5)];
    let protocol = Protocol::new(vec![0.0, end], knots).unwrap();
    let (key, spread) = (Key::new(335), (2.0 / (2.0 * j2) / (1.0 - j2 * dt)).sqrt());
    let x0 = normals(rows, units, spread, key.fork("start"));
    let mut ledger = Ledger::new(&substrate, protocol.clone(), dt);
    let (mut entropy, mut states) = (vec![0.0; rows], vec![x0.clone()]);
    let potential = substrate.potential();
    let energy = |x: &Tensor<2>| to_f64(potential.energy(x.clone(), Tensor::zeros([1, units], double())));
    let schedule = Schedule::new(dt, end).unwrap();
    let x = substrate
        .simulate(x0, protocol.clone(), schedule, key, |step| {
            ledger.observe(step);
            states.push(step.after.clone());
            let kt = 2.0 - 1.5 * (step.index as f64 * dt) / end;
            let heats = energy(&step.before).into_iter().zip(energy(&step.after)).map(|(a, b)| a - b);
            entropy.iter_mut().zip(heats).for_each(|(sum, heat)| *sum += heat / kt);
        })
        .unwrap();
    // The scheme's own recursion: v ← (1 − 2J₂Δt)² v + 2kT(t)Δt.
    let mut variance = spread * spread;
    for step in 0..schedule.steps {
        let kt = 2.0 - 1.5 * (step as f64 * dt) / end;
        variance = (1.0 - 2.0 * j2 * dt).powi(2) * variance + 2.0 * kt * dt;
    }
    let squares: Vec<f64> = to_f64(x).into_iter().map(|x| x * x).collect();
    let (found, allowed) =
        (Estimate::of(&squares).mean, 4.9 * variance * (2.0 / squares.len() as f64).sqrt());
    println!(
        "⟨x²⟩ {found:.5}, expected {variance:.5} ± {allowed:.5}, at equilibrium {:.5}",
        0.5 / (2.0 * j2)
    );
    assert!((found - variance).abs() < allowed && variance > 1.1 * 0.5 / (2.0 * j2));
    assert!(to_f64(ledger.work().unwrap()).iter().all(|&work| work == 0.0), "temperature does no work");
    // Nor does rounding do any, in single precision in a field that is interpolated at every step.
    let group = [Group::free("unit", 3)];
    let single = SubstrateConfig::new(Topology::all_to_all(group)).init(&Device::flex()).unwrap();
    let field = Control::from(Tensor::<2>::from_data([[0.3, -1.7, 2.9]], &Device::flex()));
    let course = vec![field.clone().with_kt(2.0), field.with_kt(0.5)];
    let course = Protocol::new(vec![0.0, 0.7], course).unwrap();
    let mut single_ledger = Ledger::new(&single, course.clone(), dt);
    let (rest, short) = (Tensor::zeros([4, 3], &Device::flex()), Schedule::new(dt, 1.0).unwrap());
    single.simulate(rest, course, short, key, |step| single_ledger.observe(step)).unwrap();
    assert_eq!(to_f64(single_ledger.work().unwrap()), [0.0; 4]);
    assert!(distance(&to_f64(ledger.entropy().unwrap()), &entropy) < 1e-9);
    // At a constant temperature it is the heat over kT.
    let mut still = Ledger::new(&substrate, hot, dt);
    let states = Tensor::stack::<3>(states, 0);
    let step = |t: usize| states.clone().slice_dim(0, t..t + 1).reshape([rows, units]);
    still.observe(&thermograd::Step { index: 0, before: step(0), after: step(1) });
    assert_eq!(to_f64(still.entropy().unwrap()), to_f64(still.heat().unwrap()));
    // ln P/P̃ of the path is that entropy, up to the error of the scheme.
    let run = Trajectory { states, interval: dt };
    let produced = to_f64(substrate.entropy_production(&run, protocol).unwrap());
    let gaps: Vec<f64> = produced.iter().zip(&entropy).map(|(a, b)| (a - b).abs() / units as f64).collect();
    let (gap, scale) = (Estimate::of(&gaps).mean, Estimate::of(&entropy).mean / units as f64);
    println!("entropy of a unit {scale:.3}, ln P/P̃ {gap:.4} away");
    assert!(gap < 0.05 && scale > 0.5);
}

/// Every trajectory may have its own bath.
#[test]
fn trajectories_at_temperatures_of_their_own() {
    let groups = vec![Group::free("unit", 4000).wells(1.0, 0.0)];
    let substrate = SubstrateConfig::new(Topology { groups, blocks: vec![] }).init(double()).unwrap();
    let kt = Tensor::<2>::from_data([[0.0], [0.5], [2.0]], double());
    let control = Control { kt: Some(kt), ..substrate.field(&[]).unwrap().into() };
    let x0 = Tensor::zeros([3, 4000], double());
    let schedule = Schedule::new(0.05, 4.0).unwrap();
    let x = to_f64(substrate.simulate(x0.clone(), control.clone(), schedule, Key::new(336), |_| {}).unwrap());
    for (row, kt) in x.chunks(4000).zip([0.0, 0.5, 2.0]) {
        let (found, expected) = (row.iter().map(|x| x * x).sum::<f64>() / 4000.0, kt / 2.0 / 0.95);
        assert!((found - expected).abs() <= 4.9 * expected * (2.0_f64 / 4000.0).sqrt(), "{found} {expected}");
    }
    let refused = |control: Control, x0: Tensor<2>| {
        substrate.simulate(x0, control, schedule, Key::new(0), |_| {}).unwrap_err()
    };
    let two = Control { kt: Some(Tensor::ones([2, 1], double())), ..control.clone() };
    assert!(matches!(refused(two, x0.clone()), Error::Shape { .. }));
    let wide = Control { kt: Some(Tensor::ones([1, 2], double())), ..control.clone() };
    assert!(matches!(refused(wide, x0.clone()), Error::Shape { .. }));
    assert!(matches!(refused(control.clone().with_kt(-1.0), x0.clone()), Error::Constant { .. }));
    // The action of each trajectory is that of its own bath.
    let (topology, baths) = (networks().remove(0).1, [0.5, 1.0, 2.0]);
    let (small, clamped) = random(&topology, 1.0, 3, Key::new(345));
    let field = small.field(&clamped).unwrap();
    let kt = Tensor::<2>::from_data([[0.5], [1.0], [2.0]], double());
    let apart = Control { kt: Some(kt), ..field.clone().into() };
    let (x0, schedule) =
        (normals(3, small.free_units(), 0.5, Key::new(346)), Schedule::new(1e-3, 0.02).unwrap());
    let path = small.trajectory(x0, apart.clone(), schedule, 1, Key::new(347)).unwrap();
    let moving = Protocol::new(vec![0.0, 1.0], vec![apart.clone(), apart.clone()]).unwrap();
    for protocol in [apart.into(), moving] {
        let actions = to_f64(small.action(&path, protocol, Direction::Forward).unwrap());
        for (row, kt) in baths.into_iter().enumerate() {
            let own = small.clone().with_config(small.config().clone().with_kt(kt)).unwrap();
            let expected = to_f64(own.action(&path, field.clone(), Direction::Forward).unwrap())[row];
            assert!((actions[row] - expected).abs() < 1e-9 * expected, "{row}: {} {expected}", actions[row]);
        }
    }
    let run = Trajectory { states: Tensor::zeros([2, 3, 4000], double()), interval: 0.05 };
    let error = substrate.action(&run, control.clone(), Direction::Forward).unwrap_err();
    assert!(error.to_string().contains("probability"), "{error}");
    let nan = control.clone().with_kt(f64::NAN);
    assert!(matches!(substrate.action(&run, nan, Direction::Forward), Err(Error::Constant { .. })));
    let two = Control { kt: Some(Tensor::ones([2, 1], double())), ..control.clone() };
    assert!(matches!(substrate.action(&run, two, Direction::Forward), Err(Error::Shape { .. })));
    // Cooling to zero at the end: no step is made at kT = 0. The kT of the substrate itself may be zero too.
    let frozen = substrate.config().clone().with_kt(0.0);
    let still = substrate.clone().with_config(frozen).unwrap();
    let knots = [1.0, 0.0].map(|kt| Control::from(control.field.clone()).with_kt(kt));
    let cooling = Protocol::new(vec![0.0, 0.05], knots.into()).unwrap();
    let [a, b] =
        [&substrate, &still].map(|s| to_f64(s.action(&run, cooling.clone(), Direction::Forward).unwrap()));
    assert!(distance(&a, &b) < 1e-9 && a.iter().all(|action| action.is_finite()));
}

/// The stability limit is that of the highest temperature, because a quartic well is stiffer further out.
#[test]
fn the_hottest_moment_of_a_protocol_limits_the_step() {
    let groups = vec![Group::free("unit", 1).wells(0.0, 1.0)];
    let config = SubstrateConfig::new(Topology { groups, blocks: vec![] }).with_kt(0.01);
    let substrate = config.init(double()).unwrap();
    let field = Control::from(substrate.field(&[]).unwrap());
    let run = |protocol: Protocol, dt: f64| {
        let x0 = Tensor::zeros([1, 1], double());
        substrate.simulate(x0, protocol, Schedule { dt, steps: 1 }, Key::new(0), |_| {}).map(|_| ())
    };
    let course = |kt: f64| {
        Protocol::new(vec![0.0, 1.0], vec![field.clone().with_kt(kt), field.clone().with_kt(0.01)]).unwrap()
    };
    // 12J₄√(kT/4J₄) is 0.6 at kT = 0.01 and 6 at kT = 1.
    assert!(run(course(0.01), 1.0).is_ok() && run(course(1.0), 0.3).is_ok());
    let Err(Error::StepTooLarge { limit, .. }) = run(course(1.0), 1.0) else { panic!("not refused") };
    assert!((limit - 1.0 / 3.0).abs() < 1e-9, "{limit}");
    // A shallow double well is as stiff as that for a unit above its barrier; a deep one is stiffer: −4J₂. A shift of
    // J₂ turns one into the other.
    for (j2, shift, expected) in
        [(-0.001, 0.0, 6.0), (-2.5, 0.0, 10.0), (0.0, -2.5, 10.0), (1.0, -1.001, 6.0)]
    {
        let groups = vec![Group::free("unit", 1).wells(j2, 1.0)];
        let substrate = SubstrateConfig::new(Topology { groups, blocks: vec![] }).init(double()).unwrap();
        let control = Control { well: Some(row(&[shift])), ..substrate.field(&[]).unwrap().into() };
        let error = Overdamped::new(&substrate, control, 10.0, Key::new(0)).unwrap_err();
        let Error::StepTooLarge { rate, .. } = error else { panic!("{error}") };
        assert!((rate - expected).abs() < 1e-9, "J2 = {j2}, shift {shift}: {rate}, expected {expected}");
    }
}

/// A group with per-unit constants gives the same numbers as two groups with those constants.
#[test]
fn a_group_of_unlike_units_is_as_many_groups() {
    let apart = Topology::all_to_all([
        Group::free("a", 2).wells(-0.5, 0.7).mobility(3.0),
        Group::free("b", 3).wells(0.8, 0.1).mobility(0.5),
    ]);
    let one = Group::free("c", 5)
        .wells(vec![-0.5, -0.5, 0.8, 0.8, 0.8], vec![0.7, 0.7, 0.1, 0.1, 0.1])
        .mobility(vec![3.0, 3.0, 0.5, 0.5, 0.5]);
    let (split, clamped) = random(&apart, 0.6, 2, Key::new(337));
    let joined = SubstrateConfig::new(Topology::all_to_all([one])).with_kt(0.6).init(double()).unwrap();
    let dense = Tensor::<2>::from_data(TensorData::new(split.free_couplings(), [5, 5]), double());
    let joined = joined.with_coupling(0, dense).unwrap().with_bias(split.bias()).unwrap();
    assert!((split.step_limit() - joined.step_limit()).abs() < 1e-12);
    let (x0, schedule) = (normals(2, 5, 0.5, Key::new(338)), Schedule::new(2e-3, 0.2).unwrap());
    let runs = [&split, &joined].map(|substrate| {
        let field = substrate.field(&clamped).unwrap();
        let run = substrate.trajectory(x0.clone(), field.clone(), schedule, 1, Key::new(339)).unwrap();
        let action = to_f64(substrate.action(&run, field.clone(), Direction::Reverse).unwrap());
        (to_f64(run.states.clone()), action, to_f64(substrate.path_heat(&run, field)))
    });
    assert!(distance(&runs[0].0, &runs[1].0) < 1e-12);
    assert!(distance(&runs[0].1, &runs[1].1) < 1e-9 && distance(&runs[0].2, &runs[1].2) < 1e-12);
}

/// Any symmetric positive definite A can be represented: A_ii/2 in J₂ of the wells, A_ij in the couplings. At rest Ax
/// = b.
#[test]
fn a_general_matrix_is_solved_at_rest() {
    let a = [[4.0, 1.0, -0.5], [1.0, 3.0, 0.8], [-0.5, 0.8, 2.0]];
    let wells = (0..3).map(|i| a[i][i] / 2.0).collect::<Vec<f64>>();
    let topology = Topology::all_to_all([Group::free("unit", 3).wells(wells, 0.0)]);
    let network = SubstrateConfig::new(topology).with_kt(0.0).init(double()).unwrap();
    let network = network.with_pair_couplings(0, &[a[0][1], a[0][2], a[1][2]]).unwrap();
    let b = [1.0, -2.0, 0.5];
    let schedule = Schedule::new(0.1, 40.0).unwrap();
    let x0 = Tensor::zeros([1, 3], double());
    let x = to_f64(network.simulate(x0, row(&b.map(|b| -b)), schedule, Key::new(0), |_| {}).unwrap());
    for (row, b) in a.iter().zip(b) {
        let sum: f64 = row.iter().zip(&x).map(|(a, x)| a * x).sum();
        assert!((sum - b).abs() < 1e-12, "{sum} {b}");
    }
}

/// Initial noise of unequal units has the spread of each unit's well.
#[test]
fn unlike_units_start_each_in_its_own_well() {
    let group = Group::free("unit", 2).wells(vec![1.0, 4.0], vec![0.0, 0.5]);
    let error = Well::new(&group, 1.0, 0.0).unwrap_err();
    assert!(error.to_string().contains("differ"), "{error}");
    let topology = Topology { groups: vec![group.clone()], blocks: vec![] };
    let substrate = SubstrateConfig::new(topology).init(double()).unwrap();
    let rows = 40_000;
    let x = to_f64(substrate.uncoupled_equilibrium(rows, Key::new(340)).unwrap());
    for unit in 0..2 {
        let squares: Vec<f64> = x.iter().skip(unit).step_by(2).map(|x| x * x).collect();
        let found = Estimate::of(&squares);
        let exact = Well::of_unit(&group, unit, 1.0, 0.0).unwrap().equilibrium(0.0).moments().1;
        // The quantiles interpolate a grid of 241 points, with an error of h²/12 for its spacing h.
        assert!((found.mean - exact).abs() < 4.9 * found.standard_error() + 1e-3, "{} {exact}", found.mean);
    }
}

/// One step of either scheme by hand under a changing temperature: x − μ∇VΔt + ση, and with ½(ση + σ′η′).
#[test]
fn either_integrator_makes_the_step_of_its_equation() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 0.5, 3, Key::new(341));
        let field = substrate.field(&clamped).unwrap();
        let x0 = normals(3, substrate.free_units(), 0.5, Key::new(342));
        let protocol = Protocol::new(
            vec![0.0, 0.2],
            vec![Control::from(field.clone()).with_kt(0.5), Control::from(field).with_kt(0.1)],
        );
        let protocol = protocol.unwrap();
        let dt = 0.05;
        let mobility = row(&crate::common::per_unit(&topology, |group| &group.mobility));
        let units = substrate.free_units();
        let eta = |step: u32| {
            let normals =
                Key::new(343).normals(step, 3, units).into_iter().map(f64::from).collect::<Vec<_>>();
            Tensor::<2>::from_data(TensorData::new(normals, [3, units]), double())
        };
        let kick = |step: u32| {
            let kt = 0.5 - 0.4 * (f64::from(step) * dt / 0.2);
            eta(step) * (mobility.clone() * (2.0 * kt * dt)).sqrt()
        };
        let gradient = substrate.potential().gradient(x0.clone(), protocol.at(0.0));
        let drift = x0.clone() - gradient * mobility.clone() * dt;
        let step = |integrator| {
            let dynamics = Overdamped::new(&substrate, protocol.clone(), dt, Key::new(343)).unwrap();
            to_f64(run(&dynamics.with_integrator(integrator), x0.clone(), 1, |_| {}).unwrap())
        };
        let euler = to_f64(drift.clone() + kick(0));
        let leimkuhler = to_f64(drift + (kick(0) + kick(1)) * 0.5);
        assert!(distance(&step(Integrator::EulerMaruyama), &euler) < 1e-12, "{name}");
        assert!(distance(&step(Integrator::LeimkuhlerMatthews), &leimkuhler) < 1e-12, "{name}");
    }
}

/// Unequal units stay unequal in a device with drifted wells.
#[test]
fn drift_multiplies_the_wells_of_every_unit() {
    let (_, topology) = networks().pop().unwrap();
    let (substrate, _) = random(&topology, 0.5, 1, Key::new(344));
    let device = thermograd::Hardware::ideal(substrate);
    let device = device.with(Imperfection::Wells { j2: 2.0, j4: 0.5 }, Key::new(1)).unwrap();
    let group = &device.substrate.topology().groups[1];
    let values = |constant: &thermograd::PerUnit| [0, 1, 2].map(|unit| constant.at(unit));
    assert_eq!((values(&group.j2), values(&group.j4)), ([-1.0, 2.0, 0.6], [0.35, 0.0, 0.5]));
}
