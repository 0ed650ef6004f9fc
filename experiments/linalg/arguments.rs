//! The command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use faer::Mat;
use serde::Serialize;
use thermograd::{Key, Shards};
use thermograd_datasets::matrices::{self, Matrix};
use thermograd_experiments::workbench::afford;
use thermograd_models::linear::answer::Search;
use thermograd_models::linear::board::Board;
use thermograd_models::linear::machine::{Device, Precision};
use thermograd_models::linear::matrices::{conditioned, laplacian, wishart};
use thermograd_models::linear::plan::{CHAINS, Until};
use thermograd_models::linear::problem::Program;
use thermograd_models::linear::reference::{Digital, Factorisations};

/// Linear algebra by thermal noise: a network of fluctuating voltages solves, inverts, samples and exponentiates.
///
/// A machine is programmed with a matrix A, a force b and noise; averages of its voltages over time are the answer, with error
/// bars from independent chains. Without a task it solves a random system of 64 unknowns. Matrices are read from Matrix Market
/// (.mtx), NumPy (.npy) and CSV files, or made by --random, --wishart or --laplacian.
#[derive(Parser, Debug)]
#[command(name = "linalg", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub common: Common,
}

/// What is asked.
#[derive(Subcommand, Debug)]
pub enum Task {
    /// A⁻¹b of a symmetric positive definite matrix.
    Solve {
        /// A; made if it is not given.
        a: Option<PathBuf>,
        /// b; A times a vector of ones if it is not given.
        b: Option<PathBuf>,
    },
    /// A⁻¹, the covariance of the voltages; with --device rc-board or a profile, that of a board that was built.
    Inverse {
        /// A; made if it is not given.
        a: Option<PathBuf>,
    },
    /// ln det A, by thermodynamic integration; --error is absolute.
    Logdet {
        /// A; made if it is not given.
        a: Option<PathBuf>,
        /// Subtract ln det of this matrix, from which the integral then starts.
        #[arg(long, value_name = "FILE")]
        over: Option<PathBuf>,
    },
    /// e^(At) of any square matrix, from the correlation of voltages with what they were.
    Expm {
        /// A; the negative of a made one if it is not given.
        a: Option<PathBuf>,
        /// t.
        #[arg(long, value_name = "T", allow_negative_numbers = true, default_value_t = 1.0)]
        duration: f64,
    },
    /// Σ of AΣ + ΣAᵀ = D, the covariance under noise D.
    Lyapunov {
        /// A, stable: its eigenvalues have positive real parts; made if it is not given.
        a: Option<PathBuf>,
        /// D, positive semi-definite; 1 if it is not given.
        d: Option<PathBuf>,
    },
    /// Samples of the normal distribution of mean A⁻¹b and covariance A⁻¹.
    Sample {
        /// A, the precision of the distribution; made if it is not given.
        a: Option<PathBuf>,
        /// b; zero if it is not given.
        b: Option<PathBuf>,
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        samples: usize,
        /// Slowest time constants between two samples of a chain.
        #[arg(long, value_name = "T", allow_negative_numbers = true, default_value_t = 5.0)]
        spacing: f64,
    },
    /// The weights of a linear regression and their posterior, by the normal equation.
    Regress {
        /// X, a row an observation.
        x: PathBuf,
        /// y, as many targets.
        y: PathBuf,
        /// The s.d. of the noise of the targets.
        #[arg(long, value_name = "SD", allow_negative_numbers = true, default_value_t = 1.0)]
        noise: f64,
        /// The s.d. of the weights before anything is observed.
        #[arg(long, value_name = "SD", allow_negative_numbers = true, default_value_t = 10.0)]
        prior: f64,
    },
    /// A Gaussian process through points of a line, with its band.
    Gp {
        /// Two columns, x and y, as .csv or .npy; an example if it is not given.
        points: Option<PathBuf>,
        /// The s.d. of the function.
        #[arg(long, value_name = "SD", allow_negative_numbers = true, default_value_t = 1.0)]
        amplitude: f64,
        /// The length over which it changes.
        #[arg(long, value_name = "LENGTH", allow_negative_numbers = true, default_value_t = 1.0)]
        length: f64,
        /// The s.d. of the noise of the values.
        #[arg(long, value_name = "SD", allow_negative_numbers = true, default_value_t = 0.1)]
        noise: f64,
        /// Points of the grid.
        #[arg(long, value_name = "N", default_value_t = 60)]
        grid: usize,
    },
    /// How the time to an error grows with the number of unknowns and the condition number, against theory.
    Scaling,
}

/// Flags of every task.
#[derive(Args, Debug, Clone)]
pub struct Common {
    /// The standard error to reach: relative to the norm of the answer, absolute for logdet [default: 0.05].
    #[arg(
        long,
        global = true,
        value_name = "E",
        allow_negative_numbers = true,
        conflicts_with = "time",
        help_heading = "How long"
    )]
    pub error: Option<f64>,
    /// Average for this time instead, of all chains together, in slowest time constants.
    #[arg(long, global = true, value_name = "T", allow_negative_numbers = true, help_heading = "How long")]
    pub time: Option<f64>,
    /// Independent chains; a single one is cut into batches of its time [default: those that theory says take the least time of
    /// the machine, 32 where it says nothing].
    #[arg(long, global = true, value_name = "N", help_heading = "How long")]
    pub chains: Option<usize>,

    /// rc, underdamped, rlc, rc-board, or a .toml file with the profile of a board.
    #[arg(long, global = true, value_name = "NAME", default_value = "rc", help_heading = "Device")]
    pub device: String,
    /// kT, in the units of A: noise against the force b.
    #[arg(
        long,
        global = true,
        value_name = "KT",
        allow_negative_numbers = true,
        default_value_t = 1.0,
        help_heading = "Device"
    )]
    pub kt: f64,
    /// gamma over the square root of the smallest eigenvalue, of the underdamped device.
    #[arg(
        long,
        global = true,
        value_name = "G",
        allow_negative_numbers = true,
        default_value_t = 1.5,
        help_heading = "Device"
    )]
    pub damping: f64,
    /// L of a cell of the rlc device, in units of R²C.
    #[arg(
        long,
        global = true,
        value_name = "L",
        allow_negative_numbers = true,
        default_value_t = 1.0,
        help_heading = "Device"
    )]
    pub inductance: f64,
    /// R of a unit of conductance, in ohms.
    #[arg(
        long,
        global = true,
        value_name = "OHM",
        allow_negative_numbers = true,
        default_value_t = 1e4,
        help_heading = "Device"
    )]
    pub ohms: f64,
    /// C of a unit, in farads.
    #[arg(
        long,
        global = true,
        value_name = "F",
        allow_negative_numbers = true,
        default_value_t = 1e-12,
        help_heading = "Device"
    )]
    pub farads: f64,
    /// The band of a board's instrument in Hz, such as 200,50000; `all` for all frequencies.
    #[arg(long, global = true, value_name = "LOW,HIGH", help_heading = "Device")]
    pub band: Option<String>,
    /// Also write the rlc device or the board as a SPICE netlist.
    #[arg(long, global = true, value_name = "FILE.cir", help_heading = "Device")]
    pub netlist: Option<PathBuf>,

    /// Bits of the entries of A and b, the sign among them.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Imprecision"
    )]
    pub bits: u32,
    /// Average so many machines whose entries are rounded up or down at random.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Imprecision"
    )]
    pub dithers: usize,
    /// Relative s.d. of the components.
    #[arg(
        long,
        global = true,
        value_name = "SD",
        allow_negative_numbers = true,
        default_value_t = 0.0,
        hide_default_value = true,
        help_heading = "Imprecision"
    )]
    pub mismatch: f64,
    /// Bandwidth of the read-out, in units of the fastest rate.
    #[arg(
        long,
        global = true,
        value_name = "W",
        allow_negative_numbers = true,
        default_value_t = 0.0,
        hide_default_value = true,
        help_heading = "Imprecision"
    )]
    pub bandwidth: f64,
    /// S.d. of the noise of a reading.
    #[arg(
        long,
        global = true,
        value_name = "SD",
        allow_negative_numbers = true,
        default_value_t = 0.0,
        hide_default_value = true,
        help_heading = "Imprecision"
    )]
    pub read_out: f64,

    /// A random matrix of N unknowns, of --condition.
    #[arg(long, global = true, value_name = "N", conflicts_with_all = ["wishart", "laplacian"], help_heading = "Made matrices")]
    pub random: Option<usize>,
    /// Its condition number.
    #[arg(
        long,
        global = true,
        value_name = "K",
        allow_negative_numbers = true,
        default_value_t = 100.0,
        help_heading = "Made matrices"
    )]
    pub condition: f64,
    /// A Wishart matrix of N unknowns.
    #[arg(
        long,
        global = true,
        value_name = "N",
        conflicts_with = "laplacian",
        help_heading = "Made matrices"
    )]
    pub wishart: Option<usize>,
    /// The Laplacian of a chain of N.
    #[arg(long, global = true, value_name = "N", help_heading = "Made matrices")]
    pub laplacian: Option<usize>,

    /// Seed of everything random.
    #[arg(long, global = true, default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// Single precision.
    #[arg(long, global = true, help_heading = "Run")]
    pub single: bool,
    /// Threads; results do not depend on their number.
    #[arg(long, global = true, value_name = "N", help_heading = "Run")]
    pub threads: Option<usize>,
    /// Joules of a floating-point operation of the digital solver.
    #[arg(
        long,
        global = true,
        value_name = "J",
        allow_negative_numbers = true,
        default_value_t = 1e-12,
        help_heading = "Run"
    )]
    pub flop_joules: f64,
    /// Do not compare with a digital solver.
    #[arg(long, global = true, help_heading = "Run")]
    pub blind: bool,
    /// Run folder to make [default: runs/linalg-TASK-N].
    #[arg(long, global = true, value_name = "DIR", help_heading = "Run")]
    pub out: Option<PathBuf>,
}

/// A device as it is named on the command line.
pub enum Named {
    /// A machine that takes any matrix.
    Machine(Device),
    /// A board, which has its own.
    Board(Box<Board>),
}

/// The profile that ships with the program.
const RC_BOARD: &str = include_str!("rc-board.toml");

impl Common {
    /// Refuses numbers that mean nothing.
    pub fn check(&self) -> Result<()> {
        let all = [
            ("--kt", self.kt),
            ("--damping", self.damping),
            ("--inductance", self.inductance),
            ("--ohms", self.ohms),
            ("--farads", self.farads),
            ("--flop-joules", self.flop_joules),
        ];
        for (name, value) in all {
            ensure!(value > 0.0 && value.is_finite(), "{name} {value}: it must be positive and finite");
        }
        for (name, value) in [("an error", self.error), ("a time", self.time)] {
            let value = value.unwrap_or(1.0);
            ensure!(value > 0.0 && value.is_finite(), "{name} of {value}: it must be positive and finite");
        }
        ensure!(self.threads != Some(0), "--threads: at least one is needed");
        ensure!(self.chains != Some(0), "--chains 0: at least one is needed");
        self.precision().check()?;
        Ok(())
    }

    /// The device.
    pub fn named(&self) -> Result<Named> {
        let machine = |device| Ok(Named::Machine(device));
        let text = match self.device.as_str() {
            "rc" => return machine(Device::Rc),
            "underdamped" => return machine(Device::Underdamped { damping: self.damping }),
            "rlc" => return machine(Device::Rlc { inductance: self.inductance, resistance: 1.0 }),
            "rc-board" => RC_BOARD.to_owned(),
            name => {
                let file = Path::new(name);
                ensure!(
                    name.ends_with(".toml"),
                    "--device {name}: rc, underdamped, rlc, rc-board or a .toml file with the profile of a board"
                );
                std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?
            }
        };
        let mut board: Board =
            toml::from_str(&text).with_context(|| format!("in the profile {}", self.device))?;
        if let Some(band) = &self.band {
            board.band = match band.as_str() {
                "all" => None,
                band => {
                    let wrong = || format!("--band {band}: two frequencies in Hz, such as 200,50000, or all");
                    let (low, high) = band.split_once(',').with_context(wrong)?;
                    Some([low.trim().parse().with_context(wrong)?, high.trim().parse().with_context(wrong)?])
                }
            };
        }
        board.conductance()?;
        Ok(Named::Board(Box::new(board)))
    }

    /// What is imprecise.
    pub fn precision(&self) -> Precision {
        let &Self { bits, dithers, mismatch, bandwidth, read_out, .. } = self;
        Precision { bits, dithers, mismatch, bandwidth, read_out }
    }

    /// When it ends.
    pub fn until(&self) -> Until {
        match (self.time, self.error) {
            (Some(time), _) => Until::Time(time),
            (None, error) => Until::Error(error.unwrap_or(0.05)),
        }
    }

    /// How a program is asked.
    pub fn search(&self, program: &Program) -> Search {
        let until = self.until();
        let chains = self.chains.or_else(|| program.chains(until)).unwrap_or(CHAINS);
        Search { until, chains, single: self.single }
    }

    /// Chains on threads.
    pub fn shards(&self) -> Shards {
        let free = std::thread::available_parallelism().map_or(1, usize::from);
        Shards { size: usize::MAX, threads: self.threads.unwrap_or(free) }
    }

    /// The key of the seed.
    pub fn key(&self) -> Key {
        Key::new(self.seed)
    }

    /// A matrix of a file, or a made one.
    pub fn matrix(&self, file: Option<&Path>) -> Result<Mat<f64>> {
        let made = [("--random", self.random), ("--wishart", self.wishart), ("--laplacian", self.laplacian)];
        let asked = made.iter().find_map(|(name, size)| size.map(|size| (*name, size)));
        if let (Some(file), Some((name, _))) = (file, asked) {
            anyhow::bail!("{name} makes a matrix, and {} is one", file.display());
        }
        if let Some(file) = file {
            return read(file);
        }
        let (name, size) = asked.unwrap_or(("--random", 64));
        afford(&format!("a matrix of {size} unknowns"), 40 * (size as u128).pow(2))?;
        let key = self.key().fork("matrix");
        Ok(match name {
            "--wishart" => wishart(size, key)?,
            "--laplacian" => laplacian(size)?,
            _ => conditioned(size, self.condition, key)?,
        })
    }
}

/// Reads a matrix that fits into memory.
pub fn read(file: &Path) -> Result<Mat<f64>> {
    /// Half of what is free on a machine of 16 GiB.
    const LIMIT: u128 = 8 << 30;
    let Matrix { rows, columns, values } = matrices::read(file, LIMIT)?;
    afford(&format!("{}, a matrix of {rows} by {columns}", file.display()), 40 * (rows * columns) as u128)?;
    Ok(Mat::from_fn(rows, columns, |i, j| values[i * columns + j]))
}

/// Reads a vector: one row or one column.
pub fn vector(file: &Path) -> Result<Vec<f64>> {
    let matrix = read(file)?;
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    ensure!(
        rows == 1 || columns == 1,
        "{}: a vector has one row or one column, and this has {rows} by {columns}",
        file.display()
    );
    Ok((0..rows * columns).map(|k| matrix[(k / columns, k % columns)]).collect())
}

/// A matrix as a NumPy file.
pub fn npy(matrix: &Mat<f64>) -> Vec<u8> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    let values = (0..rows * columns).map(|k| matrix[(k / columns, k % columns)]).collect();
    Matrix { rows, columns, values }.npy()
}

/// The digital solver to compare with.
pub fn digital() -> impl Digital {
    Factorisations
}

/// What config.toml says of a run.
#[derive(Serialize)]
pub struct Settings<'a> {
    /// The command.
    pub command: String,
    /// The device.
    pub device: &'a str,
    /// The seed.
    pub seed: u64,
    /// Chains.
    pub chains: usize,
    /// kT.
    pub kt: f64,
    /// When it ends.
    pub until: Until,
    /// What is imprecise.
    pub precision: Precision,
}
