//! Heat that flows between the nodes of a circuit.
//!
//! ```text
//! F_ij = h K_ij (T_j − T_i) + h k_B T_i T_j (∂K_ij/∂T_i /C_i − ∂K_ij/∂T_j /C_j) + √(2 k_B K_ij T_i T_j h) ξ_ij      (49)
//! U_i ← U_i + F_ij,      U_j ← U_j − F_ij
//! ```
//!
//! One number flows along a link, so energy is conserved to rounding, noise included. The second term is what detailed balance asks
//! for where a conductance depends on temperature, with the density e^(S/k_B) ΠdU_k/T_k of an isolated circuit: the flow A and the
//! diffusion D = k_B K T_i T_j along the link obey Aρ = (∂_i − ∂_j)(Dρ). With constant capacities a node in surroundings of T_env has
//! ⟨T⟩ = T_env and ⟨δT²⟩ = k_B T_env²/C, as a step becomes short (at h ΣK/C = 0.05 to about 2 %).
//!
//! Circuits of constant capacities and conductances have exact steps, for any h ([`ExactHeat`]):
//!
//! ```text
//! θ(t + h) = P θ(t) + Φ b + √Q ξ,      P = e^(−hM),  Φ = ∫₀ʰ e^(−sM) ds C⁻¹,  Q = k_B T_env² (C⁻¹ − P C⁻¹ Pᵀ),  M = C⁻¹L      (50)
//! ```
//!
//! with the Laplacian L of the conductances and the heat b that reservoirs and sources bring. P, Φ and Q are functions of the
//! eigenvalues of the symmetric C^(−½) L C^(−½), which may be zero where a circuit is isolated. Q is the noise of small
//! fluctuations about T_env.

use faer::{Mat, Side};

use crate::dynamics::run::{Dynamics, Place};
use crate::error::{Error, HeatProblem, LinearProblem, Result};
use crate::network::heat_circuit::{HeatCircuit, Node};
use crate::noise::Key;

/// The heat of every node, and what has flowed.
#[derive(Clone, PartialEq, Debug)]
pub struct Heat {
    /// U of every node; of a reservoir, what it has taken up.
    pub energies: Vec<f64>,
    /// θ of every node.
    pub temperatures: Vec<f64>,
    /// What the surroundings have taken up.
    pub leaked: f64,
    /// What sources have brought.
    pub injected: f64,
    /// The entropy that flows have produced, in nodes, reservoirs and surroundings.
    pub entropy: f64,
}

/// Euler's steps of (49).
#[derive(Clone, Debug)]
pub struct HeatFlow<'a> {
    circuit: &'a HeatCircuit,
    h: f64,
    held: Vec<f64>,
    power: Vec<f64>,
    noise: Option<(f64, Key)>,
}

impl<'a> HeatFlow<'a> {
    /// Steps of length h, without noise, sources, and with reservoirs at the temperature of the surroundings.
    ///
    /// # Errors
    /// [`HeatProblem::Step`] beyond the [limit](HeatCircuit::step_limit) of the second law.
    pub fn new(circuit: &'a HeatCircuit, h: f64) -> Result<Self> {
        let (limit, node) = circuit.step_limit();
        match h > 0.0 && h <= limit * (1.0 + 1e-12) {
            true => Ok(Self::beyond_the_limit(circuit, h)),
            false => Err(HeatProblem::Step { h, limit, node }.into()),
        }
    }

    /// The same of any length: for showing what the limit is for.
    pub fn beyond_the_limit(circuit: &'a HeatCircuit, h: f64) -> Self {
        let count = circuit.nodes().len();
        Self { circuit, h, held: vec![0.0; count], power: vec![0.0; count], noise: None }
    }

    /// With reservoirs at these temperatures θ; one number a node, those of free nodes without effect.
    ///
    /// # Errors
    /// [`Error::Shape`], and [`HeatProblem::Cold`] at or below absolute zero.
    pub fn with_held(self, theta: &[f64]) -> Result<Self> {
        self.check("temperatures of reservoirs", theta)?;
        for (node, kind) in self.circuit.nodes().iter().enumerate() {
            let absolute = self.circuit.surroundings() + theta[node];
            if *kind == Node::Held && !(absolute > 0.0 && absolute.is_finite()) {
                return Err(HeatProblem::Cold { node, absolute }.into());
            }
        }
        Ok(Self { held: theta.to_vec(), ..self })
    }

    /// With sources of these powers, one number a node; those of reservoirs without effect.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn with_power(self, power: &[f64]) -> Result<Self> {
        self.check("powers", power)?;
        Ok(Self { power: power.to_vec(), ..self })
    }

    /// With thermal noise of this Boltzmann constant.
    ///
    /// # Errors
    /// [`HeatProblem::NotPositive`].
    pub fn with_noise(self, boltzmann: f64, key: Key) -> Result<Self> {
        if !(boltzmann >= 0.0 && boltzmann.is_finite()) {
            let what = "the Boltzmann constant, number";
            return Err(HeatProblem::NotPositive { what, place: 0, value: boltzmann }.into());
        }
        Ok(Self { noise: (boltzmann > 0.0).then_some((boltzmann, key)), ..self })
    }

    fn check(&self, what: &str, values: &[f64]) -> Result<()> {
        let count = self.circuit.nodes().len();
        if values.len() != count || values.iter().any(|value| !value.is_finite()) {
            let (found, expected) = (vec![values.len()], vec![count]);
            return Err(Error::Shape { what: format!("{what} (finite)"), found, expected });
        }
        Ok(())
    }

    /// A start at these temperatures θ.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn start(&self, theta: &[f64]) -> Result<Heat> {
        self.check("temperatures", theta)?;
        let nodes = self.circuit.nodes().iter().enumerate();
        let energies = nodes.map(|(node, kind)| match kind {
            Node::Free(capacity) => capacity.heat(theta[node]),
            Node::Held => 0.0,
        });
        let energies: Vec<f64> = energies.collect();
        let temperatures = self.temperatures(&energies);
        Ok(Heat { energies, temperatures, leaked: 0.0, injected: 0.0, entropy: 0.0 })
    }

    fn temperatures(&self, energies: &[f64]) -> Vec<f64> {
        let nodes = self.circuit.nodes().iter().enumerate();
        let theta = nodes.map(|(node, kind)| match kind {
            Node::Free(capacity) => capacity.temperature(energies[node]),
            Node::Held => self.held[node],
        });
        theta.collect()
    }

    /// The heat that flows into every node, and into the surroundings, in a step.
    fn flows(&self, index: usize, heat: &Heat) -> (Vec<f64>, f64) {
        let Self { circuit, h, .. } = *self;
        let (theta, surroundings) = (&heat.temperatures, circuit.surroundings());
        let links = circuit.links();
        let leaks = || circuit.leaks().iter().enumerate().filter(|(_, leak)| **leak > 0.0);
        let (boltzmann, normals) = match self.noise {
            Some((boltzmann, key)) => {
                (boltzmann, key.normals(index as u32, 1, links.len() + leaks().count()))
            }
            None => (0.0, vec![0.0; links.len() + leaks().count()]),
        };
        // Noise of a step, at temperatures that are not below absolute zero.
        let noise = |k: f64, [a, b]: [f64; 2], normal: f32| {
            (2.0 * boltzmann * k * a.max(0.0) * b.max(0.0) * h).sqrt() * f64::from(normal)
        };
        let slope = |node: usize, k: f64| match circuit.capacity(node) {
            Some(capacity) => k / capacity.at(heat.energies[node]),
            None => 0.0,
        };
        let (mut into, mut out) = (vec![0.0; theta.len()], 0.0);
        for (link, &normal) in links.iter().zip(&normals) {
            let [i, j] = link.ends;
            let ends = [theta[i], theta[j]];
            let k = link.at(ends);
            let absolute = ends.map(|theta| surroundings + theta);
            let [by_i, by_j] = link.slopes(ends);
            let drift = boltzmann * absolute[0] * absolute[1] * (slope(i, by_i) - slope(j, by_j));
            let flow = h * (k * (ends[1] - ends[0]) + drift) + noise(k, absolute, normal);
            into[i] += flow;
            into[j] -= flow;
        }
        for ((node, &leak), &normal) in leaks().zip(&normals[links.len()..]) {
            if circuit.nodes()[node] == Node::Held {
                continue;
            }
            let flow =
                h * leak * theta[node] + noise(leak, [surroundings + theta[node], surroundings], normal);
            into[node] -= flow;
            out += flow;
        }
        (into, out)
    }
}

impl Dynamics for HeatFlow<'_> {
    type State = Heat;

    fn step(&self, index: usize, heat: Heat) -> Heat {
        let surroundings = self.circuit.surroundings();
        let (into, out) = self.flows(index, &heat);
        let Heat { mut energies, temperatures, mut leaked, mut injected, mut entropy } = heat;
        for (node, kind) in self.circuit.nodes().iter().enumerate() {
            let (before, after) = (energies[node], energies[node] + into[node]);
            entropy += match kind {
                Node::Free(capacity) => capacity.entropy(before, after, surroundings),
                Node::Held => into[node] / (surroundings + temperatures[node]),
            };
            energies[node] = after;
            if let Node::Free(_) = kind {
                let brought = self.h * self.power[node];
                energies[node] += brought;
                injected += brought;
            }
        }
        leaked += out;
        entropy += out / surroundings;
        let temperatures = self.temperatures(&energies);
        Heat { energies, temperatures, leaked, injected, entropy }
    }

    fn diverged(&self, heat: &Heat) -> Option<Place> {
        let unit = heat.energies.iter().position(|energy| !energy.is_finite())?;
        Some(Place { trajectory: 0, group: "node".into(), unit })
    }

    fn fits(&self, start: &Heat) -> Result<()> {
        self.check("energies", &start.energies)
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.h
    }
}

/// Steps of (50) of the free nodes, in the order of their numbers; the state is θ.
#[derive(Clone, Debug)]
pub struct ExactHeat {
    free: Vec<usize>,
    h: f64,
    p: Mat<f64>,
    /// Φ b.
    brought: Vec<f64>,
    /// √Q, and its key.
    noise: Option<(Mat<f64>, Key)>,
}

impl ExactHeat {
    /// Steps of length h with reservoirs at `held` and sources of `power`, numbers of all nodes, and thermal noise of a Boltzmann
    /// constant.
    ///
    /// # Errors
    /// [`HeatProblem::NotLinear`] for a circuit that melts or switches, [`LinearProblem::Step`], and [`Error::Shape`].
    pub fn new(
        circuit: &HeatCircuit,
        h: f64,
        held: &[f64],
        power: &[f64],
        noise: Option<(f64, Key)>,
    ) -> Result<Self> {
        if !circuit.is_linear() {
            return Err(HeatProblem::NotLinear.into());
        }
        if !(h > 0.0 && h.is_finite()) {
            return Err(LinearProblem::Step { h }.into());
        }
        let flow = HeatFlow::beyond_the_limit(circuit, h).with_held(held)?.with_power(power)?;
        let free: Vec<usize> =
            (0..circuit.nodes().len()).filter(|&node| circuit.capacity(node).is_some()).collect();
        let n = free.len();
        let place = |node: usize| free.binary_search(&node).ok();
        let c: Vec<f64> =
            free.iter().map(|&node| circuit.capacity(node).map_or(1.0, |capacity| capacity.least)).collect();
        let mut laplacian = Mat::<f64>::zeros(n, n);
        let mut b: Vec<f64> = free.iter().map(|&node| flow.power[node]).collect();
        for (row, &node) in free.iter().enumerate() {
            laplacian[(row, row)] += circuit.leaks()[node];
        }
        for link in circuit.links() {
            for [from, to] in [link.ends, [link.ends[1], link.ends[0]]] {
                let Some(row) = place(from) else { continue };
                laplacian[(row, row)] += link.conductance;
                match place(to) {
                    Some(column) => laplacian[(row, column)] -= link.conductance,
                    None => b[row] += link.conductance * flow.held[to],
                }
            }
        }
        let symmetric = Mat::from_fn(n, n, |i, j| laplacian[(i, j)] / (c[i] * c[j]).sqrt());
        let eigen = symmetric
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| LinearProblem::NoEigenvalues { what: "the conductances" })?;
        let rates: Vec<f64> = (0..n).map(|k| eigen.S()[k].max(0.0)).collect();
        // C^(−½) V f(λ) Vᵀ C^(±½).
        let of = |f: &dyn Fn(f64) -> f64, right: f64| {
            Mat::from_fn(n, n, |i, j| {
                let sum: f64 = (0..n).map(|k| eigen.U()[(i, k)] * f(rates[k]) * eigen.U()[(j, k)]).sum();
                sum / c[i].sqrt() * c[j].powf(right)
            })
        };
        let phi = of(&|rate| if rate * h < 1e-12 { h } else { -(-rate * h).exp_m1() / rate }, -0.5);
        let brought = (0..n).map(|i| (0..n).map(|j| phi[(i, j)] * b[j]).sum()).collect();
        let noise = noise.filter(|(boltzmann, _)| *boltzmann > 0.0).map(|(boltzmann, key)| {
            let root = boltzmann.sqrt() * circuit.surroundings();
            let root = Mat::from_fn(n, n, |i, k| {
                root * eigen.U()[(i, k)] * (-(-2.0 * rates[k] * h).exp_m1()).sqrt() / c[i].sqrt()
            });
            (root, key)
        });
        Ok(Self { free, h, p: of(&|rate| (-rate * h).exp(), 0.5), brought, noise })
    }

    /// The numbers of the free nodes.
    pub fn nodes(&self) -> &[usize] {
        &self.free
    }
}

impl Dynamics for ExactHeat {
    type State = Vec<f64>;

    fn step(&self, index: usize, theta: Vec<f64>) -> Vec<f64> {
        let n = theta.len();
        let product = |m: &Mat<f64>, x: &[f64], i: usize| (0..n).map(|j| m[(i, j)] * x[j]).sum::<f64>();
        let mut next: Vec<f64> = (0..n).map(|i| product(&self.p, &theta, i) + self.brought[i]).collect();
        if let Some((root, key)) = &self.noise {
            let normals: Vec<f64> = key.normals(index as u32, 1, n).into_iter().map(f64::from).collect();
            next.iter_mut().enumerate().for_each(|(i, theta)| *theta += product(root, &normals, i));
        }
        next
    }

    fn diverged(&self, theta: &Vec<f64>) -> Option<Place> {
        let unit = theta.iter().position(|theta| !theta.is_finite())?;
        Some(Place { trajectory: 0, group: "node".into(), unit: self.free[unit] })
    }

    fn fits(&self, start: &Vec<f64>) -> Result<()> {
        if start.len() != self.free.len() {
            let (found, expected) = (vec![start.len()], vec![self.free.len()]);
            return Err(Error::Shape { what: "temperatures".into(), found, expected });
        }
        Ok(())
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.h
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::run::run;
    use crate::network::heat_circuit::{Capacity, Link};

    fn chain(c: &[f64], k: f64, leak: f64) -> HeatCircuit {
        let nodes = c.iter().map(|&c| Node::Free(Capacity::constant(c))).collect();
        let links = (1..c.len()).map(|j| Link::constant([j - 1, j], k)).collect();
        let mut leaks = vec![0.0; c.len()];
        leaks[0] = leak;
        HeatCircuit::new(nodes, links, leaks, 2.0).unwrap()
    }

    /// Two nodes that exchange heat: their mean stays and their difference decays at K(1/C₁ + 1/C₂).
    #[test]
    fn exact_steps_are_the_analytic_solution() {
        let circuit = chain(&[2.0, 0.5], 0.7, 0.0);
        let exact = ExactHeat::new(&circuit, 1.3, &[0.0; 2], &[0.0; 2], None).unwrap();
        let end = run(&exact, vec![1.0, -3.0], 4, |_| {}).unwrap();
        let mean = (2.0 * 1.0 - 0.5 * 3.0) / 2.5;
        let difference = 4.0 * (-0.7 * (0.5 + 2.0) * 5.2_f64).exp();
        let analytic = [mean + difference * 0.5 / 2.5, mean - difference * 2.0 / 2.5];
        for (theta, analytic) in end.iter().zip(analytic) {
            assert!((theta - analytic).abs() < 1e-12, "{theta} {analytic}");
        }
        // A node that leaks and is heated: θ = (q/k)(1 − e^(−kt/C)).
        let circuit = chain(&[2.0], 1.0, 0.4);
        let exact = ExactHeat::new(&circuit, 0.9, &[0.0], &[3.0], None).unwrap();
        let end = run(&exact, vec![0.0], 3, |_| {}).unwrap();
        assert!((end[0] - 7.5 * (1.0 - (-0.2 * 2.7_f64).exp())).abs() < 1e-12);
        // A reservoir brings what it is held at.
        let nodes = vec![Node::Free(Capacity::constant(2.0)), Node::Held];
        let circuit = HeatCircuit::new(nodes, vec![Link::constant([1, 0], 0.4)], vec![0.0; 2], 2.0).unwrap();
        let exact = ExactHeat::new(&circuit, 0.9, &[0.0, 7.5], &[0.0; 2], None).unwrap();
        let held = run(&exact, vec![0.0], 3, |_| {}).unwrap();
        assert!((held[0] - end[0]).abs() < 1e-12 && exact.nodes() == [0]);
    }

    /// P Σ Pᵀ + Q = Σ with Σ = k_B T² C⁻¹, and Q of two steps is P Q Pᵀ + Q.
    #[test]
    fn exact_noise_keeps_equipartition() {
        let circuit = chain(&[2.0, 0.5, 1.0], 0.7, 0.3);
        let noise = Some((0.01, Key::new(1)));
        let of = |h: f64| ExactHeat::new(&circuit, h, &[0.0; 3], &[0.0; 3], noise).unwrap();
        let (one, two) = (of(0.6), of(1.2));
        let q = |exact: &ExactHeat| {
            let root = &exact.noise.as_ref().unwrap().0;
            root * root.transpose()
        };
        let sigma = Mat::from_fn(3, 3, |i, j| if i == j { 0.01 * 4.0 / [2.0, 0.5, 1.0][i] } else { 0.0 });
        let off = |a: Mat<f64>, b: &Mat<f64>| (a - b).norm_max();
        assert!(off(&one.p * &sigma * one.p.transpose() + q(&one), &sigma) < 1e-14);
        assert!(off(&one.p * q(&one) * one.p.transpose() + q(&one), &q(&two)) < 1e-14);
    }

    #[test]
    fn steps_beyond_the_limit_are_refused_with_the_limit() {
        let circuit = chain(&[2.0, 0.5], 0.7, 0.3);
        assert_eq!(circuit.step_limit(), (0.5 / 0.7, 1));
        assert!(HeatFlow::new(&circuit, 0.5 / 0.7).is_ok());
        let error = HeatFlow::new(&circuit, 0.72).unwrap_err().to_string();
        assert!(error.contains("at most 7.1429e-1") && error.contains("node 1"), "{error}");
        for h in [0.0, -1.0, f64::NAN] {
            assert!(HeatFlow::new(&circuit, h).is_err());
        }
        let flow = HeatFlow::new(&circuit, 0.1).unwrap();
        assert!(flow.clone().with_held(&[0.0]).is_err() && flow.clone().with_power(&[f64::NAN; 2]).is_err());
        assert!(flow.with_noise(-1.0, Key::new(1)).is_err());
    }
}
