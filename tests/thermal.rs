//! Heat that flows: conservation, fluctuations and the second law, beside their theory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor};
use faer::Mat;
use faer::linalg::solvers::Solve;
use rand::RngExt;
use thermograd::{
    Capacity, Heat, HeatCircuit, HeatFlow, Key, Latent, Link, Node, OrnsteinUhlenbeck, Shards, Switch, run,
    to_f64,
};
use thermograd_models::thermal::arx::Arx;
use thermograd_models::thermal::hardware::{Flaw, flawed};
use thermograd_models::thermal::house::{House, Record};
use thermograd_models::thermal::kalman::{Machine, Measured, filter};
use thermograd_models::thermal::made_up::{Heating, made, truth};
use thermograd_models::thermal::network::{Fluctuations, Inputs, Nonlinearity, ThermalConfig, ThermalNet};
use thermograd_models::thermal::schedule::{Demand, Heated};
use thermograd_models::thermal::training::ThermalTrainer;
use thermograd_models::thermal::twin::{Fitting, fit, forecasts, heat_loss, rmse};
use thermograd_models::thermal::xor::points;
use thermograd_models::{Augment, Fit, Recipe};

const SURROUNDINGS: f64 = 10.0;

/// A random circuit of everything there is: nodes that melt, links that switch, a reservoir and leaks.
fn random(nodes: usize, isolated: bool, key: Key) -> HeatCircuit {
    let mut rng = key.rng();
    let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
    let mut all: Vec<Node> = (0..nodes)
        .map(|node| {
            let heat = Latent { heat: between(0.1, 0.4), at: between(-0.2, 0.5), width: between(0.02, 0.06) };
            Node::Free(Capacity { least: between(0.5, 2.0), latent: (node % 2 == 0).then_some(heat) })
        })
        .collect();
    if !isolated {
        all[nodes - 1] = Node::Held;
    }
    let mut links = Vec::new();
    for j in 0..nodes {
        for i in 0..j {
            if i + 1 == j || between(0.0, 1.0) < 0.4 {
                let ratio = if between(0.0, 1.0) < 0.5 { 0.05 } else { 10.0 };
                let switch = Switch { end: (i + j) % 2, ratio, at: between(-0.2, 0.5), width: 0.03 };
                let conductance = between(0.1, 1.0);
                links.push(Link { ends: [i, j], conductance, switch: (j % 3 > 0).then_some(switch) });
            }
        }
    }
    let leaks = (0..nodes).map(|node| if isolated || node > 0 { 0.0 } else { 0.3 }).collect();
    HeatCircuit::new(all, links, leaks, SURROUNDINGS).unwrap()
}

/// What leaves one place arrives at another, to rounding, with noise, melting, switching, sources and reservoirs.
#[test]
fn heat_is_conserved_to_rounding() {
    for isolated in [true, false] {
        let circuit = random(6, isolated, Key::new(1));
        let power = if isolated { [0.0; 6] } else { [0.1, 0.0, -0.05, 0.0, 0.0, 0.0] };
        let flow = HeatFlow::new(&circuit, 0.9 * circuit.step_limit().0)
            .unwrap()
            .with_held(&[0.7; 6])
            .unwrap()
            .with_power(&power)
            .unwrap()
            .with_noise(1e-3, Key::new(2))
            .unwrap();
        let start = flow.start(&[0.5, -0.3, 0.2, 0.9, -0.8, 0.1]).unwrap();
        let total = |heat: &Heat| heat.energies.iter().sum::<f64>() + heat.leaked - heat.injected;
        let before = total(&start);
        let mut worst: f64 = 0.0;
        run(&flow, start, 2000, |step| worst = worst.max((total(&step.after) - before).abs())).unwrap();
        println!("isolated {isolated}: heat is off by {worst:.1e} at most");
        assert!(worst < 1e-12);
    }
}

/// Under the limit no step lets entropy fall; beyond it some do.
#[test]
fn entropy_never_falls_under_the_step_limit() {
    let mut steps = 0;
    for (seed, factor) in (0..30).flat_map(|seed| [0.25, 0.5, 1.0].map(|factor| (seed, factor))) {
        let circuit = random(5, seed % 2 == 0, Key::new(100 + seed));
        let flow = HeatFlow::new(&circuit, factor * circuit.step_limit().0).unwrap();
        let mut rng = Key::new(200 + seed).rng();
        // Far from equilibrium: temperatures from a half of T_env to twice that.
        let theta: Vec<f64> = (0..5).map(|_| SURROUNDINGS * (1.5 * rng.random::<f64>() - 0.5)).collect();
        let flow = flow.with_held(&theta).unwrap();
        let start = flow.start(&theta).unwrap();
        run(&flow, start, 700, |step| {
            steps += 1;
            let produced = step.after.entropy - step.before.entropy;
            assert!(produced > -1e-12, "{produced:e} at {factor} of the limit");
        })
        .unwrap();
    }
    assert!(steps >= 60_000);
    // Two nodes that exchange 1.5 times what they have: each overshoots what the other was, and more.
    let nodes = vec![Node::Free(Capacity::constant(1.0)); 2];
    let circuit = HeatCircuit::new(nodes, vec![Link::constant([0, 1], 1.0)], vec![0.0; 2], 1.0).unwrap();
    let flow = HeatFlow::beyond_the_limit(&circuit, 1.5 * circuit.step_limit().0);
    let end = run(&flow, flow.start(&[0.2, -0.2]).unwrap(), 1, |_| {}).unwrap();
    assert!(end.entropy < -0.01, "{}", end.entropy);
}

/// Euler's steps diverge beyond 2 over the fastest rate, and not below.
#[test]
fn eulers_steps_diverge_beyond_two_over_the_fastest_rate() {
    // Two equal nodes: the rate of their difference is 2K/C.
    let nodes = vec![Node::Free(Capacity::constant(0.5)); 2];
    let circuit = HeatCircuit::new(nodes, vec![Link::constant([0, 1], 3.0)], vec![0.0; 2], 1.0).unwrap();
    let rate = 12.0;
    for (factor, diverges) in [(0.99, false), (1.01, true)] {
        let flow = HeatFlow::beyond_the_limit(&circuit, factor * 2.0 / rate);
        let end = run(&flow, flow.start(&[1e-6, -1e-6]).unwrap(), 3000, |_| {}).unwrap();
        assert_eq!(end.temperatures[0].abs() > 1e-3, diverges, "{factor}: {}", end.temperatures[0]);
    }
}

/// Means of a run in blocks: the mean and its standard error, which holds where blocks are far longer than correlations.
struct Blocks {
    sums: Vec<f64>,
    each: usize,
}

impl Blocks {
    const COUNT: usize = 64;

    fn new(steps: usize) -> Self {
        Self { sums: vec![0.0; Self::COUNT], each: steps / Self::COUNT }
    }

    fn add(&mut self, index: usize, value: f64) {
        if let Some(sum) = self.sums.get_mut(index / self.each) {
            *sum += value / self.each as f64;
        }
    }

    fn mean(&self) -> (f64, f64) {
        let n = Self::COUNT as f64;
        let mean = self.sums.iter().sum::<f64>() / n;
        let variance = self.sums.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    }
}

/// Student's t of 63 degrees of freedom is beyond this once in four million on either side: a test of a few means fails for one
/// seed in a million.
const SIGMAS: f64 = 5.7;

/// Means of θ and θ² of a node, with errors.
fn fluctuations(circuit: &HeatCircuit, node: usize, h: f64, boltzmann: f64, steps: usize) -> [(f64, f64); 2] {
    let flow = HeatFlow::new(circuit, h).unwrap().with_noise(boltzmann, Key::new(7)).unwrap();
    let start = flow.start(&vec![0.0; circuit.nodes().len()]).unwrap();
    let (mut first, mut second) = (Blocks::new(steps), Blocks::new(steps));
    let warm = run(&flow, start, 2000, |_| {}).unwrap();
    let flow = flow.with_noise(boltzmann, Key::new(8)).unwrap();
    run(&flow, warm, steps, |step| {
        let theta = step.after.temperatures[node];
        first.add(step.index, theta);
        second.add(step.index, theta * theta);
    })
    .unwrap();
    [first.mean(), second.mean()]
}

/// Nodes of constant capacity: ⟨T⟩ = T_env and ⟨δT²⟩ = k_B T²/C, but for what Euler's steps add, which is at most
/// 1/(1 − hΣK/2C) = 2.6 % here.
#[test]
fn temperatures_fluctuate_as_the_heat_capacity_says() {
    let nodes = vec![Node::Free(Capacity::constant(1.0)), Node::Free(Capacity::constant(2.0))];
    let circuit = HeatCircuit::new(nodes, vec![Link::constant([0, 1], 0.5)], vec![0.5, 0.5], 10.0).unwrap();
    let h = 0.05;
    assert!((h / circuit.step_limit().0 - 0.05).abs() < 1e-12);
    for (node, c) in [(0, 1.0), (1, 2.0)] {
        let [(mean, error), (square, off)] = fluctuations(&circuit, node, h, 1e-4, 2_000_000);
        let expected = 1e-4 * 100.0 / c;
        println!(
            "node {node}: <dT> = {mean:.2e} +- {error:.1e}, <dT^2> = {square:.4e} +- {off:.1e}, k_B T^2/C = {expected:.1e}"
        );
        assert!(mean.abs() < SIGMAS * error);
        assert!((square - expected) > -SIGMAS * off && (square - expected) < 0.026 * expected + SIGMAS * off);
        assert!(SIGMAS * off < 0.05 * expected, "the test is too coarse");
    }
}

/// ⟨θ⟩ and ⟨θ²⟩ of a node in its surroundings by the density e^((S(U) − U/T_env)/k_B)/T(U), by quadrature.
fn equilibrium(capacity: &Capacity, boltzmann: f64) -> [f64; 2] {
    let (low, high, steps) = (capacity.heat(-1.2), capacity.heat(1.2), 40_000);
    let width = (high - low) / f64::from(steps);
    let (mut entropy, mut sums) = (0.0, [0.0; 3]);
    let points: Vec<[f64; 2]> = (0..steps)
        .map(|k| {
            let u = low + f64::from(k) * width;
            let log = (entropy - (u - low) / SURROUNDINGS) / boltzmann
                - (SURROUNDINGS + capacity.temperature(u)).ln();
            entropy += capacity.entropy(u, u + width, SURROUNDINGS);
            [log, capacity.temperature(u)]
        })
        .collect();
    let most = points.iter().map(|[log, _]| *log).fold(f64::NEG_INFINITY, f64::max);
    for [log, theta] in points {
        let weight = (log - most).exp();
        [1.0, theta, theta * theta].iter().zip(&mut sums).for_each(|(x, sum)| *sum += weight * x);
    }
    [sums[1] / sums[0], sums[2] / sums[0]]
}

/// The same of a node that melts, and of one whose conductance drops twentyfold in the middle of its fluctuations, where the drift
/// of (49) is what keeps the mean in its place.
#[test]
fn fluctuations_of_what_melts_and_switches_are_in_equilibrium() {
    let boltzmann = 2e-4;
    let sd = (boltzmann * SURROUNDINGS * SURROUNDINGS).sqrt();
    let melts = Capacity { least: 1.0, latent: Some(Latent { heat: 0.2, at: 0.05, width: 0.04 }) };
    let switch = Switch { end: 0, ratio: 0.05, at: 0.0, width: 0.03 };
    for (name, capacity, switch) in [
        ("melts", melts, None),
        ("switches", Capacity::constant(1.0), Some(switch)),
        ("both", melts, Some(switch)),
    ] {
        let link = Link { ends: [0, 1], conductance: 1.0, switch };
        let nodes = vec![Node::Free(capacity), Node::Held];
        let circuit = HeatCircuit::new(nodes, vec![link], vec![0.02, 0.0], SURROUNDINGS).unwrap();
        let h = 0.04 * circuit.step_limit().0;
        let [(mean, error), (square, off)] = fluctuations(&circuit, 0, h, boltzmann, 3_000_000);
        let [first, second] = equilibrium(&capacity, boltzmann);
        println!(
            "{name}: <θ> = {:.4} +- {:.4} for {:.4} and <θ²> = {:.4} +- {:.4} for {:.4}, in units of k_B T²/C₀",
            mean / sd,
            error / sd,
            first / sd,
            square / sd / sd,
            off / sd / sd,
            second / sd / sd
        );
        // Euler's steps: 5 % of the variance at most, and of a standard deviation.
        assert!((mean - first).abs() < 0.05 * sd + SIGMAS * error);
        assert!((square - second).abs() < 0.05 * second + SIGMAS * off);
        assert!(SIGMAS * error < 0.15 * sd && SIGMAS * off < 0.1 * second, "the test is too coarse");
    }
}

/// Energies of an isolated circuit of constant capacities are distributed as Dirichlet's of a = C/k_B.
#[test]
fn energies_of_an_isolated_circuit_are_dirichlets() {
    let c = [1.0, 2.0, 3.0];
    let nodes = c.map(|c| Node::Free(Capacity::constant(c))).to_vec();
    let links = vec![Link::constant([0, 1], 0.5), Link::constant([1, 2], 0.7), Link::constant([0, 2], 0.3)];
    let circuit = HeatCircuit::new(nodes, links, vec![0.0; 3], SURROUNDINGS).unwrap();
    let boltzmann = 0.02;
    let a = c.map(|c| c / boltzmann);
    let (whole, total) = (a.iter().sum::<f64>(), SURROUNDINGS * c.iter().sum::<f64>());
    for node in 0..3 {
        let h = 0.04 * circuit.step_limit().0;
        let [_, (square, off)] = fluctuations(&circuit, node, h, boltzmann, 1_500_000);
        let expected = total * total * a[node] * (whole - a[node]) / (whole * whole * (whole + 1.0));
        let measured = square * c[node] * c[node];
        println!("node {node}: {measured:.4} +- {:.4} for {expected:.4}", off * c[node] * c[node]);
        assert!((measured - expected).abs() < 0.04 * expected + SIGMAS * off * c[node] * c[node]);
        assert!(SIGMAS * off * c[node] * c[node] < 0.08 * expected, "the test is too coarse");
    }
}

/// A network of everything, whose parameters are far from where training begins.
fn network(inputs: Inputs) -> ThermalNet {
    let config = ThermalConfig {
        hidden: 6,
        nonlinearity: Nonlinearity::Both,
        inputs,
        pool: 1,
        width: 0.06,
        steps: 20,
        ..ThermalConfig::default()
    };
    config.init([1, 2, 2], 3, Key::new(3), &Device::flex()).unwrap()
}

/// The tensors of a network and its circuit in double precision take the same course, whatever the inputs and nonlinearities.
#[test]
fn a_network_is_its_circuit() {
    for kind in [Inputs::Clamped, Inputs::Pulsed] {
        let net = network(kind);
        let circuit = net.circuit().unwrap();
        let pixels = Tensor::<2>::from_data([[0.9_f32, 0.1, 0.4, 0.7]], &Device::flex());
        let inputs = net.inputs(pixels);
        let flow = net.flow(inputs.clone(), None);
        let end = run(&flow, flow.start(), flow.steps(), |_| {}).unwrap();
        let mut theta = to_f64(inputs);
        theta.resize(circuit.nodes().len(), 0.0);
        let exact = HeatFlow::new(&circuit, net.config().step).unwrap().with_held(&theta).unwrap();
        let wanted = run(&exact, exact.start(&theta).unwrap(), flow.steps(), |_| {}).unwrap();
        let found = [to_f64(net.temperatures(end.hidden)), to_f64(end.output)].concat();
        for (a, b) in found.iter().zip(&wanted.temperatures[8..]) {
            assert!((a - b).abs() < 1e-5, "{kind:?}: {a} {b}");
        }
        // What reservoirs have given up is what the circuit says.
        if kind == Inputs::Clamped {
            let flow = net.flow(
                Tensor::from_data([[0.9_f32, 0.1, 0.4, 0.7, 0.1, 0.9, 0.6, 0.3]], &Device::flex()),
                None,
            );
            let (mut hidden, mut output) = (flow.start().hidden, flow.start().output);
            run(&flow, flow.start(), flow.steps(), |step| {
                hidden = hidden.clone() + net.temperatures(step.before.hidden.clone());
                output = output.clone() + step.before.output.clone();
            })
            .unwrap();
            for (given, taken) in
                to_f64(flow.given(flow.steps(), hidden, output)).iter().zip(&wanted.energies)
            {
                assert!((given + taken).abs() < 1e-5, "{given} {taken}");
            }
        }
        // Perturbed conductances come back, up to single precision.
        let other = flawed(&circuit, Flaw::Mismatch(0.1), Key::new(1)).unwrap();
        let made = net.with_conductances(&other, 1).unwrap().circuit().unwrap();
        for (a, b) in made.links().iter().zip(other.links()) {
            assert!((a.conductance / b.conductance - 1.0).abs() < 1e-4, "{a:?} {b:?}");
        }
    }
}

/// Noise by nodes and by links has the variance of noise by the links of the circuit: relative errors of a variance of n numbers are
/// √(2/n), and 5.5 of them are exceeded by none of these 18 for all but one seed in a million.
#[test]
fn fluctuations_of_a_network_are_those_of_its_circuit() {
    const N: usize = 4000;
    let sigma = 0.02;
    for kind in [Inputs::Clamped, Inputs::Pulsed] {
        let net = network(kind);
        let circuit = net.circuit().unwrap();
        let pixels = Tensor::<2>::from_data([[0.9_f32, 0.1, 0.4, 0.7]], &Device::flex());
        let one = net.inputs(pixels);
        let mut theta = to_f64(one.clone());
        theta.resize(circuit.nodes().len(), 0.0);
        // One step from rest: what flows is noise about a mean.
        let boltzmann = (sigma / net.config().surroundings).powi(2);
        let mut sums = vec![[0.0; 2]; circuit.nodes().len()];
        for k in 0..N {
            let flow = HeatFlow::new(&circuit, net.config().step).unwrap().with_held(&theta).unwrap();
            let flow = flow.with_noise(boltzmann, Key::new(k as u64)).unwrap();
            let end = run(&flow, flow.start(&theta).unwrap(), 1, |_| {}).unwrap();
            sums.iter_mut().zip(&end.energies).for_each(|(sum, u)| *sum = [sum[0] + u, sum[1] + u * u]);
        }
        let variance = |[sum, square]: [f64; 2]| square / N as f64 - (sum / N as f64).powi(2);
        for fluctuations in [Fluctuations::Nodes, Fluctuations::Links] {
            let many = one.clone().expand([N as i32, -1]);
            let flow = net.flow(many, Some((sigma, fluctuations, Key::new(9))));
            let end = run(&flow, flow.start(), 1, |_| {}).unwrap();
            let values = [to_f64(end.hidden), to_f64(end.output)];
            for (units, first, values) in [(6, 8, &values[0]), (3, 14, &values[1])] {
                for unit in 0..units {
                    let column: Vec<f64> = values.chunks(units).map(|row| row[unit]).collect();
                    let sum = column.iter().fold([0.0; 2], |sum, u| [sum[0] + u, sum[1] + u * u]);
                    let ratio = variance(sum) / variance(sums[first + unit]);
                    let limit = 5.5 * (4.0 / N as f64).sqrt();
                    assert!(
                        (ratio - 1.0).abs() < limit,
                        "{kind:?} {fluctuations:?} {unit}: {ratio} beyond {limit}"
                    );
                }
            }
        }
    }
}

/// Exclusive or: a network that switches learns it in a few seconds, and a linear one cannot.
#[test]
fn exclusive_or_takes_a_nonlinearity() {
    let accuracy = |nonlinearity| {
        let key = Key::new(1);
        let config = ThermalConfig { hidden: 16, nonlinearity, pool: 1, ..ThermalConfig::default() };
        let network = config.init([1, 1, 2], 2, key, &Device::flex()).unwrap();
        let recipe = Recipe { epochs: 12, batch: 100, learning_rate: 0.05, warm_up: 10, ..Recipe::default() };
        let trainer = ThermalTrainer { recipe, sigma: 0.0, augment: Augment::default() };
        let (seen, new) = (points(1000, key.fork("a")).unwrap(), points(1000, key.fork("b")).unwrap());
        let mut fit = Fit::new(trainer.training(&seen), network, Shards::new(50), key);
        let _ = fit.run(|_, _| Ok::<_, thermograd_models::Error>(ControlFlow::Continue(()))).unwrap();
        fit.finish().read(&new, 0.0, Shards::new(50), key, |_| {}).unwrap().accuracy
    };
    let (linear, switching) = (accuracy(Nonlinearity::None), accuracy(Nonlinearity::Switching));
    println!("linear {linear}, switching {switching}");
    assert!(linear < 0.75 && switching > 0.97);
}

/// A file of a circuit gives the circuit back, and broken ones say what is wrong.
#[test]
fn circuits_come_back_from_files() {
    let circuit = random(6, false, Key::new(4));
    let bytes = circuit.encode().unwrap();
    assert_eq!(HeatCircuit::decode(&bytes).unwrap(), circuit);
    assert!(thermograd::export::heat::is_heat_circuit(&bytes));
    for length in (0..bytes.len()).step_by(97) {
        assert!(HeatCircuit::decode(&bytes[..length]).is_err());
    }
    let place = bytes.windows(16).position(|w| w == b"heat_circuit\\\":1").unwrap() + 15;
    let mut newer = bytes.clone();
    newer[place] = b'9';
    assert!(HeatCircuit::decode(&newer).unwrap_err().to_string().contains("version 9 is newer than 1"));
}

/// ngspice comes to the same temperatures as short steps of Euler, with nodes that melt and conductances that switch.
#[test]
fn ngspice_comes_to_the_same_temperatures() {
    if !crate::common::ngspice() {
        return;
    }
    let circuit = random(6, false, Key::new(1));
    let theta = [0.9, -0.3, 0.2, 0.9, -0.8, 0.7];
    let power = [0.1, 0.0, -0.05, 0.0, 0.0, 0.0];
    let time = 3.0;
    let folder = tempfile::tempdir().unwrap();
    let text = circuit.netlist(&theta, &power, time, "heat.data").unwrap();
    std::fs::write(folder.path().join("run.cir"), text).unwrap();
    let output = std::process::Command::new("ngspice")
        .args(["-b", "run.cir"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let table = std::fs::read_to_string(folder.path().join("heat.data")).unwrap_or_else(|_| panic!("{said}"));
    let last: Vec<f64> =
        table.lines().last().unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
    let steps = 60_000;
    let flow = HeatFlow::new(&circuit, time / f64::from(steps))
        .unwrap()
        .with_held(&theta)
        .unwrap()
        .with_power(&power)
        .unwrap();
    let end = run(&flow, flow.start(&theta).unwrap(), steps as usize, |_| {}).unwrap();
    assert!((last[0] - time).abs() < 1e-6, "{last:?}");
    for (node, value) in last[1..].iter().enumerate() {
        println!("node {node}: ngspice {value:.6}, Euler {:.6}", end.temperatures[node]);
        assert!(
            (value - end.temperatures[node]).abs() < 1e-3,
            "node {node}: {value} {}",
            end.temperatures[node]
        );
    }
    assert_eq!(last.len(), 6);
}

/// The likelihood of the filter is that of the joint normal distribution of all measurements, with steps from another implementation.
#[test]
fn the_likelihood_is_that_of_the_joint_distribution() {
    let house = House::two("outdoors", "T_living", "P_living", Some("sun"));
    let rooms = House::rooms();
    let record = made(&rooms, &truth(&rooms, Key::new(1)), 3, Heating::Setpoints, Key::new(2)).unwrap();
    let mut measured = Measured::new(&house, &record).unwrap();
    measured.sensors[7][0] = f64::NAN;
    let (n, rows) = (2, 20);
    let values: Vec<f64> =
        house.parameters(1.0).iter().map(|p| if p.logarithmic { 1.1 * p.guess } else { -0.4 }).collect();
    let machine = Machine::<f64>::new(&house, &values);
    let (likelihood, innovations, _) = filter(&machine, &measured, rows, |_, _| {});
    assert_eq!(innovations.len(), rows - 2);
    // Equations by hand: C_i, R_ie, R_ea, A, σ_i, σ_e, s.
    let [c_i, c_e, r, r_out, area, s_i, s_e, s, above] = values[..] else { panic!("{values:?}") };
    let a = Mat::from_fn(n, n, |i, j| match (i, j) {
        (0, 0) => 1.0 / (r * c_i),
        (0, 1) => -1.0 / (r * c_i),
        (1, 0) => -1.0 / (r * c_e),
        _ => (1.0 / r + 1.0 / r_out) / c_e,
    });
    let d = Mat::from_fn(n, n, |i, j| if i == j { [s_i * s_i, s_e * s_e][i] } else { 0.0 });
    let first = measured.sensors[0][0];
    let mut mean = vec![first, first + above];
    let mut covariance = Mat::from_fn(n, n, |i, j| if i == j { [s * s, 0.01][i] } else { 0.0 });
    let (mut means, mut blocks) = (Vec::new(), Vec::<Vec<f64>>::new());
    // Cov(T_k, T_l) of the first node, by carrying F^(k − l) along.
    let mut crosses: Vec<Mat<f64>> = Vec::new();
    for row in 1..rows {
        let u = measured.between(row - 1);
        let input = house.inputs();
        let of = |name: &str| u[input.iter().position(|other| *other == name).unwrap()];
        let b = vec![(of("P_living") + area * of("sun")) / c_i, of("outdoors") / (r_out * c_e)];
        let ou = OrnsteinUhlenbeck::new(a.clone(), b, d.clone()).unwrap();
        let step = ou.transition(1.0).unwrap();
        mean = (0..n)
            .map(|i| (0..n).map(|j| step.propagator[(i, j)] * mean[j]).sum::<f64>() + step.shift[i])
            .collect();
        covariance = &step.propagator * &covariance * step.propagator.transpose() + &step.covariance;
        crosses.iter_mut().for_each(|cross| *cross = &step.propagator * &*cross);
        crosses.push(covariance.clone());
        means.push(mean[0]);
        blocks.push(crosses.iter().map(|cross| cross[(0, 0)]).collect());
    }
    let seen: Vec<usize> = (1..rows).filter(|row| measured.sensors[*row][0].is_finite()).collect();
    let count = seen.len();
    let joint = Mat::from_fn(count, count, |i, j| {
        let (k, l) = (seen[i.max(j)] - 1, seen[i.min(j)] - 1);
        blocks[k][l] + if i == j { s * s } else { 0.0 }
    });
    let error = Mat::from_fn(count, 1, |i, _| measured.sensors[seen[i]][0] - means[seen[i] - 1]);
    let factor = joint.llt(faer::Side::Lower).unwrap();
    let solved = factor.solve(&error);
    let square: f64 = (0..count).map(|i| error[(i, 0)] * solved[(i, 0)]).sum();
    let log: f64 = (0..count).map(|i| 2.0 * factor.L()[(i, i)].ln()).sum();
    let wanted = -0.5 * (square + log + count as f64 * std::f64::consts::TAU.ln());
    assert!((likelihood - wanted).abs() < 1e-8 * wanted.abs(), "{likelihood} {wanted}");
}

/// The made-up house: its heat loss is found, forecasts are nearly those of the true numbers and better than autoregression.
#[test]
fn a_made_up_house_is_found() {
    let house = House::rooms();
    for seed in 0..2 {
        let key = Key::new(seed);
        let truth = truth(&house, key);
        let record = made(&house, &truth, 21, Heating::Setpoints, key.fork("house")).unwrap();
        let measured = Measured::new(&house, &record).unwrap();
        let fitting = Fitting { starts: 1, ..Fitting::default() };
        let rows = 24 * 14;
        let fitted = fit(&house, &measured, rows, fitting, key, |_, _| ControlFlow::Continue(())).unwrap();
        let (loss, error) = fitted.heat_loss(&house);
        let wanted = heat_loss(&house, &truth);
        let starts: Vec<usize> = (rows - 1..record.len() - 72).step_by(6).collect();
        let expected = |values: &[f64]| {
            let (all, ..) = forecasts(&house, values, &measured, &starts, 72);
            let of = |start: usize| all.iter().find(|f| f.from == start).map(|f| f.mean.clone());
            rmse(&measured, &starts, 72, of).0
        };
        let (own, best) = (expected(&fitted.values), expected(&truth));
        let arx = Arx::fit(&measured, rows, 3).unwrap();
        let other = rmse(&measured, &starts, 72, |start| arx.forecast(&measured, start, 72)).0;
        println!(
            "seed {seed}: heat loss {loss:.4} +- {error:.4} for {wanted:.4}; 72 h {own:.4} K, truth {best:.4}, ARX {other:.4}"
        );
        assert!(fitted.settled && (loss / wanted - 1.0).abs() < 0.05 && (loss - wanted).abs() < 5.0 * error);
        assert!(own < 1.2 * best && own < other);
    }
}

/// Schedules are those of a linear program, to a thousandth.
#[test]
fn schedules_are_those_of_a_linear_program() {
    use microlp::{ComparisonOp, OptimizationDirection, Problem};
    let house = House::rooms();
    let truth = truth(&house, Key::new(3));
    let hours = 48;
    let demand = Demand {
        h: 1.0,
        heaters: vec!["P_living".into(), "P_bed".into()],
        most: vec![5.0, 4.0],
        inputs: (0..hours)
            .map(|k| {
                vec![
                    2.0 + 3.0 * (k as f64 / 4.0).sin(),
                    0.0,
                    if (9..16).contains(&(k % 24)) { 0.2 } else { 0.0 },
                    0.0,
                ]
            })
            .collect(),
        price: (0..hours).map(|k| if (17..21).contains(&(k % 24)) { 2.0 } else { 1.0 }).collect(),
        low: (0..hours).map(|k| if (6..22).contains(&(k % 24)) { 21.0 } else { 17.0 }).collect(),
        high: vec![25.0; hours],
    };
    assert_eq!(house.inputs(), ["outdoors", "P_living", "sun", "P_bed"]);
    let heated = Heated::new(&house, &truth, &[20.0, 19.0, 16.0, 16.0, 19.0], demand.clone()).unwrap();
    let plan = heated.cheapest(|_| {});
    // Temperatures are linear in the powers: columns of unit powers above none.
    let rooms = house.sensors();
    let idle = heated.plan(vec![vec![0.0; 2]; hours]);
    let mut program = Problem::new(OptimizationDirection::Minimize);
    let variables: Vec<_> =
        (0..2 * hours).map(|k| program.add_var(demand.price[k / 2], (0.0, demand.most[k % 2]))).collect();
    let unit: Vec<_> = (0..2 * hours)
        .map(|k| {
            let mut powers = vec![vec![0.0; 2]; hours];
            powers[k / 2][k % 2] = 1.0;
            heated.plan(powers).temperatures
        })
        .collect();
    for (step, (low, high)) in demand.low.iter().zip(&demand.high).enumerate() {
        for &room in &rooms {
            let row: Vec<_> = (0..2 * (step + 1))
                .map(|k| (variables[k], unit[k][step][room] - idle.temperatures[step][room]))
                .collect();
            let free = idle.temperatures[step][room];
            program.add_constraint(&row[..], ComparisonOp::Ge, low - free);
            program.add_constraint(&row[..], ComparisonOp::Le, high - free);
        }
    }
    let best = program.solve().unwrap().into_solution().unwrap().objective();
    println!("schedule {:.4} for {best:.4}, the band missed by {:.4} K", plan.cost, plan.violation);
    assert!((plan.cost / best - 1.0).abs() < 1e-3 && plan.violation < 0.01);
    let (constant, (setback, lead)) = (heated.constant(), heated.setback(0.2));
    println!("constant {:.3}, setback {:.3} with {lead} h ahead", constant.cost, setback.cost);
    assert!(plan.cost < setback.cost && setback.cost < constant.cost && lead > 0);
}

/// What is no house, no record and no schedule is refused with its name.
#[test]
fn houses_and_records_that_are_none_are_refused() {
    let good = House::two("out", "in", "heat", None);
    let mut cases: Vec<(House, &str)> = Vec::new();
    let mut with = |change: &dyn Fn(&mut House), part: &'static str| {
        let mut house = good.clone();
        change(&mut house);
        cases.push((house, part));
    };
    with(&|house| house.nodes[1].name = "interior".into(), "`interior` is there twice");
    with(&|house| house.nodes[0].capacity = -1.0, "capacity of node `interior` is -1");
    with(&|house| house.links[1].resistance = 0.0, "is 0: it must be positive");
    with(&|house| house.links[0].between[1] = "attic".into(), "`attic`");
    with(&|house| drop(house.links.remove(1)), "no link leads from node");
    with(&|house| house.nodes[0].observed = None, "no node is observed");
    with(&|house| house.nodes[1].heat.push("heat".into()), "`heat` heats `interior` and heats `envelope`");
    with(&|house| house.nodes[0].heat.push("heat".into()), "`heat` heats `interior` and heats `interior`");
    with(
        &|house| house.nodes[1].observed = Some("in".into()),
        "`in` measures `interior` and measures `envelope`",
    );
    with(
        &|house| house.nodes[1].gain = BTreeMap::from([("heat".into(), 1.0)]),
        "`heat` heats `interior` and is a gain",
    );
    for (house, part) in cases {
        let error = house.check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let times = |change: &dyn Fn(&mut Vec<f64>)| {
        let mut times: Vec<f64> = (0..12).map(f64::from).collect();
        change(&mut times);
        Record::new(times, BTreeMap::new()).map(drop)
    };
    assert!(times(&|_| {}).is_ok());
    for (result, part) in [
        (times(&|times| times[4] = 3.0), "row 5: the time 3 is there twice"),
        (times(&|times| times[4] = 1.5), "row 5: the time 1.5 comes after a later one"),
        (times(&|times| times[4] = f64::NAN), "row 5: the time is NaN"),
        (times(&|times| times.truncate(5)), "5 rows: ten are needed"),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let columns = |value: f64| {
        let mut column = vec![1.0; 12];
        column[6] = value;
        let all = [("out", column), ("in", vec![20.0; 12]), ("heat", vec![1.0; 12])];
        all.into_iter().map(|(name, column)| (name.to_string(), column)).collect::<BTreeMap<_, _>>()
    };
    let record = |columns| Record::new((0..12).map(f64::from).collect(), columns).unwrap();
    assert!(record(columns(2.0)).check(&good).is_ok());
    let error = record(columns(f64::NAN)).check(&good).unwrap_err().to_string();
    assert!(error.contains("row 7: the input `out` is NaN"), "{error}");
    let error = record(BTreeMap::new()).check(&good).unwrap_err().to_string();
    assert!(error.contains("no column `out`"), "{error}");
}
