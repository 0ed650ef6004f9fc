//! A thermodynamic computer that makes images from noise.
//!
//! | file | what |
//! |---|---|
//! | [`model`] | noise to images: the computer and its sampling |
//! | [`noising`] | images to noise: what the generator reverses |
//! | [`stored`] | a generator that keeps a few images, taught in three ways |
//! | [`classes`] | a generator of any digit of its classes, taught without simulation |
//! | [`adiabatic`] | hidden units at their mean: what both of them can do without running these |
//! | [`diffusion`] | the conventional denoising network to compare with |
//! | [`judge`], [`metrics`] | a network that looks at images, and numbers from what it sees |

pub mod adiabatic;
pub mod classes;
pub mod diffusion;
pub mod judge;
pub mod metrics;
pub mod model;
pub mod noising;
pub mod stored;
