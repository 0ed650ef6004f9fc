//! Training by backpropagation through magnetisations, or through spins drawn from them.
//!
//! ```text
//! loss = −ln softmax(κ M)_class + λ_fp ⟨(m − tanh f(m))²⟩ + λ_mag ⟨μ²⟩      (27)
//! ```
//!
//! M are mean magnetisations of the output spins of each class, m those of the hidden spins, f their whole fields, the way
//! back included, and μ fields on the way up after the first layer. Training goes up through the layers only, which is
//! quick; it may then go on with passes of the closure in which every layer also has the field of the one above
//! (*settling*), so that the outputs in the loss are those of the machine. After A. G. Moore, arXiv:2607.00170 (2026), whose
//! losses are not known to us in detail.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use thermograd::{Key, Shards};

use crate::error::{Error, Result};
use crate::ising::network::{IsingNet, drawn, mean_spin, softened};
use crate::training::examples::{Augment, Examples};
use crate::training::fit::{Gradient, Part, Recipe, Training, backward};
use crate::training::network::cross_entropy;

/// What passes from one layer to the next in training.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forward {
    /// m = tanh μ.
    MeanField,
    /// m = tanh(μ/√(1 + πv/2)): nearly the mean of tanh over a field of variance v = Σ A² (1 − m²)/M.
    Closure,
    /// Spins drawn from μ, with the gradient of tanh μ (Y. Bengio, N. Léonard and A. Courville, arXiv:1308.3432).
    StraightThrough,
}

/// How a network is trained.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsingTrainer {
    /// Its training.
    pub recipe: Recipe,
    /// What passes from layer to layer.
    pub forward: Forward,
    /// κ: mean magnetisations times this are logits.
    pub logit_gain: f64,
    /// λ_fp.
    pub fixed_point: f64,
    /// λ_mag.
    pub magnitude: f64,
    /// Training that goes on after that with the way back, by the closure, when normalised fields have become couplings.
    pub settling: Recipe,
    /// Passes in it that take the way back into account, after the one up.
    pub passes: usize,
    /// How images are varied.
    pub augment: Augment,
}

/// What layers hand on: their spins, or their means. The last ones are means.
pub(crate) struct Layered {
    /// μ of every layer.
    pub(crate) fields: Vec<Tensor<2>>,
    /// What each layer hands on.
    pub(crate) values: Vec<Tensor<2>>,
}

impl Layered {
    fn outputs(mut self) -> Tensor<2> {
        self.values.pop().expect("a layer")
    }
}

impl IsingTrainer {
    /// The training of `network` on some examples.
    ///
    /// # Errors
    /// [`Error::Request`] for a fixed-point term of normalised layers, which has no meaning before they are folded.
    pub fn training<'a>(
        &'a self,
        network: &IsingNet,
        examples: &'a Examples,
    ) -> Result<Training<'a, IsingNet>> {
        if self.fixed_point > 0.0 && network.layers.iter().any(|layer| layer.is_normalised()) {
            let reason = "the fixed-point term needs couplings, and normalised layers have none before the end: \
                          set fixed_point = 0 or normalise = false";
            return Err(Error::Request(reason.into()));
        }
        let gradient = self.gradient(examples, self.forward, 0);
        Ok(Training::new("ising", self.recipe, examples.len(), gradient))
    }

    /// The training of a [folded](IsingNet::folded) network that goes on with the way back.
    pub fn settled<'a>(&'a self, examples: &'a Examples) -> Training<'a, IsingNet> {
        let gradient = self.gradient(examples, Forward::Closure, self.passes);
        Training::new("settling", self.settling, examples.len(), gradient)
    }

    /// The gradient of (27).
    fn gradient<'a>(
        &'a self,
        examples: &'a Examples,
        forward: Forward,
        passes: usize,
    ) -> impl Fn(&IsingNet, Part) -> Result<Gradient> + Sync + 'a {
        move |model, Part { indices, batch, key, .. }| {
            let device = model.device();
            let varied = Some((self.augment, key.fork("shift")));
            let inputs = examples.varied(indices, &model.normalisation, varied, &device);
            let one_hot = examples.one_hot(indices, model.classes, &device);
            let passed = model.pass(inputs, forward, key.fork("spins"));
            let settled = model.settled(&passed.fields[0], passed.values.clone(), passes, 1.0);
            let outputs = settled.last().expect("a layer").clone();
            let mut loss = cross_entropy(model.class_means(outputs) * self.logit_gain, one_hot);
            let images = indices.len() as f64;
            if self.magnitude > 0.0 {
                let size = passed.fields[1..].iter().map(|field| field.clone().square().mean());
                loss = loss + size.reduce(|a, b| a + b).expect("two layers") * (self.magnitude * images);
            }
            if self.fixed_point > 0.0 {
                loss = loss + model.fixed_point(&passed) * (self.fixed_point * images);
            }
            Ok(backward(loss / batch as f64, model))
        }
    }
}

impl IsingNet {
    /// From the image to the outputs without the way back.
    pub(crate) fn pass(&self, inputs: Tensor<2>, forward: Forward, key: Key) -> Layered {
        let (mut fields, mut values, mut below) = (Vec::new(), Vec::new(), inputs);
        let last = self.layers.len() - 1;
        for layer in 0..=last {
            let (field, mean) = if forward == Forward::Closure && layer > 0 {
                let (field, variance) = self.forward_moments(layer, below);
                (field.clone(), mean_spin(softened(field, variance)))
            } else {
                let field = self.forward_field(layer, below);
                (field.clone(), mean_spin(field))
            };
            fields.push(field.clone());
            let through = forward == Forward::StraightThrough && layer < last;
            below = if through { self.through(field, mean, layer, key) } else { mean };
            values.push(below.clone());
        }
        Layered { fields, values }
    }

    /// The mean of the copies of every spin, drawn, with the gradient of its mean.
    fn through(&self, field: Tensor<2>, mean: Tensor<2>, layer: usize, key: Key) -> Tensor<2> {
        let (field, copies) = (field.detach().inner(), self.copies(layer));
        let key = key.at(layer as u64);
        let draws = (0..copies).map(|copy| drawn(field.clone(), 1, copy as u32, key));
        let spins = draws.reduce(|a, b| a + b).expect("one copy at least") / copies as f64;
        let noise = Tensor::from_inner(spins) - mean.clone().detach();
        mean + noise
    }

    /// Mean magnetisations of the outputs without the way back; `key` draws the spins of [`Forward::StraightThrough`].
    ///
    /// # Shapes
    /// `[image, pixel]` → `[image, output spin]`.
    pub fn means(&self, inputs: Tensor<2>, forward: Forward, key: Key) -> Tensor<2> {
        self.pass(inputs, forward, key).outputs()
    }

    /// ⟨(m − tanh f(m))²⟩ over hidden layers.
    fn fixed_point(&self, passed: &Layered) -> Tensor<1> {
        let terms = (0..self.layers.len() - 1).filter_map(|layer| {
            let (field, mean) = (&passed.fields[layer], &passed.values[layer]);
            let feedback = self.feedback(layer, passed.values[layer + 1].clone())?;
            Some((mean.clone() - mean_spin(field.clone() + feedback)).square().mean())
        });
        terms.reduce(|a, b| a + b).unwrap_or_else(|| passed.values[0].clone().sum() * 0.0)
    }

    /// The network to use: normalised fields become couplings and fields, by their means and variances over `count`
    /// examples.
    ///
    /// # Errors
    /// [`Error::Request`] when couplings are not finite.
    pub fn folded(
        &self,
        examples: &Examples,
        count: usize,
        forward: Forward,
        shards: Shards,
        key: Key,
    ) -> Result<Self> {
        let mut network = self.valid();
        let key = key.fork("fold");
        let count = count.min(examples.len());
        for layer in 0..network.layers.len() {
            if !network.layers[layer].is_normalised() {
                continue;
            }
            let sums = shards.map(count, |range| {
                let key = key.skip(range.start as u64);
                let indices: Vec<usize> = range.collect();
                let inputs = examples.clamped(&indices, &network.normalisation, None, &network.device());
                let below = network.up_to(layer, inputs, forward, key);
                network.layers[layer].sums(below)
            });
            let (sum, square, count) = sums
                .into_iter()
                .reduce(|(a, b, n), (c, d, m)| (a + c, b + d, n + m))
                .expect("there are examples");
            let mean = sum / count as f64;
            let variance = square / count as f64 - mean.clone().square();
            network.layers[layer] = network.layers[layer].folded(mean, variance.clamp_min(0.0));
        }
        network.check()?;
        Ok(network)
    }

    /// What the layer below `layer` hands on.
    fn up_to(&self, layer: usize, inputs: Tensor<2>, forward: Forward, key: Key) -> Tensor<2> {
        if layer == 0 {
            return inputs;
        }
        let below = Self { layers: self.layers[..layer].to_vec(), ..self.clone() };
        // The last of these layers hands on what a hidden one does.
        let passed = below.pass(inputs, forward, key);
        match forward {
            Forward::StraightThrough => {
                let field = passed.fields[layer - 1].clone();
                self.through(field, passed.outputs(), layer - 1, key)
            }
            _ => passed.outputs(),
        }
    }
}
