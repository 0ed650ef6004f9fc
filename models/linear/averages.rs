//! Time averages of a linear machine, and how far they can be trusted.
//!
//! Chains run side by side. The average of each is one value of a sample, whose standard error and Student's t give the
//! interval; a single chain is cut into batches of its time instead.

use std::sync::Arc;

use faer::linalg::matmul::matmul;
use faer::traits::RealField;
use faer::{Accum, Mat, Par};
use thermograd::{Key, Linear, LinearSteps, Shards, run};

use crate::error::{Error, Result};
use crate::linear::machine::Machine;

/// What is averaged.
#[derive(Clone, Debug)]
pub enum Observable {
    /// x.
    Position,
    /// x xᵀ.
    Square,
    /// xᵀ M x.
    Form(Arc<Mat<f64>>),
    /// x(t + τ) x(t)ᵀ, with τ in steps.
    Lagged(usize),
}

/// How a machine is run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    /// The time step.
    pub h: f64,
    /// Steps that are left out at the beginning.
    pub burn_in: usize,
    /// Independent chains.
    pub chains: usize,
    /// Single precision.
    pub single: bool,
}

/// Batches that the time of a single chain is cut into, at least.
pub const BATCHES: usize = 20;

/// Autocorrelation times that a batch must be long.
pub const LONG: f64 = 10.0;

/// Chains that are multiplied together: products of other widths may be rounded otherwise, so it is the same on all threads.
pub(crate) const TOGETHER: usize = 16;

/// Readings that are kept before products of them are added.
const KEPT: usize = 32;

/// Points of the path that is shown, at most, and how many of the slowest time constants it spans.
const SHOWN: usize = 2000;
const SPAN: f64 = 10.0;

/// A run that can go on.
pub struct Averages {
    machine: Machine,
    observable: Observable,
    pace: Pace,
    shards: Shards,
    key: Key,
    states: States,
    /// Steps that were made, burn-in included.
    steps: usize,
    groups: Vec<Sum>,
    /// Readings of every shard that later ones are multiplied with.
    waiting: Vec<Vec<Mat<f64>>>,
    /// Steps of a group, where groups are batches.
    batch: usize,
    /// Of the first components of the first chain, with their times.
    path: Vec<(f64, Vec<f64>)>,
}

/// Steps, and every shard's chains.
enum States {
    Double(LinearSteps<f64>, Vec<Linear<f64>>),
    Single(LinearSteps<f32>, Vec<Linear<f32>>),
    /// While they move.
    Away,
}

/// The sum of an observable f.
#[derive(Clone, Debug)]
struct Sum {
    count: usize,
    value: Mat<f64>,
    /// Of ‖f‖².
    norm: f64,
    /// Of the squares of the components of x.
    squares: Vec<f64>,
}

/// An average with its error.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The average.
    pub mean: Mat<f64>,
    /// The standard error of every entry.
    pub error: Mat<f64>,
    /// Groups it was told from: chains, or batches.
    pub groups: usize,
    /// The variance of every component of x in time.
    pub variance: Vec<f64>,
    /// Time averaged, of all chains together.
    pub time: f64,
    /// N_eff, how many independent readings tell as much.
    pub effective: f64,
}

impl Estimate {
    /// The integrated autocorrelation time of the observable: T/2N_eff.
    pub fn tau(&self) -> f64 {
        self.time / (2.0 * self.effective)
    }
}

impl Averages {
    /// A machine at rest at x = 0, before its burn-in.
    ///
    /// # Errors
    /// Those of [`Machine::steps`], and [`Error::Request`] without chains.
    pub fn new(
        machine: Machine,
        observable: Observable,
        pace: Pace,
        shards: Shards,
        key: Key,
    ) -> Result<Self> {
        if pace.chains == 0 {
            return Err(Error::Request("no chain is run".into()));
        }
        let size = machine.system.size();
        let shards = Shards { size: TOGETHER, ..shards };
        let counts = shards.map(pace.chains, |range| range.len()).into_iter();
        let states = match pace.single {
            false => States::Double(
                machine.steps(pace.h, key)?,
                counts.map(|count| Mat::zeros(size, count).into()).collect(),
            ),
            true => States::Single(
                machine.steps(pace.h, key)?,
                counts.map(|count| Mat::zeros(size, count).into()).collect(),
            ),
        };
        let (steps, groups, path) = (0, Vec::new(), Vec::new());
        let waiting = vec![Vec::new(); pace.chains.div_ceil(TOGETHER)];
        Ok(Self { machine, observable, pace, shards, key, states, steps, groups, waiting, batch: 0, path })
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Steps averaged so far, of each chain.
    pub fn averaged(&self) -> usize {
        self.steps.saturating_sub(self.pace.burn_in)
    }

    /// The beginning of the path of the first three components of the first chain, with times.
    pub fn path(&self) -> &[(f64, Vec<f64>)] {
        &self.path
    }

    /// Says how long an average is expected to be, by which a single chain is cut into batches.
    pub fn cut(&mut self, averaged: usize) {
        if self.pace.chains == 1 && self.batch == 0 {
            self.batch = averaged.div_ceil(BATCHES).max(1);
        }
    }

    /// Goes on until at least so many steps of every chain are averaged; a single chain goes on to the end of a batch.
    ///
    /// # Errors
    /// Those of [`run`]: the machine diverged, because the step is too long. [`Error::Request`] for more steps than can be
    /// numbered.
    pub fn reach(&mut self, averaged: usize) -> Result<()> {
        let mut averaged = averaged.max(1);
        if self.pace.chains == 1 {
            self.cut(averaged);
            averaged = averaged.next_multiple_of(self.batch);
        }
        let end = self.pace.burn_in + averaged;
        if end > u32::MAX as usize {
            return Err(Error::Request(format!(
                "{end} steps, and steps are numbered in 32 bits: ask for a larger error, or use more chains"
            )));
        }
        if end <= self.steps {
            return Ok(());
        }
        let mut states = std::mem::replace(&mut self.states, States::Away);
        match &mut states {
            States::Double(steps, states) => self.go(steps, states, end)?,
            States::Single(steps, states) => self.go(steps, states, end)?,
            States::Away => {}
        }
        (self.states, self.steps) = (states, end);
        // Batches of a chain that goes on are joined in pairs.
        while self.pace.chains == 1 && self.groups.len() >= 2 * BATCHES && self.groups.len().is_multiple_of(2)
        {
            let joined = |pair: &[Sum]| {
                let mut sum = pair[0].clone();
                sum.add(&pair[1]);
                sum
            };
            (self.groups, self.batch) = (self.groups.chunks(2).map(joined).collect(), 2 * self.batch);
        }
        Ok(())
    }

    fn go<T>(&mut self, steps: &LinearSteps<T>, states: &mut [Linear<T>], end: usize) -> Result<()>
    where
        T: RealField + From<f32> + Into<f64> + Copy + 'static,
    {
        let (pace, from) = (self.pace, self.steps);
        let (this, starts) = (&*self, &*states);
        let stride = ((SPAN / this.machine.system.rates()[0] / pace.h) as usize / SHOWN).max(1);
        let parts = this.shards.map(pace.chains, |range| -> Result<_> {
            let key = this.key.skip(range.start as u64);
            let steps = steps.clone().with_key(key).starting_at(from);
            let shard = range.start / this.shards.size;
            let (start, waiting) = (starts[shard].clone(), this.waiting[shard].clone());
            let mut part = Part { sums: Vec::new(), waiting, path: Vec::new() };
            let end = run(&steps, start, end - from, |step| {
                let made = from + step.index + 1;
                let seen = this.machine.read(&step.after.x, key, made);
                let shown = this.path.len() + part.path.len();
                if range.start == 0 && made % stride == 0 && shown < SHOWN {
                    let first = (0..seen.nrows().min(3)).map(|i| seen[(i, 0)]).collect();
                    part.path.push((made as f64 * pace.h, first));
                }
                if made > pace.burn_in {
                    part.see(this, seen, made - pace.burn_in);
                }
            })?;
            part.flush(this);
            Ok((part, end))
        });
        let mut sums = Vec::new();
        for (shard, part) in parts.into_iter().enumerate() {
            let (part, end) = part?;
            (states[shard], self.waiting[shard]) = (end, part.waiting);
            self.path.extend(part.path);
            sums.extend(part.sums);
        }
        if pace.chains == 1 || self.groups.is_empty() {
            self.groups.extend(sums);
        } else {
            self.groups.iter_mut().zip(&sums).for_each(|(group, sum)| group.add(sum));
        }
        Ok(())
    }

    /// What the averages say.
    ///
    /// # Errors
    /// [`Error::Request`] when it is too early for an interval: a single chain whose batches are shorter than ten of the
    /// slowest time constants, with the time that is enough.
    pub fn estimate(&self) -> Result<Estimate> {
        let (slowest, time) = (1.0 / self.machine.system.rates()[0], self.averaged() as f64 * self.pace.h);
        let short = self.pace.chains == 1 && self.batch as f64 * self.pace.h < LONG * slowest * (1.0 - 1e-9);
        if self.groups.len() < 2 || short {
            let enough = LONG * slowest * BATCHES as f64;
            return Err(Error::Request(format!(
                "no interval from a time of {time:.3e}: {BATCHES} batches of one chain must each be longer than {LONG} times the \
                 slowest time constant, {slowest:.3e}; a time of {enough:.3e} is enough, or two chains"
            )));
        }
        let (groups, count) = (&self.groups, self.groups.iter().map(|sum| sum.count).sum::<usize>());
        let mean = |of: &dyn Fn(&Sum) -> f64| groups.iter().map(of).sum::<f64>() / count as f64;
        let (rows, columns) = (groups[0].value.nrows(), groups[0].value.ncols());
        let average = Mat::from_fn(rows, columns, |i, j| mean(&|sum| sum.value[(i, j)]));
        let n = groups.len() as f64;
        let error = Mat::from_fn(rows, columns, |i, j| {
            let off = |sum: &Sum| (sum.value[(i, j)] / sum.count as f64 - average[(i, j)]).powi(2);
            (groups.iter().map(off).sum::<f64>() / (n * (n - 1.0))).sqrt()
        });
        let known = matches!(self.observable, Observable::Position);
        let variance =
            |k: usize| mean(&|sum| sum.squares[k]) - if known { average[(k, 0)].powi(2) } else { 0.0 };
        let variance = (0..groups[0].squares.len()).map(variance).collect();
        let spread = mean(&|sum| sum.norm) - average.squared_norm_l2();
        let (effective, time) = (spread / error.squared_norm_l2(), count as f64 * self.pace.h);
        Ok(Estimate { mean: average, error, groups: groups.len(), variance, time, effective })
    }
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.value += &other.value;
        self.norm += other.norm;
        self.squares.iter_mut().zip(&other.squares).for_each(|(sum, square)| *sum += square);
    }
}

/// The chains of a shard while they are averaged.
struct Part {
    /// Of every chain, or of every batch.
    sums: Vec<Sum>,
    /// Readings `[component, chain]` that are not in the sums yet, after those that are as far back as the lag.
    waiting: Vec<Mat<f64>>,
    path: Vec<(f64, Vec<f64>)>,
}

impl Part {
    /// Takes the reading after so many averaged steps.
    fn see(&mut self, run: &Averages, seen: Mat<f64>, averaged: usize) {
        let (lag, kept) = match run.observable {
            Observable::Lagged(lag) => (lag, KEPT),
            Observable::Square => (0, KEPT),
            Observable::Position | Observable::Form(_) => (0, 1),
        };
        self.waiting.push(seen);
        let ends = run.pace.chains == 1 && averaged.is_multiple_of(run.batch);
        if ends || self.waiting.len() >= lag + kept {
            self.flush(run);
            if ends {
                self.waiting.clear();
            }
        }
    }

    /// Adds what waits to the sums.
    fn flush(&mut self, run: &Averages) {
        let lag = if let Observable::Lagged(lag) = run.observable { lag } else { 0 };
        if self.waiting.len() <= lag {
            return;
        }
        let (now, then) = (&self.waiting[lag..], &self.waiting[..self.waiting.len() - lag]);
        let (size, chains) = (now[0].nrows(), now[0].ncols());
        let shape = match run.observable {
            Observable::Position => (size, 1),
            Observable::Square | Observable::Lagged(_) => (size, size),
            Observable::Form(_) => (1, 1),
        };
        let empty =
            || Sum { count: 0, value: Mat::zeros(shape.0, shape.1), norm: 0.0, squares: vec![0.0; size] };
        // A batch begins after one that is full.
        if run.pace.chains > 1 {
            self.sums.resize_with(chains, empty);
        } else if self.sums.last().is_none_or(|sum| sum.count + lag >= run.batch) {
            self.sums.push(empty());
        }
        let pushed: Vec<Mat<f64>> = match &run.observable {
            Observable::Form(m) => now.iter().map(|x| &**m * x).collect(),
            _ => Vec::new(),
        };
        let first = self.sums.len() - chains;
        for (chain, sum) in self.sums[first..].iter_mut().enumerate() {
            sum.count += now.len();
            for x in now {
                let column = x.col_as_slice(chain);
                sum.squares.iter_mut().zip(column).for_each(|(sum, x)| *sum += x * x);
            }
            let squared = |x: &Mat<f64>| x.col_as_slice(chain).iter().map(|x| x * x).sum::<f64>();
            match &run.observable {
                Observable::Position => {
                    for x in now {
                        let column = x.col_as_slice(chain).iter();
                        column.enumerate().for_each(|(i, x)| sum.value[(i, 0)] += x);
                        sum.norm += squared(x);
                    }
                }
                Observable::Form(_) => {
                    for (x, pushed) in now.iter().zip(&pushed) {
                        let form = x.col(chain).transpose() * pushed.col(chain);
                        sum.value[(0, 0)] += form;
                        sum.norm += form * form;
                    }
                }
                Observable::Square | Observable::Lagged(_) => {
                    let of =
                        |readings: &[Mat<f64>]| Mat::from_fn(size, now.len(), |i, k| readings[k][(i, chain)]);
                    matmul(sum.value.as_mut(), Accum::Add, of(now), of(then).transpose(), 1.0, Par::Seq);
                    sum.norm += now.iter().zip(then).map(|(x, y)| squared(x) * squared(y)).sum::<f64>();
                }
            }
        }
        self.waiting.drain(..self.waiting.len() - lag);
    }
}
