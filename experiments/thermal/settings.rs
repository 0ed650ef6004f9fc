//! What a run of `thermal read` is made of: defaults, then a file, then flags.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use thermograd_experiments::workbench::{Settings as _, Source, check_recipes, name, set, version};
use thermograd_models::thermal::hardware::ThermalAssumptions;
use thermograd_models::thermal::network::ThermalConfig;
use thermograd_models::thermal::training::ThermalTrainer;
use thermograd_models::{Augment, Recipe};

use crate::arguments::ReadFlags;

/// Everything that decides the numbers of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The version of the program that wrote this.
    pub version: String,
    /// Images, device and key.
    #[serde(flatten)]
    pub source: Source,
    /// Report on held-out training images instead of the test images.
    pub against_held_out: bool,
    /// Examples a shard of a batch: sums keep their bits only for equal sizes.
    pub shard: usize,
    /// Fluctuations that are read with, in units of ΔT.
    pub noises: Vec<f64>,
    /// The network.
    pub thermal: ThermalConfig,
    /// How it is trained.
    pub trainer: ThermalTrainer,
    /// Sizes and prices of the account.
    pub account: ThermalAssumptions,
}

impl Default for Settings {
    fn default() -> Self {
        let recipe = Recipe {
            epochs: 8,
            batch: 100,
            learning_rate: 0.05,
            warm_up: 20,
            final_fraction: 0.0,
            ..Recipe::default()
        };
        Self {
            version: version(),
            source: Source::default(),
            against_held_out: false,
            shard: 50,
            noises: vec![0.0, 0.003, 0.01, 0.03, 0.1],
            thermal: ThermalConfig::default(),
            trainer: ThermalTrainer { recipe, sigma: 0.0, augment: Augment::default() },
            account: ThermalAssumptions::default(),
        }
    }
}

impl thermograd_experiments::workbench::settings::Settings for Settings {
    fn check(&self) -> Result<()> {
        ensure!(self.source.limit.is_none_or(|limit| limit >= 2), "limit: at least two images are needed");
        ensure!(self.shard > 0, "shard: at least one example is needed");
        let sizes = self.noises.iter().chain([&self.trainer.sigma]);
        for sigma in sizes {
            ensure!(
                *sigma >= 0.0 && sigma.is_finite(),
                "sigma = {sigma}: fluctuations must be finite and not negative"
            );
        }
        ensure!(!self.noises.is_empty(), "noises: one at least, such as 0");
        ensure!(self.trainer.augment.shift < 28, "trainer.augment.shift: less than an image is needed");
        check_recipes([("trainer.recipe", self.trainer.recipe)])?;
        self.account.account(1.0, 1.0, self.thermal.surroundings, 1, 1).context("account")?;
        self.thermal.check().context("thermal")?;
        Ok(())
    }
}

impl ReadFlags {
    /// Defaults, then the file, then single settings, then the flags.
    pub fn settings(&self) -> Result<Settings> {
        let mut layers = self.run.layers()?;
        layers.extend(self.data.dataset.map(|dataset| ("dataset".into(), name(&dataset).into())));
        let mut s = Settings::default().with(&layers).with_context(|| self.run.named())?;
        self.data.set(&mut s.source)?;
        self.run.check(None)?;
        s.against_held_out |= self.held_out;
        set(&mut s.thermal.nonlinearity, self.nonlinearity.map(Into::into));
        set(&mut s.thermal.inputs, self.inputs.map(Into::into));
        set(&mut s.thermal.hidden, self.hidden);
        set(&mut s.trainer.recipe.epochs, self.epochs);
        set(&mut s.trainer.sigma, self.sigma);
        s.version = version();
        s.check()?;
        Ok(s)
    }
}
