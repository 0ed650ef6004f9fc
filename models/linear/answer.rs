//! Runs the machines of a program until their answer is good enough.
//!
//! Averages are looked at after times that grow by 30 % each, and at the time that (32) says is needed. A run ends at a look at or
//! after that time at which the standard error of the answer, widened by Student's t where chains are few, is at most what was asked
//! for; where (32) does not tell, at the second such look in a row. It is the rule of Y. S. Chow and H. Robbins (Ann. Math. Stat. 36, 457,
//! 1965) with looks that are apart, so that an error that is small by chance is not looked for often. What the chains tell at that look is
//! a little too small for having been looked for: with ten chains or more by less than a tenth, with two by much more, which is what it
//! is widened for.
//!
//! Chains start at x = 0, and what is left of that after a burn-in of B slowest time constants is the same in all of them: their
//! spread does not tell it. B is long enough for it to be a twentieth of the error that is asked for, and ten for a given time.

use std::ops::ControlFlow;

use faer::Mat;
use thermograd::{Key, Shards};

use crate::error::{Error, Result};
use crate::linear::averages::{Averages, Estimate, Pace};
use crate::linear::plan::{Until, quantile, widening};
use crate::linear::problem::Program;

/// How an answer is looked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Search {
    /// When it ends.
    pub until: Until,
    /// Chains of every machine.
    pub chains: usize,
    /// Single precision.
    pub single: bool,
}

/// Slowest time constants of a chain before the first look.
const FIRST: f64 = 2.0;

/// Between looks.
const GROWTH: f64 = 1.3;

/// Looks, at most: 1.3 to this power is 1e10.
const LOOKS: usize = 90;

/// Steps, at most: they are numbered in 32 bits.
const MOST: f64 = 4e9;

/// Looks after which an error must be a number.
const PATIENCE: usize = 12;

/// Multiplications between two moments at which a run can be stopped.
const STRETCH: f64 = 3e8;

/// What machines have answered so far.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer.
    pub mean: Mat<f64>,
    /// The standard error of every entry.
    pub error: Mat<f64>,
    /// For averages of x: its variance in time.
    pub variance: Vec<f64>,
    /// Groups that the errors are told from.
    pub groups: usize,
    /// The smallest N_eff of the averages.
    pub effective: f64,
    /// The largest τ_int of the averages, in device time.
    pub tau: f64,
    /// Averaged, of all chains and machines together, in device time.
    pub time: f64,
    /// Left out, likewise.
    pub burn_in: f64,
    /// Whether the error is relative.
    pub relative: bool,
}

/// A look at a run.
#[derive(Clone, Debug)]
pub struct Look {
    /// Averaged, in device time.
    pub time: f64,
    /// The error that the chains tell, relative or absolute as asked.
    pub error: f64,
    /// The same, wider for few chains.
    pub widened: f64,
    /// The answer at that time, unless it is too large to be kept.
    pub mean: Option<Mat<f64>>,
}

/// An answer, and how it came about.
pub struct Outcome {
    /// The last answer.
    pub answer: Answer,
    /// Every look.
    pub looks: Vec<Look>,
    /// The time that (32) says is needed, in device time.
    pub planned: Option<f64>,
    /// Whether it ended by itself.
    pub finished: bool,
    /// Why it cannot reach the error that was asked for, if it cannot.
    pub hopeless: Option<String>,
    /// The machines.
    pub runs: Vec<Averages>,
}

impl Answer {
    /// The norm, less what noise adds to it.
    pub fn norm(&self) -> f64 {
        (self.mean.squared_norm_l2() - self.error.squared_norm_l2()).max(0.0).sqrt()
    }

    /// √Σ s.e.², over the norm where errors are relative.
    pub fn standard_error(&self) -> f64 {
        self.error.norm_l2() / if self.relative { self.norm() } else { 1.0 }
    }

    /// The standard error, as much wider as an interval of 95 % is for so few groups.
    pub fn widened(&self) -> f64 {
        self.standard_error() * self.widening()
    }

    /// How much wider that is.
    pub fn widening(&self) -> f64 {
        widening(self.groups)
    }

    /// Refuses numbers that are not finite.
    ///
    /// # Errors
    /// [`Error::Request`] with the first of them.
    pub fn check(&self) -> Result<()> {
        for (what, all) in [("the answer", &self.mean), ("the error of the answer", &self.error)] {
            for j in 0..all.ncols() {
                for i in 0..all.nrows() {
                    if !all[(i, j)].is_finite() {
                        return Err(Error::Request(format!(
                            "{what} is {} in row {i}, column {j}: numbers went beyond double precision; scale A, b, kT or the noise \
                             of readings",
                            all[(i, j)]
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    /// ‖answer − truth‖, over ‖truth‖ where errors are relative.
    pub fn error_of(&self, truth: &Mat<f64>) -> f64 {
        (&self.mean - truth).norm_l2() / if self.relative { truth.norm_l2() } else { 1.0 }
    }

    /// How many standard errors an interval reaches to each side, at a level such as 0.95.
    pub fn quantile(&self, level: f64) -> f64 {
        quantile(self.groups, level)
    }
}

/// Runs a program. `progress` is told the fraction that is done, as far as is known, and the error at the last look; it can end
/// the run, which then answers with what it has.
///
/// # Errors
/// [`Error::Request`] for a search that cannot end, and for a single chain that is too short for an interval; those of
/// [`Averages::reach`].
pub fn answer(
    program: &Program,
    search: Search,
    shards: Shards,
    key: Key,
    mut progress: impl FnMut(f64, Option<f64>) -> ControlFlow<()>,
) -> Result<Outcome> {
    let (what, wanted) = match search.until {
        Until::Error(error) => ("an error", error),
        Until::Time(time) => ("a time", time),
    };
    if !(wanted > 0.0 && wanted.is_finite()) {
        return Err(Error::Request(format!("{what} of {wanted}: it must be positive and finite")));
    }
    let (slowest, parts) = (program.slowest(), program.parts.len() as f64);
    let streams = search.chains as f64 * parts;
    let mut runs = Vec::new();
    for (index, part) in program.parts.iter().enumerate() {
        let burn_in = search.until.burn_in() * slowest / part.h;
        if burn_in > MOST {
            return Err(Error::Request(format!(
                "the slowest time constant is {:.3e} times the fastest, and even the burn-in takes too many steps",
                slowest / part.h
            )));
        }
        let burn_in = burn_in.ceil() as usize;
        let pace = Pace { h: part.h, burn_in, chains: search.chains, single: search.single };
        let key = key.fork("machine").at(index as u64);
        runs.push(Averages::new(part.machine.clone(), part.observable.clone(), pace, shards, key)?);
    }
    let (mut looks, mut planned) = (Vec::<Look>::new(), None);
    let mut end = match search.until {
        Until::Time(time) => time * slowest / streams,
        Until::Error(_) if search.chains == 1 => 400.0 * slowest,
        Until::Error(_) => FIRST * slowest,
    };
    let mut target = end;
    let steps = |time: f64| program.parts.iter().map(|part| time / part.h).fold(0.0, f64::max);
    if steps(end) > MOST {
        return Err(Error::Request(format!("that is {:.3e} steps, and {MOST:.0e} are possible", steps(end))));
    }
    for (run, part) in runs.iter_mut().zip(&program.parts) {
        run.cut((end / part.h).round() as usize);
    }
    loop {
        // In stretches, so that it can be stopped.
        let begun = runs[0].averaged() as f64 * program.parts[0].h;
        let size = program.parts[0].machine.system.size() as f64;
        let stretch = program.parts[0].h * (STRETCH / (size * (size + 20.0) * streams)).max(1.0);
        let mut time = begun;
        let mut stopped = false;
        while time < end && !stopped {
            time = end.min(time + stretch);
            for (run, part) in runs.iter_mut().zip(&program.parts) {
                run.reach((time / part.h).round() as usize)?;
            }
            let error = looks.last().map(|look| look.error);
            stopped = progress((time / target).min(1.0), error).is_break();
        }
        let answer = match combined(program, &runs, search.until.burn_in()) {
            Ok(answer) => answer,
            Err(_) if stopped => {
                return Err(Error::Request("stopped before there was anything to average".into()));
            }
            Err(error) => return Err(error),
        };
        let (error, before) = (answer.standard_error(), looks.last().map(|look| look.widened));
        let widened = answer.widened();
        if !error.is_finite() && looks.len() >= PATIENCE {
            return Err(Error::Request(
                "the answer is not told from zero or not finite, and no error is relative to that; average for a time instead".into(),
            ));
        }
        let kept = answer.mean.nrows() * answer.mean.ncols() <= 1 << 16;
        looks.push(Look { time: answer.time, error, widened, mean: kept.then(|| answer.mean.clone()) });
        let (finished, next) = match search.until {
            Until::Time(_) => (true, end),
            Until::Error(wanted) => {
                let norm = program.norm.unwrap_or(answer.norm());
                planned = program.planned(wanted, norm).or(planned);
                let least = planned.filter(|time| time.is_finite()).unwrap_or(0.0);
                // What (32) says, or else how the error of the chains goes on.
                let expected = answer.time * (widened / wanted).powi(2);
                target = least.max(expected.min(1e12 * answer.time)) / streams;
                let twice = widened <= wanted && before.is_some_and(|before| before <= wanted || least > 0.0);
                (twice && answer.time >= least * (1.0 - 1e-9), end * GROWTH)
            }
        };
        let hopeless = (!finished && looks.len() >= PATIENCE && steps(target) > MOST).then(|| {
            format!("it would take {:.1e} steps of every chain, and {MOST:.0e} are possible", steps(target))
        });
        if finished || stopped || hopeless.is_some() {
            return Ok(Outcome { answer, looks, planned, finished, hopeless, runs });
        }
        if looks.len() >= LOOKS {
            return Err(Error::Request(format!("an error of {wanted} was not reached; it is {error}")));
        }
        // A look at the time that is needed, if it comes before the next one.
        end = if target > end && target < next { target } else { next };
    }
}

/// The weighted sum of the averages.
fn combined(program: &Program, runs: &[Averages], burn_in: f64) -> Result<Answer> {
    let estimates = runs.iter().map(Averages::estimate).collect::<Result<Vec<Estimate>>>()?;
    let (rows, columns) = (estimates[0].mean.nrows(), estimates[0].mean.ncols());
    let weighted = || estimates.iter().zip(&program.parts).map(|(estimate, part)| (estimate, part.weight));
    let mean = Mat::from_fn(rows, columns, |i, j| {
        program.offset + weighted().map(|(estimate, weight)| weight * estimate.mean[(i, j)]).sum::<f64>()
    });
    let error = Mat::from_fn(rows, columns, |i, j| {
        weighted().map(|(estimate, weight)| (weight * estimate.error[(i, j)]).powi(2)).sum::<f64>().sqrt()
    });
    let share = 1.0 / estimates.len() as f64;
    let variance = (0..estimates[0].variance.len())
        .map(|k| share * estimates.iter().map(|estimate| estimate.variance[k]).sum::<f64>())
        .collect();
    let chains = |part: usize| estimates[part].time / (runs[part].averaged() as f64 * program.parts[part].h);
    Ok(Answer {
        mean,
        error,
        variance,
        groups: estimates.iter().map(|estimate| estimate.groups).min().unwrap_or(0),
        effective: estimates.iter().map(|estimate| estimate.effective).fold(f64::INFINITY, f64::min),
        tau: estimates.iter().map(Estimate::tau).fold(0.0, f64::max),
        time: estimates.iter().map(|estimate| estimate.time).sum(),
        burn_in: (0..estimates.len()).map(|part| burn_in * program.slowest() * chains(part)).sum(),
        relative: program.relative,
    })
}
