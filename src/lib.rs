//! Physics of thermodynamic computers, on Burn tensors.
//!
//! This crate opens no file, prints nothing, reads no clock and draws no hidden randomness. States and fields are
//! `[batch, unit]`, trajectories `[time, batch, unit]`; energies are in units of kT's scale and times in 1/μ.

/// The example of the front page is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadMe;

pub mod account;
pub mod action;
pub mod adjoint;
pub mod circuit;
pub mod couplings;
pub mod device;
pub mod error;
pub mod exact;
pub mod formats;
pub mod hardware;
pub mod heat;
pub mod ising;
pub mod langevin;
pub mod noise;
pub mod potential;
pub mod protocol;
pub mod shards;
pub mod substrate;
pub mod topology;
pub mod units;
pub mod well;

pub use account::{Account, Assumptions, Measured};
pub use action::{Direction, LocalRule, StepAction};
pub use circuit::{Circuit, Scales};
pub use couplings::{Couplings, Description, Normalisation};
pub use device::Backend;
pub use error::{Error, Result};
pub use exact::{Moments, Ridge};
pub use formats::Format;
pub use hardware::{Hardware, Imperfection, Scale};
pub use heat::{Estimate, Ledger};
pub use ising::Ising;
pub use langevin::{Divergence, Schedule, Step, Trajectory, to_f64};
pub use noise::Key;
pub use potential::Potential;
pub use protocol::{Control, Course, Protocol};
pub use shards::Shards;
pub use substrate::{Substrate, SubstrateConfig};
pub use topology::{Block, Group, Pattern, Topology};
pub use well::{Density, Response, Well};
