//! summary.json, and what is printed.

use serde::Serialize;
use thermograd_experiments::say;
use thermograd_experiments::workbench::interrupted;
use thermograd_models::optimize::judge::{TimeToSolution, time_to_solution};

use crate::arguments::{Common, Solver};
use crate::instance::{Instance, Kind};
use crate::runs::{Done, best};

/// The numbers of all runs.
#[derive(Serialize)]
pub struct Summary {
    /// What was solved.
    pub problem: &'static str,
    pub instance: String,
    pub solver: Solver,
    pub seed: u64,
    pub runs: usize,
    /// What the objective is.
    pub objective_is: &'static str,
    /// Of the best solution that breaks no constraint, recomputed from the problem.
    pub objective: Option<f64>,
    pub feasible: bool,
    pub runs_feasible: usize,
    /// Of every run.
    pub objectives: Vec<Option<f64>>,
    /// By how much every run breaks constraints in what came nearest: 0 of those that found a solution.
    pub violations: Vec<Option<i64>>,
    /// Of feasible runs.
    pub mean: Option<f64>,
    /// Of langevin before descent, the best.
    pub objective_of_signs: Option<f64>,
    pub optimum: Option<f64>,
    /// From the optimum, as a part of it; as it is where that is zero.
    pub gap: Option<f64>,
    /// Runs that reached the optimum, or `within` of it.
    pub successes: Option<usize>,
    pub within: f64,
    /// Seconds to a solution with 99 %, and its interval; none where runs ended early, at a target or by hand.
    pub tts99: Option<TimeToSolution>,
    /// Of a run, on average.
    pub seconds: f64,
    /// Of a run, on average.
    pub sweeps: f64,
    /// Moves proposed in a run, on average.
    pub flips: f64,
    /// Moves made in a run, on average; none of langevin.
    pub flips_accepted: Option<f64>,
    pub joules: f64,
    /// The differencing of Karmarkar and Karp, beside partitions.
    pub differencing: Option<i64>,
}

impl Summary {
    pub fn new(instance: &Instance, common: &Common, all: &[Done]) -> Self {
        let objective = best(instance, all).and_then(Done::objective);
        let feasible: Vec<f64> = all.iter().filter_map(Done::objective).collect();
        let count = all.len() as f64;
        let mean = |of: &dyn Fn(&Done) -> f64| all.iter().map(of).sum::<f64>() / count;
        let seconds = mean(&|done| done.seconds);
        let wanted = instance.optimum.map(|optimum| common.within * optimum);
        let successes = wanted
            .map(|wanted| feasible.iter().filter(|&&objective| instance.reaches(objective, wanted)).count());
        let raw = all.iter().filter_map(|done| done.raw);
        let flips = mean(&|done| done.attempted);
        let accepted: Option<Vec<u64>> = all.iter().map(|done| done.accepted).collect();
        Self {
            problem: instance.name(),
            instance: instance.described(),
            solver: common.solver,
            seed: common.seed,
            runs: all.len(),
            objective_is: instance.objective(),
            objective,
            feasible: objective.is_some(),
            runs_feasible: feasible.len(),
            objectives: all.iter().map(Done::objective).collect(),
            violations: all.iter().map(|done| done.worth.map(|worth| worth.violations)).collect(),
            mean: (!feasible.is_empty())
                .then(|| feasible.iter().map(|objective| objective / feasible.len() as f64).sum::<f64>()),
            objective_of_signs: raw.reduce(|a, b| if instance.reaches(a, b) { a } else { b }),
            optimum: instance.optimum,
            gap: objective.and_then(|objective| instance.gap(objective)),
            successes,
            within: common.within,
            // (44) is of runs of one length.
            tts99: successes
                .filter(|_| common.target.is_none() && !interrupted())
                .and_then(|successes| time_to_solution(seconds, successes, all.len())),
            seconds,
            sweeps: mean(&|done| done.sweeps as f64),
            flips,
            flips_accepted: accepted.map(|all| all.iter().sum::<u64>() as f64 / count),
            joules: flips * common.flip_joules,
            differencing: match &instance.kind {
                Kind::Partition(numbers) => Some(numbers.differencing()),
                _ => None,
            },
        }
    }

    /// Moves of a run, in words.
    pub fn moves(&self) -> String {
        let made = self.flips_accepted.map_or(String::new(), |made| format!(" and {made:.3e} made"));
        format!("{:.3e} moves tried{made}", self.flips)
    }

    /// By how little the run that comes nearest breaks constraints, if none keeps them.
    pub fn nearest(&self) -> Option<i64> {
        if self.feasible { None } else { self.violations.iter().copied().flatten().min() }
    }

    /// How far the best is from the best that is known, in words.
    pub fn distance(&self) -> Option<String> {
        let (optimum, gap) = (self.optimum?, self.gap?);
        let gap = if optimum == 0.0 { format!("{gap}") } else { format!("{:.3} %", 100.0 * gap) };
        Some(format!("{optimum}, gap {gap}"))
    }

    /// Seconds to a solution and their interval, in words.
    pub fn time(&self) -> Option<String> {
        let tts = self.tts99?;
        let value = tts.seconds.map_or("unknown".into(), |seconds| format!("{seconds:.3} s"));
        let most = tts.most.map_or("no bound".into(), |most| format!("{most:.3} s"));
        Some(format!("{value} with 99 % (95 % interval {:.3} s to {most})", tts.least))
    }

    pub fn print(&self) {
        match self.objective {
            Some(objective) => say!("\n  {:<18}  {objective}", self.objective_is),
            None => say!("\n  {:<18}  none that keeps all constraints", self.objective_is),
        }
        if let Some(signs) = self.objective_of_signs {
            say!("  before descent      {signs}");
        }
        if let (Some(mean), true) = (self.mean, self.runs > 1) {
            say!("  runs                {} of {}, {mean:.2} on average", self.runs_feasible, self.runs);
        }
        if let Some(differencing) = self.differencing {
            say!("  differencing        {differencing} (Karmarkar and Karp)");
        }
        if let Some(distance) = self.distance() {
            say!("  best known          {distance}");
            if self.gap.is_some_and(|gap| gap < 0.0) {
                say!("                      better than the best known: is that number right?");
            }
        }
        if let (Some(successes), Some(time)) = (self.successes, self.time()) {
            let within = if self.within == 1.0 { String::new() } else { format!(" within {}", self.within) };
            say!("  reached it{within}          {successes} of {} runs", self.runs);
            say!("  time to solution    {time}");
        }
        say!(
            "  a run               {:.2} s, {:.3e} sweeps, {}, {:.2e} J at the price of a try",
            self.seconds,
            self.sweeps,
            self.moves(),
            self.joules
        );
    }
}
