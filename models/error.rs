//! What can go wrong in training.

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of the physics.
    #[error(transparent)]
    Physics(#[from] thermograd::Error),
    /// A loss that is not finite.
    #[error("{training}: the loss became {loss} at step {step}; use a smaller learning rate or time step")]
    NotFinite {
        /// The name of the training run.
        training: &'static str,
        /// The step.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// A checkpoint that does not belong to this training run.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A request that cannot be met.
    #[error("{0}")]
    Request(String),
    /// Examples that do not fit the model.
    #[error("examples: {0}")]
    Examples(String),
}
