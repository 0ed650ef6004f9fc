//! What a machine is: its units, how they couple, and how it is controlled.
//!
//! | module | what |
//! |---|---|
//! | [`topology`] | groups of units, their constants, and the blocks of couplings between them |
//! | [`substrate`] | the Burn module whose parameters are couplings and biases |
//! | [`potential`] | V, ∇V, and the block product they share |
//! | [`control`], [`protocol`] | field, gains, wells and temperature at one moment, and as functions of time |
//! | `quadratic` | the quadratic form of coupled units, which decides the largest step and whether the units are confined |
//! | [`spins`] | a coloured graph of ±1 spins |
//! | [`heat_circuit`] | heat capacities and conductances |
//! | [`well`] | a single unit: equilibrium, relaxation, mean response |

pub mod control;
pub mod heat_circuit;
pub mod potential;
pub mod protocol;
pub(crate) mod quadratic;
pub mod spins;
pub mod substrate;
pub mod topology;
pub mod well;
