//! Image data sets for training thermodynamic computers, and matrices and hard problems for them to compute with.
//!
//! | module | what |
//! |---|---|
//! | [`cifar`] | CIFAR-10 in its binary version |
//! | [`gap`], [`gset`], [`tsplib`] | hard problems: assignments, weighted graphs, cities |
//! | [`idx`] | the MNIST file format, plain or gzipped |
//! | [`matrices`] | Matrix Market, NumPy and CSV files of matrices |
//! | [`mnist`] | a folder of four such files: MNIST, Fashion-MNIST |
//! | [`series`] | tables of numbers in time |
//! | [`strokes`] | digits drawn from stroke skeletons; needs no file |
//! | [`text`] | reading text files, and what may be wrong with them |

pub mod cifar;
pub mod gap;
pub mod gset;
pub mod idx;
pub mod images;
pub mod matrices;
pub mod mnist;
pub mod series;
pub mod strokes;
pub mod text;
pub mod tsplib;

pub use images::{Image, Images, Split};
