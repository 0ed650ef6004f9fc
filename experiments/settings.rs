//! What the settings of all experiments share: a file, flags on top, a check.

use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use thermograd::{Backend, Shards};

/// Everything that decides the numbers of a run, as a file.
pub trait Settings: DeserializeOwned + Default {
    /// Refuses what makes no run.
    ///
    /// # Errors
    /// What is wrong, and what it should be.
    fn check(&self) -> Result<()>;

    /// Reads a file of settings; what it leaves out is as by default.
    ///
    /// # Errors
    /// When the file cannot be read, is no such file, or makes no run.
    fn read(path: &Path) -> Result<Self> {
        let named = || format!("in {}", path.display());
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings: Self = toml::from_str(&text).with_context(named)?;
        settings.check().with_context(named)?;
        Ok(settings)
    }
}

/// Puts the value of a flag in its place, if it was given.
pub fn set<T: Copy>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// How batches are split: in pieces of `size` on CPUs, whole elsewhere.
pub fn shards(backend: Backend, threads: Option<usize>, size: usize) -> Shards {
    let shards = Shards::new(size);
    match backend.is_cpu() {
        true => Shards { threads: threads.unwrap_or(shards.threads).max(1), ..shards },
        false => Shards::whole(),
    }
}
