//! A thermodynamic computer that classifies images.
//!
//! | file | what |
//! |---|---|
//! | [`model`] | clamped image, hidden units, one output per class |
//! | [`evaluation`] | accuracy, heat and read-out time |
//! | [`trainers`] | likelihood, exact, pathwise |
//! | [`guide`] | the trajectories to learn |
//! | [`teacher`] | the conventional network that supplies their targets |
//! | [`pruning`] | removes the least important couplings |

pub mod evaluation;
pub mod guide;
pub mod model;
pub mod pruning;
pub mod teacher;
pub mod trainers;
