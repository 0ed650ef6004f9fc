//! What a real device makes of a machine.
//!
//! | module | what |
//! |---|---|
//! | [`imperfections`] | a device as a wrapper of the substrate it was meant to be |
//! | [`delay`] | couplings that follow their units with a delay |
//! | [`account`] | the energy of one use: measured, assumed, digital |

pub mod account;
pub mod delay;
pub mod imperfections;
