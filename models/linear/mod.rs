//! Linear algebra by the fluctuations of linear machines.
//!
//! | module | what |
//! |---|---|
//! | [`problem`] | problems as machines and averages |
//! | [`machine`] | kinds of machines, and their imprecision |
//! | [`averages`] | time averages with their errors |
//! | [`answer`](mod@answer) | runs until the error is small enough |
//! | [`plan`] | the error of an average from the spectrum |
//! | [`work`] | determinants from the work of switching |
//! | [`gaussian`] | samples of normal distributions, and Gaussian processes |
//! | [`matrices`] | matrices to try it on |
//! | [`board`] | circuits of resistors and capacitors that were built |
//! | [`netlist`] | the machines as SPICE netlists |
//! | [`cost`] | heat and time of a device, and the price of a digital solver |
//! | [`reference`](mod@reference) | digital answers to compare with |

pub mod answer;
pub mod averages;
pub mod board;
pub mod cost;
pub mod gaussian;
pub mod machine;
pub mod matrices;
pub mod netlist;
pub mod plan;
pub mod problem;
pub mod reference;
pub mod work;
