//! What the settings of all experiments share: a file, flags on top, a check.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
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
        let settings: Self =
            toml::from_str(&text).map_err(|error| misread::<Self>(&text, error)).with_context(named)?;
        settings.check().with_context(named)?;
        Ok(settings)
    }

    /// Those of a file, or the defaults.
    fn below_flags(file: Option<&Path>) -> Result<Self> {
        file.map_or_else(|| Ok(Self::default()), Self::read)
    }
}

/// What is wrong with settings: where the text is no file of settings at all, its reader says; where a value is not what
/// it should be, the setting is named.
fn misread<S: DeserializeOwned>(text: &str, error: toml::de::Error) -> anyhow::Error {
    let Ok(table) = toml::from_str::<toml::Table>(text) else {
        return error.into();
    };
    let alone = |(name, value): (String, toml::Value)| -> Option<anyhow::Error> {
        let error = toml::Table::from_iter([(name.clone(), value)]).try_into::<S>().err()?;
        Some(anyhow!("{name}: {}", error.message()))
    };
    table.into_iter().find_map(alone).unwrap_or_else(|| error.into())
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
