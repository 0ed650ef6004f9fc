//! What a run of `classify` is made of: defaults, then a file, then flags.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use thermograd::{Backend, Ridge, Schedule};
use thermograd_experiments::data::Dataset;
use thermograd_experiments::settings::{Settings as _, set};
use thermograd_models::{Guide, Likelihood, Pathwise, TeacherConfig, Wiring};

/// Train a thermodynamic computer to read digits, and report what it achieved.
///
/// A teacher network is trained, trajectories of the computer are asked to reach its activations, and couplings and
/// biases are found by one of three trainers. The run folder holds the configuration, metrics, checkpoints, the
/// trained couplings (couplings.safetensors and couplings.json), summary.json and report.html.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:
  classify                                             digits drawn from strokes, no files needed
  classify --dataset mnist --data-dir DIR              MNIST, 20 epochs
  classify --dataset mnist --data-dir DIR --epochs 60 --augment
  classify --dataset mnist --data-dir DIR --trainer likelihood
  classify --resume runs/classify-1                    continue after Ctrl-C
  classify --eval runs/classify-1/couplings.safetensors --dataset mnist --data-dir DIR"
)]
pub struct Arguments {
    /// What to read [default: strokes].
    #[arg(long, value_enum)]
    dataset: Option<Dataset>,
    /// Folder of the four IDX files, plain or .gz (MNIST, Fashion-MNIST).
    #[arg(long, env = "THERMOGRAD_DATA", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How to find the couplings [default: pathwise].
    #[arg(long, value_enum)]
    trainer: Option<Trainer>,
    /// Hidden units [default: 64].
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Strength of the guide bias [default: 50 before pathwise training, else 150].
    #[arg(long, allow_negative_numbers = true)]
    beta: Option<f64>,
    /// Passes over the examples of the likelihood or pathwise trainer [default: 8 or 20].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Price of heat in the pathwise loss, in cross-entropy per kT [default: 0].
    #[arg(long, value_name = "LAMBDA", allow_negative_numbers = true)]
    heat_price: Option<f64>,
    /// Shift training images by up to one pixel in pathwise training.
    #[arg(long)]
    augment: bool,
    /// Seed of everything random [default: 0].
    #[arg(long)]
    seed: Option<u64>,
    /// Where to compute: flex, ndarray, wgpu or cuda [default: flex].
    #[arg(long)]
    backend: Option<Backend>,
    /// Independent trajectories of every test image [default: 10].
    #[arg(long, value_name = "N")]
    trajectories: Option<usize>,
    /// Use the first N images of each split only, for a quick try [default: all].
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Threads on CPU backends; results do not depend on it [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Settings as in the config.toml of a run; flags come on top.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run folder to make [default: runs/classify-N].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "config", "eval", "dataset", "trainer", "hidden",
        "beta", "epochs", "heat_price", "augment", "seed", "backend", "trajectories", "limit"])]
    pub resume: Option<PathBuf>,
    /// Also write the trained couplings here.
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Evaluate exported couplings instead of training.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "trainer", "hidden", "beta", "epochs",
        "heat_price", "augment"])]
    pub eval: Option<PathBuf>,
}

/// How to find the couplings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trainer {
    /// Gradient descent on the action of guided trajectories: the published method.
    Likelihood,
    /// The same objective in closed form.
    Exact,
    /// Exact, then cross-entropy through the unrolled stochastic steps.
    Pathwise,
}

/// Everything that decides the numbers of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The version of the program that wrote this.
    pub version: String,
    /// What to read.
    pub dataset: Dataset,
    /// Where the files are.
    pub data_dir: Option<PathBuf>,
    /// How to find the couplings.
    pub trainer: Trainer,
    /// Where to compute.
    pub backend: Backend,
    /// Seed of everything random.
    pub seed: u64,
    /// Images of each split that are used: the first ones; all if none.
    pub limit: Option<usize>,
    /// Training images set aside for selection; never trained on.
    pub held_out: usize,
    /// Independent trajectories of every test image.
    pub trajectories: usize,
    /// Examples a shard of a batch: sums keep their bits only for equal sizes.
    pub shard: usize,
    /// Price of a digital multiply–accumulate in pJ.
    pub mac_picojoule: f64,
    /// Hidden units.
    pub hidden: usize,
    /// Which groups couple.
    pub wiring: Wiring,
    /// J₂ of hidden and output units.
    pub j2: f64,
    /// J₄ of hidden and output units.
    pub j4: f64,
    /// kT.
    pub kt: f64,
    /// Δt and steps until t_f.
    pub schedule: Schedule,
    /// The conventional network.
    pub teacher: TeacherConfig,
    /// The trajectories it asks for.
    pub guide: Guide,
    /// The ridge of the exact trainer.
    pub ridge: Ridge,
    /// The likelihood trainer.
    pub likelihood: Likelihood,
    /// The pathwise trainer.
    pub pathwise: Pathwise,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            dataset: Dataset::Strokes,
            data_dir: None,
            trainer: Trainer::Pathwise,
            backend: Backend::Flex,
            seed: 0,
            limit: None,
            held_out: 5000,
            trajectories: 10,
            shard: 128,
            mac_picojoule: 1.0,
            hidden: 64,
            wiring: Wiring::AllToAll,
            j2: 1.0,
            j4: 1.0,
            kt: 1.0,
            schedule: Schedule { dt: 1e-3, steps: 200 },
            teacher: TeacherConfig::default(),
            guide: Guide::default(),
            ridge: Ridge::default(),
            likelihood: Likelihood::default(),
            pathwise: Pathwise::default(),
        }
    }
}

impl Arguments {
    /// Defaults, then the file, then the flags.
    pub fn settings(&self) -> Result<Settings> {
        let mut settings = match &self.config {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        let s = &mut settings;
        set(&mut s.dataset, self.dataset);
        set(&mut s.trainer, self.trainer);
        set(&mut s.hidden, self.hidden);
        set(&mut s.seed, self.seed);
        set(&mut s.backend, self.backend);
        set(&mut s.trajectories, self.trajectories);
        set(&mut s.pathwise.heat_price, self.heat_price);
        s.pathwise.augment |= self.augment;
        s.limit = self.limit.or(s.limit);
        if let Some(folder) = &self.data_dir {
            s.data_dir = Some(std::path::absolute(folder)?);
        }
        if let Some(epochs) = self.epochs {
            match s.trainer {
                Trainer::Likelihood => s.likelihood.recipe.epochs = epochs,
                Trainer::Pathwise => s.pathwise.recipe.epochs = epochs,
                Trainer::Exact => bail!("--epochs: the exact trainer has none"),
            }
        }
        if self.config.is_none() && s.trainer != Trainer::Pathwise {
            s.guide.beta = 150.0;
        }
        set(&mut s.guide.beta, self.beta);
        s.version = env!("CARGO_PKG_VERSION").into();
        s.check()?;
        Ok(settings)
    }
}

impl thermograd_experiments::settings::Settings for Settings {
    fn check(&self) -> Result<()> {
        ensure!(self.hidden > 0, "hidden: at least one unit is needed");
        ensure!(self.trajectories > 0, "trajectories: at least one is needed");
        ensure!(self.limit.is_none_or(|limit| limit >= 2), "limit: at least two images are needed");
        ensure!(self.shard > 0, "shard: at least one example is needed");
        ensure!(self.guide.beta > 0.0 && self.guide.beta.is_finite(), "beta: must be positive");
        ensure!(self.guide.kt >= 0.0, "guide.kt: must not be negative");
        ensure!(self.pathwise.heat_price >= 0.0, "heat price: must not be negative");
        ensure!(self.mac_picojoule > 0.0, "mac_picojoule: must be positive");
        for (name, recipe) in [
            ("teacher", self.teacher.recipe),
            ("likelihood", self.likelihood.recipe),
            ("pathwise", self.pathwise.recipe),
        ] {
            ensure!(recipe.batch > 0 && recipe.epochs > 0, "{name}: batch and epochs must be at least 1");
            ensure!(recipe.learning_rate > 0.0, "{name}: the learning rate must be positive");
        }
        Schedule::new(self.schedule.dt, self.schedule.duration()).context("schedule")?;
        Ok(())
    }
}
