//! One layer of couplings between two layers of spins: dense or convolutional.
//!
//! ```text
//! f = A s + b,      and back: Aᵀ s′
//! ```

use burn::module::{Module, Param};
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thermograd::Key;

use crate::error::{Error, Result};

/// Which spins a layer couples.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Geometry {
    /// Every spin of one layer with every spin of the next.
    Dense {
        /// Spins below.
        inputs: usize,
        /// Spins above.
        outputs: usize,
    },
    /// Each spin with a square of spins below, all with the same couplings.
    Conv {
        /// Channels, rows and columns below.
        from: [usize; 3],
        /// Channels above.
        channels: usize,
        /// Rows and columns of the square; odd, and padded by half of it.
        kernel: usize,
        /// Rows and columns from one square to the next.
        stride: usize,
    },
}

impl Geometry {
    /// Spins below.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Dense { inputs, .. } => *inputs,
            Self::Conv { from, .. } => from.iter().product(),
        }
    }

    /// Channels, rows and columns above.
    pub fn shape(&self) -> [usize; 3] {
        match *self {
            Self::Dense { outputs, .. } => [outputs, 1, 1],
            Self::Conv { from: [_, rows, columns], channels, stride, .. } => {
                [channels, rows.div_ceil(stride), columns.div_ceil(stride)]
            }
        }
    }

    /// Spins above.
    pub fn outputs(&self) -> usize {
        self.shape().iter().product()
    }

    /// Couplings of one spin above, and how many spins have couplings of their own.
    pub(crate) fn weights(&self) -> [usize; 2] {
        match *self {
            Self::Dense { inputs, outputs } => [inputs, outputs],
            Self::Conv { from: [below, ..], channels, kernel, .. } => [below * kernel * kernel, channels],
        }
    }

    /// Multiply–accumulates of one product, those with padding included.
    pub fn macs(&self) -> usize {
        self.weights()[0] * self.outputs()
    }

    /// The coupled pairs, `[below, above]`, and the number of the weight of each, row-major `[fan-in, channel]`.
    pub fn pairs(&self) -> Vec<([usize; 2], usize)> {
        let [_, columns_of_weights] = self.weights();
        match *self {
            Self::Dense { inputs, outputs } => {
                (0..inputs).flat_map(|i| (0..outputs).map(move |j| ([i, j], i * outputs + j))).collect()
            }
            Self::Conv { from: [below, rows, columns], kernel, stride, .. } => {
                let [channels, high, wide] = self.shape();
                let mut pairs = Vec::new();
                for (channel, row, column) in
                    (0..channels).flat_map(|c| (0..high).flat_map(move |r| (0..wide).map(move |w| (c, r, w))))
                {
                    for (source, dr, dc) in (0..below)
                        .flat_map(|c| (0..kernel).flat_map(move |r| (0..kernel).map(move |w| (c, r, w))))
                    {
                        let (r, c) = (row * stride + dr, column * stride + dc);
                        let (Some(r), Some(c)) = (r.checked_sub(kernel / 2), c.checked_sub(kernel / 2))
                        else {
                            continue;
                        };
                        if r < rows && c < columns {
                            let weight = (source * kernel + dr) * kernel + dc;
                            pairs.push((
                                [(source * rows + r) * columns + c, (channel * high + row) * wide + column],
                                weight * columns_of_weights + channel,
                            ));
                        }
                    }
                }
                pairs
            }
        }
    }
}

/// Couplings and fields of one layer of spins.
#[derive(Module, Debug)]
pub struct Layer {
    /// Couplings over `rate`, `[fan-in, channel]`.
    weight: Param<Tensor<2>>,
    /// Fields, `[1, channel]`.
    bias: Param<Tensor<2>>,
    /// Gains of normalised fields, `[1, channel]`; none without batch normalisation.
    gain: Option<Param<Tensor<2>>>,
    /// Couplings are this times the parameters, which learn that much slower: 256 over the fan-in where that is
    /// below one.
    #[module(skip)]
    rate: f64,
    #[module(skip)]
    geometry: Geometry,
}

/// Added to variances that are divided by.
const EPSILON: f64 = 1e-5;

impl Layer {
    /// A layer with normal weights of variance `scale`²/fan-in.
    pub(crate) fn new(geometry: Geometry, scale: f64, normalised: bool, key: Key, device: &Device) -> Self {
        let [fan_in, channels] = geometry.weights();
        let rate = if normalised { 1.0 } else { (256.0 / fan_in as f64).min(1.0) };
        let sd = (scale / (fan_in as f64).sqrt() / rate) as f32;
        let values: Vec<f32> = key.normals(0, fan_in, channels).into_iter().map(|value| sd * value).collect();
        let weight = Tensor::from_data(TensorData::new(values, [fan_in, channels]), device);
        let row = |value: f32| Param::from_tensor(Tensor::full([1, channels], value, device));
        let gain = normalised.then(|| row(scale as f32));
        Self { weight: Param::from_tensor(weight), bias: row(0.0), gain, rate, geometry }
    }

    /// A layer of given couplings and fields.
    ///
    /// # Shapes
    /// `weight` `[fan-in, channel]`, `bias` `[1, channel]`.
    pub(crate) fn of(geometry: Geometry, weight: Tensor<2>, bias: Tensor<2>) -> Self {
        let (weight, bias) = (Param::from_tensor(weight), Param::from_tensor(bias));
        Self { weight, bias, gain: None, rate: 1.0, geometry }
    }

    /// Which spins it couples.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// A without normalisation, `[fan-in, channel]`.
    pub fn weight(&self) -> Tensor<2> {
        self.weight.val() * self.rate
    }

    /// b, `[1, channel]`.
    pub fn bias(&self) -> Tensor<2> {
        self.bias.val()
    }

    /// Whether fields are normalised, so that the layer is one to train only.
    pub fn is_normalised(&self) -> bool {
        self.gain.is_some()
    }

    /// Where it is.
    pub(crate) fn device(&self) -> Device {
        self.weight.val().device()
    }

    /// A s.
    ///
    /// # Shapes
    /// `[image, spin below]` → `[image, spin above]`.
    pub fn product(&self, s: Tensor<2>) -> Tensor<2> {
        self.multiplied(s, self.weight())
    }

    /// A s with the given couplings.
    ///
    /// # Shapes
    /// `[image, spin below]` → `[image, spin above]`.
    fn multiplied(&self, s: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        match self.geometry {
            Geometry::Dense { .. } => s.matmul(weight),
            Geometry::Conv { from: [below, rows, columns], channels, kernel, stride } => {
                let images = s.dims()[0];
                let s = s.reshape([images, below, rows, columns]);
                let weight = weight.transpose().reshape([channels, below, kernel, kernel]);
                let padding = kernel / 2;
                let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
                conv2d(s, weight, None, options).reshape([images, self.geometry.outputs()])
            }
        }
    }

    /// Aᵀ s′: what spins above do to those below, in the way of fields.
    ///
    /// # Shapes
    /// `[image, spin above]` → `[image, spin below]`.
    pub fn back(&self, above: Tensor<2>) -> Tensor<2> {
        match self.geometry {
            Geometry::Dense { .. } => above.matmul(self.weight().transpose()),
            Geometry::Conv { from: [below, rows, columns], channels, kernel, stride } => {
                let (images, [_, high, wide]) = (above.dims()[0], self.geometry.shape());
                let above = above.reshape([images, channels, high, wide]);
                let weight = self.weight().transpose().reshape([channels, below, kernel, kernel]);
                let padding = kernel / 2;
                // What a transposed convolution of the smaller image would leave out at the far edges.
                let out = |side: usize, small: usize| side + 2 * padding - kernel - (small - 1) * stride;
                let rest = [out(rows, high), out(columns, wide)];
                let options = ConvTransposeOptions::new([stride; 2], [padding; 2], rest, [1, 1], 1);
                conv_transpose2d(above, weight, None, options).reshape([images, below * rows * columns])
            }
        }
    }

    /// A s + b; with normalisation, of fields that have mean b and standard deviation g over this batch, in every
    /// channel.
    ///
    /// # Shapes
    /// `[image, spin below]` → `[image, spin above]`.
    pub fn field(&self, s: Tensor<2>) -> Tensor<2> {
        self.scaled(self.product(s)).0
    }

    /// Means and variances of the fields of independent spins of means m and variances v: A m + b and Σ A² v.
    ///
    /// # Shapes
    /// `[image, spin below]` twice → `[image, spin above]` twice.
    pub(crate) fn moments(&self, m: Tensor<2>, v: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (mean, gain) = self.scaled(self.product(m));
        let variance = self.multiplied(v, self.weight().square());
        match gain {
            Some(gain) => (mean, self.each(variance, Tensor::mul, gain.square())),
            None => (mean, variance),
        }
    }

    /// Products as fields, and what normalisation multiplied them by, `[1, channel]`.
    fn scaled(&self, product: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let Some(gain) = &self.gain else { return (self.each(product, Tensor::add, self.bias()), None) };
        let (mean, variance) = self.statistics(product.clone());
        let gain = gain.val() / (variance + EPSILON).sqrt();
        let bias = self.bias() - gain.clone() * mean;
        let field = self.each(product, Tensor::mul, gain.clone());
        (self.each(field, Tensor::add, bias), Some(gain))
    }

    /// Something done with a value of each channel, `[1, channel]`.
    fn each(
        &self,
        field: Tensor<2>,
        apply: impl Fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
        row: Tensor<2>,
    ) -> Tensor<2> {
        let ([images, units], [channels, high, wide]) = (field.dims(), self.geometry.shape());
        let field = field.reshape([images, channels, high * wide]);
        apply(field, row.reshape([1, channels, 1])).reshape([images, units])
    }

    /// Mean and variance of every channel over images and places, `[1, channel]`.
    fn statistics(&self, field: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let (images, [channels, high, wide]) = (field.dims()[0], self.geometry.shape());
        let field = field.reshape([images, channels, high * wide]);
        let mean = |x: Tensor<3>| x.mean_dim(2).mean_dim(0);
        let centre = mean(field.clone());
        let variance = mean((field - centre.clone()).square());
        (centre.reshape([1, channels]), variance.reshape([1, channels]))
    }

    /// A s alone, and how many numbers went into each channel, for sums over many batches: Σ f and Σ f², `[1, channel]`.
    pub(crate) fn sums(&self, s: Tensor<2>) -> (Tensor<2>, Tensor<2>, usize) {
        let images = s.dims()[0];
        let (mean, variance) = self.statistics(self.product(s));
        let [_, high, wide] = self.geometry.shape();
        let count = images * high * wide;
        (mean.clone() * count as f64, (variance + mean.square()) * count as f64, count)
    }

    /// The layer without normalisation whose fields are normalised as those of the given mean and variance:
    /// A ← gA/σ, b ← b − gμ/σ.
    pub(crate) fn folded(&self, mean: Tensor<2>, variance: Tensor<2>) -> Self {
        let Some(gain) = &self.gain else { return self.clone() };
        let gain = gain.val() / (variance + EPSILON).sqrt();
        Self::of(self.geometry, self.weight() * gain.clone(), self.bias() - gain * mean)
    }

    /// Refuses values that are no couplings.
    pub(crate) fn check(&self) -> Result<()> {
        let sum = (self.weight.val().abs().sum() + self.bias.val().abs().sum()).into_scalar::<f64>();
        if sum.is_finite() { Ok(()) } else { Err(Error::Request("couplings are not finite".into())) }
    }
}
