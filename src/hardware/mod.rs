//! What changes when a machine is realised in hardware.
//!
//! | module | what |
//! |---|---|
//! | [`imperfections`] | a device as a wrapper of the ideal substrate |
//! | [`delay`] | couplings that respond to their units with a delay |
//! | [`account`] | the energy of one inference: measured, assumed, digital |

pub mod account;
pub mod delay;
pub mod imperfections;
