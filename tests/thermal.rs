//! Heat that flows: conservation, fluctuations and the second law, beside their theory.

use rand::RngExt;
use thermograd::{Capacity, Heat, HeatCircuit, HeatFlow, Key, Latent, Link, Node, Switch, run};

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
        let [(mean, error), (square, off)] = fluctuations(&circuit, node, h, 1e-4, 1_000_000);
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
