//! The command line.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use thermograd::{Key, Shards};

use crate::instance::Instance;

/// Hard problems solved by thermal noise: best cuts, binary forms, shortest tours, assignments and partitions.
///
/// A problem is a landscape of energy, and noise finds its way down: replicas at several temperatures (tempering), cooling
/// (annealing), or, for spins, bistable units that choose sides as they are cooled (langevin). Without a problem it plans a tour through
/// 60 random cities.
#[derive(Parser, Debug)]
#[command(
    name = "optimize",
    version,
    max_term_width = 100,
    after_help = "Examples:
  optimize                                         a tour through 60 random cities
  optimize maxcut G14.txt --seconds 1 --runs 10 --optimum 3064
  optimize tour berlin52.tsp                       an optimum is read from berlin52.opt.tour beside it
  optimize qubo problem.qubo --solver annealing
  optimize partition --random 60 --bits 40"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub problem: Option<Problem>,
    #[command(flatten)]
    pub common: Common,
}

/// What is solved.
#[derive(Subcommand, Debug)]
pub enum Problem {
    /// The largest cut of a weighted graph.
    Maxcut {
        /// A graph in the format of the G-set; one of 200 nodes is made if it is not given.
        file: Option<PathBuf>,
    },
    /// The lowest energy of a binary or a spin model.
    Qubo {
        /// .qubo (qbsolv), .bqm.json or .coo (dimod); one of 100 spins is made if it is not given.
        file: Option<PathBuf>,
    },
    /// The shortest closed tour of some cities.
    Tour {
        /// A .tsp file of TSPLIB; --random cities are made if it is not given.
        file: Option<PathBuf>,
        /// How many random cities.
        #[arg(long, value_name = "N", default_value_t = 60, conflicts_with = "file")]
        random: usize,
    },
    /// The cheapest assignment of jobs to agents of limited capacity.
    Assign {
        /// A file of the OR-Library; one of --agents and --jobs is made if it is not given.
        file: Option<PathBuf>,
        /// How many random agents.
        #[arg(long, value_name = "N", default_value_t = 8, conflicts_with = "file")]
        agents: usize,
        /// How many random jobs.
        #[arg(long, value_name = "N", default_value_t = 32, conflicts_with = "file")]
        jobs: usize,
        /// Which problem of the file, from 1.
        #[arg(long, value_name = "K", default_value_t = 1)]
        problem: usize,
        /// The numbers are profits: the largest sum is looked for.
        #[arg(long)]
        maximise: bool,
    },
    /// Numbers divided into two halves of equal sums.
    Partition {
        /// Positive whole numbers, separated by spaces or lines; --random numbers are made if it is not given.
        file: Option<PathBuf>,
        /// How many random numbers.
        #[arg(long, value_name = "N", default_value_t = 40, conflicts_with = "file")]
        random: usize,
        /// Of how many bits.
        #[arg(long, value_name = "B", default_value_t = 30, conflicts_with = "file")]
        bits: u32,
    },
}

/// How it is solved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// Replicas at several temperatures, which they exchange.
    Tempering,
    /// Chains that are cooled, again and again.
    Annealing,
    /// Bistable units that are cooled through their bifurcation: spins only.
    Langevin,
}

/// Flags of every problem.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// What looks for the solution.
    #[arg(long, global = true, value_enum, default_value_t = Solver::Tempering, help_heading = "Search")]
    pub solver: Solver,
    /// Replicas or chains side by side [default: chosen by solver and problem].
    #[arg(long, global = true, value_name = "N", help_heading = "Search")]
    pub replicas: Option<usize>,
    /// Replicas at one temperature also exchange clusters: for sparse graphs.
    #[arg(long, global = true, help_heading = "Search")]
    pub clusters: bool,
    /// Sweeps of annealing, or steps of langevin, from hot to cold [default: 1000, 4000 of langevin].
    #[arg(long, global = true, value_name = "N", help_heading = "Search")]
    pub anneal: Option<usize>,

    /// Seconds of every run, on its thread; with --sweeps, whichever comes first [default: 2, none with --sweeps].
    #[arg(long, global = true, value_name = "S", allow_negative_numbers = true, help_heading = "How long")]
    pub seconds: Option<f64>,
    /// Sweeps of every run: the same seed and sweeps give the same answer.
    #[arg(long, global = true, value_name = "N", help_heading = "How long")]
    pub sweeps: Option<usize>,
    /// A run ends when it has reached this objective.
    #[arg(long, global = true, value_name = "X", allow_negative_numbers = true, help_heading = "How long")]
    pub target: Option<f64>,
    /// Independent runs.
    #[arg(long, global = true, value_name = "N", default_value_t = 4, help_heading = "How long")]
    pub runs: usize,
    /// Runs at the same time; results of given sweeps do not depend on it [default: all cores].
    #[arg(long, global = true, value_name = "N", help_heading = "How long")]
    pub threads: Option<usize>,

    /// The best objective that is known: gaps and times to solution are told against it.
    #[arg(long, global = true, value_name = "X", allow_negative_numbers = true, help_heading = "Judgement")]
    pub optimum: Option<f64>,
    /// A run is a success at this part of the optimum, such as 0.999 of a cut or 1.01 of a length.
    #[arg(long, global = true, value_name = "F", default_value_t = 1.0, help_heading = "Judgement")]
    pub within: f64,
    /// Energy of an attempted move, in J.
    #[arg(
        long,
        global = true,
        value_name = "J",
        allow_negative_numbers = true,
        default_value_t = 1e-15,
        help_heading = "Judgement"
    )]
    pub flip_joules: f64,

    /// Bits of the couplings that the solver has; spins only.
    #[arg(long, global = true, value_name = "N", help_heading = "Imprecision")]
    pub coupling_bits: Option<u32>,
    /// Relative s.d. of its couplings.
    #[arg(long, global = true, value_name = "SD", help_heading = "Imprecision")]
    pub mismatch: Option<f64>,
    /// The strongest couplings that a spin keeps.
    #[arg(long, global = true, value_name = "N", help_heading = "Imprecision")]
    pub fan_in: Option<usize>,
    /// Its temperatures are this multiple of what they should be.
    #[arg(long, global = true, value_name = "F", help_heading = "Imprecision")]
    pub temperature: Option<f64>,

    /// Seed of everything random.
    #[arg(long, global = true, default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// Run folder to make [default: runs/optimize-PROBLEM-N].
    #[arg(long, global = true, value_name = "DIR", help_heading = "Run")]
    pub out: Option<PathBuf>,
    /// Also write the problem as spins with couplings: .bqm.json, .coo, .qubo, .gset, .npz and others.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Run")]
    pub export: Option<PathBuf>,
    /// In that file, what a broken constraint of a tour costs, over the longest distance.
    #[arg(long, global = true, value_name = "A", default_value_t = 1.0, help_heading = "Run")]
    pub penalty: f64,
}

/// Seconds of a run where nothing else is asked for.
const SECONDS: f64 = 2.0;

/// What config.toml says.
#[derive(Serialize)]
pub struct Settings {
    version: String,
    problem: String,
    solver: Solver,
    seed: u64,
    runs: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweeps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<usize>,
    clusters: bool,
    anneal: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<f64>,
    within: f64,
    flip_joules: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupling_bits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fan_in: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
}

impl Common {
    /// Refuses numbers that mean nothing.
    pub fn check(&self) -> Result<()> {
        let seconds = self.seconds.unwrap_or(1.0);
        ensure!(seconds > 0.0 && seconds < 1e7, "--seconds {seconds}: between 0 and 1e7 are possible");
        ensure!(
            self.sweeps.is_none_or(|sweeps| sweeps > 0 && sweeps < 4_000_000_000),
            "--sweeps: 1 to 4e9 are possible"
        );
        ensure!(
            (1..=100_000).contains(&self.runs),
            "--runs {}: between 1 and 100000 are possible",
            self.runs
        );
        ensure!(self.threads != Some(0), "--threads: at least one is needed");
        ensure!(
            self.replicas.is_none_or(|replicas| (2..=4096).contains(&replicas)),
            "--replicas: between 2 and 4096 are possible"
        );
        ensure!(
            (1..=100_000_000).contains(&self.cooling()),
            "--anneal {}: 1 to 1e8 are possible",
            self.cooling()
        );
        ensure!(
            self.flip_joules >= 0.0 && self.flip_joules.is_finite(),
            "--flip-joules {}: it must be finite and not negative",
            self.flip_joules
        );
        ensure!(
            self.within > 0.0 && self.within.is_finite(),
            "--within {}: it must be positive",
            self.within
        );
        ensure!(
            self.penalty > 0.0 && self.penalty.is_finite(),
            "--penalty {}: it must be positive",
            self.penalty
        );
        let target = [self.target, self.optimum].into_iter().flatten().all(f64::is_finite);
        ensure!(target, "--target and --optimum: they must be finite");
        ensure!(
            self.temperature.is_none_or(|factor| (1e-6..=1e6).contains(&factor)),
            "--temperature: between 1e-6 and 1e6 are possible"
        );
        Ok(())
    }

    /// Sweeps or steps from hot to cold.
    pub fn cooling(&self) -> usize {
        self.anneal.unwrap_or(if self.solver == Solver::Langevin { 4000 } else { 1000 })
    }

    /// Seconds of a run, if they are limited.
    pub fn limit(&self) -> Option<f64> {
        self.seconds.or_else(|| self.sweeps.is_none().then_some(SECONDS))
    }

    /// Runs on threads.
    pub fn shards(&self) -> Shards {
        let free = std::thread::available_parallelism().map_or(1, usize::from);
        Shards { size: 1, threads: self.threads.unwrap_or(free) }
    }

    /// The key of the seed.
    pub fn key(&self) -> Key {
        Key::new(self.seed)
    }

    /// What config.toml says.
    pub fn settings(&self, instance: &Instance) -> Settings {
        Settings {
            version: thermograd_experiments::workbench::version(),
            problem: instance.described(),
            solver: self.solver,
            seed: self.seed,
            runs: self.runs,
            seconds: self.limit(),
            sweeps: self.sweeps,
            replicas: self.replicas,
            clusters: self.clusters,
            anneal: self.cooling(),
            target: self.target,
            within: self.within,
            flip_joules: self.flip_joules,
            coupling_bits: self.coupling_bits,
            mismatch: self.mismatch,
            fan_in: self.fan_in,
            temperature: self.temperature,
        }
    }
}
