//! Compares netlists run by ngspice with the integrator of this crate.

use std::process::Command;

use burn::tensor::{Tensor, TensorData};
use faer::linalg::solvers::Solve;
use thermograd::{
    Block, Circuit, Control, Course, Estimate, Group, Key, Protocol, Scales, Schedule, Substrate,
    SubstrateConfig, Topology, to_f64,
};

use crate::common::{Reader, distance, double, ngspice, per_unit, random, reader, tails};

/// Times and node voltages of a run, in reduced units.
fn run(circuit: &Circuit) -> Vec<(f64, Vec<f64>)> {
    told(circuit).1
}

/// The same, and the output of ngspice.
fn told(circuit: &Circuit) -> (String, Vec<(f64, Vec<f64>)>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("run.cir"), circuit.netlist("run.data").unwrap()).unwrap();
    let output = Command::new("ngspice").args(["-b", "run.cir"]).current_dir(folder.path()).output().unwrap();
    let said =
        || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let table =
        std::fs::read_to_string(folder.path().join("run.data")).unwrap_or_else(|_| panic!("{}", said()));
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let expected: Vec<String> =
        circuit.nodes().iter().map(|node| format!("v({})", node.to_lowercase())).collect();
    assert_eq!(names[0], "time");
    assert!(names[1..].iter().eq(expected.iter()), "{names:?}");
    let row = |line: &str| {
        let values: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        (values[0] / circuit.scales.seconds, values[1..].iter().map(|v| v / circuit.scales.volts).collect())
    };
    (said(), lines.map(row).collect())
}

#[test]
fn a_netlist_says_what_it_reads() {
    if !ngspice() {
        return;
    }
    let Reader { classifier, test, .. } = reader();
    let (field, start) = classifier.prepare(test, &[5]).unwrap();
    let circuit = Circuit {
        substrate: &classifier.substrate,
        protocol: &field.into(),
        start: &to_f64(start),
        schedule: Schedule { steps: 50, ..classifier.schedule },
        scales: Scales::thermal(1e-15, 1e-9, 300.0),
        noise: true,
    };
    let (said, table) = told(&circuit);
    let outputs = &table.last().unwrap().1[classifier.substrate.topology().columns("output").unwrap()];
    let spoken = said.lines().skip_while(|line| !line.starts_with("output x")).skip(1);
    let spoken: Vec<Vec<&str>> = spoken.take(10).map(|line| line.split_whitespace().collect()).collect();
    for (digit, (line, output)) in spoken.iter().zip(outputs).enumerate() {
        assert_eq!(line[0], digit.to_string(), "{said}");
        assert!((line[1].parse::<f64>().unwrap() - output).abs() < 1e-4, "{line:?} {output}");
    }
    let largest = thermograd_models::ranking(outputs)[0];
    assert!(said.contains(&format!("largest output: {largest}\n")), "{largest}: {said}");
}

/// The largest difference from the path of this crate over all nodes and times, relative to the largest displacement.
fn deviation(circuit: &Circuit) -> f64 {
    // The steps are so short that the error of the Euler scheme, which is proportional to the step over the time of
    // the fastest unit, is small.
    let Circuit { substrate, schedule, .. } = *circuit;
    let mobility = per_unit(substrate.topology(), |group| &group.mobility);
    let fastest = mobility.into_iter().fold(0.0, f64::max);
    let finer = (schedule.dt * fastest / 2e-5).round() as usize;
    let fine = Schedule { dt: schedule.dt / finer as f64, steps: schedule.steps * finer };
    let row = |values: &[f64]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, values.len()]), substrate.options())
    };
    let cold = substrate.clone().with_config(substrate.config().clone().with_kt(0.0)).unwrap();
    let path = cold.trajectory(row(circuit.start), circuit.protocol.clone(), fine, 1, Key::new(0)).unwrap();
    let (states, units) = (to_f64(path.states), substrate.free_units());
    let mut worst = 0.0_f64;
    let table = run(circuit);
    assert!((table.last().unwrap().0 - schedule.duration()).abs() < 1e-6 * schedule.duration());
    for (time, found) in &table {
        let place = (time / fine.dt).min(fine.steps as f64 - 1e-9);
        let (before, part) = (place.floor() as usize, place.fract());
        let at = |step: usize| &states[step * units..(step + 1) * units];
        let ours: Vec<f64> = at(before).iter().zip(at(before + 1)).map(|(a, b)| a + part * (b - a)).collect();
        worst = worst.max(distance(found, &ours));
    }
    worst / states.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()))
}

#[test]
fn without_noise_a_circuit_follows_the_path_of_a_classifier() {
    if !ngspice() {
        return;
    }
    let Reader { classifier, test, .. } = reader();
    for (image, scales) in [
        (3, Scales::thermal(1e-15, 1e-9, 300.0)),
        (8, Scales { volts: 0.1, farads: 1e-12, seconds: 1e-6, kelvin: 77.0 }),
    ] {
        let (field, start) = classifier.prepare(test, &[image]).unwrap();
        let circuit = Circuit {
            substrate: &classifier.substrate,
            protocol: &field.into(),
            start: &to_f64(start),
            schedule: classifier.schedule,
            scales,
            noise: false,
        };
        let deviation = deviation(&circuit);
        println!("image {image}, {} V: {deviation:.1e} of the largest displacement", scales.volts);
        assert!(deviation < 1e-3, "{deviation}");
    }
}

/// Visible units that start as noise, and bistable hidden units that are twenty times as fast.
#[test]
fn without_noise_a_circuit_follows_the_path_of_a_generator() {
    if !ngspice() {
        return;
    }
    let groups = vec![Group::free("visible", 25), Group::free("hidden", 12).wells(-0.5, 1.0).mobility(20.0)];
    let blocks = vec![Block::full("visible", "hidden"), Block::full("hidden", "hidden")];
    let (substrate, _) = random(&Topology { groups, blocks }, 0.1, 1, Key::new(191));
    let start = to_f64(substrate.uncoupled_equilibrium(1, Key::new(192)).unwrap());
    let circuit = Circuit {
        substrate: &substrate,
        protocol: &substrate.field(&[]).unwrap().into(),
        start: &start,
        schedule: Schedule::new(5e-3, 0.25).unwrap(),
        scales: Scales::thermal(1e-15, 1e-9, 300.0),
        noise: false,
    };
    let deviation = deviation(&circuit);
    println!("generator: {deviation:.1e} of the largest displacement");
    assert!(deviation < 1e-3, "{deviation}");
}

/// The same with labels, and with fields, gains of single units and wells that move in time.
#[test]
fn without_noise_a_circuit_follows_control_parameters() {
    if !ngspice() {
        return;
    }
    let groups = vec![
        Group::clamped("label", 6),
        Group::free("visible", 12),
        Group::free("hidden", 7).wells(-0.5, 1.0).mobility(10.0),
    ];
    let blocks = vec![
        Block::full("label", "visible"),
        Block::full("label", "hidden"),
        Block::full("visible", "hidden"),
    ];
    let (substrate, _) = random(&Topology { groups, blocks }, 1.0, 1, Key::new(197));
    let values = |fork: &str, count: usize, about: f64| -> Vec<f64> {
        let normals = Key::new(198).fork(fork).normals(0, 1, count);
        normals.into_iter().map(|z| about + 0.5 * f64::from(z)).collect()
    };
    let course = Course {
        times: vec![0.0, 0.1, 0.25],
        gains: [("visible".into(), values("visible", 3, 1.0)), ("hidden".into(), values("hidden", 21, 1.0))]
            .into(),
        wells: [("visible".into(), values("wells", 36, 0.5).into_iter().map(|d| d as f32).collect())].into(),
        kt: None,
    };
    let label = Tensor::from_data(TensorData::new(vec![0.0, 1.0], [1, 2]), substrate.options());
    let protocol = substrate.protocol(&course, &[label]).unwrap();
    let start = to_f64(substrate.uncoupled_equilibrium(1, Key::new(199)).unwrap());
    let circuit = Circuit {
        substrate: &substrate,
        protocol: &protocol,
        start: &start,
        schedule: Schedule::new(5e-3, 0.25).unwrap(),
        scales: Scales::thermal(1e-15, 1e-9, 300.0),
        noise: false,
    };
    let moving = deviation(&circuit);
    // What is there to see: with the gains of the first knot throughout, or without any.
    let still = |change: fn(&mut Control)| {
        let mut control = protocol.at(0.0);
        change(&mut control);
        let (table, other) = (run(&circuit), run(&Circuit { protocol: &control.into(), ..circuit }));
        distance(&table.last().unwrap().1, &other.last().unwrap().1)
    };
    let seen = [still(|_| {}), still(|control| control.gain = None), still(|control| control.well = None)];
    println!("control parameters: {moving:.1e} of the largest displacement; {seen:.2?} by what moves");
    assert!(moving < 1e-3, "{moving}");
    assert!(seen.iter().all(|seen| *seen > 0.05), "{seen:?}");
}

/// The circuit and this crate read the same number of digits correctly, and their outputs have the same spread.
#[test]
fn with_noise_a_circuit_classifies_as_the_simulation_does() {
    const DIGITS: usize = 20;
    const RUNS: usize = 3;
    const OURS: usize = 1000;
    if !ngspice() {
        return;
    }
    let Reader { classifier, test, .. } = reader();
    let (substrate, outputs) = (&classifier.substrate, classifier.outputs());
    let indices: Vec<usize> = (100..100 + DIGITS).collect();
    let mut chances = Vec::new(); // that each run of the circuit is correct
    let mut right = 0;
    let (mut spreads, mut expected) = (Vec::new(), Vec::new());
    for index in indices {
        let (field, start) = classifier.prepare(test, &[index]).unwrap();
        let x0 = start.clone().repeat_dim(0, OURS);
        let x = substrate.simulate(
            x0,
            field.clone(),
            classifier.schedule,
            Key::new(193).at(index as u64),
            |_| {},
        );
        let ours = classifier.read(&x.unwrap());
        let reads = |row: &[f64]| thermograd_models::ranking(row)[0] == test.label(index);
        let hits = ours.chunks(10).filter(|row| reads(row)).count();
        // Laplace's rule of succession: no probability is exactly 0 or 1 after a finite number of runs.
        chances.extend([(hits as f64 + 1.0) / (OURS as f64 + 2.0); RUNS]);

        // Squared distances from the mean in units of the spread, both estimated from half of the runs of this crate.
        let (mean, factor) = normal(&ours[..ours.len() / 2]);
        let distance = |row: &[f64]| -> f64 {
            let off = faer::Mat::from_fn(10, 1, |i, _| row[i] - mean[i]);
            let solved = factor.solve(&off);
            (0..10).map(|i| off[(i, 0)] * solved[(i, 0)]).sum()
        };
        expected.extend(ours[ours.len() / 2..].chunks(10).map(distance));
        let circuit = Circuit {
            substrate,
            protocol: &field.into(),
            start: &to_f64(start),
            schedule: classifier.schedule,
            scales: Scales::thermal(1e-15, 1e-9, 300.0),
            noise: true,
        };
        for _ in 0..RUNS {
            let last = run(&circuit).pop().unwrap().1;
            right += usize::from(reads(&last[outputs.clone()]));
            spreads.push(distance(&last[outputs.clone()]));
        }
    }
    let (below, above) = tails(&chances, right);
    let mean: f64 = chances.iter().sum();
    println!("{right} of {} right, {mean:.2} expected; tails {below:.2e} and {above:.2e}", chances.len());
    assert!(below > 5e-7 && above > 5e-7);

    // 4.9 standard deviations, a probability of one in a million for a normal; means of this many distances are
    // nearly normal.
    let (found, ours) = (Estimate::of(&spreads), Estimate::of(&expected));
    let allowed = 4.9 * ours.sd * (1.0 / found.count as f64 + 1.0 / ours.count as f64).sqrt();
    println!(
        "squared distance of outputs {:.3}, ours {:.3}, allowed difference {allowed:.3}",
        found.mean, ours.mean
    );
    assert!((found.mean - ours.mean).abs() < allowed);
}

/// The power of the noise, from a long run of coupled harmonic units with different wells and mobilities. Along each
/// relaxation mode, of rate λ, the mean square of the voltages is that of equilibrium with the bath.
#[test]
fn the_noise_of_a_circuit_has_the_power_of_the_bath() {
    const UNITS: usize = 8;
    if !ngspice() {
        return;
    }
    let (kt, mobility) = (0.3, vec![1.0, 0.3, 3.0, 0.5, 0.4, 2.0, 1.0, 0.7]);
    let j2 = vec![1.0, 1.5, 0.6, 1.2, 2.0, 0.9, 1.0, 1.4];
    let group = Group::free("unit", UNITS).wells(j2.clone(), 0.0).mobility(mobility.clone());
    let config = SubstrateConfig::new(Topology::all_to_all([group])).with_kt(kt);
    let substrate = config.init(double()).unwrap().randomised(1.0, Key::new(196));
    let schedule = Schedule::new(5e-3, 1000.0).unwrap();
    let circuit = Circuit {
        substrate: &substrate,
        protocol: &Tensor::<2>::zeros([1, UNITS], double()).into(),
        start: &[0.0; UNITS],
        schedule,
        scales: Scales::thermal(1e-15, 1e-9, 300.0),
        noise: true,
    };
    let table = run(&circuit);
    // √μ A √μ = U diag(λ) Uᵀ, and y = Uᵀ μ^(−½) x relaxes at λ with noise of 2kT.
    let coupling = substrate.free_couplings();
    let rates = faer::Mat::from_fn(UNITS, UNITS, |i, j| {
        let well = if i == j { 2.0 * j2[i] } else { 0.0 };
        (mobility[i] * mobility[j]).sqrt() * (well + coupling[i * UNITS + j])
    });
    let eigen = rates.self_adjoint_eigen(faer::Side::Lower).unwrap();
    let (mut ratio, mut variance) = (0.0, 0.0);
    let (u, values) = (eigen.U(), eigen.S().column_vector());
    let end = schedule.duration();
    for k in 0..UNITS {
        let lambda = values[k];
        // ngspice joins its samples ξ, of variance 2kT/h, by straight lines, so over a step of h, y ← ay + b₀ξ +
        // b₁ξ′.
        let h = schedule.dt;
        let a = (-lambda * h).exp();
        let b1 = (1.0 - (1.0 - a) / (lambda * h)) / lambda;
        let b0 = (1.0 - a) / lambda - b1;
        let power = 2.0 * kt / h * (b0 * b0 + b1 * b1 + 2.0 * a * b0 * b1) / (1.0 - a * a);
        let y = |row: &[f64]| (0..UNITS).map(|i| u[(i, k)] * row[i] / mobility[i].sqrt()).sum::<f64>();
        // After ten units of time the initial state is forgotten.
        let pairs = table.windows(2).filter(|pair| pair[0].0 > 10.0);
        let square: f64 = pairs
            .map(|pair| 0.5 * (y(&pair[0].1).powi(2) + y(&pair[1].1).powi(2)) * (pair[1].0 - pair[0].0))
            .sum();
        // The mean of y² over a time T has the relative variance 2/λT.
        let (own, spread) = (square / (end - 10.0) / power, 2.0 / (lambda * (end - 10.0)));
        println!("mode of rate {lambda:.2}: {own:.3} of the power of the bath, s.d. {:.3}", spread.sqrt());
        // A false-alarm probability of one in a million for all eight together.
        assert!((own - 1.0).abs() < 5.3 * spread.sqrt());
        ratio += own / UNITS as f64;
        variance += spread / (UNITS * UNITS) as f64;
    }
    let allowed = 4.9 * variance.sqrt();
    println!("noise power of the circuit over that of the bath: {ratio:.4}, allowed {allowed:.4} off");
    assert!((ratio - 1.0).abs() < allowed);
}

/// The mean of rows of ten values, and the Cholesky factor of their covariance.
fn normal(rows: &[f64]) -> (Vec<f64>, faer::linalg::solvers::Llt<f64>) {
    let count = (rows.len() / 10) as f64;
    let mean: Vec<f64> = (0..10).map(|i| rows.iter().skip(i).step_by(10).sum::<f64>() / count).collect();
    let covariance = faer::Mat::from_fn(10, 10, |i, j| {
        rows.chunks(10).map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum::<f64>() / (count - 1.0)
    });
    (mean, covariance.llt(faer::Side::Lower).unwrap())
}

/// The heading gives the mapping, and the numbers of the netlist follow from it.
#[test]
fn a_netlist_says_what_its_numbers_mean() {
    let groups = vec![Group::free("a b", 1).wells(0.5, 0.25).mobility(2.0), Group::free("c\nend", 1)];
    let topology = Topology { groups, blocks: vec![Block::full("a b", "c\nend")] };
    let substrate = SubstrateConfig::new(topology).init(double()).unwrap();
    let substrate = substrate.with_pair_couplings(0, &[3.0]).unwrap();
    let scales = Scales { volts: 0.5, farads: 2e-12, seconds: 1e-6, kelvin: 300.0 };
    let row = |values: Vec<f64>| -> Protocol {
        let count = values.len();
        Tensor::<2>::from_data(TensorData::new(values, [1, count]), double()).into()
    };
    let protocol = row(vec![7.0, -1.0]);
    let circuit = Circuit {
        substrate: &substrate,
        protocol: &protocol,
        start: &[0.0, 0.25],
        schedule: Schedule { dt: 1e-3, steps: 10 },
        scales,
        noise: true,
    };
    let text = circuit.netlist("out.data").unwrap();
    // I₀ = CV₀/τ = 1e-6 A; the first unit has μ = 2.
    for line in [
        "x = v / 5e-1 V; time = t / 1e-6 s",
        "C_g0_0 g0_0 0 2e-12",
        "B_g0_0 g0_0 0 I=2e-6*(V(g0_0)/5e-1)+2e-6*(V(g0_0)/5e-1)*(V(g0_0)/5e-1)*(V(g0_0)/5e-1)",
        "IB_g0_0 g0_0 0 DC 1.4e-5",
        "G_g0_0_g1_0 g0_0 0 g1_0 0 1.2e-5",
        "G_g1_0_g0_0 g1_0 0 g0_0 0 6e-6",
        ".ic V(g1_0)=1.25e-1",
        "group a b: 1 units, J2 = 0.5, J4 = 0.25, mu = 2",
        "group c\\nend: 1 units",
        // 2μkT I₀²τ = 4e-18 A²/Hz, and the resistance is 2k_BT divided by that.
        "noise current of 4.000e-18 A^2/Hz (two-sided), that of 2.071e-3 ohm",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() < 500));
    let refused = |circuit: Circuit, table: &str, part: &str| {
        let message = circuit.netlist(table).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(circuit, "a b; shell", "cannot be named");
    refused(Circuit { protocol: &row(vec![1.0]), ..circuit }, "x", "control parameters");
    refused(Circuit { protocol: &row(vec![1.0, f64::INFINITY]), ..circuit }, "x", "control parameters");
    let warm = Control::from(Tensor::<2>::zeros([1, 2], double())).with_kt(0.2);
    refused(Circuit { protocol: &warm.into(), ..circuit }, "x", "temperature");
    refused(Circuit { start: &[1.0, f64::NAN], ..circuit }, "x", "start");
    refused(Circuit { scales: Scales { farads: 0.0, ..scales }, ..circuit }, "x", "farads");
}

/// Kirchhoff's current law at both nodes of that circuit is the equation of motion, with all of J₂, J₄, J, h and μ.
#[test]
fn free_couplings_are_those_of_the_potential() {
    for (name, topology) in crate::common::networks() {
        let (substrate, _): (Substrate, _) = random(&topology, 1.0, 1, Key::new(194));
        let (units, coupling) = (substrate.free_units(), substrate.free_couplings());
        let x = crate::common::normals(1, units, 1.0, Key::new(195));
        let zero = Tensor::zeros([1, units], double());
        let potential = substrate.potential();
        let force = to_f64(potential.gradient(x.clone(), zero));
        let x = to_f64(x);
        let (j2, j4) = (per_unit(&topology, |group| &group.j2), per_unit(&topology, |group| &group.j4));
        for i in 0..units {
            let wells = 2.0 * j2[i] * x[i] + 4.0 * j4[i] * x[i].powi(3);
            let pairs: f64 = (0..units).map(|j| coupling[i * units + j] * x[j]).sum();
            assert!((force[i] - wells - pairs).abs() < 1e-12, "{name}, unit {i}");
        }
    }
}
