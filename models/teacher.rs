//! The conventional network whose activations the thermodynamic computer is asked to reach.
//!
//! A multilayer perceptron input–hidden–output with tanh units, trained here (S. Whitelam, PNAS 123, e2528413123
//! (2026)). Its outputs are tanh units regressed on ±1, as published, or logits under cross-entropy,
//! which make better targets.

use std::ops::ControlFlow;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thermograd::{Key, Normalisation, Shards};

use crate::error::{Error, Result};
use crate::examples::Examples;
use crate::fit::{self, Fit, Recipe};

/// What the teacher is trained on.
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
    /// What it is trained on.
    pub loss: TeacherLoss,
    /// Logits are divided by this to become targets.
    pub logit_scale: f64,
    /// Its training.
    pub recipe: Recipe,
}

impl Default for TeacherConfig {
    fn default() -> Self {
        let recipe = Recipe {
            epochs: 20,
            batch: 128,
            learning_rate: 7e-4,
            warm_up: 0,
            final_fraction: 0.0,
            weight_decay: 0.5,
        };
        Self { loss: TeacherLoss::CrossEntropy, logit_scale: 5.0, recipe }
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

    /// Units of its layers.
    pub fn layers(&self) -> [usize; 3] {
        let ([inputs, hidden], [_, classes]) = (self.hidden.weight.dims(), self.output.weight.dims());
        [inputs, hidden, classes]
    }

    /// Activations of hidden and output units before the outputs' tanh.
    fn layers_of(&self, inputs: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let hidden = self.hidden.forward(inputs).tanh();
        let output = self.output.forward(hidden.clone());
        (hidden, output)
    }

    /// The activations A that the free units are asked to reach: hidden units, then outputs.
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
            TeacherLoss::CrossEntropy => -(log_softmax(output, 1) * one_hot).sum(),
        }
    }

    /// A training of a new teacher, not begun.
    pub fn fit(self, examples: usize, shards: Shards, key: Key) -> Fit<Self> {
        let recipe = self.config.recipe;
        Fit::new("teacher", self, recipe, examples, shards, key.fork("teacher"))
    }

    /// Trains to the end or until `observe` breaks off.
    ///
    /// # Errors
    /// As [`Fit::run`].
    pub fn train<E: From<Error>>(
        fit: &mut Fit<Self>,
        examples: &Examples,
        normalisation: &Normalisation,
        observe: impl FnMut(&Fit<Self>, crate::Progress) -> Result<ControlFlow<()>, E>,
    ) -> Result<ControlFlow<()>, E> {
        let gradient = |model: &Self, indices: &[usize], batch: usize, _| {
            let model = model.valid().train();
            let device = model.hidden.weight.device().inner();
            let inputs = examples.clamped(indices, normalisation, None, &device);
            let one_hot = examples.one_hot(indices, model.layers()[2], &device);
            let loss = model.loss(inputs, one_hot) / batch as f64;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            Ok((loss.into_scalar::<f64>(), gradients))
        };
        fit.run(gradient, observe)
    }

    /// The part of the examples whose largest output is their class.
    pub fn accuracy(&self, examples: &Examples, normalisation: &Normalisation, shards: Shards) -> f64 {
        let (model, [_, hidden, classes]) = (self.valid(), self.layers());
        let indices: Vec<usize> = (0..examples.len()).collect();
        let right = shards.map(examples.len(), |range| {
            let device = model.hidden.weight.device();
            let inputs = examples.clamped(&indices[range.clone()], normalisation, None, &device);
            let outputs = thermograd::to_f64(model.targets(inputs).slice_dim(1, hidden..hidden + classes));
            let best = outputs.chunks(classes).map(|row| crate::classifier::ranking(row)[0]);
            range.zip(best).filter(|&(index, best)| examples.label(index) == best).count()
        });
        right.into_iter().sum::<usize>() as f64 / examples.len() as f64
    }

    /// The trained weights as the bytes of a burnpack file.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        fit::encode(self)
    }

    /// This teacher with the weights of [`encode`](Self::encode)d bytes.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the bytes are damaged or of another shape.
    pub fn decode(self, bytes: &[u8]) -> Result<Self> {
        fit::decode(self, bytes)
    }
}

/// A layer with uniform weights of ±1/√inputs and no biases.
pub(crate) fn linear(inputs: usize, outputs: usize, key: Key, device: &Device) -> Linear {
    use rand::RngExt;
    let bound = 1.0 / (inputs as f32).sqrt();
    let mut rng = key.rng();
    let weight: Vec<f32> = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
    let weight = Tensor::from_data(TensorData::new(weight, [inputs, outputs]), device);
    Linear {
        weight: Param::from_tensor(weight),
        bias: Some(Param::from_tensor(Tensor::zeros([outputs], device))),
    }
}
