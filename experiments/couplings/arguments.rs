//! The command line of `couplings`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::{Args, Command, CommandFactory, Parser, Subcommand, ValueEnum};
use thermograd::units::ROOM_TEMPERATURE;
use thermograd::{Assumptions, Scale};
use thermograd_experiments::workbench::run::load;
use thermograd_experiments::workbench::{DataFlags, Knob, Source, parse, refuse_useless, run, with_defaults};
use thermograd_models::Classifier;

use crate::convert::{FARADS, SECONDS};
use crate::settings::{BITS, KEEP, Settings};

/// Inspect, convert, simulate and compress trained couplings, and test them on imperfect hardware.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Formats, by extension: .safetensors .npz .csv (everything), .json or .bqm .coo .gset .qubo (spin models),
.txt (parameter file of the published classifier), .cir (SPICE netlist, written only).

Examples:
  couplings inspect runs/classify-1/couplings.safetensors
  couplings convert couplings.safetensors couplings.npz
  couplings convert couplings.safetensors seven.cir --dataset mnist --data-dir DIR --example 0
  couplings simulate couplings.safetensors --dataset mnist --data-dir DIR
  couplings perturb couplings.safetensors --by mismatch --dataset mnist --data-dir DIR
  couplings prune couplings.safetensors sparse.safetensors --keep 0.2 --fine-tune 20 --dataset mnist --data-dir DIR
  couplings quantize couplings.safetensors four.safetensors --bits 4 --fine-tune 20 --dataset mnist --data-dir DIR
  couplings tune couplings.safetensors hardy.safetensors --mismatch 0.1 --fine-tune 20 --dataset mnist --data-dir DIR
  couplings diff one.safetensors other.npz"
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Task {
    /// Show what a file holds: groups, wells, blocks, sizes and strengths.
    Inspect(Inspect),
    /// Write couplings in another format, or as a SPICE netlist.
    Convert(Convert),
    /// Simulate couplings and report the accuracy of a classifier, the energies of a spin model, final states and
    /// heat.
    Simulate(Simulate),
    /// Sweep one hardware imperfection over several devices and plot the accuracy.
    Perturb(Perturb),
    /// Remove the couplings that matter least, add their mean effect to the biases, and fine-tune the rest.
    Prune(Prune),
    /// Round couplings to a few levels, with fine-tuning of the values before rounding.
    Quantize(Quantize),
    /// Fine-tune couplings, for example for devices with mismatch.
    Tune(Tune),
    /// Compare two files; the exit status is 1 if they differ, and 2 after an error.
    Diff(Diff),
}

#[derive(Args, Debug)]
pub struct Inspect {
    /// Couplings in any format that can be read.
    pub file: PathBuf,
    /// Print the description as JSON instead.
    #[arg(long)]
    pub json: bool,
    /// Also write a page with pictures and histograms.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Diff {
    /// Couplings in any format that can be read.
    pub one: PathBuf,
    /// Couplings to compare with.
    pub other: PathBuf,
    /// Ignore differences of values up to this.
    #[arg(long, default_value = "0", allow_negative_numbers = true)]
    pub tolerance: f64,
}

#[derive(Args, Debug)]
pub struct Convert {
    /// Couplings in any format that can be read.
    pub file: PathBuf,
    /// What to write; the extension says how.
    pub out: PathBuf,
    /// Netlists and spin models: the test image of --dataset to clamp on the inputs, counted from 0.
    #[arg(long, value_name = "N", requires = "dataset")]
    pub example: Option<usize>,
    /// Netlists and spin models: a text file with the values of all clamped units.
    #[arg(long, value_name = "FILE", conflicts_with = "example")]
    pub clamp: Option<PathBuf>,
    /// Netlists: no noise.
    #[arg(long)]
    pub quiet: bool,
    /// Netlists: volts per unit of x [default: the thermal noise of the capacitor, √(k_B·kelvin/farads)].
    #[arg(long, allow_negative_numbers = true)]
    pub volts: Option<f64>,
    /// Netlists: farads of a unit's capacitor.
    #[arg(long, allow_negative_numbers = true)]
    pub farads: Option<f64>,
    /// Netlists: seconds per unit of time.
    #[arg(long, allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// Netlists: the temperature of the bath.
    #[arg(long, allow_negative_numbers = true)]
    pub kelvin: Option<f64>,
    #[command(flatten)]
    pub data: DataFlags,
}

#[derive(Args, Debug)]
pub struct Simulate {
    /// Couplings in any format that can be read.
    pub file: PathBuf,
    /// Independent trajectories (per image, if there are images), or chains of spins [default: 10].
    #[arg(long, value_name = "N")]
    pub trajectories: Option<usize>,
    /// A text file with the values of all clamped units.
    #[arg(long, value_name = "FILE", conflicts_with = "dataset")]
    pub clamp: Option<PathBuf>,
    /// kT to use instead of the one in the file.
    #[arg(long, allow_negative_numbers = true)]
    pub kt: Option<f64>,
    /// Write the final states as CSV.
    #[arg(long, value_name = "FILE.csv")]
    pub states: Option<PathBuf>,
    /// Write the energy ledger as JSON.
    #[arg(long, value_name = "FILE.json")]
    pub ledger: Option<PathBuf>,
    /// Ledger: joules per digital multiply–accumulate.
    #[arg(long, value_name = "J", allow_negative_numbers = true)]
    pub mac_joules: Option<f64>,
    /// Ledger: joules per conversion step (the energy of a conversion over 2^bits).
    #[arg(long, value_name = "J", allow_negative_numbers = true)]
    pub conversion_joules: Option<f64>,
    /// Ledger: bits per conversion.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub conversion_bits: Option<u32>,
    /// Ledger: capacitance of the line of a clamped unit.
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub farads: Option<f64>,
    /// Ledger: temperature of the bath.
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub kelvin: Option<f64>,
    #[command(flatten)]
    pub data: DataFlags,
}

#[derive(Args, Debug)]
pub struct Perturb {
    /// Couplings of a classifier.
    pub file: PathBuf,
    /// What to sweep.
    #[arg(long, value_enum)]
    pub by: Knob,
    /// Values to sweep over [default: five or six over a sensible range].
    #[arg(long, value_delimiter = ',', value_name = "A,B,…", allow_hyphen_values = true)]
    pub values: Vec<f64>,
    /// Devices per value for imperfections that vary between devices (mismatch); for others, runs of a single device.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub devices: usize,
    /// With --by bits: which couplings share a full scale.
    #[arg(long, value_enum)]
    pub scale: Option<ScaleName>,
    /// Run folder to make.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataFlags,
}

impl Perturb {
    /// Which couplings share a full scale: by default, those that reach one unit.
    pub fn scale(&self) -> Scale {
        self.scale.map_or(Scale::Unit, Scale::from)
    }
}

/// What shares a full scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ScaleName {
    /// All couplings between two groups.
    Block,
    /// Those that reach one unit.
    Unit,
}

impl From<ScaleName> for Scale {
    fn from(name: ScaleName) -> Self {
        match name {
            ScaleName::Block => Self::Block,
            ScaleName::Unit => Self::Unit,
        }
    }
}

#[derive(Args, Debug)]
pub struct Prune {
    /// The fraction of the couplings to keep.
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    pub keep: Option<f64>,
    #[command(flatten)]
    pub tuning: Tune,
}

#[derive(Args, Debug)]
pub struct Quantize {
    /// Bits per coupling: 2^bits − 1 levels.
    #[arg(long)]
    pub bits: Option<u32>,
    /// What shares a full scale.
    #[arg(long, value_enum)]
    pub scale: Option<ScaleName>,
    #[command(flatten)]
    pub tuning: Tune,
}

/// The arguments of `tune`, which `prune` and `quantize` share.
#[derive(Args, Debug)]
pub struct Tune {
    /// Couplings of a classifier.
    #[arg(required_unless_present = "resume")]
    pub file: Option<PathBuf>,
    /// What to write; the extension says how.
    #[arg(required_unless_present = "resume")]
    pub out: Option<PathBuf>,
    /// Passes over the training images; 0 leaves the couplings as they are.
    #[arg(long, value_name = "EPOCHS")]
    pub fine_tune: Option<usize>,
    /// The peak learning rate.
    #[arg(long, allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// Shift training images by up to one pixel.
    #[arg(long)]
    pub augment: bool,
    /// Train for devices with this relative mismatch, by weight noise.
    #[arg(long, value_name = "SD", allow_negative_numbers = true)]
    pub mismatch: Option<f64>,
    /// Trajectories per test image.
    #[arg(long, value_name = "N")]
    pub trajectories: Option<usize>,
    /// Run folder to make.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Continue the run in this folder.
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataFlags,
}

impl Arguments {
    /// Parses the command line.
    pub fn read() -> Self {
        let data = |command: Command| with_defaults(command, DataFlags::defaults(&Source::default()));
        let tune = |task: &'static str| {
            move |command: Command| {
                let d = Settings::default();
                let mut defaults = vec![
                    ("learning_rate", d.pathwise.recipe.learning_rate.to_string()),
                    ("trajectories", d.trajectories.to_string()),
                    ("run", format!("runs/{task}-N")),
                ];
                let scale = format!("{:?}", d.scale).to_lowercase();
                match task {
                    "prune" => defaults.push(("keep", KEEP.to_string())),
                    "quantize" => defaults.extend([("bits", BITS.to_string()), ("scale", scale)]),
                    _ => {}
                }
                if task != "tune" {
                    defaults.push(("fine_tune", d.pathwise.recipe.epochs.to_string()));
                }
                with_defaults(with_defaults(command, defaults), DataFlags::defaults(&d.source))
            }
        };
        let simulate = |command: Command| {
            let a = Assumptions::default();
            let defaults = vec![
                ("mac_joules", format!("{:e}", a.mac_joules)),
                ("conversion_joules", format!("{:e}", a.conversion_joules)),
                ("conversion_bits", a.bits.to_string()),
                ("farads", format!("{:e}", a.farads)),
                ("kelvin", a.kelvin.to_string()),
            ];
            data(with_defaults(command, defaults))
        };
        let command = Self::command()
            .mut_subcommand("convert", |command| {
                let defaults = vec![
                    ("farads", format!("{FARADS:e}")),
                    ("seconds", format!("{SECONDS:e}")),
                    ("kelvin", ROOM_TEMPERATURE.to_string()),
                ];
                data(with_defaults(command, defaults))
            })
            .mut_subcommand("simulate", simulate)
            .mut_subcommand("perturb", |command| {
                data(with_defaults(command, vec![("scale", "unit".into()), ("out", "runs/perturb-N".into())]))
            })
            .mut_subcommand("prune", tune("prune"))
            .mut_subcommand("quantize", tune("quantize"))
            .mut_subcommand("tune", tune("tune"));
        parse(command)
    }
}

impl Convert {
    /// Refuses flags that would do nothing.
    pub fn check_flags(&self, netlist: bool, spins: bool) -> Result<()> {
        let (circuit, example) = ("only for a netlist, a .cir file", "add --example N");
        let (holds, held) =
            (netlist || spins, "only for a netlist, .cir, or a spin model: .json .bqm .coo .gset .qubo");
        refuse_useless([
            ("--example", self.example.is_some(), holds, held),
            ("--clamp", self.clamp.is_some(), holds, held),
            ("--quiet", self.quiet, netlist, circuit),
            ("--volts", self.volts.is_some(), netlist, circuit),
            ("--farads", self.farads.is_some(), netlist, circuit),
            ("--seconds", self.seconds.is_some(), netlist, circuit),
            ("--kelvin", self.kelvin.is_some(), netlist, circuit),
        ])?;
        refuse_useless(self.data.given().map(|(flag, given)| (flag, given, holds, held)))?;
        refuse_useless([("--dataset", self.data.dataset.is_some(), self.example.is_some(), example)])?;
        self.data.check_flags()
    }
}

impl Tune {
    /// Refuses flags that would do nothing.
    pub fn check_flags(&self) -> Result<()> {
        let (trains, why) = (self.fine_tune.unwrap_or(0) > 0, "add --fine-tune EPOCHS");
        refuse_useless([
            ("--learning-rate", self.learning_rate.is_some(), trains, why),
            ("--augment", self.augment, trains, why),
            ("--mismatch", self.mismatch.is_some(), trains, why),
        ])?;
        self.data.check_flags()
    }
}

/// Reads the couplings of a classifier.
pub fn load_classifier(file: &Path, device: &Device) -> Result<Classifier> {
    Classifier::from_couplings(&load(file)?, device).with_context(|| format!("in {}", file.display()))
}

/// Reads the numbers of a text file, separated by white space or commas.
pub fn numbers(file: &Path) -> Result<Vec<f32>> {
    let text = String::from_utf8(run::read(file)?).with_context(|| format!("in {}", file.display()))?;
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let number = |word: &str| {
        let value: f32 = word.parse().with_context(|| format!("in {}: `{word}`", file.display()))?;
        anyhow::ensure!(value.is_finite(), "in {}: `{word}` is not finite", file.display());
        Ok(value)
    };
    words.map(number).collect()
}
