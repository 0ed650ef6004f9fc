//! Training code that all models share.
//!
//! | file | what |
//! |---|---|
//! | [`examples`] | labelled images, and their conversion to values of clamped units |
//! | [`fit`] | the training loop |
//! | `parts` | gradients as data, which processes send each other |
//! | [`network`] | shared by conventional networks: initial weights, loss, read-out, files |

pub mod examples;
pub mod fit;
pub mod network;
pub(crate) mod parts;
