//! The training loop: minibatches in keyed order, gradients summed over shards, a schedule, a checkpoint.
//!
//! Every step is a function of the recipe, the key and the number of the step, so a run resumed from a checkpoint
//! goes on with the numbers of the run that was never stopped.

use std::f64::consts::PI;
use std::ops::ControlFlow;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};
use thermograd::{Key, Shards};

use crate::error::{Error, Result};

/// How long and how fast to learn.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples a step.
    pub batch: usize,
    /// The learning rate of Adam at its highest.
    pub learning_rate: f64,
    /// Steps over which it rises from zero.
    pub warm_up: usize,
    /// The part of it that is left at the end of the cosine.
    pub final_fraction: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Recipe {
    /// The learning rate of one of `steps` steps: a linear rise, then a cosine.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        let rise = (step + 1) as f64 / (self.warm_up + 1) as f64;
        let done =
            (step.saturating_sub(self.warm_up)) as f64 / (steps.saturating_sub(self.warm_up)).max(1) as f64;
        let cosine = 0.5 * (1.0 + (PI * done).cos());
        self.learning_rate * rise.min(1.0) * (self.final_fraction + (1.0 - self.final_fraction) * cosine)
    }
}

/// Where a training is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps of one pass over the examples.
    pub steps_per_epoch: usize,
    /// The mean loss of the steps of this pass (since it was resumed, if it was).
    pub loss: f64,
}

impl Progress {
    /// Whether a pass has just ended.
    pub fn ends_epoch(&self) -> bool {
        self.step.is_multiple_of(self.steps_per_epoch) || self.step == self.steps
    }

    /// Passes done.
    pub fn epoch(&self) -> usize {
        self.step.div_ceil(self.steps_per_epoch)
    }
}

/// A model in training: parameters, optimiser, and how far it is.
pub struct Fit<M> {
    /// The model as it is now.
    pub model: M,
    stage: String,
    recipe: Recipe,
    optimizer: ModuleOptimizer,
    step: usize,
    examples: usize,
    key: Key,
    shards: Shards,
}

impl<M: Module + Sync> Fit<M> {
    /// A training of `model` on `examples` examples that has not begun. The name of the stage appears in errors.
    pub fn new(stage: &str, model: M, recipe: Recipe, examples: usize, shards: Shards, key: Key) -> Self {
        let adam = AdamWConfig::new().with_weight_decay(recipe.weight_decay as f32).with_epsilon(1e-8);
        let optimizer = adam.init();
        Self { model: model.train(), stage: stage.into(), recipe, optimizer, step: 0, examples, key, shards }
    }

    /// The model as it is now, without gradients.
    pub fn finish(self) -> M {
        self.model.valid()
    }

    /// Steps done.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// Steps of one pass; the last batch of a pass may be smaller.
    fn steps_per_epoch(&self) -> usize {
        self.examples.div_ceil(self.recipe.batch.max(1))
    }

    /// Runs to the end, or until `observe` breaks off, and tells which.
    ///
    /// `gradient(model, indices, batch, key)` gives the loss of some examples of a batch of `batch`, divided by
    /// `batch`, and its gradient; the key is that of the step, skipped to the first of the examples.
    ///
    /// # Errors
    /// Those of `gradient` and `observe`, and [`Error::NotFinite`].
    pub fn run<E: From<Error>>(
        &mut self,
        gradient: impl Fn(&M, &[usize], usize, Key) -> Result<(f64, GradientsParams)> + Sync,
        mut observe: impl FnMut(&Self, Progress) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let (steps_per_epoch, batch) = (self.steps_per_epoch(), self.recipe.batch.max(1));
        let steps = self.recipe.epochs * steps_per_epoch;
        let mut order = Vec::new();
        let mut losses = Vec::new();
        while self.step < steps {
            let (epoch, place) = (self.step / steps_per_epoch, self.step % steps_per_epoch);
            if order.is_empty() || place == 0 {
                order = self.key.fork("order").at(epoch as u64).permutation(self.examples);
                losses.clear();
            }
            let indices = &order[place * batch..self.examples.min((place + 1) * batch)];
            let key = self.key.fork("step").at(self.step as u64);
            let model = &self.model;
            let parts = self.shards.map(indices.len(), |range| {
                gradient(model, &indices[range.clone()], indices.len(), key.skip(range.start as u64))
            });
            let mut sum = GradientsAccumulator::new();
            let mut loss = 0.0;
            for part in parts {
                let (value, gradients) = part?;
                loss += value;
                sum.accumulate(&self.model, gradients);
            }
            if !loss.is_finite() {
                return Err(Error::NotFinite { stage: self.stage.clone(), step: self.step, loss }.into());
            }
            let rate = self.recipe.rate(self.step, steps);
            self.model = self.optimizer.step(rate, self.model.clone(), sum.grads());
            self.step += 1;
            losses.push(loss);
            let loss = losses.iter().sum::<f64>() / losses.len() as f64;
            let progress = Progress { step: self.step, steps, steps_per_epoch, loss };
            if observe(self, progress)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Model, optimiser and step as bytes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let failed = |error: burn::store::RecordError| Error::Checkpoint(error.to_string());
        let model = self.model.clone().into_record().into_bytes().map_err(failed)?;
        let optimizer = self.optimizer.to_record().into_bytes().map_err(failed)?;
        let mut bytes = Vec::new();
        for number in [self.step, model.len(), optimizer.len()] {
            bytes.extend((number as u64).to_le_bytes());
        }
        bytes.extend_from_slice(&model);
        bytes.extend_from_slice(&optimizer);
        Ok(bytes)
    }

    /// This training as it was when `bytes` were made by [`checkpoint`](Self::checkpoint).
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the bytes are damaged or of another model.
    pub fn resume(mut self, bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::Checkpoint("the file is damaged".into());
        let failed = |error: burn::store::RecordError| Error::Checkpoint(error.to_string());
        let number = |at: usize| -> Result<usize> {
            let bytes = bytes.get(at..at + 8).ok_or_else(damaged)?;
            Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")) as usize)
        };
        let (step, model, optimizer) = (number(0)?, number(8)?, number(16)?);
        let end = 24_usize.checked_add(model).filter(|end| end.checked_add(optimizer) == Some(bytes.len()));
        let (model, optimizer) = bytes[24..].split_at(end.ok_or_else(damaged)? - 24);
        let copy = |part: &[u8]| Bytes::from_bytes_vec(part.to_vec());
        let record = burn::store::ModuleRecord::from_bytes(copy(model)).map_err(failed)?;
        self.model = self.model.clone().try_load_record(record).map_err(failed)?;
        self.optimizer = self.optimizer.from_bytes(copy(optimizer)).map_err(failed)?;
        self.step = step;
        Ok(self)
    }
}

/// The parameters of a module as the bytes of a burnpack file.
pub(crate) fn encode(module: &impl Module) -> Result<Vec<u8>> {
    let bytes = module.valid().into_record().into_bytes();
    bytes.map(|bytes| bytes.to_vec()).map_err(|error| Error::Checkpoint(error.to_string()))
}

/// A module with the parameters of [`encode`]d bytes.
pub(crate) fn decode<M: Module>(module: M, bytes: &[u8]) -> Result<M> {
    let failed = |error: burn::store::RecordError| Error::Checkpoint(error.to_string());
    let record =
        burn::store::ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(failed)?;
    module.try_load_record(record).map_err(failed)
}
