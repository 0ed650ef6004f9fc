//! Settings of experiments: defaults, overridden by a file, then by single settings, then by flags; and their checks.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thermograd_models::Recipe;
use toml::{Table, Value};

/// Everything that determines the results of a run, stored as a file.
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// Refuses settings that cannot be run.
    fn check(&self) -> Result<()>;

    /// Reads a file of settings. Anything missing, even a single number of a section, keeps its default.
    fn read(path: &Path) -> Result<Self> {
        let named = || format!("in {}", path.display());
        let settings = Self::default().with(&table(path)?).with_context(named)?;
        settings.check().with_context(named)?;
        Ok(settings)
    }

    /// These settings, overridden by those of a table.
    fn with(&self, above: &Table) -> Result<Self> {
        let below = Table::try_from(self)?;
        let whole = |above: Table| {
            let mut table = below.clone();
            overlay(&mut table, above);
            table.try_into::<Self>()
        };
        whole(above.clone()).map_err(|error| {
            // Find and name the setting with the wrong value.
            let alone = |(name, value): (&String, &Value)| {
                let error = whole(Table::from_iter([(name.clone(), value.clone())])).err()?;
                let error = error.message();
                Some(anyhow!("{name}: {error}{}", meant(error, &below)))
            };
            above.iter().find_map(alone).unwrap_or_else(|| error.into())
        })
    }
}

/// Settings with the name, or with it in theirs, that an error says is unknown, as advice.
fn meant(error: &str, settings: &Table) -> String {
    let unknown = error.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let Some((unknown, _)) = unknown else {
        return String::new();
    };
    let all = flat(settings);
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let exact = all.keys().any(|path| last(path) == unknown);
    let fits = |path: &&str| if exact { last(path) == unknown } else { last(path).contains(unknown) };
    let found: Vec<&str> = all.keys().map(String::as_str).filter(fits).collect();
    if found.is_empty() { String::new() } else { format!("; did you mean {}?", found.join(" or ")) }
}

/// All settings of a table by their full names.
fn flat(table: &Table) -> BTreeMap<String, &Value> {
    let mut all = BTreeMap::new();
    for (name, value) in table {
        match value {
            Value::Table(table) => {
                all.extend(flat(table).into_iter().map(|(below, value)| (format!("{name}.{below}"), value)));
            }
            _ => drop(all.insert(name.clone(), value)),
        }
    }
    all
}

/// The first setting that differs between two tables, and what it is in each; settings that change no result count as the same.
pub fn first_difference(one: &Table, other: &Table) -> Option<(String, [String; 2])> {
    const FREE: [&str; 4] = ["version", "data_dir", "backend", "device"];
    // As text: a NaN is no other NaN.
    let text = |(name, value): (String, &Value)| (name, value.to_string());
    let all = [one, other].map(|table| flat(table).into_iter().map(text).collect::<BTreeMap<_, _>>());
    let names = all[0].keys().chain(all[1].keys()).filter(|name| !FREE.contains(&name.as_str()));
    let name = names.filter(|name| all[0].get(*name) != all[1].get(*name)).min()?;
    let shown = |all: &BTreeMap<String, String>| all.get(name).cloned().unwrap_or("no value".into());
    Some((name.clone(), [shown(&all[0]), shown(&all[1])]))
}

/// The table of a file of settings.
pub fn table(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// Overrides the values of one table by those of another, section by section.
pub fn overlay(below: &mut Table, above: Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(name, value);
            }
        }
    }
}

/// Parses one setting `section.name=value` as a table.
pub fn single(text: &str) -> Result<Table> {
    let (name, value) = text.split_once('=').with_context(|| {
        format!("--set {text}: a setting and its value are needed, as in --set guide.beta=80")
    })?;
    // Anything that is not a number, a list or a Boolean is a string.
    let parsed = toml::from_str(&format!("{name} = {value}"));
    let word = || toml::from_str(&format!("{name} = {}", Value::String(value.trim().into())));
    parsed.or_else(|_| word()).map_err(|error| anyhow!("--set {text}: {}", error.message()))
}

/// The name of a value on the command line.
pub fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
}

/// The version of the program that writes settings.
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// Overrides a setting by the value of a flag, if it was given.
pub fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// Refuses flags that were given but would do nothing, and says why: `(flag, given, useful, why)`.
pub fn refuse_useless<'a>(flags: impl IntoIterator<Item = (&'a str, bool, bool, &'a str)>) -> Result<()> {
    for (flag, given, useful, why) in flags {
        ensure!(useful || !given, "{flag} would do nothing here: {why}");
    }
    Ok(())
}

/// Refuses recipes that do not train.
pub fn check_recipes<const N: usize>(recipes: [(&str, Recipe); N]) -> Result<()> {
    for (name, recipe) in recipes {
        ensure!(recipe.batch > 0 && recipe.epochs > 0, "{name}: batch and epochs must be at least 1");
        ensure!(recipe.learning_rate > 0.0, "{name}: the learning rate must be positive");
    }
    Ok(())
}
