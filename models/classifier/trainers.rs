//! Three ways to find the couplings of a classifier.
//!
//! | trainer | minimises | how |
//! |---|---|---|
//! | [`Likelihood`] | the action of the guided trajectories, as published | Adam, with gradients of the action by autodiff |
//! | [`exact`] | the same | its closed form |
//! | [`Pathwise`] | cross-entropy of the outputs at t_f, plus a price on heat | Adam, with gradients through the unrolled steps |

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thermograd::{Direction, Hardware, Imperfection, Key, Moments, Ridge, Schedule, Shards, Substrate};

use crate::classifier::guide::Guide;
use crate::classifier::model::Classifier;
use crate::classifier::teacher::Teacher;
use crate::error::{Error, Result};
use crate::training::examples::Examples;
use crate::training::fit::{Part, Recipe, Training, backward};
use crate::training::network::cross_entropy;

/// What a classifier learns: to reach the activations of a teacher along the trajectories of a guide.
#[derive(Clone, Copy, Debug)]
pub struct Lesson<'a> {
    /// The network with the activations to reach.
    pub teacher: &'a Teacher,
    /// The dynamics that reaches them.
    pub guide: Guide,
}

/// Gradient descent on the action of guided trajectories: S. Whitelam, PNAS 123, e2528413123 (2026).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likelihood {
    /// Its training.
    pub recipe: Recipe,
}

impl Default for Likelihood {
    fn default() -> Self {
        let recipe =
            Recipe { epochs: 8, batch: 128, learning_rate: 1e-2, final_fraction: 0.01, ..Recipe::default() };
        Self { recipe }
    }
}

impl Likelihood {
    /// Its training of a classifier on some examples.
    ///
    /// # Errors
    /// Those of the guide.
    pub fn training<'a>(
        &self,
        classifier: &'a Classifier,
        lesson: Lesson,
        examples: &'a Examples,
    ) -> Result<Training<'a, Substrate>> {
        let (guide, teacher, schedule) = (lesson.guide, lesson.teacher.valid(), classifier.schedule);
        let twin = guide.twin(&classifier.substrate.valid())?;
        let gradient = move |model: &Substrate, Part { indices, batch, key, .. }: Part| {
            let inputs = examples.clamped(indices, &classifier.normalisation, None, twin.options());
            let targets = teacher.targets(inputs.clone());
            let (before, after) = guide.steps(&twin, targets, schedule, key)?;
            let times = before.dims()[0] / indices.len();
            let field = model.field(&[inputs])?.repeat_dim(0, times);
            let action = model.step_action(schedule.dt, Direction::Forward)?.of(before, after, field);
            Ok(backward(action.sum() / batch as f64, model))
        };
        Ok(Training::new("likelihood", self.recipe, examples.len(), gradient))
    }
}

/// The couplings of least action, in closed form. `progress` receives the fraction of the examples that is done.
///
/// # Errors
/// Those of the guide and of [`Moments::optimum`].
pub fn exact(
    classifier: &Classifier,
    lesson: Lesson,
    examples: &Examples,
    ridge: Ridge,
    shards: Shards,
    key: Key,
    mut progress: impl FnMut(f64),
) -> Result<Substrate> {
    /// Images between two progress reports; their moments are in memory at once.
    const CHUNK: usize = 8192;
    let (substrate, guide, teacher) = (classifier.substrate.valid(), lesson.guide, lesson.teacher.valid());
    let (twin, key) = (guide.twin(&substrate)?, key.fork("exact"));
    // Few, large shards, because each holds its own moments.
    let shards = Shards { size: shards.size.saturating_mul(8), ..shards };
    let mut moments = Moments::new(&substrate);
    for start in (0..examples.len()).step_by(CHUNK) {
        let count = CHUNK.min(examples.len() - start);
        let added = shards.map(count, |range| -> Result<Moments> {
            let mut moments = Moments::new(&substrate);
            let indices: Vec<usize> = range.map(|index| start + index).collect();
            let key = key.skip(indices[0] as u64);
            let inputs = examples.clamped(&indices, &classifier.normalisation, None, substrate.options());
            let targets = teacher.targets(inputs.clone());
            let (before, after) = guide.steps(&twin, targets, classifier.schedule, key)?;
            moments.add(&substrate, &[inputs], before, after, classifier.schedule.dt)?;
            Ok(moments)
        });
        for one in added {
            moments.merge(&one?);
        }
        progress((start + count) as f64 / examples.len() as f64);
    }
    Ok(moments.optimum(&substrate, ridge)?)
}

/// Cross-entropy differentiated through the unrolled stochastic steps, with one noise path per image.
///
/// With `hardware`, the gradient of each training step is computed for a device with those imperfections, a new
/// specimen every step. The gradient at its actual couplings is pulled back to the intended ones
/// ([`Hardware::pull_back`]).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pathwise {
    /// Its training.
    pub recipe: Recipe,
    /// Δt of the unrolled steps; the trained couplings also work with the finer steps of the device.
    pub dt: f64,
    /// Outputs are multiplied by this to give logits.
    pub logit_gain: f64,
    /// λ, the price of one kT of heat in units of cross-entropy.
    pub heat_price: f64,
    /// Whether each image is shifted by up to one pixel.
    pub augment: bool,
    /// Imperfections of couplings, wells and temperature that the classifier should tolerate.
    #[serde(default)]
    pub hardware: Vec<Imperfection>,
}

impl Default for Pathwise {
    fn default() -> Self {
        let recipe = Recipe {
            epochs: 20,
            batch: 256,
            learning_rate: 1e-2,
            warm_up: 150,
            final_fraction: 0.01,
            ..Recipe::default()
        };
        Self { recipe, dt: 5e-3, logit_gain: 3.0, heat_price: 0.0, augment: false, hardware: Vec::new() }
    }
}

impl Pathwise {
    /// One specimen of the hardware.
    ///
    /// # Errors
    /// Those of [`Hardware::with`], and [`Error::Request`] for imperfections of anything but couplings, wells and
    /// temperature.
    pub fn device(&self, substrate: &Substrate, key: Key) -> Result<Hardware> {
        let ideal = Hardware::ideal(substrate.clone());
        let device =
            self.hardware.iter().try_fold(ideal, |device, &imperfection| device.with(imperfection, key))?;
        if device.read_out > 0.0 || device.bandwidth.is_some() {
            let reason =
                "training does not support read-out noise and bandwidth; remove them from its hardware";
            return Err(Error::Request(reason.into()));
        }
        Ok(device)
    }

    /// Its training of a classifier on some examples.
    ///
    /// # Errors
    /// Those of [`Substrate::check_step`]: Δt is refused if it is too large for the classifier.
    pub fn training<'a>(
        &'a self,
        classifier: &'a Classifier,
        examples: &'a Examples,
    ) -> Result<Training<'a, Substrate>> {
        let schedule = Schedule::new(self.dt, classifier.schedule.duration())?;
        classifier.substrate.check_step(self.dt)?;
        let outputs = classifier.outputs();
        let gradient = move |model: &Substrate, Part { indices, batch, key, .. }: Part| {
            let device = model.options().device.inner();
            let shift = self.augment.then(|| key.fork("shift"));
            let inputs = examples.clamped(indices, &classifier.normalisation, shift, &device);
            let one_hot = examples.one_hot(indices, outputs.len(), &device);
            let x0 = Tensor::zeros([indices.len(), model.free_units()], &device);
            let clamped = [inputs];
            let loss = |model: &Substrate, x: Tensor<2>| {
                let logits = x.clone().slice_dim(1, outputs.clone()) * self.logit_gain;
                let mut loss = cross_entropy(logits, one_hot);
                if self.heat_price > 0.0 {
                    // Starting from rest, V(x₀) = 0 and the heat of an inference is −V(x).
                    let heat = -model.potential().energy(x, model.field(&clamped)?);
                    loss = loss + heat.sum() * (self.heat_price / model.kt());
                }
                Ok(loss / batch as f64)
            };
            if self.hardware.is_empty() {
                return Ok(model.pathwise(x0, &clamped, schedule, key, loss)?);
            }
            let device = self.device(&model.valid(), key.fork("specimen"))?;
            let (loss, gradients) = device.substrate.pathwise(x0, &clamped, schedule, key, loss)?;
            Ok((loss, device.pull_back(gradients)))
        };
        Ok(Training::new("pathwise", self.recipe, examples.len(), gradient))
    }
}
