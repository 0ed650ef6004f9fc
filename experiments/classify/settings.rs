//! The settings of `classify`: defaults, overridden by a file and then by flags.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{CommandFactory, Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use thermograd::{Ridge, Schedule};
use thermograd_experiments::workbench::{
    DataFlags, RunFlags, SHARD, Settings as _, Source, check_recipes, name, parse, refuse_useless, set,
    version, with_defaults,
};
use thermograd_models::{ClassifierConfig, Guide, Likelihood, Pathwise, TeacherConfig, TeacherLoss, Wiring};

/// Train a thermodynamic computer to read digits, and report what it achieved.
///
/// First a conventional teacher network is trained. One of three trainers then finds couplings and biases with which
/// the trajectories of the computer reach the activations of the teacher. The run folder holds the configuration,
/// metrics, checkpoints, the trained couplings (couplings.safetensors and couplings.json), summary.json and
/// report.html.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:
  classify                                             digits drawn from strokes, no files needed
  classify --dataset mnist --data-dir DIR              MNIST, 20 epochs
  classify --dataset mnist --data-dir DIR --epochs 60 --augment
  classify --dataset mnist --data-dir DIR --trainer likelihood
  classify --dataset mnist --data-dir DIR --held-out --set pathwise.recipe.learning_rate=5e-3
  classify --resume runs/classify-1                    continue after Ctrl-C
  classify --eval runs/classify-1/couplings.safetensors --dataset mnist --data-dir DIR"
)]
pub struct Arguments {
    /// How to find the couplings.
    #[arg(long, value_enum)]
    trainer: Option<Trainer>,
    /// Hidden units.
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Loss of the conventional network (the teacher), whose activations are the targets.
    #[arg(long, value_enum)]
    teacher: Option<TeacherName>,
    /// Strength of the guide bias.
    #[arg(long, allow_negative_numbers = true)]
    beta: Option<f64>,
    /// Passes over the examples of the likelihood or pathwise trainer.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Price of heat in the pathwise loss, in cross-entropy per kT.
    #[arg(long, value_name = "LAMBDA", allow_negative_numbers = true)]
    heat_price: Option<f64>,
    /// Shift training images by up to one pixel in pathwise training.
    #[arg(long)]
    augment: bool,
    /// Independent trajectories of every test image.
    #[arg(long, value_name = "N")]
    trajectories: Option<usize>,
    /// Report on held-out training images instead of the test images, for choosing settings.
    #[arg(long)]
    held_out: bool,
    /// Evaluate exported couplings, in any format, instead of training.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "trainer", "hidden", "teacher", "beta", "epochs",
        "heat_price", "augment"])]
    pub eval: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub run: RunFlags,
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

/// The loss of the conventional network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum TeacherName {
    /// Squared distance of tanh outputs to ±1, as published.
    Tanh,
    /// Cross-entropy of logits.
    CrossEntropy,
}

impl From<TeacherName> for TeacherLoss {
    fn from(name: TeacherName) -> Self {
        match name {
            TeacherName::Tanh => Self::Tanh,
            TeacherName::CrossEntropy => Self::CrossEntropy,
        }
    }
}

/// β for the trainers that only follow the guide.
const BETA_ALONE: f64 = 150.0;

/// Everything that decides the numbers of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The version of the program that wrote this.
    pub version: String,
    /// Images, device and key.
    #[serde(flatten)]
    pub source: Source,
    /// The couplings that were evaluated; none in a run that trains.
    pub eval: Option<PathBuf>,
    /// How to find the couplings.
    pub trainer: Trainer,
    /// Independent trajectories of every test image.
    pub trajectories: usize,
    /// Report on held-out training images instead of the test images.
    pub against_held_out: bool,
    /// Examples per shard of a batch. Sums have the same bits only for equal sizes.
    pub shard: usize,
    /// Price of a digital multiply–accumulate in pJ.
    pub mac_picojoule: f64,
    /// Hidden units.
    pub hidden: usize,
    /// Which groups are coupled.
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
    /// The trajectories to its activations.
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
        let ClassifierConfig { hidden, wiring, j2, j4, kt, schedule, .. } = ClassifierConfig::new(0, 64, 0);
        Self {
            version: version(),
            source: Source::default(),
            eval: None,
            trainer: Trainer::Pathwise,
            trajectories: 10,
            against_held_out: false,
            shard: SHARD,
            mac_picojoule: 1.0,
            hidden,
            wiring,
            j2,
            j4,
            kt,
            schedule,
            teacher: TeacherConfig::default(),
            guide: Guide::default(),
            ridge: Ridge::default(),
            likelihood: Likelihood::default(),
            pathwise: Pathwise::default(),
        }
    }
}

impl Arguments {
    /// Parses the command line.
    pub fn read() -> Self {
        let d = Settings::default();
        let mut defaults = DataFlags::defaults(&d.source);
        defaults.extend([
            ("dataset", name(&d.source.dataset)),
            ("trainer", name(&d.trainer)),
            ("hidden", d.hidden.to_string()),
            ("teacher", "cross-entropy".into()),
            ("beta", format!("{} before pathwise training, else {BETA_ALONE}", d.guide.beta)),
            (
                "epochs",
                format!("{} likelihood, {} pathwise", d.likelihood.recipe.epochs, d.pathwise.recipe.epochs),
            ),
            ("heat_price", d.pathwise.heat_price.to_string()),
            ("trajectories", d.trajectories.to_string()),
            ("out", "runs/classify-N".into()),
        ]);
        parse(with_defaults(Self::command(), defaults))
    }

    /// Defaults, then the file, then single settings, then the flags.
    pub fn settings(&self) -> Result<Settings> {
        let mut layers = self.run.layers()?;
        layers.extend(self.trainer.map(|trainer| ("trainer".into(), name(&trainer).into())));
        let trainer = Settings::default().with(&layers).with_context(|| self.run.named())?.trainer;
        let mut settings = Settings::of(trainer).with(&layers)?;
        let s = &mut settings;
        self.data.set(&mut s.source)?;
        s.eval = self.eval.as_deref().map(std::path::absolute).transpose()?;
        self.run.check(None)?;
        s.against_held_out |= self.held_out;
        set(&mut s.hidden, self.hidden);
        set(&mut s.trajectories, self.trajectories);
        set(&mut s.teacher.loss, self.teacher.map(TeacherLoss::from));
        set(&mut s.pathwise.heat_price, self.heat_price);
        s.pathwise.augment |= self.augment;
        if let Some(epochs) = self.epochs {
            match s.trainer {
                Trainer::Likelihood => s.likelihood.recipe.epochs = epochs,
                Trainer::Pathwise => s.pathwise.recipe.epochs = epochs,
                Trainer::Exact => bail!("--epochs: the exact trainer has no epochs"),
            }
        }
        let only = "only the pathwise trainer uses it";
        refuse_useless([
            ("--heat-price", self.heat_price.is_some(), trainer == Trainer::Pathwise, only),
            ("--augment", self.augment, trainer == Trainer::Pathwise, only),
        ])?;
        set(&mut s.guide.beta, self.beta);
        s.version = version();
        s.check()?;
        Ok(settings)
    }
}

impl Settings {
    /// The defaults of one trainer.
    fn of(trainer: Trainer) -> Self {
        let mut settings = Self { trainer, ..Self::default() };
        if trainer != Trainer::Pathwise {
            settings.guide.beta = BETA_ALONE;
        }
        settings
    }
}

impl thermograd_experiments::workbench::settings::Settings for Settings {
    fn check(&self) -> Result<()> {
        ensure!(self.hidden > 0, "hidden: at least one unit is needed");
        ensure!(self.trajectories > 0, "trajectories: at least one is needed");
        ensure!(self.source.limit.is_none_or(|limit| limit >= 2), "limit: at least two images are needed");
        ensure!(self.shard > 0, "shard: at least one example is needed");
        ensure!(self.guide.beta > 0.0 && self.guide.beta.is_finite(), "beta: must be positive");
        ensure!(self.guide.kt >= 0.0, "guide.kt: must not be negative");
        ensure!(self.guide.every > 0, "guide.every: at least one step is needed");
        let ridge = self.ridge.clamped >= 0.0 && self.ridge.free >= 0.0;
        ensure!(ridge, "ridge: must not be negative");
        ensure!(
            self.kt != 0.0,
            "kt: must be positive, because heat is in units of kT; accuracy without noise is reported anyway"
        );
        let price = self.pathwise.heat_price;
        ensure!(price >= 0.0 && price.is_finite(), "heat price: must be finite and not negative");
        ensure!(self.mac_picojoule > 0.0, "mac_picojoule: must be positive");
        check_recipes([
            ("teacher", self.teacher.recipe),
            ("likelihood", self.likelihood.recipe),
            ("pathwise", self.pathwise.recipe),
        ])?;
        Schedule::new(self.schedule.dt, self.schedule.duration()).context("schedule")?;
        Ok(())
    }
}
