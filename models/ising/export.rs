//! An Ising network as couplings, and couplings that are sampled as spins.
//!
//! Groups are `input`, clamped, then `hidden1` and so on, and `output`. The couplings are symmetric, J = −δ^(l−1) W^l/M with
//! M copies below, and fields −δ^(l−1) b^l, in the convention of (18). β is 1 in every group at one temperature, and
//! δ^−(l−1) in layer l where layers have temperatures of their own: then A^l = β_l δ^(l−1) W^l = W^l.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use thermograd::export::ising::WELLS;
use thermograd::{
    Block, Chains, Couplings, Description, Gibbs, Group, Hardware, Key, Normalisation, Pattern, Sampling,
    Schedule, Shards, Substrate, SubstrateConfig, Topology, run, to_f64,
};

use crate::error::{Error, Result};
use crate::ising::layer::Geometry;
use crate::ising::network::{IsingNet, Realisation};
use crate::ising::sampling::{Reading, Sweeps, tallied};
use crate::training::examples::Examples;

impl IsingNet {
    /// Whether there are symmetric couplings that do what the network does, in single precision: not at δ = 0, and not where
    /// those of the last layer would be too small.
    pub fn exports(&self) -> bool {
        self.delta.powi(self.layers.len() as i32 - 1) > 1e-20
    }

    /// The couplings of the machine, and how it is sampled.
    ///
    /// # Errors
    /// [`Error::Request`] for layers that are still normalised, and unless the network [exports](Self::exports).
    pub fn couplings_of(&self, sweeps: Sweeps) -> Result<Couplings> {
        if self.layers.iter().any(|layer| layer.is_normalised()) {
            return Err(Error::Request("normalised layers have no couplings before they are folded".into()));
        }
        if !self.exports() {
            return Err(Error::Request(format!(
                "at delta = {:e} nothing comes back from layer to layer, and no symmetric couplings do that; a larger \
                 delta can be exported",
                self.delta
            )));
        }
        let last = self.layers.len() - 1;
        let name =
            |layer: usize| if layer == last { "output".into() } else { format!("hidden{}", layer + 1) };
        let (j2, j4) = WELLS;
        let mut groups = vec![Group::clamped("input", self.layers[0].geometry().inputs())];
        let (mut blocks, mut tensors) = (Vec::new(), Vec::new());
        for (index, layer) in self.layers.iter().enumerate() {
            let (geometry, scale) = (layer.geometry(), -self.delta.powi(index as i32));
            let (above, below) = (self.copies(index), if index == 0 { 1 } else { self.copies(index - 1) });
            let from = if index == 0 { "input".into() } else { name(index - 1) };
            let weights = to_f64(layer.weight());
            let value = |weight: usize| (scale * weights[weight] / below as f64) as f32;
            let (units, inputs) = (geometry.outputs(), geometry.inputs());
            let (pattern, values) = match geometry {
                Geometry::Dense { .. } => {
                    let row = |i: usize| (0..above * units).map(move |j| (i % inputs) * units + j % units);
                    let values = (0..below * inputs).flat_map(row).map(value).collect();
                    (Pattern::Full, values)
                }
                Geometry::Conv { .. } => {
                    let mut pairs = Vec::new();
                    for ([i, j], weight) in geometry.pairs() {
                        for (a, b) in (0..below).flat_map(|a| (0..above).map(move |b| (a, b))) {
                            pairs.push(([a * inputs + i, b * units + j], weight));
                        }
                    }
                    pairs.sort_unstable();
                    let values = pairs.iter().map(|&(_, weight)| value(weight)).collect::<Vec<f32>>();
                    (Pattern::Pairs(pairs.into_iter().map(|(pair, _)| pair).collect()), values)
                }
            };
            let [channels, high, wide] = geometry.shape();
            let biases = to_f64(layer.bias());
            let bias =
                (0..above).flat_map(|_| (0..channels).flat_map(|c| std::iter::repeat_n(c, high * wide)));
            tensors.push((format!("b.{}", name(index)), bias.map(|c| (scale * biases[c]) as f32).collect()));
            tensors.push((format!("J.{from}-{}", name(index)), values));
            groups.push(Group::free(&name(index), above * units).wells(j2, j4));
            blocks.push(Block { from, to: name(index), pattern });
        }
        let beta = |layer: usize| match self.realisation {
            Realisation::Equilibrium => 1.0,
            Realisation::Temperatures => self.delta.powi(-(layer as i32)),
        };
        let config = SubstrateConfig::new(Topology { groups, blocks });
        let schedule = Schedule { dt: 1e-3, steps: 10_000 };
        let mut description = Description::of(config, schedule, Some(self.normalisation));
        description.sampling = Some(Sampling {
            betas: (0..=last).map(|layer| (name(layer), beta(layer))).collect(),
            output: name(last),
            classes: self.classes,
            burn_in: sweeps.burn_in,
            sweeps: sweeps.read,
        });
        Ok(Couplings::new(
            description,
            tensors.iter().map(|(name, values): &(String, Vec<f32>)| (&name[..], values.clone())),
        )?)
    }
}

/// Couplings whose units are sampled as spins, one by one: any graph, and whatever hardware has made of it.
#[derive(Clone, Debug)]
pub struct SpinReader {
    /// Couplings and biases.
    pub substrate: Substrate,
    sampling: Sampling,
    normalisation: Normalisation,
}

impl SpinReader {
    /// The reader of exported couplings.
    ///
    /// # Errors
    /// [`Error::Request`] when they are no spins that read images, and those of
    /// [`Couplings::substrate`](thermograd::Couplings::substrate).
    pub fn from_couplings(couplings: &Couplings, device: &Device) -> Result<Self> {
        let refuse = |reason: &str| Error::Request(format!("no spins that read images: {reason}"));
        let Description { sampling, normalisation, .. } = &couplings.description;
        let sampling = sampling.clone().ok_or_else(|| refuse("the couplings are not sampled as spins"))?;
        let normalisation = normalisation.ok_or_else(|| refuse("there is no input normalisation"))?;
        if couplings.description.substrate.topology.clamped().count() != 1 {
            return Err(refuse("they need one clamped group"));
        }
        Ok(Self { substrate: couplings.substrate(device)?, sampling, normalisation })
    }

    /// The same with other couplings.
    pub fn with_substrate(&self, substrate: Substrate) -> Self {
        Self { substrate, ..self.clone() }
    }

    /// The accuracy of a device on some examples, by as many sweeps as the couplings ask for.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn accuracy_on(
        &self,
        device: &Hardware,
        examples: &Examples,
        shards: Shards,
        key: Key,
    ) -> Result<f64> {
        let made = self.with_substrate(device.substrate.clone());
        let reading = made.read(examples, self.sweeps(), &[], shards, key, |_| {})?;
        Ok(reading.accuracy.last().map_or(0.0, |&(_, accuracy)| accuracy))
    }

    /// How many pixels an image has.
    pub fn inputs(&self) -> usize {
        self.substrate.topology().clamped_units()
    }

    /// Sweeps left out, and averaged.
    pub fn sweeps(&self) -> Sweeps {
        Sweeps { burn_in: self.sampling.burn_in, read: self.sampling.sweeps }
    }

    /// Reads examples as [`IsingNet::read`] does, spin by spin.
    ///
    /// # Errors
    /// [`Error::Examples`] for images of another size, and those of [`run`].
    pub fn read(
        &self,
        examples: &Examples,
        sweeps: Sweeps,
        marks: &[usize],
        shards: Shards,
        key: Key,
        progress: impl FnMut(f64),
    ) -> Result<Reading> {
        if examples.pixels_each() != self.inputs() {
            let (found, expected) = (examples.pixels_each(), self.inputs());
            return Err(Error::Examples(format!("images of {found} values, and {expected} clamped units")));
        }
        let (found, classes) = (examples.classes(), self.sampling.classes);
        if found > classes {
            return Err(Error::Examples(format!("images of {found} classes, and outputs for {classes}")));
        }
        let (spins, betas) = self.sampling.spins_of(&self.substrate)?;
        let substrate = self.substrate.valid();
        let columns = substrate.topology().columns(&self.sampling.output)?;
        let each = columns.len() / classes;
        let shards = Shards { size: shards.size.min(128), ..shards };
        tallied(examples, sweeps, marks, classes, shards, progress, |part| {
            let (images, key) = (part.indices.len(), key.skip(part.indices[0] as u64));
            let inputs = examples.clamped(&part.indices, &self.normalisation, None, substrate.options());
            let field: Tensor<2> = substrate.field(&[inputs])?.transpose();
            let field: Vec<f32> = to_f64(field).into_iter().map(|h| h as f32).collect();
            let gibbs = Gibbs::new(&spins, 1.0, key.fork("sweeps"))?;
            let gibbs = gibbs.with_fields(images, &field)?.with_temperatures(&betas)?;
            let start = Chains::random(&spins, images, key.fork("start"));
            let end = run(&gibbs, start, sweeps.burn_in + sweeps.read, |step| {
                part.read(step.index, || {
                    let mut means = vec![0.0; images * classes];
                    for (unit, spin) in columns.clone().enumerate() {
                        for (image, &s) in step.after.of(&spins, spin).iter().enumerate() {
                            means[image * classes + unit / each] += f64::from(s) / each as f64;
                        }
                    }
                    means
                });
            })?;
            part.flips = end.flips() as f64;
            Ok(())
        })
    }
}
