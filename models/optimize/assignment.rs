//! Jobs given to agents of limited capacity: generalised assignment.
//!
//! ```text
//! E = Σ_j c_(a(j) j) + Σ_a P_a max(0, load_a − capacity_a),      P_a = λ_a + 25 g/d      (43)
//! ```
//!
//! over the agents a(j) of jobs. A state that overloads an agent is no solution, however low it is.
//!
//! A job moves to another agent, and mostly a job of that agent leaves for a third one or for the place that has become free: ejection chains of two
//! (M. Yagiura, T. Ibaraki and F. Glover, INFORMS J. Comput. 16, 133, 2004). Most agents are too dear for most jobs, so that
//! job j goes to agent a with the probability
//!
//! ```text
//! q_j(a) ∝ exp(−(c_aj + λ_a d_aj)/g),      and one of 20 times to any,      (62)
//! ```
//!
//! which the rule of W. K. Hastings (Biometrika 57, 97, 1970) makes up for.
//!
//! The price λ_a of a unit of capacity is that of Lagrange's relaxation, max_λ≥0 Σ_j min_a (c_aj + λ_a d_aj) − Σ_a λ_a capacity_a, by
//! subgradients (M. L. Fisher, Manage. Sci. 27, 1, 1981): below it, an overload would pay. g measures what an exchange of jobs costs: how
//! far the median of all m agents is above the best for a job, at these prices, times 2/m (about what the second best loses, where
//! costs are spread evenly), and 0.06 times what a mean job's capacity costs, for loads that do not quite fit; d is the mean of what jobs
//! take. Larger margins than 25 keep jobs from passing through overloads, and smaller
//! ones end there: it was chosen on random problems of several kinds.

use rand::RngExt;

use crate::error::{Error, Result};
use crate::optimize::moves::Moves;
use crate::optimize::spins::typical;

/// The part of a mean job's capacity that does not fit.
const PACKING: f64 = 0.06;

/// The part of P d/g that is not λ.
const MARGIN: f64 = 25.0;

/// How often a job goes to any agent.
const ANY: f64 = 0.05;

/// A job moves and no other does once in so many times.
const ALONE: u32 = 4;

/// Steps of the search for prices, and numbers that are looked at in them, at most.
const STEPS: usize = 300;
const LOOKS: usize = 1 << 30;

/// λ, where jobs take so much on average.
fn prices(table: &[(f64, f64)], agents: usize, capacities: &[i64], takes: f64) -> Vec<f64> {
    let (mut prices, mut best) = (vec![0.0; agents], (f64::NEG_INFINITY, vec![0.0; agents]));
    let mut reach = if takes > 0.0 { 0.1 * range(table) / takes } else { 0.0 };
    for _ in 0..STEPS.min(LOOKS / table.len()).max(10) {
        let mut over: Vec<f64> = capacities.iter().map(|&capacity| -(capacity as f64)).collect();
        let mut bound: f64 = prices.iter().zip(&over).map(|(price, over)| price * over).sum();
        for row in table.chunks(agents) {
            let priced = |agent: usize| row[agent].0 + prices[agent] * row[agent].1;
            let agent = (0..agents).min_by(|&a, &b| priced(a).total_cmp(&priced(b))).expect("an agent");
            bound += priced(agent);
            over[agent] += row[agent].1;
        }
        if bound > best.0 {
            best = (bound, prices.clone());
        }
        let counts = over.iter().zip(&prices).filter(|(over, price)| **over > 0.0 || **price > 0.0);
        let most = counts.map(|(over, _)| over.abs()).fold(0.0, f64::max);
        if most == 0.0 {
            break;
        }
        let moved = |(price, over): (&mut f64, &f64)| *price = (*price + reach * over / most).max(0.0);
        prices.iter_mut().zip(&over).for_each(moved);
        reach *= 0.98;
    }
    best.1
}

/// c_max − c_min.
fn range(table: &[(f64, f64)]) -> f64 {
    let costs = table.iter().map(|(cost, _)| *cost);
    costs.clone().fold(f64::NEG_INFINITY, f64::max) - costs.fold(f64::INFINITY, f64::min)
}

/// g at these prices; a tenth of the range of costs where that is 0, or 1.
fn gap(table: &[(f64, f64)], prices: &[f64], takes: f64) -> f64 {
    let (agents, jobs) = (prices.len(), table.len() / prices.len());
    let above = |row: &[(f64, f64)]| {
        let priced = row.iter().zip(prices).map(|((cost, takes), price)| cost + price * takes);
        let mut all: Vec<f64> = priced.collect();
        all.sort_unstable_by(f64::total_cmp);
        (all[agents / 2] - all[0]) * 2.0 / agents as f64
    };
    let all: Vec<f64> = table.chunks(agents).map(above).collect();
    let price = prices.iter().sum::<f64>() / agents as f64;
    let gap = typical(all.iter().sum::<f64>() / jobs as f64, all.into_iter()) + PACKING * takes * price;
    [gap, 0.1 * range(table)].into_iter().find(|gap| *gap > 0.0).unwrap_or(1.0)
}

/// (62) for the costs and demands of a job at these prices.
fn chances(row: &[(f64, f64)], prices: &[f64], gap: f64) -> Vec<f64> {
    let priced: Vec<f64> =
        row.iter().zip(prices).map(|((cost, takes), price)| cost + price * takes).collect();
    let least = priced.iter().copied().fold(f64::INFINITY, f64::min);
    let weights: Vec<f64> = priced.iter().map(|priced| (-(priced - least) / gap).exp()).collect();
    let all: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (1.0 - ANY) * weight / all + ANY / row.len() as f64).collect()
}

/// For draws by such chances in one step (A. J. Walker, ACM Trans. Math. Softw. 3, 253, 1977): of every equal part, how much of it is its own, of
/// 2³², and whose the rest is.
fn aliases(chances: &[f64]) -> Vec<(u32, u32)> {
    let mut parts: Vec<f64> = chances.iter().map(|chance| chance * chances.len() as f64).collect();
    let mut aliases: Vec<(u32, u32)> = (0..chances.len() as u32).map(|own| (u32::MAX, own)).collect();
    let (mut small, mut large): (Vec<_>, Vec<_>) = (0..parts.len()).partition(|&k| parts[k] < 1.0);
    while let (Some(&of), Some(k)) = (large.last(), small.pop()) {
        aliases[k] = ((parts[k] * 2.0_f64.powi(32)) as u32, of as u32);
        parts[of] -= 1.0 - parts[k];
        if parts[of] < 1.0 {
            large.pop();
            small.push(of);
        }
    }
    aliases
}

/// Costs, demands and capacities.
#[derive(Clone, PartialEq, Debug)]
pub struct Assignments {
    agents: usize,
    jobs: usize,
    /// `[job, agent]`: cost, and what the job takes.
    table: Vec<(f64, f64)>,
    capacities: Vec<f64>,
    /// `[job, agent]`: q of (62).
    chances: Vec<f64>,
    /// Those of every job.
    aliases: Vec<(u32, u32)>,
    /// P, by agent.
    penalties: Vec<f64>,
    /// g.
    gap: f64,
}

/// The agent of every job, and loads.
#[derive(Clone, PartialEq, Debug)]
pub struct Assigned {
    /// By job.
    pub agents: Vec<u32>,
    loads: Vec<f64>,
    /// The jobs of every agent, in any order.
    jobs: Vec<Vec<u32>>,
    /// Where among the jobs of its agent every job is.
    places: Vec<u32>,
}

impl Assigned {
    /// Gives a job to another agent.
    fn give(&mut self, job: usize, to: u32) {
        let from = std::mem::replace(&mut self.agents[job], to);
        let (left, place) = (&mut self.jobs[from as usize], self.places[job]);
        left.swap_remove(place as usize);
        if let Some(&moved) = left.get(place as usize) {
            self.places[moved as usize] = place;
        }
        let joined = &mut self.jobs[to as usize];
        self.places[job] = joined.len() as u32;
        joined.push(job as u32);
    }
}

impl Assignments {
    /// An assignment problem of `costs` and `takes` `[agent, job]`, where costs are to be small, or large if `most`.
    ///
    /// # Errors
    /// [`Error::Request`] for sizes that do not fit each other.
    pub fn new(costs: &[i64], takes: &[i64], capacities: &[i64], most: bool) -> Result<Self> {
        let (agents, size) = (capacities.len(), costs.len());
        if agents == 0 || size == 0 || takes.len() != size || size % agents != 0 {
            return Err(Error::Request(format!(
                "{agents} capacities, {size} costs and {} demands do not fit each other",
                takes.len()
            )));
        }
        let jobs = size / agents;
        let sign = if most { -1.0 } else { 1.0 };
        let entry = |k: usize| {
            let place = k % agents * jobs + k / agents;
            (sign * costs[place] as f64, takes[place] as f64)
        };
        let table: Vec<(f64, f64)> = (0..size).map(entry).collect();
        let takes = table.iter().map(|(_, takes)| *takes).sum::<f64>() / size as f64;
        let prices = prices(&table, agents, capacities, takes);
        let gap = gap(&table, &prices, takes);
        let margin = if takes > 0.0 { MARGIN * gap / takes } else { 0.0 };
        let penalties = prices.iter().map(|price| price + margin).collect();
        let chances: Vec<f64> = table.chunks(agents).flat_map(|row| chances(row, &prices, gap)).collect();
        let aliases = chances.chunks(agents).flat_map(aliases).collect();
        let capacities = capacities.iter().map(|&capacity| capacity as f64).collect();
        Ok(Self { agents, jobs, table, capacities, chances, aliases, penalties, gap })
    }

    /// How many jobs.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// P of every agent.
    pub fn penalties(&self) -> &[f64] {
        &self.penalties
    }

    /// Inverse temperatures: from 0.7 g to 0.3 g.
    pub fn betas(&self) -> [f64; 2] {
        [1.0 / (0.7 * self.gap), 1.0 / (0.3 * self.gap)]
    }

    /// Whether no agent has more than it can.
    pub fn is_feasible(&self, state: &Assigned) -> bool {
        state.loads.iter().zip(&self.capacities).all(|(load, capacity)| load <= capacity)
    }

    fn entry(&self, job: usize, agent: u32) -> (f64, f64) {
        self.table[job * self.agents + agent as usize]
    }

    fn chance(&self, job: usize, agent: u32) -> f64 {
        self.chances[job * self.agents + agent as usize]
    }

    /// An agent for a job, by (62).
    fn draw(&self, job: usize, rng: &mut impl RngExt) -> u32 {
        // The equal part that a number is in, and where in it.
        let place = u64::from(rng.random::<u32>()) * self.agents as u64;
        let (part, within) = ((place >> 32) as u32, place as u32);
        let (own, other) = self.aliases[job * self.agents + part as usize];
        if within < own { part } else { other }
    }

    fn over(&self, agent: u32, load: f64) -> f64 {
        let agent = agent as usize;
        self.penalties[agent] * (load - self.capacities[agent]).max(0.0)
    }

    /// What the overload of an agent changes by if its load does.
    fn overload(&self, state: &Assigned, agent: u32, change: f64) -> f64 {
        let load = state.loads[agent as usize];
        self.over(agent, load + change) - self.over(agent, load)
    }
}

impl Moves for Assignments {
    type State = Assigned;

    fn random(&self, rng: &mut impl RngExt) -> Assigned {
        let agents: Vec<u32> = (0..self.jobs).map(|_| rng.random_range(0..self.agents as u32)).collect();
        let (mut loads, mut jobs) = (vec![0.0; self.agents], vec![Vec::new(); self.agents]);
        let mut places = Vec::with_capacity(self.jobs);
        for (job, &agent) in agents.iter().enumerate() {
            loads[agent as usize] += self.entry(job, agent).1;
            places.push(jobs[agent as usize].len() as u32);
            jobs[agent as usize].push(job as u32);
        }
        Assigned { agents, loads, jobs, places }
    }

    fn energy(&self, state: &Assigned) -> f64 {
        let cost: f64 = state.agents.iter().enumerate().map(|(job, &agent)| self.entry(job, agent).0).sum();
        let over = |agent: usize| self.over(agent as u32, state.loads[agent]);
        cost + (0..self.agents).map(over).sum::<f64>()
    }

    fn proposals(&self) -> usize {
        2 * self.jobs
    }

    fn propose(
        &self,
        state: &mut Assigned,
        rng: &mut impl RngExt,
        mut accepts: impl FnMut(f64, f64) -> bool,
    ) -> Option<f64> {
        let job = rng.random_range(0..self.jobs as u32) as usize;
        let (from, to) = (state.agents[job], self.draw(job, rng));
        if from == to {
            return None;
        }
        let ((cost, takes), (other, more)) = (self.entry(job, from), self.entry(job, to));
        let odds = self.chance(job, to) / self.chance(job, from);
        if rng.random::<u32>() % ALONE == 0 {
            let over = self.overload(state, from, -takes) + self.overload(state, to, more);
            let change = other - cost + over;
            if !accepts(change, rng.random::<f64>() * odds) {
                return None;
            }
            state.give(job, to);
            state.loads[from as usize] -= takes;
            state.loads[to as usize] += more;
            return Some(change);
        }
        // One of the jobs there leaves; there are as many after it.
        let there = &state.jobs[to as usize];
        if there.is_empty() {
            return None;
        }
        let second = there[rng.random_range(0..there.len() as u32) as usize] as usize;
        let third = self.draw(second, rng);
        if third == to {
            return None;
        }
        let ((back, less), (away, added)) = (self.entry(second, to), self.entry(second, third));
        let odds = odds * self.chance(second, third) / self.chance(second, to);
        let over = if third == from {
            self.overload(state, from, added - takes)
        } else {
            self.overload(state, from, -takes) + self.overload(state, third, added)
        };
        let change = other - cost + away - back + over + self.overload(state, to, more - less);
        if !accepts(change, rng.random::<f64>() * odds) {
            return None;
        }
        state.give(job, to);
        state.give(second, third);
        state.loads[from as usize] -= takes;
        state.loads[to as usize] += more - less;
        state.loads[third as usize] += added;
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use thermograd::Key;

    use super::*;

    /// What the parts of all hold is what is to be drawn: to the 2³²nd part of each.
    #[test]
    fn aliases_hold_the_chances() {
        for chances in [vec![1.0], vec![0.5, 0.5], vec![0.97, 0.01, 0.02], vec![0.05, 0.4, 0.3, 0.05, 0.2]] {
            let (n, all) = (chances.len(), 2.0_f64.powi(32));
            let mut held = vec![0.0; n];
            for (part, (own, other)) in aliases(&chances).into_iter().enumerate() {
                held[part] += f64::from(own) / all / n as f64;
                held[other as usize] += (1.0 - f64::from(own) / all) / n as f64;
            }
            let apart = held.iter().zip(&chances).map(|(held, chance)| (held - chance).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-9, "{chances:?}: {held:?}");
        }
    }

    #[test]
    fn moves_cost_what_they_change() {
        let mut rng = Key::new(1).rng();
        let mut numbers =
            |count: usize, most: i64| -> Vec<i64> { (0..count).map(|_| rng.random_range(0..most)).collect() };
        let (costs, takes, capacities) = (numbers(24, 50), numbers(24, 20), numbers(3, 60));
        let problem = Assignments::new(&costs, &takes, &capacities, false).unwrap();
        let mut rng = Key::new(2).rng();
        let mut state = problem.random(&mut rng);
        let mut energy = problem.energy(&state);
        for _ in 0..10_000 {
            if let Some(cost) = problem.propose(&mut state, &mut rng, |_, u| u < 0.7) {
                energy += cost;
                assert!((problem.energy(&state) - energy).abs() < 1e-6);
            }
        }
        let loads = (0..3).map(|agent| {
            let jobs = (0..8).filter(|&job| state.agents[job] == agent);
            jobs.map(|job| takes[agent as usize * 8 + job] as f64).sum::<f64>()
        });
        assert_eq!(loads.collect::<Vec<_>>(), state.loads);
        assert!(Assignments::new(&costs, &takes[1..], &capacities, false).is_err());
    }
}
