//! The conventional counterpart of the thermodynamic generator: a denoising multilayer perceptron.
//!
//! A diffusion model (J. Ho, A. Jain, P. Abbeel, NeurIPS 2020) with the cosine schedule, signal α = cos(πt/2) and
//! noise σ = sin(πt/2), that predicts the image, sampled by the deterministic steps of J. Song, C. Meng, S. Ermon
//! (ICLR 2021), with classifier-free guidance (J. Ho, T. Salimans 2022): the class is left out of a tenth of the
//! training examples, and the prediction is extrapolated by `guidance` from the one without the class through the one
//! with it.

use std::f64::consts::{FRAC_PI_2, PI};

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::{Key, Shards, to_f64};

use crate::training::examples::{Examples, PIXELS};
use crate::training::fit::{Part, Recipe, Training, backward};
use crate::training::network::{linear, rows};

/// The configuration of the untrained network, its training and its sampling.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionConfig {
    /// Units of each of the two hidden layers.
    pub hidden: usize,
    /// The fraction of the training examples for which the class is left out.
    pub drop: f64,
    /// Steps from noise to image.
    pub steps: usize,
    /// Its training.
    pub recipe: Recipe,
}

/// The number of frequencies that encode the time.
const FREQUENCIES: usize = 8;

/// A multilayer perceptron of (noisy image, time, class) with two hidden layers.
#[derive(Module, Debug)]
pub struct Diffusion {
    first: Linear,
    second: Linear,
    last: Linear,
    #[module(skip)]
    classes: usize,
}

impl DiffusionConfig {
    /// The untrained network.
    pub fn init(&self, pixels: usize, classes: usize, key: Key, device: &Device) -> Diffusion {
        let key = key.fork("diffusion weights");
        let linear = |from, to, index| linear(from, to, key.at(index), device);
        Diffusion {
            first: linear(pixels + 2 * FREQUENCIES + classes, self.hidden, 0),
            second: linear(self.hidden, self.hidden, 1),
            last: linear(self.hidden, pixels, 2),
            classes,
        }
    }

    /// The training of the network on some examples.
    pub fn training<'a>(&self, examples: &'a Examples) -> Training<'a, Diffusion> {
        let drop = self.drop;
        let gradient = move |model: &Diffusion, Part { indices, batch, key, .. }: Part| {
            let device = model.last.weight.device().inner();
            let count = indices.len();
            let mut class = vec![0.0_f32; count * model.classes];
            let times = indices.iter().enumerate().map(|(row, &index)| {
                let mut rng = key.row(row as u64).rng();
                if rng.random::<f64>() >= drop {
                    class[row * model.classes + examples.label(index)] = 1.0;
                }
                rng.random_range(0.005..0.995)
            });
            let times: Vec<f64> = times.collect();
            let image = examples.clamped(indices, &PIXELS, None, &device);
            let noise = key.fork("noise").normals(0, count, examples.pixels_each());
            let [alpha, sigma] = [f64::cos, f64::sin].map(|f| {
                let values = times.iter().map(|time| f(FRAC_PI_2 * time) as f32).collect();
                rows(values, count, &device)
            });
            let noisy = image.clone() * alpha + rows(noise, count, &device) * sigma;
            let told = model.predict(noisy, &times, rows(class, count, &device));
            let loss = (told - image).square().mean() * (count as f64 / batch as f64);
            Ok(backward(loss, model))
        };
        Training::new("diffusion", self.recipe, examples.len(), gradient)
    }
}

impl Diffusion {
    /// Predicts the images from noisy ones.
    ///
    /// # Shapes
    /// `x` `[image, pixel]`, `class` `[image, class]` → `[image, pixel]`.
    fn predict(&self, x: Tensor<2>, times: &[f64], class: Tensor<2>) -> Tensor<2> {
        let waves = times.iter().flat_map(|time| {
            (0..FREQUENCIES).flat_map(move |k| {
                let phase = PI * time * 2.0_f64.powi(k as i32);
                [phase.sin() as f32, phase.cos() as f32]
            })
        });
        let waves = rows(waves.collect(), times.len(), &x.device());
        let input = Tensor::cat(vec![x, waves, class], 1);
        let hidden = silu(self.second.forward(silu(self.first.forward(input))));
        self.last.forward(hidden)
    }

    /// Multiply–accumulates of one evaluation for one image.
    pub fn macs(&self) -> f64 {
        [&self.first, &self.second, &self.last]
            .iter()
            .map(|layer| layer.weight.dims().iter().product::<usize>() as f64)
            .sum()
    }

    /// Draws one image for each class in `labels`. Row-major `[image, pixel]`. `progress` receives the fraction that
    /// is done.
    pub fn sample(
        &self,
        labels: &[usize],
        steps: usize,
        guidance: f64,
        shards: Shards,
        key: Key,
        mut progress: impl FnMut(f64),
    ) -> Vec<f32> {
        let model = self.valid();
        let chunk = shards.size.saturating_mul(shards.threads).min(labels.len());
        let mut images = Vec::new();
        for start in (0..labels.len()).step_by(chunk) {
            let count = chunk.min(labels.len() - start);
            let drawn = shards.map(count, |range| {
                let rows = start + range.start..start + range.end;
                model.draw(&labels[rows.clone()], steps, guidance, key.fork("noise").skip(rows.start as u64))
            });
            images.extend(drawn.concat());
            progress((start + count) as f64 / labels.len() as f64);
        }
        images
    }

    fn draw(&self, labels: &[usize], steps: usize, guidance: f64, key: Key) -> Vec<f32> {
        let (count, [_, pixels]) = (labels.len(), self.last.weight.dims());
        let device = self.last.weight.device();
        let mut x = rows(key.normals(0, count, pixels), count, &device);
        let mut one_hot = vec![0.0; count * self.classes];
        labels.iter().enumerate().for_each(|(row, label)| one_hot[row * self.classes + label] = 1.0);
        let class = rows(one_hot, count, &device);
        let time = |step: usize| 0.995 + (0.005 - 0.995) * step as f64 / steps as f64;
        let mut image = x.clone();
        for step in 0..=steps {
            let (alpha, sigma) = ((FRAC_PI_2 * time(step)).cos(), (FRAC_PI_2 * time(step)).sin());
            let times = vec![time(step); count];
            let with = self.predict(x.clone(), &times, class.clone());
            let guided = match guidance {
                1.0 => with,
                _ => {
                    let without = self.predict(x.clone(), &times, class.zeros_like());
                    without.clone() + (with - without) * guidance
                }
            };
            image = guided.clamp(-1.0, 1.0);
            if step < steps {
                let noise = (x - image.clone() * alpha) / sigma;
                let (alpha, sigma) = ((FRAC_PI_2 * time(step + 1)).cos(), (FRAC_PI_2 * time(step + 1)).sin());
                x = image.clone() * alpha + noise * sigma;
            }
        }
        to_f64(image).into_iter().map(|value| value as f32).collect()
    }
}
