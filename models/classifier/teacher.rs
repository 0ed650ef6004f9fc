//! The teacher: a conventional network whose activations the thermodynamic computer learns to reach.
//!
//! A multilayer perceptron input–hidden–output with tanh units, trained here (S. Whitelam, PNAS 123, e2528413123
//! (2026)). Its outputs are tanh units regressed on ±1, as published, or logits trained with cross-entropy, which
//! make better targets.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use thermograd::{Key, Normalisation, Shards, to_f64};

use crate::training::examples::Examples;
use crate::training::fit::{Part, Recipe, Training, backward};
use crate::training::network::{cross_entropy, linear, ranking};

/// The loss of the teacher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeacherLoss {
    /// Squared distance of tanh outputs to ±1.
    Tanh,
    /// Cross-entropy of logits.
    #[default]
    CrossEntropy,
}

/// Shape and training of a teacher.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// Its loss.
    pub loss: TeacherLoss,
    /// Logits are divided by this to give targets.
    pub logit_scale: f64,
    /// Its training.
    pub recipe: Recipe,
}

impl Default for TeacherConfig {
    fn default() -> Self {
        let recipe =
            Recipe { epochs: 20, batch: 128, learning_rate: 7e-4, weight_decay: 0.5, ..Recipe::default() };
        Self { loss: TeacherLoss::CrossEntropy, logit_scale: 5.0, recipe }
    }
}

impl TeacherConfig {
    /// The training of a teacher on examples prepared by `normalisation`.
    pub fn training<'a>(
        &self,
        examples: &'a Examples,
        normalisation: Normalisation,
    ) -> Training<'a, Teacher> {
        let gradient = move |model: &Teacher, Part { indices, batch, .. }: Part| {
            let device = model.hidden.weight.device().inner();
            let inputs = examples.clamped(indices, &normalisation, None, &device);
            let [_, _, classes] = model.layers();
            let one_hot = examples.one_hot(indices, classes, &device);
            Ok(backward(model.loss(inputs, one_hot) / batch as f64, model))
        };
        Training::new("teacher", self.recipe, examples.len(), gradient)
    }
}

/// A multilayer perceptron with one hidden layer of tanh units.
#[derive(Module, Debug)]
pub struct Teacher {
    hidden: Linear,
    output: Linear,
    #[module(skip)]
    config: TeacherConfig,
}

impl Teacher {
    /// An untrained teacher: uniform weights of ±1/√(inputs of a unit), no biases.
    pub fn new(
        config: TeacherConfig,
        [inputs, hidden, classes]: [usize; 3],
        key: Key,
        device: &Device,
    ) -> Self {
        let key = key.fork("teacher weights");
        Self {
            hidden: linear(inputs, hidden, key.at(0), device),
            output: linear(hidden, classes, key.at(1), device),
            config,
        }
    }

    /// The sizes of its layers.
    pub fn layers(&self) -> [usize; 3] {
        let ([inputs, hidden], [_, classes]) = (self.hidden.weight.dims(), self.output.weight.dims());
        [inputs, hidden, classes]
    }

    /// Activations of the hidden units, and of the outputs before their tanh.
    fn layers_of(&self, inputs: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let hidden = self.hidden.forward(inputs).tanh();
        let output = self.output.forward(hidden.clone());
        (hidden, output)
    }

    /// The activations A that the free units should reach: hidden units, then outputs.
    ///
    /// # Shapes
    /// `[batch, input]` → `[batch, hidden + class]`.
    pub fn targets(&self, inputs: Tensor<2>) -> Tensor<2> {
        let (hidden, output) = self.layers_of(inputs);
        let output = match self.config.loss {
            TeacherLoss::Tanh => output.tanh(),
            TeacherLoss::CrossEntropy => output / self.config.logit_scale,
        };
        Tensor::cat(vec![hidden, output], 1)
    }

    /// The loss summed over the batch.
    fn loss(&self, inputs: Tensor<2>, one_hot: Tensor<2>) -> Tensor<1> {
        let (_, output) = self.layers_of(inputs);
        match self.config.loss {
            TeacherLoss::Tanh => {
                let distance = output.tanh() - (one_hot * 2.0 - 1.0);
                (distance.clone() * distance).sum()
            }
            TeacherLoss::CrossEntropy => cross_entropy(output, one_hot),
        }
    }

    /// Accuracy: the fraction of the examples whose largest output is their class.
    pub fn accuracy(&self, examples: &Examples, normalisation: &Normalisation, shards: Shards) -> f64 {
        let (model, [_, hidden, classes]) = (self.valid(), self.layers());
        let indices: Vec<usize> = (0..examples.len()).collect();
        let right = shards.map(examples.len(), |range| {
            let device = model.hidden.weight.device();
            let inputs = examples.clamped(&indices[range.clone()], normalisation, None, &device);
            let outputs = to_f64(model.targets(inputs).slice_dim(1, hidden..hidden + classes));
            let best = outputs.chunks(classes).map(|row| ranking(row)[0]);
            range.zip(best).filter(|&(index, best)| examples.label(index) == best).count()
        });
        right.into_iter().sum::<usize>() as f64 / examples.len() as f64
    }
}
