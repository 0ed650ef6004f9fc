//! A thermodynamic computer that makes images from noise.
//!
//! | file | what |
//! |---|---|
//! | [`model`] | noise to images: the computer and its sampling |
//! | [`noising`] | images to noise: what the generator reverses |
//! | [`stored`] | a generator that stores a few images, trained in three ways |
//! | [`classes`] | a generator of digits by class, trained without simulation |
//! | [`denoising`] | how well it denoises at every time of its run |
//! | [`refinement`] | its training on its own samples |
//! | [`adiabatic`] | sampling with hidden units at their mean instead of simulated ones |
//! | `local` | hidden units that see a part of the image |
//! | [`diffusion`] | the conventional denoising network to compare with |
//! | [`judge`], [`metrics`] | a network that judges images, and the metrics based on it |

pub mod adiabatic;
pub mod classes;
pub mod denoising;
pub mod diffusion;
pub mod judge;
mod local;
pub mod metrics;
pub mod model;
pub mod noising;
pub mod refinement;
pub mod stored;
