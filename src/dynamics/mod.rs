//! How a machine moves: one kind of dynamics per file, and the one loop that runs them all.
//!
//! | module | what |
//! |---|---|
//! | [`run`](mod@run) | [`Dynamics`](run::Dynamics), the loop, trajectories, divergence |
//! | [`overdamped`] | Langevin dynamics of the substrate, in two schemes |
//! | `fused` | its step and its adjoint in one pass over the batch, on the processor's own cores |
//! | `launched` | the same in launches on a GPU |
//! | [`simulate`] | running a substrate in one call |
//! | [`ornstein_uhlenbeck`] | linear drift with noise of any covariance, by exact steps and two others |
//! | [`underdamped`] | linear drift with velocities, and an array of RLC cells |
//! | [`gibbs`] | sweeps of ±1 spins |
//! | [`landscape`] | what can be heated and cooled: spins by two rules, and other states with an energy |
//! | [`tempering`] | replicas of a landscape that exchange temperatures |
//! | [`annealing`] | a landscape that is cooled |
//! | [`heat_flow`] | heat between the nodes of a circuit |
//! | [`stability`] | the largest time step |
//! | [`adjoint`] | gradients through the unrolled steps |

pub mod adjoint;
pub mod annealing;
mod fused;
pub mod gibbs;
pub mod heat_flow;
pub mod landscape;
#[cfg(feature = "cube")]
mod launched;
mod orders;
pub mod ornstein_uhlenbeck;
pub mod overdamped;
pub mod run;
pub mod simulate;
pub mod stability;
pub mod tempering;
pub mod underdamped;
