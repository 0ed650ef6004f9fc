//! How couplings leave: a self-describing value, the files it comes in, and what else it can be written as.
//!
//! | module | what |
//! |---|---|
//! | [`couplings`] | trained couplings with their description |
//! | [`description`], [`schema`] | what the numbers mean, and how files say it, in every version there was |
//! | [`formats`] | the bytes they come in, one file a format |
//! | [`ising`] | spin models, and the bistable units that stand for them |
//! | [`circuit`] | couplings as a SPICE netlist |

pub mod circuit;
pub mod couplings;
pub mod description;
pub mod formats;
pub mod ising;
pub mod schema;
mod text;
