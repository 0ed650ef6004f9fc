//! What all models are trained with.
//!
//! | file | what |
//! |---|---|
//! | [`examples`] | labelled images as the values of clamped units |
//! | [`fit`] | the training loop |
//! | [`network`] | what conventional networks share: weights before training, loss, read-out, files |

pub mod examples;
pub mod fit;
pub mod network;
