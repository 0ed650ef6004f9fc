//! What reads images with couplings: displacements that follow Langevin dynamics, or spins.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use thermograd::{Group, Hardware, Key, Shards, Substrate};
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

    /// Refuses a device whose time step is too large, and imperfections that spins do not have.
    pub fn check(&self, device: &Hardware) -> Result<()> {
        let wells = |substrate: &Substrate| {
            let of = |group: &Group| (group.j2.clone(), group.j4.clone(), group.mobility.clone());
            substrate.topology().groups.iter().map(of).collect::<Vec<_>>()
        };
        match self {
            Self::Langevin(classifier) => device.substrate.check_step(classifier.schedule.dt)?,
            Self::Spins(reader) => ensure!(
                device.read_out == 0.0
                    && device.bandwidth.is_none()
                    && wells(&device.substrate) == wells(&reader.substrate),
                "spins have no wells, no mobility, no bandwidth and no noise of the read-out: sweep bits, mismatch, range, \
                 fan-in or temperature"
            ),
        }
        Ok(())
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
            Self::Spins(reader) => Ok(reader.accuracy_on(device, examples, shards, key)?),
        }
    }
}
