//! A thermodynamic computer that reads images.
//!
//! | file | what |
//! |---|---|
//! | [`model`] | clamped image, hidden units, one output a class |
//! | [`evaluation`] | how well it reads, and at what cost |
//! | [`trainers`] | likelihood, exact, pathwise |
//! | [`guide`] | the trajectories that a teacher asks for |
//! | [`teacher`] | the conventional network behind them |
//! | [`pruning`] | couplings left out |

pub mod evaluation;
pub mod guide;
pub mod model;
pub mod pruning;
pub mod teacher;
pub mod trainers;
