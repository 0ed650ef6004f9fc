//! Models that are trained on a thermodynamic computer, and their training.
//!
//! | folder | what |
//! |---|---|
//! | [`classifier`] | a computer that classifies images: the model, its evaluation, three trainers, its teacher, pruning |
//! | [`generator`] | a computer that makes images from noise, the conventional network for comparison, and the judge of both |
//! | [`ising`] | networks of ±1 spins that are read out by a time average |
//! | [`linear`] | linear algebra by the fluctuations of linear machines |
//! | [`optimize`] | hard problems: cuts, tours, assignments, partitions |
//! | [`thermal`] | networks of heat that read, and twins of houses |
//! | [`training`] | shared code: labelled images and the training loop |

pub mod classifier;
pub mod error;
pub mod generator;
pub mod ising;
pub mod linear;
pub mod optimize;
pub mod thermal;
pub mod training;

pub use classifier::evaluation::Evaluation;
pub use classifier::guide::Guide;
pub use classifier::model::{Classifier, ClassifierConfig, Wiring};
pub use classifier::pruning::prune;
pub use classifier::teacher::{Teacher, TeacherConfig, TeacherLoss};
pub use classifier::trainers::{Lesson, Likelihood, Pathwise, exact};
pub use error::{Error, Result};
pub use generator::classes::{ClassesConfig, Denoiser};
pub use generator::denoising::Denoised;
pub use generator::diffusion::{Diffusion, DiffusionConfig};
pub use generator::judge::{Judge, JudgeConfig};
pub use generator::metrics::{Nearest, Reference, Scores};
pub use generator::model::{Generator, HiddenUnits, Request, Samples};
pub use generator::noising::Noising;
pub use generator::refinement::Refinement;
pub use generator::stored::{Descent, Rule, Stored, StoredConfig};
pub use ising::export::SpinReader;
pub use ising::network::{Hidden, IsingConfig, IsingNet, Realisation};
pub use ising::sampling::{Reading, Sweeps};
pub use ising::training::{Forward, IsingTrainer};
pub use training::examples::{Augment, Examples};
pub use training::fit::{Fit, Part, Progress, Recipe, Training};
pub use training::network::{Parameters, ranking};
