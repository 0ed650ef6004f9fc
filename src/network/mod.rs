//! What a machine is: its units, how they couple, and how it is steered.
//!
//! | module | what |
//! |---|---|
//! | [`topology`] | groups of units, their constants, and the blocks of couplings between them |
//! | [`substrate`] | the Burn module whose parameters are couplings and biases |
//! | [`potential`] | V, ∇V, and the block product they share |
//! | [`control`], [`protocol`] | field, gains, wells and temperature at one moment, and their course in time |
//! | `quadratic` | what the quadratic form of coupled units decides: the largest step, joint confinement |
//! | [`spins`] | a graph of ±1 spins, coloured |
//! | [`well`] | one unit alone: equilibrium, relaxation, mean response |

pub mod control;
pub mod potential;
pub mod protocol;
pub(crate) mod quadratic;
pub mod spins;
pub mod substrate;
pub mod topology;
pub mod well;
