//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use thermograd_experiments::workbench::{DataFlags, RunFlags, name, parse, with_defaults};
use thermograd_models::thermal::network::{Inputs, Nonlinearity};

use crate::settings::Settings;

/// Networks of heat that compute, and digital twins of real ones.
///
/// Units are temperatures with heat capacities, couplings are thermal conductances, inputs are heat. What makes such a network more
/// than linear is melting, or conductances that change phase.
#[derive(Parser, Debug)]
#[command(
    name = "thermal",
    version,
    max_term_width = 100,
    after_help = "Examples:
  thermal read                                        digits drawn from strokes, no files needed
  thermal read --dataset mnist --data-dir DIR --hidden 256 --epochs 10
  thermal read --sigma 0.01                           trained for thermal noise of a hundredth of the warmth of a pixel
  thermal xor                                         what no linear network can do
  thermal twin                                        a made-up house of two rooms, whose truth is known
  thermal twin --data house.csv --house 2r2c --observed yTi --outdoors Ta --heat Ph --sun Ps"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub task: Task,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Task {
    /// Train a network of heat to read images.
    ///
    /// The answer is the hottest output at the end. The run folder holds the configuration, metrics, checkpoints, the circuit (as
    /// tensors and, for one image, as a SPICE netlist), summary.json and report.html.
    Read(Box<ReadFlags>),
    /// Train every kind of network on exclusive or.
    Xor(XorFlags),
    /// Fit a house to measured temperatures, judge the fit, forecast, and schedule its heating.
    Twin(Box<TwinFlags>),
}

/// What depends on temperature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum NonlinearityName {
    /// Nothing: a linear network.
    None,
    /// The heat capacities of hidden nodes.
    Melting,
    /// The conductances from hidden nodes to outputs.
    Switching,
    /// Both.
    Both,
}

impl From<NonlinearityName> for Nonlinearity {
    fn from(name: NonlinearityName) -> Self {
        match name {
            NonlinearityName::None => Self::None,
            NonlinearityName::Melting => Self::Melting,
            NonlinearityName::Switching => Self::Switching,
            NonlinearityName::Both => Self::Both,
        }
    }
}

/// How images arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum InputsName {
    /// Reservoirs held at the brightness of pixels.
    Clamped,
    /// Nodes heated to it at the start, and then left alone.
    Pulsed,
}

impl From<InputsName> for Inputs {
    fn from(name: InputsName) -> Self {
        match name {
            InputsName::Clamped => Self::Clamped,
            InputsName::Pulsed => Self::Pulsed,
        }
    }
}

/// Flags of `read`.
#[derive(Args, Debug)]
pub struct ReadFlags {
    /// What depends on temperature.
    #[arg(long, value_enum)]
    pub nonlinearity: Option<NonlinearityName>,
    /// How images arrive.
    #[arg(long, value_enum)]
    pub inputs: Option<InputsName>,
    /// Hidden nodes.
    #[arg(long, value_name = "N")]
    pub hidden: Option<usize>,
    /// Passes over the training images.
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Fluctuations of a node while the network is trained, in units of the temperature difference of a pixel.
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub sigma: Option<f64>,
    /// Report on held-out training images instead of the test images: for choosing settings.
    #[arg(long)]
    pub held_out: bool,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub run: RunFlags,
}

/// Flags of `xor`.
#[derive(Args, Debug)]
pub struct XorFlags {
    /// Hidden nodes.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub hidden: usize,
    /// Seeds, from 0.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: u64,
    /// Run folder to make [default: runs/thermal-xor-N].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `twin`.
#[derive(Args, Serialize, Debug)]
pub struct TwinFlags {
    /// A table: a line of names, a column of times, and columns of numbers [default: a made-up house].
    #[arg(long, value_name = "FILE.csv", help_heading = "House")]
    pub data: Option<PathBuf>,
    /// What the house is made of: a .toml file, or one of 1r1c, 2r2c, 3r3c and rooms.
    #[arg(long, value_name = "NAME|FILE", default_value = "rooms", help_heading = "House")]
    pub house: String,
    /// Another house to compare it with, by the likelihood ratio.
    #[arg(long, value_name = "NAME|FILE", help_heading = "House")]
    pub compare: Vec<String>,
    /// The column of times, in h.
    #[arg(long, value_name = "COLUMN", default_value = "t", help_heading = "House")]
    pub time: String,
    /// Of 1r1c, 2r2c and 3r3c: the column of the temperature indoors.
    #[arg(long, value_name = "COLUMN", default_value = "indoors", help_heading = "House")]
    pub observed: String,
    /// The column of the temperature outdoors.
    #[arg(long, value_name = "COLUMN", default_value = "outdoors", help_heading = "House")]
    pub outdoors: String,
    /// The column of the heater, in kW.
    #[arg(long, value_name = "COLUMN", default_value = "heat", help_heading = "House")]
    pub heat: String,
    /// A column of sun, in kW/m².
    #[arg(long, value_name = "COLUMN", help_heading = "House")]
    pub sun: Option<String>,

    /// The last part of the table, which is not fitted but forecast.
    #[arg(long, value_name = "F", default_value_t = 1.0 / 3.0, allow_negative_numbers = true, help_heading = "Fit")]
    pub hold_out: f64,
    /// Standard deviation of the prior of logarithms about first guesses.
    #[arg(
        long,
        value_name = "SD",
        default_value_t = 1.5,
        allow_negative_numbers = true,
        help_heading = "Fit"
    )]
    pub prior: f64,
    /// Starts of the fit: the best is taken.
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Fit")]
    pub starts: usize,
    /// Days of the made-up house.
    #[arg(long, value_name = "N", default_value_t = 17, help_heading = "Fit", conflicts_with = "data")]
    pub days: usize,
    /// The made-up house is heated by a thermostat with a colder night, not by set points that change at random.
    #[arg(long, help_heading = "Fit", conflicts_with = "data")]
    pub thermostat: bool,

    /// Hours of a forecast [default: 24, 72 of the made-up house].
    #[arg(long, value_name = "H", allow_negative_numbers = true, help_heading = "Use")]
    pub horizon: Option<f64>,
    /// Greatest power of every heater in a schedule, in kW.
    #[arg(
        long,
        value_name = "KW",
        default_value_t = 5.0,
        allow_negative_numbers = true,
        help_heading = "Use"
    )]
    pub most: f64,
    /// The lowest temperature by day and by night (22 to 6 h), in °C.
    #[arg(long, value_name = "C", num_args = 2, default_values_t = [21.0, 17.0], allow_negative_numbers = true, help_heading = "Use")]
    pub comfort: Vec<f64>,
    /// The hour of the day at time 0 of the table.
    #[arg(
        long,
        value_name = "H",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        help_heading = "Use"
    )]
    pub clock: f64,
    /// A column of prices of a kWh [default: all alike].
    #[arg(long, value_name = "COLUMN", help_heading = "Use")]
    pub price: Option<String>,

    /// Seed of everything random.
    #[arg(long, default_value_t = 0, help_heading = "Run")]
    pub seed: u64,
    /// Run folder to make [default: runs/thermal-twin-N].
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    pub out: Option<PathBuf>,
}

impl Arguments {
    /// What was given on the command line.
    pub fn read() -> Self {
        let d = Settings::default();
        let mut defaults = DataFlags::defaults(&d.source);
        defaults.extend([
            ("dataset", name(&d.source.dataset)),
            ("nonlinearity", "switching".into()),
            ("inputs", "clamped".into()),
            ("hidden", d.thermal.hidden.to_string()),
            ("epochs", d.trainer.recipe.epochs.to_string()),
            ("sigma", d.trainer.sigma.to_string()),
            ("out", "runs/thermal-read-N".into()),
        ]);
        parse(Self::command().mut_subcommand("read", |command| with_defaults(command, defaults)))
    }
}
