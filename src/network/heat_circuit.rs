//! Networks of heat: nodes with heat capacities, joined by thermal conductances.
//!
//! The state of a node is its heat U; its temperature follows from it. Temperatures θ are counted from that of the surroundings,
//! T_env, and so is the heat: U = 0 at θ = 0.
//!
//! ```text
//! θ(U) = [U − (1 − ε)(s(U − U_m) − s(U − U_m − L) − s(−U_m) + s(−U_m − L))]/C₀,      s(x) = w ln(1 + e^(x/w))      (46)
//! K(θ) = K₀ (1 + (r − 1) σ((θ_k − θ_c)/w)),      σ(x) = 1/(1 + e^(−x))      (47)
//! ```
//!
//! A node of capacity C₀ that melts takes up the latent heat L from U = U_m on, within a width w, while its temperature rises
//! ε = 0.02 times as steeply: C = 1/θ′(U) is between C₀ and C₀/ε. A conductance that changes phase goes from K₀ to r K₀ where the
//! temperature of one of its ends passes θ_c. Both are smooth models of ours of what materials do: capacities and conductances stay
//! positive whatever the parameters.

use crate::error::{HeatProblem, Result};

/// The steepness of θ(U) that is left while a node melts, relative to 1/C₀.
pub const MELTING: f64 = 0.02;

/// How the temperature of a node follows from its heat.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Capacity {
    /// C₀, the least heat capacity.
    pub least: f64,
    /// What it takes to melt it, if it melts.
    pub latent: Option<Latent>,
}

/// A node that melts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latent {
    /// L.
    pub heat: f64,
    /// U_m, the heat at which it begins to melt.
    pub at: f64,
    /// w, in units of heat.
    pub width: f64,
}

/// ln(1 + eˣ), for any x.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    0.5 * (1.0 + (0.5 * x).tanh())
}

impl Capacity {
    /// A heat capacity that does not depend on temperature.
    pub fn constant(least: f64) -> Self {
        Self { least, latent: None }
    }

    /// θ(U) of (46).
    pub fn temperature(&self, u: f64) -> f64 {
        let melted = self.latent.map_or(0.0, |Latent { heat, at, width }| {
            let s = |x: f64| width * softplus(x / width);
            s(u - at) - s(u - at - heat) - s(-at) + s(-at - heat)
        });
        (u - (1.0 - MELTING) * melted) / self.least
    }

    /// C(U) = 1/θ′(U).
    pub fn at(&self, u: f64) -> f64 {
        let melting = self.latent.map_or(0.0, |Latent { heat, at, width }| {
            sigmoid((u - at) / width) - sigmoid((u - at - heat) / width)
        });
        self.least / (1.0 - (1.0 - MELTING) * melting)
    }

    /// U(θ), the inverse of (46).
    pub fn heat(&self, theta: f64) -> f64 {
        let Some(Latent { heat, .. }) = self.latent else { return self.least * theta };
        // θ(U) rises, between U/C₀ − L/C₀ and U/C₀ + L/C₀.
        let (mut low, mut high) = (self.least * theta - heat, self.least * theta + heat);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if self.temperature(middle) < theta { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// The entropy ∫dU/(T_env + θ(U)) gained from `from` to `to`. In closed form for a constant capacity; else by Gauss and
    /// Legendre's rule of five points on pieces no longer than a quarter of the width.
    pub fn entropy(&self, from: f64, to: f64, surroundings: f64) -> f64 {
        let absolute = |u: f64| surroundings + self.temperature(u);
        let Some(Latent { width, .. }) = self.latent else {
            return self.least * ((to - from) / (self.least * absolute(from))).ln_1p();
        };
        const RULE: [(f64, f64); 5] = [
            (0.0, 0.568_888_888_888_888_9),
            (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
            (0.906_179_845_938_664, 0.236_926_885_056_189_08),
            (-0.906_179_845_938_664, 0.236_926_885_056_189_08),
        ];
        let pieces = ((to - from).abs() / (0.25 * width)).ceil().clamp(1.0, 1e5);
        let half = 0.5 * (to - from) / pieces;
        let piece = |k: usize| {
            let middle = from + (2 * k + 1) as f64 * half;
            RULE.iter().map(|(x, weight)| weight * half / absolute(middle + half * x)).sum::<f64>()
        };
        (0..pieces as usize).map(piece).sum()
    }
}

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub enum Node {
    /// Its temperature follows from its heat.
    Free(Capacity),
    /// A reservoir, held at a temperature that every run is given anew.
    Held,
}

/// A conductance between two nodes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// The nodes.
    pub ends: [usize; 2],
    /// K₀, power per temperature.
    pub conductance: f64,
    /// How it changes with the temperature of an end, if it does.
    pub switch: Option<Switch>,
}

/// A conductance that changes phase.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Switch {
    /// Which of the two ends it follows: 0 or 1.
    pub end: usize,
    /// r, what it is multiplied by far above θ_c.
    pub ratio: f64,
    /// θ_c.
    pub at: f64,
    /// w, in units of temperature.
    pub width: f64,
}

impl Link {
    /// A conductance that does not depend on temperature.
    pub fn constant(ends: [usize; 2], conductance: f64) -> Self {
        Self { ends, conductance, switch: None }
    }

    /// K at the temperatures of its ends, (47).
    pub fn at(&self, theta: [f64; 2]) -> f64 {
        let factor = self.switch.map_or(1.0, |Switch { end, ratio, at, width }| {
            1.0 + (ratio - 1.0) * sigmoid((theta[end] - at) / width)
        });
        self.conductance * factor
    }

    /// ∂K/∂θ by either end.
    pub fn slopes(&self, theta: [f64; 2]) -> [f64; 2] {
        let mut slopes = [0.0; 2];
        if let Some(Switch { end, ratio, at, width }) = self.switch {
            let s = sigmoid((theta[end] - at) / width);
            slopes[end] = self.conductance * (ratio - 1.0) * s * (1.0 - s) / width;
        }
        slopes
    }

    /// The largest K.
    pub fn most(&self) -> f64 {
        self.conductance * self.switch.map_or(1.0, |switch| switch.ratio.max(1.0))
    }
}

/// Nodes, what joins them, and what leaks to the surroundings.
#[derive(Clone, PartialEq, Debug)]
pub struct HeatCircuit {
    nodes: Vec<Node>,
    links: Vec<Link>,
    leaks: Vec<f64>,
    surroundings: f64,
}

impl HeatCircuit {
    /// A circuit in surroundings of the absolute temperature T_env; `leaks` are the conductances of all nodes to them, those of
    /// reservoirs without effect.
    ///
    /// # Errors
    /// [`Error::Heat`](crate::Error::Heat): capacities, conductances, widths and T_env that are not positive, leaks that are negative,
    /// nodes that are not there, joined to themselves, twice, or to nothing.
    pub fn new(nodes: Vec<Node>, links: Vec<Link>, leaks: Vec<f64>, surroundings: f64) -> Result<Self> {
        let circuit = Self { nodes, links, leaks, surroundings };
        circuit.check()?;
        Ok(circuit)
    }

    fn check(&self) -> Result<()> {
        let count = self.nodes.len();
        let positive = |what: &'static str, place: usize, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(HeatProblem::NotPositive { what, place, value }),
        };
        positive("the temperature of the surroundings", 0, self.surroundings)?;
        if self.leaks.len() != count || count == 0 {
            return Err(HeatProblem::Count { what: "leaks", found: self.leaks.len(), expected: count }.into());
        }
        for (place, node) in self.nodes.iter().enumerate() {
            let Node::Free(Capacity { least, latent }) = node else { continue };
            positive("the heat capacity of node", place, *least)?;
            if let Some(Latent { heat, at, width }) = *latent {
                positive("the latent heat of node", place, heat)?;
                positive("the width of melting of node", place, width)?;
                if !at.is_finite() {
                    return Err(HeatProblem::NotPositive {
                        what: "the heat at melting of node",
                        place,
                        value: at,
                    }
                    .into());
                }
            }
        }
        let mut joined = vec![false; count];
        for (place, &leak) in self.leaks.iter().enumerate() {
            if !(leak >= 0.0 && leak.is_finite()) {
                return Err(HeatProblem::NotPositive { what: "the leak of node", place, value: leak }.into());
            }
            joined[place] = leak > 0.0;
        }
        let mut seen = std::collections::BTreeSet::new();
        for (place, link) in self.links.iter().enumerate() {
            let [i, j] = link.ends;
            if i.max(j) >= count || i == j {
                return Err(HeatProblem::NoNode { ends: link.ends, nodes: count }.into());
            }
            if !seen.insert([i.min(j), i.max(j)]) {
                return Err(HeatProblem::Twice { ends: link.ends }.into());
            }
            positive("the conductance of link", place, link.conductance)?;
            if let Some(Switch { end, ratio, at, width }) = link.switch {
                positive("the ratio of link", place, ratio)?;
                positive("the width of link", place, width)?;
                if end > 1 || !at.is_finite() {
                    return Err(
                        HeatProblem::NotPositive { what: "the switch of link", place, value: at }.into()
                    );
                }
            }
            (joined[i], joined[j]) = (true, true);
        }
        match joined.iter().position(|joined| !joined) {
            Some(node) => Err(HeatProblem::Isolated { node }.into()),
            None => Ok(()),
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What joins them.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Conductances to the surroundings.
    pub fn leaks(&self) -> &[f64] {
        &self.leaks
    }

    /// T_env.
    pub fn surroundings(&self) -> f64 {
        self.surroundings
    }

    /// The heat capacity of a node, if it is free.
    pub fn capacity(&self, node: usize) -> Option<&Capacity> {
        match &self.nodes[node] {
            Node::Free(capacity) => Some(capacity),
            Node::Held => None,
        }
    }

    /// Whether no capacity and no conductance depends on temperature.
    pub fn is_linear(&self) -> bool {
        self.links.iter().all(|link| link.switch.is_none())
            && self.nodes.iter().all(|node| !matches!(node, Node::Free(Capacity { latent: Some(_), .. })))
    }

    /// The longest step of Euler that cannot break the second law, and the node that sets it:
    ///
    /// ```text
    /// h max_i Σ_j K_ij/C₀_i ≤ 1      (48)
    /// ```
    ///
    /// with the largest K and the least C. A step then leaves every temperature between those of its neighbours: after the flow q_i
    /// the entropy of a node has risen by C₀ ln(1 + q_i/(C₀T_i)) at least, and by Jensen's inequality the sum is not negative,
    /// since I − hC⁻¹L has no negative entry and its rows sum to 1.
    pub fn step_limit(&self) -> (f64, usize) {
        let mut sums = self.leaks.clone();
        for link in &self.links {
            link.ends.iter().for_each(|&node| sums[node] += link.most());
        }
        let limits = self.nodes.iter().zip(&sums).map(|(node, sum)| match node {
            Node::Free(capacity) if *sum > 0.0 => capacity.least / sum,
            _ => f64::INFINITY,
        });
        let least = limits.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
        least.map_or((f64::INFINITY, 0), |(node, limit)| (limit, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MELTS: Capacity = Capacity { least: 2.0, latent: Some(Latent { heat: 0.5, at: 0.3, width: 0.02 }) };

    /// θ(0) = 0, U(θ(U)) = U, C is the inverse slope, and the latent heat is taken up at almost one temperature.
    #[test]
    fn heat_and_temperature_are_inverses() {
        assert!(MELTS.temperature(0.0).abs() < 1e-12);
        for u in [-1.0, 0.0, 0.2, 0.3, 0.5, 0.79, 0.8, 2.0] {
            assert!((MELTS.heat(MELTS.temperature(u)) - u).abs() < 1e-12);
            let slope = (MELTS.temperature(u + 1e-5) - MELTS.temperature(u - 1e-5)) / 2e-5;
            assert!((1.0 / slope - MELTS.at(u)).abs() < 1e-6 * MELTS.at(u));
            assert!((2.0..=2.0 / MELTING + 1e-9).contains(&MELTS.at(u)));
        }
        // Half of the rise before, ε of what it would be while it melts.
        let rise = MELTS.temperature(0.7) - MELTS.temperature(0.4);
        assert!((rise - MELTING * 0.3 / 2.0).abs() < 3e-4, "{rise}");
        assert!((MELTS.temperature(5.0) - (5.0 - 0.98 * 0.5) / 2.0).abs() < 1e-7);
        assert!(MELTS.temperature(1e6).is_finite() && MELTS.temperature(-1e6).is_finite());
    }

    #[test]
    fn entropy_is_the_integral_of_heat_over_temperature() {
        let (from, to, surroundings) = (-0.2, 1.1, 3.0);
        let constant = Capacity::constant(2.0);
        let exact = 2.0 * ((3.0 + 0.55) / (3.0 - 0.1_f64)).ln();
        assert!((constant.entropy(from, to, surroundings) - exact).abs() < 1e-14);
        let steps = 200_000;
        let h = (to - from) / f64::from(steps);
        let sum: f64 =
            (0..steps).map(|k| h / (surroundings + MELTS.temperature(from + (f64::from(k) + 0.5) * h))).sum();
        assert!((MELTS.entropy(from, to, surroundings) - sum).abs() < 1e-10);
        assert!((MELTS.entropy(to, from, surroundings) + sum).abs() < 1e-10);
    }

    #[test]
    fn conductances_switch_and_stay_positive() {
        let switch = Switch { end: 1, ratio: 0.05, at: 0.4, width: 0.03 };
        let link = Link { ends: [0, 1], conductance: 2.0, switch: Some(switch) };
        assert!((link.at([9.0, -1.0]) - 2.0).abs() < 1e-9 && (link.at([0.0, 2.0]) - 0.1).abs() < 1e-9);
        let slope = (link.at([0.0, 0.41 + 1e-6]) - link.at([0.0, 0.41 - 1e-6])) / 2e-6;
        assert!((link.slopes([0.0, 0.41])[1] - slope).abs() < 1e-6 * slope.abs());
        assert_eq!((link.slopes([0.0, 0.41])[0], link.most()), (0.0, 2.0));
    }

    #[test]
    fn circuits_that_are_none_are_refused() {
        let free = |c: f64| Node::Free(Capacity::constant(c));
        let link = |i: usize, j: usize, k: f64| Link::constant([i, j], k);
        for (nodes, links, leaks, surroundings, part) in [
            (vec![free(0.0), free(1.0)], vec![link(0, 1, 1.0)], vec![0.0; 2], 1.0, "capacity of node 0 is 0"),
            (
                vec![free(1.0), free(1.0)],
                vec![link(0, 1, -1.0)],
                vec![0.0; 2],
                1.0,
                "conductance of link 0 is -1",
            ),
            (vec![free(1.0), free(1.0)], vec![link(0, 1, f64::NAN)], vec![0.0; 2], 1.0, "NaN"),
            (vec![free(1.0), free(1.0)], vec![link(0, 0, 1.0)], vec![0.0; 2], 1.0, "from node 0 to 0"),
            (vec![free(1.0), free(1.0)], vec![link(0, 2, 1.0)], vec![0.0; 2], 1.0, "from node 0 to 2"),
            (vec![free(1.0); 2], vec![link(0, 1, 1.0), link(1, 0, 1.0)], vec![0.0; 2], 1.0, "twice"),
            (vec![free(1.0); 3], vec![link(0, 1, 1.0)], vec![0.0; 3], 1.0, "node 2 is joined to nothing"),
            (vec![free(1.0); 2], vec![link(0, 1, 1.0)], vec![0.0; 2], 0.0, "surroundings"),
            (vec![free(1.0); 2], vec![link(0, 1, 1.0)], vec![0.0, -1.0], 1.0, "leak of node 1 is -1"),
            (vec![free(1.0); 2], vec![link(0, 1, 1.0)], vec![0.0], 1.0, "1 leaks"),
        ] {
            let error = HeatCircuit::new(nodes, links, leaks, surroundings).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
