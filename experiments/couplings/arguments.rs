//! The command line of `couplings`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::{Args, Parser, Subcommand, ValueEnum};
use thermograd::{Backend, Couplings, Format, Key, Scale, Shards};
use thermograd_experiments::data::{Data, Dataset};
use thermograd_experiments::run;
use thermograd_experiments::settings::shards;

/// Take trained couplings away: look at them, convert them, run them, and see what hardware makes of them.
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

/// What to do with couplings.
#[derive(Subcommand, Debug)]
pub enum Task {
    /// Say what a file holds: groups, wells, blocks, sizes and strengths.
    Inspect(Inspect),
    /// Write couplings in another format, or as a SPICE netlist.
    Convert(Convert),
    /// Run couplings: accuracy if they read images, states otherwise, and the energy ledger.
    Simulate(Simulate),
    /// Sweep one hardware imperfection over several devices and plot what becomes of the accuracy.
    Perturb(Perturb),
    /// Leave out the couplings that matter least, keep their mean effect in the biases, and fine-tune the rest.
    Prune(Prune),
    /// Round couplings to few levels, and fine-tune what they are rounded from.
    Quantize(Quantize),
    /// Fine-tune couplings as they are, for devices with mismatch say.
    Tune(TuneArguments),
    /// Compare two files; the exit status is 1 if they differ.
    Diff(Diff),
}

/// Arguments of `inspect`.
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

/// Arguments of `diff`.
#[derive(Args, Debug)]
pub struct Diff {
    /// Couplings in any format that can be read.
    pub one: PathBuf,
    /// And what they are compared with.
    pub other: PathBuf,
    /// The largest difference of a value that is no difference.
    #[arg(long, default_value_t = 0.0)]
    pub tolerance: f64,
}

/// Arguments of `convert`.
#[derive(Args, Debug)]
pub struct Convert {
    /// Couplings in any format that can be read.
    pub file: PathBuf,
    /// What to write; the extension says how.
    pub out: PathBuf,
    /// Netlists: the image of --dataset that is clamped on the inputs, counted from 0 among the test images.
    #[arg(long, value_name = "N", requires = "dataset")]
    pub example: Option<usize>,
    /// Netlists: a text file of the values of all clamped units.
    #[arg(long, value_name = "FILE", conflicts_with = "example")]
    pub clamp: Option<PathBuf>,
    /// Netlists: no noise.
    #[arg(long)]
    pub quiet: bool,
    /// Netlists: volts per unit of x [default: where a capacitor at that temperature has this noise,
    /// √(kelvin/farad)].
    #[arg(long)]
    pub volts: Option<f64>,
    /// Netlists: farads of a unit's capacitor.
    #[arg(long, default_value_t = 1e-15)]
    pub farads: f64,
    /// Netlists: seconds per unit of time.
    #[arg(long, default_value_t = 1e-9)]
    pub seconds: f64,
    /// Netlists: the temperature of the bath.
    #[arg(long, default_value_t = 300.0)]
    pub kelvin: f64,
    /// Images to clamp.
    #[command(flatten)]
    pub data: DataArguments,
}

/// Arguments of `simulate`.
#[derive(Args, Debug)]
pub struct Simulate {
    /// Couplings in any format that can be read.
    pub file: PathBuf,
    /// Independent trajectories (of every image, if there are images).
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub trajectories: usize,
    /// A text file of the values of all clamped units.
    #[arg(long, value_name = "FILE")]
    pub clamp: Option<PathBuf>,
    /// kT instead of the one in the file.
    #[arg(long)]
    pub kt: Option<f64>,
    /// Write the final states as CSV.
    #[arg(long, value_name = "FILE.csv")]
    pub states: Option<PathBuf>,
    /// Write the energy ledger as JSON.
    #[arg(long, value_name = "FILE.json")]
    pub ledger: Option<PathBuf>,
    /// Ledger: joules of a digital multiply–accumulate [default: 1e-12].
    #[arg(long, value_name = "J")]
    pub mac_joules: Option<f64>,
    /// Ledger: joules of a conversion, over 2^bits [default: 1e-14].
    #[arg(long, value_name = "J")]
    pub conversion_joules: Option<f64>,
    /// Ledger: bits of a conversion [default: 8].
    #[arg(long, value_name = "N")]
    pub conversion_bits: Option<u32>,
    /// Ledger: capacitance of the line of a clamped unit [default: 1e-15].
    #[arg(long, value_name = "F")]
    pub farads: Option<f64>,
    /// Ledger: temperature of the bath [default: 300].
    #[arg(long, value_name = "K")]
    pub kelvin: Option<f64>,
    /// Images to read.
    #[command(flatten)]
    pub data: DataArguments,
}

/// What to sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Knob {
    /// Bits of couplings.
    Bits,
    /// Relative standard deviation of every coupling and bias.
    Mismatch,
    /// Largest coupling, as a part of the largest there is.
    Range,
    /// Couplings that reach a unit.
    FanIn,
    /// kT, as a multiple of what it should be.
    Temperature,
    /// J₂ and J₄ of all wells, as a multiple of what they should be.
    Wells,
    /// Standard deviation of the noise of the read-out.
    ReadOut,
    /// Bandwidth of couplings, in units of 1/time.
    Bandwidth,
}

/// Arguments of `perturb`.
#[derive(Args, Debug)]
pub struct Perturb {
    /// Couplings of a classifier.
    pub file: PathBuf,
    /// What to sweep.
    #[arg(long, value_enum)]
    pub by: Knob,
    /// Its values [default: a sensible range].
    #[arg(long, value_delimiter = ',', value_name = "A,B,…")]
    pub values: Vec<f64>,
    /// Devices made for every value (where no two are alike: mismatch), and runs otherwise.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub devices: usize,
    /// Bits: what shares a full scale.
    #[arg(long, value_enum, default_value = "unit")]
    pub scale: ScaleName,
    /// Run folder to make [default: runs/perturb-N].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Images to read.
    #[command(flatten)]
    pub data: DataArguments,
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

/// Arguments of `prune`.
#[derive(Args, Debug)]
pub struct Prune {
    /// The part of the couplings to keep [default: 0.2].
    #[arg(long, value_name = "PART", conflicts_with = "resume")]
    pub keep: Option<f64>,
    /// Where from, where to, and what with.
    #[command(flatten)]
    pub tuning: TuneArguments,
}

/// Arguments of `quantize`.
#[derive(Args, Debug)]
pub struct Quantize {
    /// Bits of a coupling: 2^bits − 1 levels [default: 4].
    #[arg(long, conflicts_with = "resume")]
    pub bits: Option<u32>,
    /// What shares a full scale [default: unit].
    #[arg(long, value_enum, conflicts_with = "resume")]
    pub scale: Option<ScaleName>,
    /// Where from, where to, and what with.
    #[command(flatten)]
    pub tuning: TuneArguments,
}

/// What changing couplings has in common.
#[derive(Args, Debug)]
pub struct TuneArguments {
    /// Couplings of a classifier.
    #[arg(required_unless_present = "resume")]
    pub file: Option<PathBuf>,
    /// What to write; the extension says how.
    #[arg(required_unless_present = "resume")]
    pub out: Option<PathBuf>,
    /// Passes over the training images; 0 to leave the couplings as they come.
    #[arg(long, value_name = "EPOCHS")]
    pub fine_tune: Option<usize>,
    /// The learning rate at its highest [default: 0.003].
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Shift training images by up to one pixel.
    #[arg(long)]
    pub augment: bool,
    /// Train for devices with this relative mismatch: weight noise.
    #[arg(long, value_name = "SD")]
    pub mismatch: Option<f64>,
    /// Trajectories of every test image.
    #[arg(long, value_name = "N")]
    pub trajectories: Option<usize>,
    /// Run folder to make [default: runs/prune-N or runs/quantize-N].
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Continue the run in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "out", "run", "fine_tune", "learning_rate", "augment",
        "mismatch", "trajectories", "dataset", "seed", "limit"])]
    pub resume: Option<PathBuf>,
    /// Images to learn from.
    #[command(flatten)]
    pub data: DataArguments,
}

/// Which images, and where to compute.
#[derive(Args, Debug)]
pub struct DataArguments {
    /// Images to read.
    #[arg(long, value_enum)]
    pub dataset: Option<Dataset>,
    /// Folder of the four IDX files, plain or .gz (MNIST, Fashion-MNIST).
    #[arg(long, env = "THERMOGRAD_DATA", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Use the first N images of each split only [default: all].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where to compute: flex, ndarray, wgpu or cuda.
    #[arg(long, default_value = "flex")]
    pub backend: Backend,
    /// Threads on CPU backends; results do not depend on it [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Training images set aside, as `classify` does.
pub const HELD_OUT: usize = 5000;

/// Examples a shard.
pub const SHARD: usize = 128;

impl DataArguments {
    /// What is asked for.
    pub fn dataset(&self) -> Result<Dataset> {
        self.dataset.context("which images? Add --dataset strokes, or --dataset mnist --data-dir DIR")
    }

    /// The images asked for.
    pub fn load(&self) -> Result<Data> {
        Data::load(self.dataset()?, self.data_dir.as_deref(), self.seed, self.limit, HELD_OUT)
    }

    /// The device asked for.
    pub fn device(&self) -> Result<Device> {
        Ok(self.backend.device()?)
    }

    /// How batches are split.
    pub fn shards(&self) -> Shards {
        shards(self.backend, self.threads, SHARD)
    }

    /// The key of everything random.
    pub fn key(&self) -> Key {
        Key::new(self.seed)
    }
}

/// Reads couplings of any format.
pub fn load(file: &Path) -> Result<Couplings> {
    let format = Format::of_name(&file.to_string_lossy())?;
    let bytes = run::read(file)?;
    format.decode(&bytes).with_context(|| format!("in {}", file.display()))
}

/// Writes couplings in the format of the file's extension.
pub fn save(file: &Path, couplings: &Couplings) -> Result<()> {
    let format = Format::of_name(&file.to_string_lossy())?;
    let bytes = format.encode(couplings).with_context(|| format!("for {}", file.display()))?;
    run::write(file, &bytes)
}

/// The numbers of a text file, separated by white space or commas.
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
