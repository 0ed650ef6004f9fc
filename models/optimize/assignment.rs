//! Jobs given to agents of limited capacity: generalised assignment.
//!
//! ```text
//! E = Σ_j c_(a(j) j) + P Σ_a max(0, load_a − capacity_a),      P = 5/4 (c_max − c_min)/r      (43)
//! ```
//!
//! over the agents a(j) of jobs, where r is the least that a job takes. Jobs move to another agent, or two of them change places.
//! A state that overloads an agent is no solution, however low it is.

use rand::RngExt;

use crate::error::{Error, Result};
use crate::optimize::moves::Moves;

/// Costs, demands and capacities.
#[derive(Clone, PartialEq, Debug)]
pub struct Assignments {
    agents: usize,
    jobs: usize,
    /// `[job, agent]`: cost, and what the job takes.
    table: Vec<(f64, f64)>,
    capacities: Vec<f64>,
    penalty: f64,
    /// c_max − c_min, or 1; but no more than four times the range of the middle half, so that a cost that forbids an assignment does not
    /// set the temperature of all.
    range: f64,
}

/// The agent of every job, and loads.
#[derive(Clone, PartialEq, Debug)]
pub struct Assigned {
    /// By job.
    pub agents: Vec<u32>,
    loads: Vec<f64>,
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
        let costs = table.iter().map(|(cost, _)| *cost);
        let range = costs.clone().fold(f64::NEG_INFINITY, f64::max) - costs.fold(f64::INFINITY, f64::min);
        let range = if range > 0.0 { range } else { 1.0 };
        let mut sorted: Vec<f64> = table.iter().map(|(cost, _)| *cost).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted[3 * size / 4] - sorted[size / 4];
        let usual = if middle > 0.0 { range.min(4.0 * middle) } else { range };
        let least = table.iter().map(|(_, takes)| *takes).filter(|takes| *takes > 0.0);
        let least = least.fold(f64::INFINITY, f64::min);
        let penalty = if least.is_finite() { 1.25 * range / least } else { 0.0 };
        let capacities = capacities.iter().map(|&capacity| capacity as f64).collect();
        Ok(Self { agents, jobs, table, capacities, penalty, range: usual })
    }

    /// How many jobs.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Inverse temperatures: from a third of the range of costs to an eightieth of it.
    pub fn betas(&self) -> [f64; 2] {
        [3.0 / self.range, 80.0 / self.range]
    }

    /// Whether no agent has more than it can.
    pub fn is_feasible(&self, state: &Assigned) -> bool {
        state.loads.iter().zip(&self.capacities).all(|(load, capacity)| load <= capacity)
    }

    fn entry(&self, job: usize, agent: u32) -> (f64, f64) {
        self.table[job * self.agents + agent as usize]
    }

    fn over(&self, agent: u32, load: f64) -> f64 {
        (load - self.capacities[agent as usize]).max(0.0)
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
        let mut loads = vec![0.0; self.agents];
        agents.iter().enumerate().for_each(|(job, &agent)| loads[agent as usize] += self.entry(job, agent).1);
        Assigned { agents, loads }
    }

    fn energy(&self, state: &Assigned) -> f64 {
        let cost: f64 = state.agents.iter().enumerate().map(|(job, &agent)| self.entry(job, agent).0).sum();
        let over = |agent: usize| self.over(agent as u32, state.loads[agent]);
        cost + self.penalty * (0..self.agents).map(over).sum::<f64>()
    }

    fn proposals(&self) -> usize {
        2 * self.jobs
    }

    fn propose(
        &self,
        state: &mut Assigned,
        rng: &mut impl RngExt,
        mut accepts: impl FnMut(f64, f32) -> bool,
    ) -> Option<f64> {
        let job = rng.random_range(0..self.jobs as u32) as usize;
        let from = state.agents[job];
        let (cost, takes) = self.entry(job, from);
        if rng.random() {
            let to = rng.random_range(0..self.agents as u32);
            let (other, more) = self.entry(job, to);
            let over = self.overload(state, from, -takes) + self.overload(state, to, more);
            let change = other - cost + self.penalty * over;
            if to == from || !accepts(change, rng.random()) {
                return None;
            }
            state.agents[job] = to;
            state.loads[from as usize] -= takes;
            state.loads[to as usize] += more;
            return Some(change);
        }
        let second = rng.random_range(0..self.jobs as u32) as usize;
        let to = state.agents[second];
        if from == to {
            return None;
        }
        let (back, less) = self.entry(second, to);
        let ((there, more), (here, added)) = (self.entry(job, to), self.entry(second, from));
        let (change_from, change_to) = (added - takes, more - less);
        let over = self.overload(state, from, change_from) + self.overload(state, to, change_to);
        let change = there + here - cost - back + self.penalty * over;
        if !accepts(change, rng.random()) {
            return None;
        }
        (state.agents[job], state.agents[second]) = (to, from);
        state.loads[from as usize] += change_from;
        state.loads[to as usize] += change_to;
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use thermograd::Key;

    use super::*;

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
