//! The settings of a run that changes couplings.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use thermograd::Scale;
use thermograd_experiments::workbench::{SHARD, Source, afford, version};
use thermograd_models::Pathwise;

/// The fraction of the couplings that pruning keeps by default.
pub const KEEP: f64 = 0.2;

/// The bits that couplings are rounded to by default.
pub const BITS: u32 = 4;

/// The most passes over the training images in a run: more than years of work.
const MOST_EPOCHS: usize = 1 << 20;

/// Everything that determines the results of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub version: String,
    /// Images, device and key.
    #[serde(flatten)]
    pub source: Source,
    pub file: PathBuf,
    pub out: PathBuf,
    /// The fraction of the couplings to keep; all if none.
    pub keep: Option<f64>,
    /// Bits per coupling; no rounding if none.
    pub bits: Option<u32>,
    pub scale: Scale,
    pub shard: usize,
    pub trajectories: usize,
    /// Fine-tuning; with zero epochs there is none.
    pub pathwise: Pathwise,
}

impl Default for Settings {
    fn default() -> Self {
        let mut pathwise = Pathwise::default();
        pathwise.recipe.epochs = 0;
        pathwise.recipe.learning_rate = 3e-3;
        Self {
            version: version(),
            source: Source::default(),
            file: PathBuf::new(),
            out: PathBuf::new(),
            keep: None,
            bits: None,
            scale: Scale::Unit,
            shard: SHARD,
            trajectories: 10,
            pathwise,
        }
    }
}

impl thermograd_experiments::workbench::settings::Settings for Settings {
    fn check(&self) -> Result<()> {
        let keep = self.keep.unwrap_or(1.0);
        ensure!(keep > 0.0 && keep <= 1.0, "keep: a fraction above 0 and up to 1 is needed, not {keep}");
        ensure!(self.bits.is_none_or(|bits| (2..=24).contains(&bits)), "bits: 2 to 24 are possible");
        let rate = self.pathwise.recipe.learning_rate;
        ensure!(rate > 0.0 && rate.is_finite(), "the learning rate must be positive, not {rate}");
        ensure!(self.trajectories > 0, "trajectories: at least one is needed");
        afford(&format!("{} trajectories", self.trajectories), self.trajectories as u128 * 64)?;
        let epochs = self.pathwise.recipe.epochs;
        ensure!(epochs <= MOST_EPOCHS, "epochs: {epochs} is more than {MOST_EPOCHS}");
        ensure!(self.source.limit.is_none_or(|limit| limit >= 2), "limit: at least two images are needed");
        Ok(())
    }
}
