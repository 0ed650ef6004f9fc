//! The training loop: minibatches in an order drawn from the key, gradients summed over shards, a learning-rate
//! schedule, and checkpoints.
//!
//! Every step is a function of the training, the key and the step number, so a run resumed from a checkpoint gives
//! the same numbers as one that was never interrupted.

use std::f64::consts::PI;
use std::ops::{ControlFlow, Range};

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Bytes, Tensor};
use serde::{Deserialize, Serialize};
use thermograd::{Key, Shards, ranks};

use crate::error::{Error, Result};
use crate::training::network::{Parameters, unusable};
use crate::training::parts::{fingerprint, pack, unpack};

/// Duration and learning rate of a training run; the default does no training.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples per step.
    pub batch: usize,
    /// The peak learning rate of Adam.
    pub learning_rate: f64,
    /// The number of steps over which it rises from zero.
    pub warm_up: usize,
    /// The fraction of it that is left at the end of the cosine decay.
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

/// The progress of a training run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps of one pass over the examples.
    pub steps_per_epoch: usize,
    /// The mean loss of the steps of this pass.
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

/// A loss, and its gradient at the parameters of a model.
pub type Gradient = (f64, GradientsParams);

/// A training task: its examples, its recipe, and the gradient of its loss.
pub struct Training<'a, M> {
    name: &'static str,
    recipe: Recipe,
    examples: usize,
    gradient: Box<GradientOf<'a, M>>,
}

type GradientOf<'a, M> = dyn Fn(&M, Part) -> Result<Gradient> + Sync + 'a;

/// A part of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its examples.
    pub indices: &'a [usize],
    /// The number of examples of the whole batch.
    pub batch: usize,
    /// The key of the step, skipped to the first of the examples.
    pub key: Key,
    /// The fraction of the steps of the training that are done.
    pub done: f64,
}

impl<'a, M: Module + Sync> Training<'a, M> {
    /// A training task on `examples` examples. Its name appears in errors and files, and forks the key of a fit.
    ///
    /// `gradient(model, part)` is the gradient of the loss of a part of a batch, divided by the number of examples of
    /// the whole batch. Each shard receives its own copy of the model.
    pub fn new(
        name: &'static str,
        recipe: Recipe,
        examples: usize,
        gradient: impl Fn(&M, Part) -> Result<Gradient> + Sync + 'a,
    ) -> Self {
        Self { name, recipe, examples, gradient: Box::new(gradient) }
    }
}

/// The gradient of a loss at the parameters of `model`.
pub fn backward(loss: Tensor<1>, model: &impl Module) -> Gradient {
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    (loss.into_scalar::<f64>(), gradients)
}

/// A training run in progress: the model, the optimiser and the step.
pub struct Fit<'a, M> {
    /// The current model.
    pub model: M,
    training: Training<'a, M>,
    optimizer: ModuleOptimizer,
    step: usize,
    /// The sum of the losses of this pass, and their number.
    losses: (f64, usize),
    key: Key,
    shards: Shards,
}

impl<'a, M: Module + Sync> Fit<'a, M> {
    /// A training run of `model` that has not begun.
    pub fn new(training: Training<'a, M>, model: M, shards: Shards, key: Key) -> Self {
        let weight_decay = training.recipe.weight_decay as f32;
        let optimizer = AdamWConfig::new().with_weight_decay(weight_decay).with_epsilon(1e-8).init();
        let key = key.fork(training.name);
        Self { model: model.train(), training, optimizer, step: 0, losses: (0.0, 0), key, shards }
    }

    /// The name of the training.
    pub fn name(&self) -> &'static str {
        self.training.name
    }

    /// The current model, without gradients.
    pub fn finish(self) -> M {
        self.model.valid()
    }

    /// Steps done.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// Trains to the end or until `observe` breaks, and returns which of the two happened.
    ///
    /// # Errors
    /// Those of the gradient and `observe`, and [`Error::NotFinite`].
    pub fn run<E: From<Error>>(
        &mut self,
        mut observe: impl FnMut(&Self, Progress) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let (recipe, examples) = (self.training.recipe, self.training.examples);
        let batch = recipe.batch.max(1);
        // The last batch of a pass may be smaller.
        let steps_per_epoch = examples.div_ceil(batch);
        let steps = recipe.epochs.saturating_mul(steps_per_epoch);
        let mut order = Vec::new();
        while self.step < steps {
            let (epoch, step) = (self.step / steps_per_epoch, self.step % steps_per_epoch);
            if order.is_empty() || step == 0 {
                order = self.key.fork("order").at(epoch as u64).permutation(examples);
            }
            if step == 0 {
                self.losses = (0.0, 0);
            }
            let loss = self.step(&order[step * batch..examples.min((step + 1) * batch)], steps)?;
            if step + 1 == steps_per_epoch && ranks::count() > 1 {
                // Processors of different kinds may round products of their own differently.
                ranks::agree("trained parameters", &fingerprint(&self.model).to_string())
                    .map_err(Error::from)?;
            }
            let (sum, count) = (self.losses.0 + loss, self.losses.1 + 1);
            self.losses = (sum, count);
            let loss = sum / count as f64;
            let progress = Progress { step: self.step, steps, steps_per_epoch, loss };
            if observe(self, progress)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Makes one of `steps` steps on the gradient of the loss of some examples, and returns that loss.
    fn step(&mut self, indices: &[usize], steps: usize) -> Result<f64> {
        let key = self.key.fork("step").at(self.step as u64);
        let (gradient, model, done) = (&self.training.gradient, &self.model, self.step as f64 / steps as f64);
        let work = |range: Range<usize>| {
            let (model, key) = (model.valid().train(), key.skip(range.start as u64));
            gradient(&model, Part { indices: &indices[range], batch: indices.len(), key, done })
        };
        let mut sum = GradientsAccumulator::new();
        let mut loss = 0.0;
        if ranks::count() == 1 {
            for shard in self.shards.map(indices.len(), work) {
                let (value, gradients) = shard?;
                loss += value;
                sum.accumulate(&self.model, gradients);
            }
        } else {
            let packed = |range| work(range).map(|(value, gradients)| (value, pack(model, &gradients)));
            for (value, gradients) in self.shards.gather(indices.len(), packed)? {
                loss += value;
                sum.accumulate(&self.model, unpack(&self.model, gradients));
            }
        }
        if !loss.is_finite() {
            return Err(Error::NotFinite { training: self.name(), step: self.step, loss });
        }
        let rate = self.training.recipe.rate(self.step, steps);
        self.model = self.optimizer.step(rate, self.model.clone(), sum.grads());
        self.step += 1;
        Ok(loss)
    }

    /// The checkpoint: model, optimiser, step and the losses of this pass as bytes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let model = self.model.encode()?;
        let optimizer = self.optimizer.to_record().into_bytes().map_err(unusable)?;
        let (loss, losses) = self.losses;
        let numbers = [self.step, losses, model.len(), optimizer.len()].map(|number| number as u64);
        let head = [loss.to_bits()].into_iter().chain(numbers).flat_map(u64::to_le_bytes).collect::<Vec<_>>();
        Ok([&head[..], &model, &optimizer].concat())
    }

    /// Restores the state that [`checkpoint`](Self::checkpoint) saved as `bytes`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the bytes are damaged or belong to another model.
    pub fn resume(mut self, bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::Checkpoint("the file is damaged".into());
        let (head, bytes) = bytes.split_first_chunk::<40>().ok_or_else(damaged)?;
        let number = |index: usize| u64::from_le_bytes(head.as_chunks::<8>().0[index]);
        let [step, losses, model, optimizer] = [1, 2, 3, 4].map(|index| number(index) as usize);
        if model.checked_add(optimizer) != Some(bytes.len()) {
            return Err(damaged());
        }
        let (model, optimizer) = bytes.split_at(model);
        self.model = self.model.decode(model)?;
        let optimizer = Bytes::from_bytes_vec(optimizer.to_vec());
        self.optimizer = self.optimizer.from_bytes(optimizer).map_err(unusable)?;
        (self.step, self.losses) = (step, (f64::from_bits(number(0)), losses));
        Ok(self)
    }
}
