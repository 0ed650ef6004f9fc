//! Physics of thermodynamic computers, on Burn tensors.
//!
//! This crate opens no file, prints nothing, reads no clock and draws no hidden randomness. States and fields are
//! `[batch, unit]`, trajectories `[time, batch, unit]`; energies are in units of a reference thermal energy and times
//! in units of 1/μ.
//!
//! | module | what | uses |
//! |---|---|---|
//! | [`network`] | what a machine is | errors, units, noise, shards, schedules, devices, tensors, products |
//! | [`dynamics`] | how it moves | `network` |
//! | [`paths`] | the analysis of trajectories: probability, heat, exact optimum | `dynamics` |
//! | [`export`] | export of couplings | `network` |
//! | [`hardware`] | what changes on a real device | `dynamics`, `export` |

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct ReadMe;

#[cfg(feature = "cube")]
mod cube;
pub mod device;
pub mod dynamics;
pub mod error;
pub mod export;
pub mod hardware;
#[cfg(feature = "cube")]
mod kernels;
pub mod network;
pub mod noise;
mod packed;
pub mod paths;
pub mod ranks;
pub mod schedule;
pub mod shards;
mod sparse;
pub mod tensors;
pub mod units;

pub use device::Backend;
pub use dynamics::adjoint::Unrolled;
pub use dynamics::annealing::{Annealed, Annealing};
pub use dynamics::gibbs::{Chains, Gibbs};
pub use dynamics::heat_flow::{ExactHeat, Heat, HeatFlow};
pub use dynamics::landscape::{Landscape, Metropolis};
pub use dynamics::ornstein_uhlenbeck::{Linear, LinearSteps, OrnsteinUhlenbeck, Scheme, Transition};
pub use dynamics::overdamped::{Integrator, Overdamped};
pub use dynamics::run::{Dynamics, Place, Recorder, Step, Trajectory, advance, carry, run};
pub use dynamics::tempering::{Ladder, Replicas, Tempering};
pub use dynamics::underdamped::{CellArray, underdamped};
pub use error::{Divergence, Error, HeatProblem, LinearProblem, Problem, Result, SpinProblem};
pub use export::circuit::{Circuit, Scales};
pub use export::couplings::Couplings;
pub use export::description::{Description, Normalisation, Sampling, Start};
pub use export::formats::Format;
pub use export::ising::Ising;
pub use hardware::account::{Account, Assumptions, Measured};
pub use hardware::imperfections::{Hardware, Imperfection, Scale};
pub use network::control::Control;
pub use network::heat_circuit::{Capacity, HeatCircuit, Latent, Link, MELTING, Node, Switch};
pub use network::potential::Potential;
pub use network::protocol::{Course, Protocol};
pub use network::spins::Spins;
pub use network::substrate::{Substrate, SubstrateConfig};
pub use network::topology::{Block, Group, Pattern, PerUnit, Topology};
pub use network::well::{Density, Response, Well};
pub use noise::Key;
pub use paths::action::{Direction, LocalRule, StepAction};
pub use paths::correlation::Correlation;
pub use paths::exact::{Moments, Ridge};
pub use paths::heat::{Estimate, Ledger};
pub use schedule::Schedule;
pub use shards::Shards;
pub use tensors::to_f64;
