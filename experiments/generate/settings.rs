//! The settings of `generate`: defaults, overridden by a file and then by flags.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{CommandFactory, Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use thermograd::Schedule;
use thermograd_experiments::workbench::run::try_place;
use thermograd_experiments::workbench::{
    DataFlags, Knob, RunFlags, Settings as _, Source, check_recipes, name, parse, refuse_useless, set,
    version, with_defaults,
};
use thermograd_models::{
    ClassesConfig, Descent, DiffusionConfig, HiddenUnits, JudgeConfig, Noising, Recipe, Refinement, Rule,
    StoredConfig,
};

/// Make images from thermal noise with a trained thermodynamic computer, and report their quality and heat.
///
/// In an uncoupled computer images turn into noise. Training finds couplings that reverse this, so that noise
/// condenses into images. The run folder holds the configuration, metrics, checkpoints, the trained couplings
/// (couplings.safetensors and couplings.json), evaluation.json, summary.json, digits.png (animated) and report.html.
///
/// Keys of summary.json: mode, dataset, seed, gain (of a computer that stores images); n (images); recognised
/// (stored: fraction that correlates with a stored image by more than 0.7, and more than with the mean of any two);
/// accuracy (fraction that the judge, a classifier trained here, reads as the requested class or as that of the most
/// similar stored image); frechet, precision, recall, class_entropy (on the features and classes of the judge);
/// readout (of these numbers; the other one is in evaluation.json); heat_kt, heat_kt_sd (mean and standard deviation
/// of the heat per image, over the same n images; null without a computer); train_seconds.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:
  generate                                                   three digits drawn from strokes, no files needed
  generate --dataset mnist --data-dir DIR                    three digits of MNIST, as published
  generate --dataset mnist --data-dir DIR --digits 0,1,2,3,4,5,6,7,8,9 --t-f 7.5 --gain 1.1
  generate --dataset mnist --data-dir DIR --mode classes     any digit of ten classes
  generate --dataset mnist --data-dir DIR --mode diffusion   the conventional network to compare with
  generate --resume runs/generate-1                          continue after Ctrl-C
  generate --eval runs/generate-1/couplings.safetensors --class 7 --dataset mnist --data-dir DIR"
)]
pub struct Arguments {
    /// What kind of generator.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Stored: which digits to store, or with --eval to compare with.
    #[arg(long, value_delimiter = ',', value_name = "DIGITS")]
    digits: Option<Vec<usize>>,
    /// Stored: how many images of each digit to store, or with --eval to compare with.
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Stored: how to find the couplings.
    #[arg(long, value_enum)]
    trainer: Option<Trainer>,
    /// Stored: noising trajectories per image, for the trainers batch and online.
    #[arg(long, value_name = "N")]
    cycles: Option<usize>,
    /// Stored: factor on all couplings and biases after training.
    #[arg(long, allow_negative_numbers = true)]
    gain: Option<f64>,
    /// Stored: when to read the visible units.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    t_f: Option<f64>,
    /// Time step of the computer.
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    dt: Option<f64>,
    /// Hidden units (of each hidden layer of the network).
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Classes and diffusion: passes over the training images.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Classes and diffusion: draw this class only.
    #[arg(long, value_name = "DIGIT")]
    class: Option<usize>,
    /// Classes: value of the clamped label unit.
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true)]
    label_strength: Option<f64>,
    /// Classes: other label strengths to draw images at, for a curve of their quality against heat.
    #[arg(long, value_name = "VALUES", value_delimiter = ',', allow_negative_numbers = true)]
    strengths: Option<Vec<f64>>,
    /// Classes: how hidden units are treated.
    #[arg(long, value_enum)]
    hidden_units: Option<Hidden>,
    /// Diffusion: strength of the guidance, 1 for none.
    #[arg(long, allow_negative_numbers = true)]
    guidance: Option<f64>,
    /// Read-out of the headline numbers; both are always in evaluation.json.
    #[arg(long, value_enum)]
    readout: Option<Readout>,
    /// Images to draw.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Compare with held-out training images instead of the test set, for choosing settings.
    #[arg(long)]
    held_out: bool,
    /// Draw with exported couplings, in any format, instead of training.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "mode", "trainer", "cycles", "gain", "hidden", "epochs"])]
    pub eval: Option<PathBuf>,
    /// Draw on a device that differs from the file: bits=4, mismatch=0.1, range, fan-in, temperature or wells; may be
    /// repeated. The seed stands for the specimen.
    #[arg(long, value_name = "KNOB=VALUE")]
    imperfection: Vec<String>,
    /// File in which the judge is kept between runs.
    #[arg(long, value_name = "FILE")]
    pub judge: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub run: RunFlags,
}

/// An imperfection that a generator can have, and how much of it.
fn imperfect(text: &str) -> Result<(Knob, f64)> {
    let (knob, value) = text.split_once('=').context("KNOB=VALUE is expected, as in bits=4")?;
    let knob = Knob::from_str(knob, false);
    let knob =
        knob.map_err(|_| anyhow!("bits, mismatch, range, fan-in, temperature or wells are possible"))?;
    if matches!(knob, Knob::ReadOut | Knob::Bandwidth | Knob::UnitMismatch) {
        bail!("{} is not simulated for generators", name(&knob));
    }
    Ok((knob, value.parse().with_context(|| format!("{value} is not a number"))?))
}

/// What kind of generator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A computer that stores a few images, as published.
    Stored,
    /// A computer that draws digits of ten classes.
    Classes,
    /// A conventional network that denoises.
    Diffusion,
}

/// How to find the couplings of stored images.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trainer {
    /// Solved from the moments of single units.
    Exact,
    /// Gradient descent, one step per cycle: the published method.
    Batch,
    /// A local rule, applied at every step.
    Online,
}

impl Trainer {
    /// When the couplings are updated; none for the exact solution.
    pub fn rule(self) -> Option<Rule> {
        match self {
            Self::Exact => None,
            Self::Batch => Some(Rule::Batch),
            Self::Online => Some(Rule::Online),
        }
    }
}

/// How hidden units are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Hidden {
    /// Simulated, like the units of the device.
    Langevin,
    /// Replaced by their mean, as if infinitely fast.
    Adiabatic,
}

impl From<Hidden> for HiddenUnits {
    fn from(hidden: Hidden) -> Self {
        match hidden {
            Hidden::Langevin => Self::Langevin,
            Hidden::Adiabatic => Self::Adiabatic,
        }
    }
}

/// What is read at t_f.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readout {
    /// The visible units.
    Raw,
    /// The force on the visible units, which a device must measure.
    Force,
}

/// The settings of a computer that stores images.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoredSettings {
    /// Which digits to store.
    pub digits: Vec<usize>,
    /// How many images of each.
    pub images: usize,
    /// How to find the couplings.
    pub trainer: Trainer,
    /// The ridge of the exact solution.
    pub ridge: f64,
    /// Factor on all couplings and biases after training.
    pub gain: f64,
    /// When to read.
    pub t_f: f64,
    /// Units and temperature.
    pub computer: StoredConfig,
    /// Cycles and rate of batch and online training.
    pub descent: Descent,
}

impl Default for StoredSettings {
    fn default() -> Self {
        Self {
            digits: vec![0, 1, 2],
            images: 1,
            trainer: Trainer::Exact,
            ridge: 1e-4,
            gain: 1.15,
            t_f: 2.5,
            computer: StoredConfig::default(),
            descent: Descent::default(),
        }
    }
}

/// Everything that determines the results of a run.
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
    /// How the device differed from them, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub imperfections: Vec<String>,
    /// What kind of generator.
    pub mode: Mode,
    /// Compare with held-out training images instead of the test set.
    pub against_held_out: bool,
    /// Images to draw; if none, a default that depends on the mode.
    pub samples: Option<usize>,
    /// The number of images whose heat and work are added up step by step, if a protocol does work; all if none.
    pub accounts: Option<usize>,
    /// Draw this class only.
    pub class: Option<usize>,
    /// Value of the clamped label unit.
    pub label_strength: f64,
    /// Other values of it, at which as many images are drawn.
    pub strengths: Vec<f64>,
    /// How hidden units are run.
    pub hidden_units: HiddenUnits,
    /// Strength of the guidance of the conventional network.
    pub guidance: f64,
    /// Read-out of the headline numbers; if none, a default that depends on the mode.
    pub readout: Option<Readout>,
    /// Images per shard of a batch.
    pub shard: usize,
    /// Time step of the computer.
    pub dt: f64,
    /// The noising.
    pub noising: Noising,
    /// A computer that stores images.
    pub stored: StoredSettings,
    /// A computer that draws classes.
    pub classes: ClassesConfig,
    /// Training of that on its own samples.
    pub refinement: Refinement,
    /// The conventional network.
    pub diffusion: DiffusionConfig,
    /// The judge.
    pub judge: JudgeConfig,
}

impl Default for Settings {
    fn default() -> Self {
        let recipe =
            Recipe { epochs: 20, batch: 256, learning_rate: 1e-3, warm_up: 100, ..Recipe::default() };
        Self {
            version: version(),
            source: Source::default(),
            eval: None,
            imperfections: Vec::new(),
            mode: Mode::Stored,
            against_held_out: false,
            samples: None,
            accounts: None,
            class: None,
            label_strength: 1.35,
            strengths: Vec::new(),
            hidden_units: HiddenUnits::Langevin,
            guidance: 2.0,
            readout: None,
            shard: 32,
            dt: 1e-3,
            noising: Noising::default(),
            stored: StoredSettings::default(),
            classes: ClassesConfig::default(),
            refinement: Refinement::default(),
            diffusion: DiffusionConfig { hidden: 512, drop: 0.1, steps: 125, recipe },
            judge: JudgeConfig::default(),
        }
    }
}

impl Arguments {
    /// Parses the command line.
    pub fn read() -> Self {
        let d = Settings::default();
        let [stored, classes] =
            [Mode::Stored, Mode::Classes].map(|mode| Settings { mode, ..Settings::default() });
        let digits: Vec<String> = d.stored.digits.iter().map(usize::to_string).collect();
        let [few, many, network] = [d.stored.computer.hidden, d.classes.hidden, d.diffusion.hidden];
        let mut defaults = DataFlags::defaults(&d.source);
        defaults.extend([
            ("dataset", name(&d.source.dataset)),
            ("mode", name(&d.mode)),
            ("digits", digits.join(",")),
            ("images", d.stored.images.to_string()),
            ("trainer", name(&d.stored.trainer)),
            ("cycles", d.stored.descent.cycles.to_string()),
            ("gain", d.stored.gain.to_string()),
            ("t_f", d.stored.t_f.to_string()),
            ("dt", d.dt.to_string()),
            ("hidden", format!("{few} stored, {many} classes, {network} diffusion")),
            (
                "epochs",
                format!("{} classes, {} diffusion", d.classes.recipe.epochs, d.diffusion.recipe.epochs),
            ),
            ("class", "all, in turn".into()),
            ("label_strength", d.label_strength.to_string()),
            ("strengths", "none".into()),
            ("hidden_units", format!("{:?}", d.hidden_units).to_lowercase()),
            ("guidance", d.guidance.to_string()),
            (
                "readout",
                format!("{} stored, {} classes", name(&stored.headline()), name(&classes.headline())),
            ),
            ("samples", format!("{} stored, else {}", stored.count(), classes.count())),
            ("judge", "the user's cache".into()),
            ("out", "runs/generate-N".into()),
        ]);
        parse(with_defaults(Self::command(), defaults))
    }

    /// Defaults, then the file, then single settings, then the flags.
    pub fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::default().with(&self.run.layers()?).with_context(|| self.run.named())?;
        let s = &mut settings;
        self.data.set(&mut s.source)?;
        s.eval = self.eval.as_deref().map(std::path::absolute).transpose()?;
        if !self.imperfection.is_empty() {
            s.imperfections.clone_from(&self.imperfection);
        }
        self.run.check(&self.judge)?;
        if let Some(judge) = self.judge.as_ref().filter(|judge| !judge.is_file()) {
            try_place(judge)?;
        }
        set(&mut s.mode, self.mode);
        s.samples = self.samples.or(s.samples);
        set(&mut s.dt, self.dt);
        set(&mut s.label_strength, self.label_strength);
        set(&mut s.strengths, self.strengths.clone());
        s.strengths.sort_by(f64::total_cmp);
        s.strengths.dedup();
        set(&mut s.guidance, self.guidance);
        set(&mut s.stored.images, self.images);
        set(&mut s.stored.trainer, self.trainer);
        set(&mut s.stored.descent.cycles, self.cycles);
        set(&mut s.stored.gain, self.gain);
        set(&mut s.stored.t_f, self.t_f);
        set(&mut s.stored.digits, self.digits.clone());
        set(&mut s.hidden_units, self.hidden_units.map(HiddenUnits::from));
        s.class = self.class.or(s.class);
        s.readout = self.readout.or(s.readout);
        s.against_held_out |= self.held_out;
        if let Some(hidden) = self.hidden {
            *match s.mode {
                Mode::Stored => &mut s.stored.computer.hidden,
                Mode::Classes => &mut s.classes.hidden,
                Mode::Diffusion => &mut s.diffusion.hidden,
            } = hidden;
        }
        if let Some(epochs) = self.epochs {
            match s.mode {
                Mode::Stored => bail!("--epochs: the training of stored images is set by --cycles"),
                Mode::Classes => s.classes.recipe.epochs = epochs,
                Mode::Diffusion => s.diffusion.recipe.epochs = epochs,
            }
        }
        s.version = version();
        s.check()?;
        if self.eval.is_none() {
            self.check_for(&settings)?; // with --eval the kind of generator depends on the file
        }
        Ok(settings)
    }

    /// The schedule of a computer from a file: the one in the file, unless flags change it.
    pub fn schedule(&self, own: Schedule) -> Result<Schedule> {
        let single = self.run.layers()?.get("dt").and_then(toml::Value::as_float);
        let dt = self.dt.or(single);
        if dt.is_none() && self.t_f.is_none() {
            return Ok(own);
        }
        Schedule::new(dt.unwrap_or(own.dt), self.t_f.unwrap_or(own.duration())).context("t-f and dt")
    }

    /// Refuses flags that would do nothing for this kind of generator.
    pub fn check_for(&self, settings: &Settings) -> Result<()> {
        let mode = settings.mode;
        let (stored, diffusion) = (mode == Mode::Stored, mode == Mode::Diffusion);
        let (labels, descends) = (mode == Mode::Classes, settings.stored.trainer.rule().is_some());
        let read = self.eval.is_some();
        let not_stored =
            if read { "the computer of this file draws classes" } else { "only with --mode stored" };
        let fast = settings.hidden_units == HiddenUnits::Adiabatic;
        let no_labels = match stored {
            true if read => "the computer of this file has no labels",
            true => "a computer that stores images has no labels; add --mode classes",
            false => "only with --mode classes",
        };
        let flags = [
            ("--digits", self.digits.is_some(), stored, not_stored),
            ("--images", self.images.is_some(), stored, not_stored),
            ("--trainer", self.trainer.is_some(), stored, not_stored),
            ("--cycles", self.cycles.is_some(), stored && descends, "only with --trainer batch or online"),
            ("--gain", self.gain.is_some(), stored, not_stored),
            ("--t-f", self.t_f.is_some(), stored, not_stored),
            ("--dt", self.dt.is_some(), !diffusion, "a conventional network uses diffusion.steps"),
            ("--dt", self.dt.is_some(), !fast, "with adiabatic hidden units the steps are fixed"),
            ("--readout", self.readout.is_some(), !diffusion, "a conventional network has one read-out"),
            ("--class", self.class.is_some(), labels || diffusion, no_labels),
            ("--label-strength", self.label_strength.is_some(), labels, no_labels),
            ("--strengths", !settings.strengths.is_empty(), labels, no_labels),
            (
                "--imperfection",
                !settings.imperfections.is_empty(),
                read,
                "only with --eval, on couplings that there are",
            ),
            (
                "refinement.steps",
                settings.refinement.steps > 0,
                labels && !read,
                "only where classes are trained",
            ),
            ("--hidden-units", self.hidden_units.is_some(), labels, no_labels),
            ("--guidance", self.guidance.is_some(), diffusion, "only with --mode diffusion"),
            ("--export", self.run.export.is_some(), !diffusion, "a conventional network has no couplings"),
        ];
        refuse_useless(flags)
    }
}

impl Settings {
    /// How the device differs from the couplings that are evaluated.
    ///
    /// # Errors
    /// An imperfection that there is not.
    pub fn imperfections(&self) -> Result<Vec<(Knob, f64)>> {
        let each = |text: &String| imperfect(text).with_context(|| format!("--imperfection {text}"));
        self.imperfections.iter().map(each).collect()
    }

    /// The read-out of the headline numbers.
    pub fn headline(&self) -> Readout {
        self.readout.unwrap_or(match self.mode {
            Mode::Classes => Readout::Force,
            Mode::Stored | Mode::Diffusion => Readout::Raw,
        })
    }

    /// The number of hidden units.
    pub fn hidden(&self) -> usize {
        match self.mode {
            Mode::Stored => self.stored.computer.hidden,
            Mode::Classes => self.classes.hidden,
            Mode::Diffusion => self.diffusion.hidden,
        }
    }

    /// Images to draw.
    pub fn count(&self) -> usize {
        self.samples.unwrap_or(if self.mode == Mode::Stored { 500 } else { 1000 })
    }
}

impl thermograd_experiments::workbench::settings::Settings for Settings {
    fn check(&self) -> Result<()> {
        ensure!(self.count() > 5, "samples: more than 5 are needed to judge them");
        ensure!(self.source.limit.is_none_or(|limit| limit >= 20), "limit: at least 20 images are needed");
        ensure!(self.shard > 0, "shard: at least one image is needed");
        for (name, value) in [
            ("gain", self.stored.gain),
            ("label strength", self.label_strength),
            ("guidance", self.guidance),
            ("field", self.noising.field),
        ] {
            ensure!(value.is_finite(), "{name}: must be finite");
        }
        self.imperfections()?;
        ensure!(self.strengths.iter().all(|strength| strength.is_finite()), "strengths: must be finite");
        ensure!(
            self.noising.fade > 0.0 && self.noising.fade <= 1.0,
            "noising.fade: must be above 0, at most 1"
        );
        ensure!(self.stored.ridge >= 0.0, "stored.ridge: must not be negative");
        ensure!(self.diffusion.steps > 0, "diffusion.steps: at least one is needed");
        ensure!((0.0..1.0).contains(&self.diffusion.drop), "diffusion.drop: must be at least 0, below 1");
        ensure!(self.stored.descent.cycles > 0, "cycles: at least one is needed");
        let ClassesConfig { guidance, guided_after, dropped, .. } = self.classes;
        ensure!(
            (0.0..1.0).contains(&guidance),
            "classes.guidance: must be at least 0, below 1: from there on forces grow without end"
        );
        ensure!((0.0..=1.0).contains(&guided_after), "classes.guided_after: must be between 0 and 1");
        ensure!(
            guidance == 0.0 || dropped > 0.0 && dropped < 1.0,
            "classes.dropped: must be above 0, below 1: guidance compares with images without a label"
        );
        for (name, hidden) in [
            ("stored.computer", self.stored.computer.hidden),
            ("classes", self.classes.hidden),
            ("diffusion", self.diffusion.hidden),
        ] {
            ensure!(hidden > 0, "{name}.hidden: at least one unit is needed");
        }
        check_recipes([
            ("classes", self.classes.recipe),
            ("diffusion", self.diffusion.recipe),
            ("judge", self.judge.recipe),
        ])?;
        Schedule::new(self.dt, self.stored.t_f).context("t-f and dt")?;
        Schedule::new(self.noising.schedule.dt, self.noising.schedule.duration())
            .context("noising.schedule")?;
        Ok(())
    }
}
