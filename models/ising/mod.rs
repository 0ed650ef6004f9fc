//! Feed-forward networks of ±1 spins whose answer is a time average of Gibbs sampling.
//!
//! | file | what |
//! |---|---|
//! | [`layer`] | couplings between two layers of spins |
//! | [`network`] | the layers, and the two machines that realise them |
//! | [`training`] | training by backpropagation |
//! | [`sampling`] | Gibbs sampling of the layers, and what it reads |
//! | [`readout`] | what a time average of so many sweeps is expected to read |
//! | [`export`] | couplings and fields of the machine |

pub mod export;
pub mod layer;
pub mod network;
pub mod readout;
pub mod sampling;
pub mod training;
