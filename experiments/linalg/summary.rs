//! summary.json, and what is printed.

use faer::Mat;
use serde::Serialize;
use thermograd_experiments::say;
use thermograd_models::linear::answer::{Answer, Outcome, Search};
use thermograd_models::linear::cost::{cholesky_macs, driven, programming};
use thermograd_models::linear::machine::{Device, Machine};
use thermograd_models::linear::plan::{CHAINS, LONG_BURN_IN, Until};
use thermograd_models::linear::problem::{Problem, Program};
use thermograd_models::linear::reference::Digital;

use crate::arguments::{Common, digital};

/// The numbers of a run.
#[derive(Serialize)]
pub struct Summary {
    /// What was asked.
    pub task: String,
    /// Of which machine.
    pub device: String,
    pub seed: u64,
    /// Unknowns.
    pub dimension: usize,
    /// The fastest rate of the machine over its slowest.
    pub condition: f64,
    /// The error that was asked for, relative or absolute.
    pub error_promised: Option<f64>,
    /// The standard error that the chains tell.
    pub error_estimated: f64,
    /// The distance from the digital answer.
    pub error: Option<f64>,
    /// Whether errors are relative to the norm of the answer.
    pub error_is_relative: bool,
    /// Averaged and left out, of all chains and machines one after the other, in slowest time constants.
    pub time_constants: f64,
    /// Of them, averaged.
    pub time_constants_averaged: f64,
    /// By theory, for the error that was asked for.
    pub time_constants_planned: Option<f64>,
    /// The same on one device, at the given R and C.
    pub seconds_device: f64,
    /// Heat of programming every chain once, in kT.
    pub heat_kt: Option<f64>,
    /// Heat where noise is made by amplifiers, over the whole time, in kT.
    pub heat_driven_kt: f64,
    /// Independent readings.
    pub effective: f64,
    /// τ_int over the slowest time constant.
    pub tau_int: f64,
    pub chains: usize,
    /// Multiply–accumulates of a digital solver, for a system of equations.
    pub macs_digital: f64,
    /// Joules of them.
    pub joules_digital: f64,
    /// Of the simulation.
    pub seconds_simulation: f64,
    /// Whether it ended by itself.
    pub finished: bool,
}

impl Summary {
    #[expect(clippy::too_many_arguments, reason = "it is a record of all of them")]
    pub fn new(
        task: &str,
        common: &Common,
        device: Device,
        problem: &Problem,
        program: &Program,
        search: &Search,
        outcome: &Outcome,
        truth: Option<&Mat<f64>>,
        seconds: f64,
    ) -> Self {
        let (answer, slowest) = (&outcome.answer, program.slowest());
        let part = &program.parts[0];
        let time = answer.time + answer.burn_in;
        let n = problem.matrix().nrows();
        let b = match problem {
            Problem::Solve { b, .. } => b.clone(),
            _ => vec![0.0; n],
        };
        let begun = (search.chains * program.parts.len()) as f64;
        let mean = if b.iter().any(|b| *b != 0.0) { answer.mean.clone() } else { Mat::zeros(n, 1) };
        let powers = program.parts.iter().map(|part| driven(&part.machine));
        let power = match problem {
            // ½ tr D, in the units of ½|x|².
            Problem::Lyapunov { d, .. } => 0.5 * (0..n).map(|i| d[(i, i)]).sum::<f64>(),
            _ => powers.sum::<f64>() / program.parts.len() as f64,
        };
        let macs = cholesky_macs(n);
        Self {
            task: task.into(),
            device: match device {
                Device::Rc => "rc".into(),
                Device::Underdamped { .. } => "underdamped".into(),
                Device::Rlc { .. } => "rlc".into(),
            },
            seed: common.seed,
            dimension: n,
            condition: part.machine.system.fastest() * part.machine.slowest(),
            error_promised: match search.until {
                Until::Error(error) => Some(error),
                Until::Time(_) => None,
            },
            error_estimated: answer.widened(),
            error: truth.map(|truth| answer.error_of(truth)),
            error_is_relative: answer.relative,
            time_constants: time / slowest,
            time_constants_averaged: answer.time / slowest,
            time_constants_planned: outcome.planned.map(|time| time / slowest),
            seconds_device: time * common.ohms * common.farads,
            heat_kt: (!matches!(problem, Problem::Lyapunov { .. }))
                .then(|| begun * programming(&mean, &b, common.kt) / common.kt),
            heat_driven_kt: time * power,
            effective: answer.effective,
            tau_int: answer.tau / slowest,
            chains: search.chains,
            macs_digital: macs,
            joules_digital: 2.0 * macs * common.flop_joules,
            seconds_simulation: seconds,
            finished: outcome.finished,
        }
    }

    /// What errors are, in a word.
    pub fn kind(&self) -> &'static str {
        if self.error_is_relative { "relative" } else { "absolute" }
    }

    /// The heat of programming, in words.
    pub fn heat(&self) -> String {
        self.heat_kt.map_or("unknown".into(), |heat| format!("{heat:.3e} kT"))
    }

    pub fn print(&self, answer: &Answer) {
        let kind = self.kind();
        let shown = |matrix: &Mat<f64>| {
            let values = (0..matrix.nrows().min(5)).map(|i| format!("{:.4}", matrix[(i, 0)]));
            values.collect::<Vec<_>>().join(" ")
        };
        let more = if answer.mean.nrows() > 5 { " …" } else { "" };
        let column = if answer.mean.ncols() > 1 { "first column " } else { "" };
        say!("\n  answer              {column}{}{more}", shown(&answer.mean));
        say!("  standard errors     {}{more}", shown(&(&answer.error * faer::Scale(answer.widening()))));
        let promised =
            self.error_promised.map_or("none was asked for".into(), |error| format!("{error} asked for"));
        say!("  error               {:.4} {kind} standard error; {promised}", self.error_estimated);
        match self.error {
            Some(error) => say!("  digital answer      {error:.4} away, {kind}"),
            None => say!("  digital answer      not asked"),
        }
        say!(
            "  time                {:.4e} slowest time constants, {:.3e} s on one device",
            self.time_constants,
            self.seconds_device
        );
        say!(
            "  readings            {:.3e} independent ones; autocorrelation time {:.3} time constants",
            self.effective,
            self.tau_int
        );
        say!(
            "  heat                {} of programming; {:.3e} kT if amplifiers make the noise",
            self.heat(),
            self.heat_driven_kt
        );
        say!(
            "  digital solver      {:.3e} multiply–accumulates for one system, {:.2e} J",
            self.macs_digital,
            self.joules_digital
        );
        say!("  simulated in        {:.2} s", self.seconds_simulation);
    }
}

/// The numbers of samples.
#[derive(Serialize)]
pub struct Sampled {
    task: &'static str,
    seed: u64,
    pub dimension: usize,
    pub samples: usize,
    /// The largest correlation of one sample of a chain with the next: e^(−spacing).
    pub correlation: f64,
    /// The relative distance of the covariance of the samples from that of the distribution, if a digital solver told it.
    pub covariance_error: Option<f64>,
    /// What independent samples would have.
    pub covariance_error_expected: Option<f64>,
    pub time_constants: f64,
    pub seconds_device: f64,
}

impl Sampled {
    pub fn new(
        common: &Common,
        machine: &Machine,
        all: &Mat<f64>,
        spacing: f64,
        (a, b): (&Mat<f64>, &[f64]),
    ) -> Self {
        let (count, n) = (all.nrows(), all.ncols());
        let truth = match common.blind || n > 2048 {
            true => None,
            false => digital().inverse(a).ok().zip(digital().solve(a, b).ok()),
        };
        let errors = truth.map(|(inverse, centre)| {
            let inverse = inverse * faer::Scale(common.kt);
            let off = Mat::from_fn(count, n, |k, i| all[(k, i)] - centre[(i, 0)]);
            let found = off.transpose() * &off * faer::Scale(1.0 / count as f64);
            let trace: f64 = (0..n).map(|i| inverse[(i, i)]).sum();
            // E‖Σ̂ − Σ‖² of independent samples: ((tr Σ)² + ‖Σ‖²)/N.
            let expected = ((trace * trace + inverse.squared_norm_l2()) / count as f64).sqrt();
            ((&found - &inverse).norm_l2() / inverse.norm_l2(), expected / inverse.norm_l2())
        });
        let chains = common.chains.unwrap_or(CHAINS).min(count) as f64;
        let time_constants = chains * LONG_BURN_IN + count as f64 * spacing;
        Self {
            task: "sample",
            seed: common.seed,
            dimension: n,
            samples: count,
            correlation: (-spacing).exp(),
            covariance_error: errors.map(|errors| errors.0),
            covariance_error_expected: errors.map(|errors| errors.1),
            time_constants,
            seconds_device: time_constants * machine.slowest() * common.ohms * common.farads,
        }
    }

    pub fn print(&self) {
        say!("\n  samples             {} of {} numbers", self.samples, self.dimension);
        say!(
            "  correlation         about {:.2e}, of a sample with the one before in its chain",
            self.correlation
        );
        if let (Some(error), Some(expected)) = (self.covariance_error, self.covariance_error_expected) {
            say!(
                "  covariance          {error:.4} away from that of the distribution, relative; independent samples: {expected:.4}"
            );
        }
        say!(
            "  time                {:.4e} slowest time constants, {:.3e} s on one device",
            self.time_constants,
            self.seconds_device
        );
    }
}
