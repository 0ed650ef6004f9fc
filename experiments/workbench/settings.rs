//! What the settings of all experiments share: a file, flags on top, a check.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thermograd_models::Recipe;

/// Everything that decides the numbers of a run, as a file.
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// Refuses what makes no run.
    fn check(&self) -> Result<()>;

    /// Reads a file of settings; what it leaves out is as by default.
    fn read(path: &Path) -> Result<Self> {
        let named = || format!("in {}", path.display());
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings: Self = toml::from_str(&text).with_context(named)?;
        settings.check().with_context(named)?;
        Ok(settings)
    }

    /// Those of a file, or the defaults.
    fn below_flags(file: Option<&Path>) -> Result<Self> {
        file.map_or_else(|| Ok(Self::default()), Self::read)
    }
}

/// The version that settings are written by.
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// Puts the value of a flag in its place, if it was given.
pub fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// Refuses recipes by which nothing is learnt.
pub fn check_recipes<const N: usize>(recipes: [(&str, Recipe); N]) -> Result<()> {
    for (name, recipe) in recipes {
        ensure!(recipe.batch > 0 && recipe.epochs > 0, "{name}: batch and epochs must be at least 1");
        ensure!(recipe.learning_rate > 0.0, "{name}: the learning rate must be positive");
    }
    Ok(())
}
