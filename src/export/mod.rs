//! Export of couplings: a self-describing value, its file formats, and other forms such as spin models and circuits.
//!
//! | module | what |
//! |---|---|
//! | [`couplings`] | trained couplings with their description |
//! | [`description`], [`schema`] | what the numbers mean, and how files say it, in every version |
//! | [`formats`] | encoding to bytes and decoding, one file per format |
//! | [`ising`] | spin models, and the bistable units that realise them |
//! | [`circuit`] | couplings as a SPICE netlist |
//! | [`heat`] | circuits of heat, in files and as SPICE netlists |

pub mod circuit;
pub mod couplings;
pub mod description;
pub mod formats;
pub mod heat;
pub mod ising;
pub mod schema;
mod text;
