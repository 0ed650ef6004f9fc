//! Layers of ±1 spins, of which the first is held at the image and the last is read.
//!
//! ```text
//! f^l = A^l s^(l−1) + b^l + γ^l (A^(l+1))ᵀ s^(l+1),      P(s = +1) = 1/(1 + exp(−2f))      (26)
//! ```
//!
//! after A. G. Moore, arXiv:2607.00170 (2026). The last term is what a digital feed-forward network does not have. There
//! are two ways to make the others outweigh it, which are different machines:
//!
//! | [`Realisation`] | A^l | γ^l | |
//! |---|---|---|---|
//! | [`Equilibrium`](Realisation::Equilibrium) | δ^(l−1) W^l | 1 | one temperature: an Ising system with symmetric couplings A, in equilibrium |
//! | [`Temperatures`](Realisation::Temperatures) | W^l | δ | symmetric couplings δ^(l−1) W^l, and the temperature δ^(l−1) in layer l: a steady state out of equilibrium |
//!
//! Fields are scaled with the couplings of their layer. At δ = 0 the second is a feed-forward network of stochastic spins.
//!
//! *Replicas*: each hidden spin may be there M times, with couplings A/M to what is above; γ of layer l is then multiplied
//! by M^(l+1)/M^l. The last layer has R spins for each class, with couplings of their own.

use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thermograd::{Key, Normalisation};

use crate::error::{Error, Result};
use crate::ising::layer::{Geometry, Layer};

/// How feed-forward couplings are made to outweigh the way back; see the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Realisation {
    /// One temperature; later layers have weaker couplings.
    Equilibrium,
    /// A temperature for each layer; later layers are colder.
    Temperatures,
}

/// A hidden layer of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hidden {
    /// So many spins, coupled to all below.
    Dense(usize),
    /// Squares of couplings that all places share.
    Conv {
        /// Channels.
        channels: usize,
        /// Side of the square.
        kernel: usize,
        /// Rows and columns from one to the next.
        stride: usize,
    },
}

/// A network before training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsingConfig {
    /// Hidden layers.
    pub hidden: Vec<Hidden>,
    /// R, output spins of a class.
    pub outputs: usize,
    /// M, copies of every hidden spin.
    pub replicas: usize,
    /// Which machine.
    pub realisation: Realisation,
    /// δ.
    pub delta: f64,
    /// c: weights have variance c²/fan-in before training.
    pub scale: f64,
    /// Whether fields of hidden layers are normalised in training.
    pub normalise: bool,
}

impl IsingConfig {
    /// An untrained network for images of so many channels, rows and columns.
    ///
    /// # Errors
    /// [`Error::Request`] for layers that are none and a δ outside its range.
    pub fn init(
        &self,
        image: [usize; 3],
        classes: usize,
        normalisation: Normalisation,
        key: Key,
        device: &Device,
    ) -> Result<IsingNet> {
        self.check()?;
        let key = key.fork("ising weights");
        let layer = |(index, geometry): (usize, Geometry)| {
            let normalise = self.normalise && index < self.hidden.len();
            Layer::new(geometry, self.scale, normalise, key.at(index as u64), device)
        };
        let layers = self.geometries(image, classes).into_iter().enumerate().map(layer).collect();
        let Self { replicas, realisation, delta, .. } = *self;
        Ok(IsingNet { layers, classes, replicas, realisation, delta, normalisation })
    }

    /// The geometry of every layer for images of so many channels, rows and columns.
    fn geometries(&self, image: [usize; 3], classes: usize) -> Vec<Geometry> {
        let (mut shape, mut geometries) = (image, Vec::new());
        for hidden in &self.hidden {
            let geometry = match *hidden {
                Hidden::Dense(outputs) => Geometry::Dense { inputs: shape.iter().product(), outputs },
                Hidden::Conv { channels, kernel, stride } => {
                    Geometry::Conv { from: shape, channels, kernel, stride }
                }
            };
            shape = geometry.shape();
            geometries.push(geometry);
        }
        let outputs = classes.saturating_mul(self.outputs);
        geometries.push(Geometry::Dense { inputs: shape.iter().product(), outputs });
        geometries
    }

    /// Couplings that are trained.
    pub fn weights(&self, image: [usize; 3], classes: usize) -> u128 {
        let of = |geometry: &Geometry| geometry.weights().map(|count| count as u128).iter().product::<u128>();
        self.geometries(image, classes).iter().map(of).sum()
    }

    /// Spins, copies included.
    pub fn spins(&self, image: [usize; 3], classes: usize) -> u128 {
        let of = |geometry: &Geometry| geometry.outputs() as u128 * self.replicas as u128;
        self.geometries(image, classes).iter().map(of).sum()
    }

    /// Refuses what makes no network.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Request(reason));
        if self.outputs == 0 || self.replicas == 0 {
            return refuse("a class needs an output spin, and a hidden spin must be there once".into());
        }
        let empty = |hidden: &Hidden| match *hidden {
            Hidden::Dense(spins) => spins == 0,
            Hidden::Conv { channels, kernel, stride } => channels == 0 || stride == 0 || kernel % 2 == 0,
        };
        if self.hidden.is_empty() || self.hidden.iter().any(empty) {
            return refuse("hidden layers: at least one, with spins, strides above 0 and odd kernels".into());
        }
        let (most, widest) = (1 << 24, 255);
        let large = |hidden: &Hidden| match *hidden {
            Hidden::Dense(spins) => spins > most,
            Hidden::Conv { channels, kernel, stride } => channels > most || kernel.max(stride) > widest,
        };
        if self.hidden.iter().any(large) || self.outputs.max(self.replicas) > most {
            return refuse(format!(
                "at most {most} spins, channels and copies, and kernels and strides of {widest} are possible"
            ));
        }
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return refuse(format!("scale = {}: it must be positive and finite", self.scale));
        }
        check_delta(self.realisation, self.delta)
    }
}

/// Refuses a δ that a realisation does not have.
pub(crate) fn check_delta(realisation: Realisation, delta: f64) -> Result<()> {
    let least = if realisation == Realisation::Equilibrium { f64::MIN_POSITIVE } else { 0.0 };
    if (least..=1.0).contains(&delta) {
        return Ok(());
    }
    let range = if least > 0.0 { "above 0 and at most 1 at one temperature" } else { "between 0 and 1" };
    Err(Error::Request(format!("delta = {delta}: it must be {range}")))
}

/// A layered network of spins.
#[derive(Module, Debug)]
pub struct IsingNet {
    /// The layers, the one that is read last.
    pub layers: Vec<Layer>,
    #[module(skip)]
    pub(crate) classes: usize,
    #[module(skip)]
    pub(crate) replicas: usize,
    #[module(skip)]
    pub(crate) realisation: Realisation,
    #[module(skip)]
    pub(crate) delta: f64,
    #[module(skip)]
    pub(crate) normalisation: Normalisation,
}

impl IsingNet {
    /// Classes it tells apart.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Which machine it is.
    pub fn realisation(&self) -> Realisation {
        self.realisation
    }

    /// How images become clamped values.
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// The same couplings on another machine.
    ///
    /// # Errors
    /// [`Error::Request`] for a δ that it does not have.
    pub fn realised(self, realisation: Realisation, delta: f64) -> Result<Self> {
        check_delta(realisation, delta)?;
        Ok(Self { realisation, delta, ..self })
    }

    /// Whether nothing comes back from one layer to the one below.
    pub fn is_feed_forward(&self) -> bool {
        self.realisation == Realisation::Temperatures && self.delta == 0.0
    }

    /// How often a spin of a layer is there.
    pub(crate) fn copies(&self, layer: usize) -> usize {
        if layer + 1 < self.layers.len() { self.replicas } else { 1 }
    }

    /// Spins of every layer, copies included.
    pub fn spins(&self) -> Vec<usize> {
        let of = |(index, layer): (usize, &Layer)| layer.geometry().outputs() * self.copies(index);
        self.layers.iter().enumerate().map(of).collect()
    }

    /// What A and b of a layer are of W.
    pub(crate) fn factor(&self, layer: usize) -> f64 {
        match self.realisation {
            Realisation::Equilibrium => self.delta.powi(layer as i32),
            Realisation::Temperatures => 1.0,
        }
    }

    /// γ of a layer, copies included.
    pub(crate) fn gamma(&self, layer: usize) -> f64 {
        let gamma = match self.realisation {
            Realisation::Equilibrium => 1.0,
            Realisation::Temperatures => self.delta,
        };
        gamma * self.copies(layer + 1) as f64 / self.copies(layer) as f64
    }

    /// A s + b of a layer.
    ///
    /// # Shapes
    /// `[image, spin below]` → `[image, spin]`.
    pub(crate) fn forward_field(&self, layer: usize, below: Tensor<2>) -> Tensor<2> {
        self.layers[layer].field(below) * self.factor(layer)
    }

    /// γAᵀs′: what the layer above adds to the field of a layer; nothing for the last one, and where γ = 0.
    ///
    /// # Shapes
    /// `[image, spin above]` → `[image, spin]`.
    pub(crate) fn feedback(&self, layer: usize, above: Tensor<2>) -> Option<Tensor<2>> {
        let strength = self.gamma(layer) * self.factor(layer + 1);
        (strength > 0.0).then(|| self.layers[layer + 1].back(above) * strength)
    }

    /// The variance of the mean over the copies of every spin of a layer, (1 − m²)/M.
    ///
    /// # Shapes
    /// `[image, spin]` → `[image, spin]`.
    pub(crate) fn spread(&self, layer: usize, mean: Tensor<2>) -> Tensor<2> {
        (mean.square() * -1.0 + 1.0) / self.copies(layer) as f64
    }

    /// Means and variances of the fields on the way up, of independent spins of means m below.
    ///
    /// # Shapes
    /// `[image, spin below]` → `[image, spin]` twice.
    pub(crate) fn forward_moments(&self, layer: usize, below: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let spread = self.spread(layer - 1, below.clone());
        let (mean, variance) = self.layers[layer].moments(below, spread);
        (mean * self.factor(layer), variance * self.factor(layer).powi(2))
    }

    /// The mean over the output spins of each class.
    ///
    /// # Shapes
    /// `[image, output spin]` → `[image, class]`.
    pub(crate) fn class_means(&self, outputs: Tensor<2>) -> Tensor<2> {
        let [images, spins] = outputs.dims();
        let means = outputs.reshape([images, self.classes, spins / self.classes]).mean_dim(2);
        means.reshape([images, self.classes])
    }

    /// Multiply–accumulates of the digital network of the same layers.
    pub fn macs(&self) -> usize {
        self.layers.iter().map(|layer| layer.geometry().macs()).sum()
    }

    /// Couplings between spins, copies included, and fields of clamped inputs left out.
    pub fn couplings(&self) -> usize {
        let pairs = |(index, layer): (usize, &Layer)| {
            layer.geometry().pairs().len() * self.copies(index) * self.copies(index + 1)
        };
        self.layers[1..].iter().enumerate().map(pairs).sum()
    }

    /// Refuses couplings that are not finite.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub fn check(&self) -> Result<()> {
        self.layers.iter().try_for_each(Layer::check)
    }

    /// Where it is.
    pub(crate) fn device(&self) -> Device {
        self.layers[0].device().inner()
    }
}

/// f/√(1 + πv/2): its tanh is nearly the mean of tanh over a normal field of mean f and variance v (D. J. C. MacKay,
/// Neural Comput. 4, 720, 1992, for the logistic function).
pub(crate) fn softened(field: Tensor<2>, variance: Tensor<2>) -> Tensor<2> {
    field / (variance * std::f64::consts::FRAC_PI_2 + 1.0).sqrt()
}

/// tanh f, the mean of a spin in a field f, as 2/(1 + exp(−2f)) − 1 with the slope 1 − tanh² f: Burn would compute the
/// tanh twice for a gradient, which is a third of the time that training takes.
pub(crate) fn mean_spin(field: Tensor<2>) -> Tensor<2> {
    let still = field.clone().detach();
    let mean = sigmoid(still.clone() * 2.0) * 2.0 - 1.0;
    let slope = mean.clone().square() * -1.0 + 1.0;
    mean + (field - still) * slope
}

/// Fair coins of ±1.
pub(crate) fn coins(images: usize, spins: usize, key: Key, device: &Device) -> Tensor<2> {
    let values = key.uniforms(0, images, spins).into_iter().map(|u| if u < 0.5 { 1.0 } else { -1.0 });
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), [images, spins]), device)
}

/// Copies of spins drawn under some fields: +1 with probability 1/(1 + exp(−2f)).
///
/// # Shapes
/// `[image, spin]` → `[image, copy and spin]`.
pub(crate) fn drawn(field: Tensor<2>, copies: usize, step: u32, key: Key) -> Tensor<2> {
    let [images, spins] = field.dims();
    let u = key.uniforms_beside(step as usize, [images, copies * spins], &field);
    let up = (u * ((field * -2.0).exp() + 1.0).repeat_dim(1, copies)).lower_elem(1.0);
    up.float() * 2.0 - 1.0
}
