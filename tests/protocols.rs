//! Moving control parameters: energy balance, detailed balance, Jarzynski's equality and the reversed likelihood.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use thermograd::{
    Block, Control, Course, Direction, Error, Estimate, Group, Key, Ledger, Protocol, Schedule, Substrate,
    SubstrateConfig, Topology, Well, to_f64,
};
use thermograd_models::Noising;

use crate::common::{distance, double, networks, normals, random};

/// A protocol that moves field, gain and wells of a network.
fn driven(substrate: &Substrate, clamped: &[Tensor<2>], end: f64, key: Key) -> Protocol {
    let units = substrate.free_units();
    let field = substrate.field(clamped).unwrap();
    let batch = field.dims()[0];
    let knot = |k: u64| Control {
        field: field.clone() + normals(batch, units, 1.0, key.fork("field").at(k)),
        gain: Some(normals(1, units, 0.3, key.fork("gain").at(k)) + 1.0),
        well: Some(normals(1, units, 0.3, key.fork("well").at(k))),
        kt: None,
    };
    Protocol::new(vec![0.0, 0.3 * end, end], (0..3).map(knot).collect()).unwrap()
}

#[test]
fn a_driven_force_is_minus_the_gradient_of_the_driven_energy() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 3, Key::new(101));
        let control = driven(&substrate, &clamped, 1.0, Key::new(102)).at(0.4);
        let potential = substrate.potential();
        let x = normals(3, substrate.free_units(), 0.8, Key::new(103)).autodiff().require_grad();
        let gradients = potential.energy(x.clone(), control.clone()).sum().backward();
        let by_autodiff = to_f64(x.grad(&gradients).unwrap().inner());
        let inner = x.inner();
        assert!(
            distance(&by_autodiff, &to_f64(potential.gradient(inner.clone(), control.clone()))) < 1e-12,
            "{name}"
        );
        // The controlled part and the fixed wells add up to the whole force.
        let wells = potential.gradient(inner.clone(), Tensor::zeros_like(&inner))
            + potential.steered_force(inner.clone(), Tensor::zeros_like(&inner));
        let whole = to_f64(wells - potential.steered_force(inner, control));
        assert!(distance(&by_autodiff, &whole) < 1e-12, "{name}");
    }
}

/// ΔV = W − Q, with Q from forces and W from the energy terms that change.
#[test]
fn first_law_holds_under_a_protocol() {
    for (name, topology) in networks() {
        let kt = 0.7;
        let (substrate, clamped) = random(&topology, kt, 4, Key::new(104));
        let units = substrate.free_units();
        let schedule = Schedule::new(1e-3, 0.4).unwrap();
        let protocol = driven(&substrate, &clamped, schedule.duration(), Key::new(105));
        let x0 = normals(4, units, 0.5, Key::new(106));
        let mut ledger = Ledger::new(&substrate, protocol.clone(), schedule.dt);
        let mut states = vec![x0.clone()];
        let potential = substrate.potential();
        let mut work = [0.0; 4];
        let observe = |step: &thermograd::Step| {
            ledger.observe(step);
            states.push(step.after.clone());
            let (now, next) = [0, 1].map(|k| protocol.at((step.index + k) as f64 * schedule.dt)).into();
            let x = step.after.clone();
            let moved = (next.field - now.field) * x.clone()
                + (next.well.unwrap() - now.well.unwrap()) * x.clone() * x.clone();
            let pairs = |gain: Tensor<2>| {
                let scaled = x.clone() * gain;
                let zero = Tensor::zeros_like(&x);
                -potential.steered_force(scaled.clone(), zero) * scaled * 0.5
            };
            let moved = moved + pairs(next.gain.unwrap()) - pairs(now.gain.unwrap());
            work.iter_mut().zip(to_f64(moved.sum_dim(1))).for_each(|(sum, value)| *sum += value);
        };
        substrate.simulate(x0, protocol.clone(), schedule, Key::new(107), observe).unwrap();
        let run = thermograd::Trajectory { states: Tensor::stack(states, 0), interval: schedule.dt };
        let heat = to_f64(substrate.path_heat(&run, protocol));
        let per_unit = |gap: f64| gap / kt / units as f64;
        assert!(per_unit(distance(&to_f64(ledger.heat().unwrap()), &heat)) < 1e-9, "{name}: heat");
        assert!(per_unit(distance(&to_f64(ledger.work().unwrap()), &work)) < 1e-9, "{name}: work");
        let change: Vec<f64> = work.iter().zip(&heat).map(|(w, q)| w - q).collect();
        assert!(per_unit(distance(&to_f64(ledger.energy_change().unwrap()), &change)) < 1e-9, "{name}");
    }
}

#[test]
fn a_protocol_that_does_not_move_is_its_field_and_feedback_of_a_field_too() {
    for (name, topology) in networks() {
        let (substrate, clamped) = random(&topology, 1.0, 3, Key::new(108));
        let field = substrate.field(&clamped).unwrap();
        let (x0, schedule) =
            (normals(3, substrate.free_units(), 0.5, Key::new(109)), Schedule::new(1e-2, 0.5).unwrap());
        let still = Protocol::new(vec![0.0, 0.5], vec![field.clone().into(), field.clone().into()]).unwrap();
        let unit = Control {
            gain: Some(Tensor::ones([1, substrate.free_units()], double())),
            ..field.clone().into()
        };
        let run = |protocol: Protocol| {
            to_f64(substrate.simulate(x0.clone(), protocol, schedule, Key::new(110), |_| {}).unwrap())
        };
        let plain = run(field.clone().into());
        assert!(distance(&plain, &run(still)) < 1e-12, "{name}");
        assert!(distance(&plain, &run(unit.into())) < 1e-12, "{name}");
        let answer = |_: f64, _: &Tensor<2>| field.clone();
        let fed =
            substrate.simulate_with_feedback(x0.clone(), answer, schedule, Key::new(110), |_| {}).unwrap();
        assert!(distance(&plain, &to_f64(fed)) < 1e-12, "{name}");
    }
}

/// A course on clamped units equals the protocol through the fields of its knots.
#[test]
fn courses_put_the_values_of_clamped_units_on_their_knots() {
    let groups = vec![Group::clamped("clock", 2), Group::clamped("label", 6), Group::free("visible", 4)];
    let blocks = vec![Block::full("clock", "visible"), Block::full("label", "visible")];
    let topology = Topology { groups, blocks };
    let (substrate, _) = random(&topology, 1.0, 1, Key::new(111));
    let course = Course {
        times: vec![0.0, 2.0],
        gains: BTreeMap::from([("visible".into(), vec![1.0, 3.0])]),
        wells: BTreeMap::from([("visible".into(), vec![0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0])]),
        kt: None,
    };
    let tensor = |values: Vec<f64>| {
        let shape = [1, values.len()];
        Tensor::<2>::from_data(TensorData::new(values, shape), double())
    };
    let protocol = substrate.protocol(&course, &[tensor(vec![1.0]), tensor(vec![0.0, 2.0, 0.0])]).unwrap();
    let half = protocol.at(1.0);
    let by_hand =
        substrate.field(&[tensor(vec![0.5, 0.5]), tensor(vec![0.0, 1.0, 0.0, 0.0, 1.0, 0.0])]).unwrap();
    assert!(distance(&to_f64(half.field), &to_f64(by_hand)) < 1e-12);
    assert_eq!(to_f64(half.gain.unwrap()), [2.0; 4]);
    assert_eq!(to_f64(half.well.unwrap()), [0.5, 1.0, 1.5, 2.0]);

    let refused =
        |course: Course| substrate.protocol(&course, &[tensor(vec![1.0]), tensor(vec![0.0; 3])]).unwrap_err();
    let odd = Course { times: vec![0.0, 1.0, 2.0, 3.0], ..Course::default() };
    assert!(matches!(refused(odd), Error::Protocol(_)));
    let odd = Course { gains: BTreeMap::from([("visible".into(), vec![1.0])]), ..course.clone() };
    assert!(matches!(refused(odd), Error::Protocol(_)));
    let odd = Course { wells: BTreeMap::from([("nobody".into(), vec![1.0; 8])]), ..course };
    assert!(matches!(refused(odd), Error::Topology(_)));
}

/// Noising of 200 units in f64: its states, and the protocol.
fn noising(dt: f64, rows: usize) -> (Substrate, Protocol, thermograd::Trajectory) {
    let units = 200;
    let topology = Topology { groups: vec![Group::free("visible", units).unbiased()], blocks: vec![] };
    let substrate = SubstrateConfig::new(topology).with_kt(0.1).init(double()).unwrap();
    let noising = Noising { schedule: Schedule::new(dt, 1.0).unwrap(), ..Noising::default() };
    let pixels: Vec<u8> = (0..rows * units).map(|k| (k * 7919 % 256) as u8).collect();
    let mut states = Vec::new();
    let observe = |step: &thermograd::Step| {
        if states.is_empty() {
            states.push(step.before.clone());
        }
        states.push(step.after.clone());
    };
    noising.fall(&substrate, &pixels, Key::new(112), observe).unwrap();
    let p = pixels
        .iter()
        .map(|&p| noising.field * thermograd_models::generator::noising::level(p))
        .collect::<Vec<_>>();
    let p = Tensor::<2>::from_data(TensorData::new(p, [rows, units]), double());
    let run = thermograd::Trajectory { states: Tensor::stack(states, 0), interval: dt };
    (substrate, noising.protocol(p).unwrap(), run)
}

/// Detailed balance: ln P₀/P̃₀ of a noising path is its heat over kT, up to an error of first order in Δt.
#[test]
fn reversing_a_noising_path_costs_its_heat() {
    let gap = |dt: f64| {
        let (substrate, protocol, run) = noising(dt, 8);
        let entropy = to_f64(substrate.entropy_production(&run, protocol.clone()).unwrap());
        let heat = to_f64(substrate.path_heat(&run, protocol));
        let gaps: Vec<f64> = entropy.iter().zip(&heat).map(|(s, q)| (s - q / substrate.kt()).abs()).collect();
        Estimate::of(&gaps).mean / substrate.free_units() as f64
    };
    let (coarse, fine) = (gap(2e-3), gap(1e-3));
    println!(
        "|ln P₀/P̃₀ − Q₀/kT|/N: {coarse:.2e} at Δt = 2e-3, {fine:.2e} at 1e-3, ratio {:.2}",
        coarse / fine
    );
    assert!(fine < 3e-3, "{fine:e}");
    assert!((1.7..2.3).contains(&(coarse / fine)), "{}", coarse / fine);
}

/// ln P₀[ω]/P̃_θ[ω̃] = ½(Q₀ − Q_θ)/kT + (μ/4kT) ∫ (|∇V_θ|² − |∇V₀|²) dt: docs/THERMODYNAMICS.md, where the wells are
/// the same. The remainder is a martingale of variance ½ μ² Δt t_f Σ_ij J_ij².
#[test]
fn the_reverse_likelihood_is_heat_and_a_quadratic_force() {
    let gap = |dt: f64, other_wells: bool| {
        let (plain, protocol, run) = noising(dt, 16);
        let (units, kt) = (plain.free_units(), plain.kt());
        let topology = Topology::all_to_all([Group::free("visible", units)]);
        let mut config = SubstrateConfig::new(topology).with_kt(kt);
        if other_wells {
            config.topology.groups[0] = Group::free("visible", units).wells(0.6, 1.5);
        }
        let trained = config.init(double()).unwrap().randomised(1.0, Key::new(113));
        let field = trained.field(&[]).unwrap();
        let forward = to_f64(plain.action(&run, protocol.clone(), Direction::Forward).unwrap());
        let reverse = to_f64(trained.action(&run, field.clone(), Direction::Reverse).unwrap());
        let heat = to_f64(plain.path_heat(&run, protocol.clone()));
        let [times, rows, _] = run.states.dims();
        let first = run.states.clone().slice_dim(0, 0..1).reshape([rows, units]);
        // The generator takes the path backwards, from the last state to the first.
        let heat_back = to_f64(trained.heat(run.last(), first, field.clone()));
        let (mut square, mut curvature) = (vec![0.0; rows], vec![0.0; rows]);
        let state = |t: usize| run.states.clone().slice_dim(0, t..t + 1).reshape([rows, units]);
        for t in 0..times - 1 {
            let before = plain.potential().gradient(state(t), protocol.at(t as f64 * dt));
            let after = trained.potential().gradient(state(t + 1), field.clone());
            let difference = (after.clone() * after - before.clone() * before).sum_dim(1);
            square
                .iter_mut()
                .zip(to_f64(difference))
                .for_each(|(sum, value)| *sum += dt / (4.0 * kt) * value);
            // ∇²V = Σ (2J₂ + 12J₄x²), at both ends of the step; couplings have none.
            if other_wells {
                let laplacian = |t: usize| to_f64((state(t).square() * (12.0 * 0.5) + 2.0 * -0.4).sum_dim(1));
                let (here, there) = (laplacian(t), laplacian(t + 1));
                for ((term, here), there) in curvature.iter_mut().zip(here).zip(there) {
                    *term -= 0.5 * dt * 0.5 * (here + there);
                }
            }
        }
        let gaps: Vec<f64> = (0..rows)
            .map(|row| {
                let likely = reverse[row] - forward[row] - 0.5 * (heat[row] - heat_back[row]) / kt;
                likely - square[row] - curvature[row]
            })
            .collect();
        let coupling = to_f64(trained.coupling(0));
        let variance = 0.5 * dt * dt * (times - 1) as f64 * coupling.iter().map(|j| j * j).sum::<f64>();
        let side: Vec<f64> = reverse.iter().zip(&forward).map(|(r, f)| r - f).collect();
        (Estimate::of(&gaps), variance.sqrt(), Estimate::of(&side).mean, Estimate::of(&curvature).mean)
    };
    for (dt, other_wells) in [(2e-3, false), (1e-3, false), (2e-3, true), (1e-3, true)] {
        let (gap, spread, side, curvature) = gap(dt, other_wells);
        println!(
            "Δt = {dt}: sides of {side:.1}, {curvature:.1} of them by the curvature of wells; gap {:.3} ± {:.3}, s.d. {:.3}, expected {spread:.3}",
            gap.mean,
            gap.standard_error(),
            gap.sd
        );
        // The mean may deviate by 4.9 standard errors of 16 paths, plus the first-order error of the test above.
        assert!(gap.mean.abs() < 4.9 * spread / 4.0 + 200.0 * 1.1 * dt, "{}", gap.mean);
        // The root of χ²/15 is above 1.95 once in a million; third order of the wells adds a little.
        assert!(gap.sd < 1.95 * spread + 0.1, "{} {spread}", gap.sd);
    }
}

/// Jarzynski: ⟨e^(−W/kT)⟩ = e^(−ΔF/kT), with ΔF of two units by quadrature; and ⟨W⟩ ≥ ΔF.
#[test]
fn jarzynski_finds_the_free_energy_of_two_units() {
    let (kt, rows) = (0.5, 20_000);
    let group = Group::free("unit", 2);
    let substrate = SubstrateConfig::new(Topology::all_to_all([group.clone()]))
        .with_kt(kt)
        .init(&Device::flex())
        .unwrap();
    let one = Tensor::<2>::from_data([[0.0, 1.0], [1.0, 0.0]], &Device::flex());
    let substrate = substrate.with_coupling(0, one).unwrap();
    let row = |values: [f64; 2]| Tensor::<2>::from_data([values], &Device::flex());
    // From two uncoupled units to two coupled ones, in other wells and a field.
    let control = |field, gain, well| Control {
        field: row(field),
        gain: Some(row(gain)),
        well: Some(row(well)),
        kt: None,
    };
    let start = control([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]);
    let end = control([0.6, -0.3], [1.2, 0.8], [-0.5, 0.4]);
    let schedule = Schedule::new(2e-3, 1.0).unwrap();
    let protocol = Protocol::new(vec![0.0, 1.0], vec![start, end]).unwrap();
    let well = Well::new(&group, kt, 0.0).unwrap();
    let works = thermograd::Shards::new(5000).map(rows, |range| {
        let key = Key::new(114).skip(range.start as u64);
        let values = well.sample(range.len(), 2, key.fork("start").skip(range.start as u64));
        let x0 = Tensor::<2>::from_data(TensorData::new(values, [range.len(), 2]), &Device::flex());
        let mut ledger = Ledger::new(&substrate, protocol.clone(), schedule.dt);
        substrate.valid().simulate(x0, protocol.clone(), schedule, key, |step| ledger.observe(step)).unwrap();
        to_f64(ledger.work().unwrap())
    });
    let works = works.concat();
    let weights: Vec<f64> = works.iter().map(|work| (-work / kt).exp()).collect();
    let mean = Estimate::of(&weights);
    let found = -mean.mean.ln();

    let z = |energy: &dyn Fn(f64, f64) -> f64| -> f64 {
        let grid = || (-300..=300).map(|i| f64::from(i) * 0.01);
        grid().flat_map(|x| grid().map(move |y| (x, y))).map(|(x, y)| (-energy(x, y) / kt).exp()).sum()
    };
    let before = z(&|x, y| x * x + x.powi(4) + y * y + y.powi(4));
    let after =
        z(&|x, y| 0.5 * x * x + x.powi(4) + 1.4 * y * y + y.powi(4) + 0.6 * x - 0.3 * y + 1.2 * 0.8 * x * y);
    let exact = (before / after).ln();
    // The tolerance is 4.9 standard errors of the exponential mean, plus the error of the scheme in Δt.
    let allowed = 4.9 * mean.standard_error() / mean.mean + 10.0 * schedule.dt;
    let work = Estimate::of(&works);
    println!("ΔF/kT: {found:.4}, exact {exact:.4} ± {allowed:.4}; ⟨W⟩/kT {:.4}", work.mean / kt);
    assert!((found - exact).abs() < allowed && allowed < 0.15);
    assert!(work.mean / kt + 4.9 * work.standard_error() / kt >= exact);
}
