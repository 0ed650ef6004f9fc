//! A thermodynamic computer that classifies images of digits.
//!
//! The image is clamped on the input units; hidden and output units start at zero and run for t_f; the class is the
//! largest output at t_f (S. Whitelam, PNAS 123, e2528413123 (2026): 784 inputs, 64 hidden, 10 outputs,
//! μ = kT = J₂ = J₄ = 1, Δt = 1e-3, t_f = 0.2).

use std::ops::Range;

use burn::tensor::{Tensor, TensorCreationOptions};
use serde::{Deserialize, Serialize};
use thermograd::{
    Couplings, Group, Normalisation, Problem, Schedule, Start, Substrate, SubstrateConfig, Topology, to_f64,
};

use crate::error::{Error, Result};
use crate::training::examples::Examples;

/// Which groups of a classifier are coupled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wiring {
    /// All: input–hidden, hidden–hidden, hidden–output, output–output, input–output.
    #[default]
    AllToAll,
    /// Input–hidden and hidden–output only.
    Layered,
}

/// The configuration of an untrained classifier.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// Input units: pixels.
    pub inputs: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Output units: classes.
    pub classes: usize,
    /// Which groups couple.
    pub wiring: Wiring,
    /// J₂ of hidden and output units.
    pub j2: f64,
    /// J₄ of hidden and output units.
    pub j4: f64,
    /// kT.
    pub kt: f64,
    /// Δt and t_f.
    pub schedule: Schedule,
}

impl ClassifierConfig {
    /// The published computer, for images of `inputs` pixels and with `hidden` hidden units.
    pub fn new(inputs: usize, hidden: usize, classes: usize) -> Self {
        let schedule = Schedule { dt: 1e-3, steps: 200 };
        Self { inputs, hidden, classes, wiring: Wiring::AllToAll, j2: 1.0, j4: 1.0, kt: 1.0, schedule }
    }

    /// The untrained classifier, for images prepared by `normalisation`.
    ///
    /// # Errors
    /// Those of [`SubstrateConfig::init`].
    pub fn init(
        &self,
        normalisation: Normalisation,
        options: impl Into<TensorCreationOptions>,
    ) -> Result<Classifier> {
        let groups = [
            Group::clamped("input", self.inputs),
            Group::free("hidden", self.hidden).wells(self.j2, self.j4),
            Group::free("output", self.classes).wells(self.j2, self.j4),
        ];
        let topology = match self.wiring {
            Wiring::AllToAll => Topology::all_to_all(groups),
            Wiring::Layered => Topology::layered(groups),
        };
        let substrate = SubstrateConfig::new(topology).with_kt(self.kt).init(options)?;
        Classifier::new(substrate, self.schedule, normalisation)
    }
}

/// A thermodynamic computer with an input and an output group, its read-out time and the scaling of its inputs.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The computer.
    pub substrate: Substrate,
    /// Δt and t_f.
    pub schedule: Schedule,
    /// How images are prepared.
    pub normalisation: Normalisation,
    outputs: Range<usize>,
}

impl Classifier {
    /// Makes a classifier of any substrate with one clamped group and a free group called `output`.
    ///
    /// # Errors
    /// [`thermograd::Error::Topology`] when the substrate has other groups.
    pub fn new(substrate: Substrate, schedule: Schedule, normalisation: Normalisation) -> Result<Self> {
        let outputs = substrate.topology().columns("output")?;
        let clamped = substrate.topology().clamped().count();
        if clamped != 1 {
            let reason = format!("a classifier has one clamped group, this network has {clamped}");
            return Err(thermograd::Error::Topology(reason).into());
        }
        Ok(Self { substrate, schedule, normalisation, outputs })
    }

    /// Makes a classifier from exported couplings.
    ///
    /// # Errors
    /// Those of [`Couplings::substrate`], and [`thermograd::Error::Couplings`] when they have no input normalisation,
    /// when control parameters move, or when units start from noise (a classifier starts at rest).
    pub fn from_couplings(couplings: &Couplings, options: impl Into<TensorCreationOptions>) -> Result<Self> {
        let refuse = |reason: &str| {
            let reason = format!("{reason}: these are not the couplings of a classifier");
            Err(thermograd::Error::from(Problem::Unsupported(reason)).into())
        };
        let description = &couplings.description;
        match description.normalisation {
            None => refuse("no input normalisation"),
            Some(_) if description.sampling.is_some() => refuse("units are spins"),
            Some(_) if description.course.is_some() => refuse("control parameters move in time"),
            Some(_) if description.start == Start::Noise => refuse("units start from noise"),
            Some(normalisation) => {
                Self::new(couplings.substrate(options)?, description.schedule, normalisation)
            }
        }
    }

    /// Its couplings, for export.
    pub fn couplings(&self) -> Couplings {
        Couplings::of(&self.substrate, self.schedule, Some(self.normalisation))
    }

    /// The same classifier with other couplings.
    pub fn with_substrate(&self, substrate: Substrate) -> Self {
        Self { substrate, ..self.clone() }
    }

    /// The columns of a state that are outputs.
    pub fn outputs(&self) -> Range<usize> {
        self.outputs.clone()
    }

    /// Multiply–accumulates of a conventional network with the same layers, to compare with one inference.
    pub fn digital_macs(&self) -> f64 {
        let inputs = self.substrate.topology().clamped_units();
        let hidden = self.substrate.free_units() - self.outputs.len();
        (inputs * hidden + hidden * self.outputs.len()) as f64
    }

    /// The field of some examples, and their initial state.
    ///
    /// # Errors
    /// [`Error::Examples`] when the size of the images is not that of the input group.
    pub fn prepare(&self, examples: &Examples, indices: &[usize]) -> Result<(Tensor<2>, Tensor<2>)> {
        let inputs = self.substrate.topology().clamped_units();
        if examples.pixels_each() != inputs {
            return Err(Error::Examples(format!(
                "images of {} pixels for {inputs} input units",
                examples.pixels_each()
            )));
        }
        let options = self.substrate.options();
        let clamped = examples.clamped(indices, &self.normalisation, None, options.clone());
        let x0 = Tensor::zeros([indices.len(), self.substrate.free_units()], options);
        Ok((self.substrate.field(&[clamped])?, x0))
    }

    /// The outputs of each state, row-major on the host.
    pub fn read(&self, state: &Tensor<2>) -> Vec<f64> {
        to_f64(state.clone().slice_dim(1, self.outputs.clone()))
    }
}
