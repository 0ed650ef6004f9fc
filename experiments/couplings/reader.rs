//! What reads images with couplings: displacements that follow Langevin dynamics, or spins.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use thermograd::{Hardware, Key, Shards, Substrate};
use thermograd_experiments::workbench::run::load;
use thermograd_models::{Classifier, Examples, SpinReader};

/// A machine that reads images.
pub enum Reader {
    /// Outputs of one trajectory.
    Langevin(Classifier),
    /// Outputs averaged over sweeps.
    Spins(SpinReader),
}

impl Reader {
    /// The machine of a file of couplings.
    pub fn load(file: &Path, device: &Device) -> Result<Self> {
        let (couplings, named) = (load(file)?, || format!("in {}", file.display()));
        Ok(match couplings.description.sampling {
            Some(_) => Self::Spins(SpinReader::from_couplings(&couplings, device).with_context(named)?),
            None => Self::Langevin(Classifier::from_couplings(&couplings, device).with_context(named)?),
        })
    }

    /// Its couplings, biases, wells and temperature.
    pub fn substrate(&self) -> &Substrate {
        match self {
            Self::Langevin(classifier) => &classifier.substrate,
            Self::Spins(reader) => &reader.substrate,
        }
    }

    /// How often an image is read, in words.
    pub fn effort(&self) -> String {
        match self {
            Self::Langevin(_) => "one trajectory".into(),
            Self::Spins(reader) => format!("{} sweeps", reader.sweeps().read),
        }
    }

    /// Refuses a time step that is too large for a device; spins have none.
    pub fn check_step(&self, device: &Hardware) -> Result<()> {
        match self {
            Self::Langevin(classifier) => Ok(device.substrate.check_step(classifier.schedule.dt)?),
            Self::Spins(_) => Ok(()),
        }
    }

    /// The accuracy of a device on some examples.
    pub fn accuracy_on(
        &self,
        device: &Hardware,
        examples: &Examples,
        shards: Shards,
        key: Key,
    ) -> Result<f64> {
        match self {
            Self::Langevin(classifier) => Ok(classifier.accuracy_on(device, examples, shards, key)?),
            Self::Spins(reader) => {
                if device.read_out > 0.0 || device.bandwidth.is_some() {
                    bail!(
                        "spins are read without noise, and fields follow them at once: try another imperfection"
                    );
                }
                let made = reader.with_substrate(device.substrate.clone());
                let reading = made.read(examples, made.sweeps(), &[], shards, key, |_| {})?;
                Ok(reading.accuracy.last().map_or(0.0, |&(_, accuracy)| accuracy))
            }
        }
    }
}
