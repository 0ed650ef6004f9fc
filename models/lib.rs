//! What is trained on a thermodynamic computer, and how.
//!
//! | module | what |
//! |---|---|
//! | [`classifier`] | clamped image, hidden units, one output a class: the model and its evaluation |
//! | [`trainers`] | its three trainers: likelihood, exact, pathwise |
//! | [`pruning`] | couplings left out of a classifier |
//! | [`guide`] | the trajectories that a teacher asks for |
//! | [`teacher`] | the conventional network behind them |
//! | [`generator`] | noise to images: the computer and its sampling |
//! | [`noising`] | images to noise: what the generator reverses |
//! | [`stored`] | a generator that keeps a few images, taught in three ways |
//! | [`classes`] | a generator of any digit of its classes, taught without simulation |
//! | [`diffusion`] | the conventional denoising network to compare with |
//! | [`judge`], [`metrics`] | a network that looks at images, and numbers from what it sees |
//! | [`examples`] | labelled images as clamped values |
//! | [`fit`] | the training loop they share |

pub mod classes;
pub mod classifier;
pub mod diffusion;
pub mod error;
pub mod examples;
pub mod fit;
pub mod generator;
pub mod guide;
pub mod judge;
pub mod metrics;
pub mod noising;
pub mod pruning;
pub mod stored;
pub mod teacher;
pub mod trainers;

pub use classes::{ClassesConfig, Denoiser};
pub use classifier::{Classifier, ClassifierConfig, Evaluation, Wiring};
pub use diffusion::{Diffusion, DiffusionConfig};
pub use error::{Error, Result};
pub use examples::Examples;
pub use fit::{Fit, Progress, Recipe};
pub use generator::{Generator, HiddenUnits, Request, Samples};
pub use guide::Guide;
pub use judge::{Judge, JudgeConfig};
pub use metrics::{Nearest, Reference, Scores};
pub use noising::Noising;
pub use pruning::prune;
pub use stored::{Descent, Rule, Stored, StoredConfig};
pub use teacher::{Teacher, TeacherConfig, TeacherLoss};
pub use trainers::{Lesson, Likelihood, Pathwise, exact};
