//! What can go wrong in training.

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// In the physics.
    #[error(transparent)]
    Physics(#[from] thermograd::Error),
    /// A loss that is no number any more.
    #[error(
        "{training}: the loss became {loss} at step {step}; a smaller learning rate or time step is needed"
    )]
    NotFinite {
        /// Which training.
        training: &'static str,
        /// At which step.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// A checkpoint that does not belong to this training.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// Images asked for that this computer cannot make.
    #[error("{0}")]
    Request(String),
    /// Examples that do not fit the model.
    #[error("examples: {0}")]
    Examples(String),
}
