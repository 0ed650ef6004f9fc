//! Image data sets for training thermodynamic computers, and matrices for them to compute with.
//!
//! | module | what |
//! |---|---|
//! | [`cifar`] | CIFAR-10 in its binary version |
//! | [`idx`] | the MNIST file format, plain or gzipped |
//! | [`matrices`] | Matrix Market, NumPy and CSV files of matrices |
//! | [`mnist`] | a folder of four such files: MNIST, Fashion-MNIST |
//! | [`strokes`] | digits drawn from stroke skeletons; needs no file |

pub mod cifar;
pub mod idx;
pub mod images;
pub mod matrices;
pub mod mnist;
pub mod strokes;

pub use images::{Image, Images, Split};
