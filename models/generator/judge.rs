//! The judge: a small convolutional network that classifies generated images.
//!
//! It has two strided convolutions, a layer of 64 features, and classes. It is trained on the images of the data set
//! with random shifts and noise, because generated images are noisy. The distances in
//! [`metrics`](crate::generator::metrics) are distances between its features.

use burn::module::{Initializer, Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::{Key, Shards, to_f64};

use crate::training::examples::{Examples, PIXELS};
use crate::training::fit::{Part, Recipe, Training, backward};
use crate::training::network::{cross_entropy, ranking, rows};

/// The number of features of an image.
pub const FEATURES: usize = 64;

/// The source code of the judge. A cached judge is valid only for its data, its recipe and this code.
pub const CODE: [&str; 4] = [
    include_str!("judge.rs"),
    include_str!("../training/fit.rs"),
    include_str!("../training/examples.rs"),
    include_str!("../training/network.rs"),
];

/// The training of a judge.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeConfig {
    /// Its training.
    pub recipe: Recipe,
    /// The largest standard deviation of the noise on an image.
    pub noise: f64,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        let recipe = Recipe {
            epochs: 4,
            batch: 128,
            learning_rate: 3e-3,
            warm_up: 100,
            final_fraction: 0.01,
            weight_decay: 1e-2,
        };
        Self { recipe, noise: 0.5 }
    }
}

impl JudgeConfig {
    /// The training of a judge on some examples.
    pub fn training<'a>(&self, examples: &'a Examples) -> Training<'a, Judge> {
        let largest = self.noise;
        let gradient = move |model: &Judge, Part { indices, batch, key, .. }: Part| {
            let ([_, classes], device) = (model.classes.weight.dims(), model.classes.weight.device().inner());
            let images = examples.clamped(indices, &PIXELS, Some(key.fork("shift")), &device);
            let one_hot = examples.one_hot(indices, classes, &device);
            let noise = noise(indices.len(), examples.pixels_each(), largest, key, &device);
            let (_, logits) = model.look(images + noise);
            Ok(backward(cross_entropy(logits, one_hot) / batch as f64, model))
        };
        Training::new("judge", self.recipe, examples.len(), gradient)
    }
}

/// A convolutional network with a feature layer before its classes.
#[derive(Module, Debug)]
pub struct Judge {
    fine: Conv2d,
    coarse: Conv2d,
    features: Linear,
    classes: Linear,
    #[module(skip)]
    width: usize,
}

/// What the judge says about some images.
#[derive(Clone, PartialEq, Debug)]
pub struct Opinion {
    /// Row-major `[image, feature]`.
    pub features: Vec<f64>,
    /// The class of each image.
    pub classes: Vec<usize>,
}

impl Judge {
    /// An untrained judge for images `width` pixels wide.
    pub fn new(width: usize, height: usize, classes: usize, key: Key, device: &Device) -> Self {
        let key = key.fork("judge weights");
        let conv = |from: usize, to: usize, side: usize| {
            let padding = PaddingConfig2d::Explicit(side / 2, side / 2, side / 2, side / 2);
            let config =
                Conv2dConfig::new([from, to], [side, side]).with_stride([2, 2]).with_padding(padding);
            config.with_initializer(Initializer::Zeros).init(device)
        };
        let linear = |from: usize, to: usize| {
            LinearConfig::new(from, to).with_initializer(Initializer::Zeros).init(device)
        };
        let quarter = |side: usize| side.div_ceil(2).div_ceil(2);
        let inputs = 32 * quarter(width) * quarter(height);
        let mut judge = Self {
            fine: conv(1, 16, 5),
            coarse: conv(16, 32, 3),
            features: linear(inputs, FEATURES),
            classes: linear(FEATURES, classes),
            width,
        };
        judge.fine.weight = random(&judge.fine.weight, 25, key.at(0));
        judge.coarse.weight = random(&judge.coarse.weight, 16 * 9, key.at(1));
        judge.features.weight = random(&judge.features.weight, inputs, key.at(2));
        judge.classes.weight = random(&judge.classes.weight, FEATURES, key.at(3));
        judge
    }

    /// Features and logits.
    ///
    /// # Shapes
    /// `[image, pixel]`, −1 to 1 → `[image, feature]`, `[image, class]`.
    fn look(&self, images: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let [count, pixels] = images.dims();
        let images = images.reshape([count, 1, pixels / self.width, self.width]);
        let seen = relu(self.coarse.forward(relu(self.fine.forward(images))));
        let features = relu(self.features.forward(seen.flatten::<2>(1, 3)));
        (features.clone(), self.classes.forward(features))
    }

    /// Judges images with pixels in −1 … 1; values outside are clamped to that range. Row-major `[image, pixel]`.
    pub fn opinion(&self, images: &[f32], pixels: usize, shards: Shards) -> Opinion {
        let (model, count) = (self.valid(), images.len() / pixels);
        let shards = Shards { size: 250, ..shards };
        let seen = shards.map(count, |range| {
            let values = &images[range.start * pixels..range.end * pixels];
            let values = values.iter().map(|v| v.clamp(-1.0, 1.0)).collect();
            let device = model.classes.weight.device();
            let (features, logits) = model.look(rows(values, range.len(), &device));
            let [_, classes] = logits.dims();
            let read = to_f64(logits).chunks(classes).map(|row| ranking(row)[0]).collect::<Vec<_>>();
            (to_f64(features), read)
        });
        let (features, classes): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        Opinion { features: features.concat(), classes: classes.concat() }
    }

    /// Judges examples.
    pub fn opinion_of(&self, examples: &Examples, indices: &[usize], shards: Shards) -> Opinion {
        let pixels = examples.clamped(indices, &PIXELS, None, &Device::flex());
        let values = pixels.into_data().try_into_vec::<f32>().expect("f32");
        self.opinion(&values, examples.pixels_each(), shards)
    }
}

/// Normal weights of variance 2/`inputs` (K. He et al., ICCV 2015).
fn random<const D: usize>(weights: &Param<Tensor<D>>, inputs: usize, key: Key) -> Param<Tensor<D>> {
    let (shape, scale) = (weights.dims(), (2.0 / inputs as f32).sqrt());
    let values: Vec<f32> =
        key.normals(0, 1, shape.iter().product()).iter().map(|value| scale * value).collect();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &weights.device()))
}

/// Normals with a random scale per row, between zero and `largest`.
fn noise(count: usize, pixels: usize, largest: f64, key: Key, device: &Device) -> Tensor<2> {
    let mut values = key.fork("noise").normals(0, count, pixels);
    for (row, values) in values.chunks_mut(pixels).enumerate() {
        let scale = key.row(row as u64).rng().random_range(0.0..=largest) as f32;
        values.iter_mut().for_each(|value| *value *= scale);
    }
    rows(values, count, device)
}
