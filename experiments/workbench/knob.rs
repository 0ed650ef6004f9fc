//! Imperfections of hardware that can be swept, one value after the other.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use thermograd::{Hardware, Imperfection, Key, Scale, Substrate};

use crate::workbench::settings::name;

/// What to sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Knob {
    /// Bits per coupling.
    Bits,
    /// Relative standard deviation of every coupling and bias.
    Mismatch,
    /// Largest possible coupling, as a fraction of the largest one in the file.
    Range,
    /// Number of couplings per unit.
    FanIn,
    /// kT, as a multiple of the nominal value.
    Temperature,
    /// J₂ and J₄ of all wells, as a multiple of the nominal values.
    Wells,
    /// Relative standard deviation of J₂, J₄ and the mobility of every unit.
    UnitMismatch,
    /// Standard deviation of the read-out noise.
    ReadOut,
    /// Bandwidth of couplings, in units of 1/time.
    Bandwidth,
}

impl Knob {
    /// What it is called on an axis.
    pub fn title(self) -> &'static str {
        match self {
            Self::Bits => "Bits per coupling",
            Self::Mismatch => "Relative mismatch of couplings",
            Self::Range => "Largest possible coupling, fraction of the largest one",
            Self::FanIn => "Couplings per unit",
            Self::Temperature => "Temperature, multiple of the nominal one",
            Self::Wells => "J₂ and J₄, multiple of the nominal ones",
            Self::UnitMismatch => "Relative mismatch of J₂, J₄ and μ",
            Self::ReadOut => "Read-out noise, units of x",
            Self::Bandwidth => "Bandwidth of couplings, 1/time",
        }
    }

    /// What it does to devices, in a sentence or two.
    pub fn explanation(self) -> String {
        let levels = "Levels: 2^bits − 1, with the full scale of least squared error.";
        let filter = "Couplings between free units follow them through a low-pass filter.";
        let factor = "multiplied by 1 + a normal of this standard deviation, drawn once per device";
        let more = match self {
            Self::Mismatch => return format!("Every coupling and bias of a device is {factor}."),
            Self::UnitMismatch => {
                return format!("J₂, J₄ and mobility of every unit of a device are each {factor}.");
            }
            Self::Bits => levels,
            Self::FanIn => "Each unit keeps its strongest couplings.",
            Self::Bandwidth => filter,
            _ => "",
        };
        format!("Devices are alike here and differ only in their thermal noise. {more}")
    }

    /// Five or six values over a sensible range.
    pub fn values(self) -> Vec<f64> {
        match self {
            Self::Bits => vec![8.0, 6.0, 5.0, 4.0, 3.0, 2.0],
            Self::Mismatch => vec![0.02, 0.05, 0.1, 0.15, 0.2, 0.3],
            Self::Range => vec![0.5, 0.3, 0.2, 0.15, 0.1, 0.05],
            Self::FanIn => vec![600.0, 400.0, 300.0, 200.0, 100.0, 50.0],
            Self::Temperature => vec![0.0, 0.5, 0.8, 1.2, 2.0, 4.0],
            Self::Wells => vec![0.5, 0.8, 0.9, 1.1, 1.2, 2.0],
            Self::UnitMismatch => vec![0.02, 0.05, 0.1, 0.15, 0.2],
            Self::ReadOut => vec![0.1, 0.2, 0.5, 1.0, 2.0],
            Self::Bandwidth => vec![1000.0, 300.0, 100.0, 30.0, 10.0, 3.0],
        }
    }

    /// A computer with the imperfection at one value.
    ///
    /// # Errors
    /// A value that is none of it.
    pub fn device(self, substrate: &Substrate, value: f64, scale: Scale, key: Key) -> Result<Hardware> {
        let blocks = 0..substrate.topology().blocks.len();
        let couplings = blocks.flat_map(|block| substrate.pair_couplings(block));
        let largest = couplings.fold(0.0_f64, |largest, coupling| largest.max(coupling.abs()));
        Ok(Hardware::ideal(substrate.clone()).with(self.at(value, scale, largest)?, key)?)
    }

    fn at(self, value: f64, scale: Scale, largest: f64) -> Result<Imperfection> {
        let whole = || -> Result<u32> {
            ensure!(
                value.fract() == 0.0 && (0.0..1e9).contains(&value),
                "{}: {value} is not a whole number below 1e9",
                name(&self)
            );
            Ok(value as u32)
        };
        Ok(match self {
            Self::Bits => Imperfection::Quantised { bits: whole()?, scale },
            Self::Mismatch => Imperfection::Mismatch { sd: value },
            Self::Range => Imperfection::Range { limit: value * largest },
            Self::FanIn => Imperfection::FanIn { limit: whole()? as usize },
            Self::Temperature => Imperfection::Temperature { factor: value },
            Self::Wells => Imperfection::Wells { j2: value, j4: value },
            Self::UnitMismatch => Imperfection::UnitMismatch { sd: value },
            Self::ReadOut => Imperfection::ReadOut { sd: value },
            Self::Bandwidth => Imperfection::Bandwidth { rate: value },
        })
    }
}
