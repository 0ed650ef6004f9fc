//! What can go wrong in the physics, with the numbers that tell why.

use crate::couplings::Problem;
use crate::langevin::Divergence;

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the physics, with the numbers that tell why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A topology that describes no network.
    #[error("topology: {0}")]
    Topology(String),
    /// On-site wells that let a unit run away.
    #[error(
        "group `{group}`: J2 = {j2}, J4 = {j4} does not confine its units: J4 > 0, or J4 = 0 with J2 > 0, is needed"
    )]
    NotConfining {
        /// The group.
        group: String,
        /// Its coefficient of x².
        j2: f64,
        /// Its coefficient of x⁴.
        j4: f64,
    },
    /// A physical constant outside its range.
    #[error("{name} = {value}: {expected}")]
    Constant {
        /// Which constant.
        name: String,
        /// What it was.
        value: f64,
        /// What it must be.
        expected: &'static str,
    },
    /// A tensor whose shape does not fit the network.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which tensor.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits.
        expected: Vec<usize>,
    },
    /// An Euler–Maruyama step beyond the stability limit 2/(μλ) of the stiffest mode.
    #[error(
        "time step {dt:e} is unstable: the stiffest mode relaxes at rate {rate:.4e}, so the step must be below {limit:.4e}"
    )]
    StepTooLarge {
        /// The step asked for, in units of 1/μ.
        dt: f64,
        /// The largest stable step.
        limit: f64,
        /// The largest relaxation rate.
        rate: f64,
    },
    /// A trajectory left the finite numbers.
    #[error(transparent)]
    Diverged(#[from] Box<Divergence>),
    /// Control parameters that make no course in time.
    #[error("protocol: {0}")]
    Protocol(String),
    /// A linear system that could not be solved.
    #[error("exact optimum: {0}")]
    Exact(String),
    /// A file of couplings that cannot be read.
    #[error("couplings: {0}")]
    Couplings(#[from] Problem),
    /// A backend this build does not have.
    #[error(
        "backend `{backend}` is not built in; build with it: cargo run --release --features {backend} -- --backend {backend}"
    )]
    NotBuiltIn {
        /// Its name, which is also the name of its Cargo feature.
        backend: &'static str,
    },
    /// A backend that found no device.
    #[error("backend `{backend}` found no adapter ({reason}); {advice}")]
    NoAdapter {
        /// Its name.
        backend: &'static str,
        /// What the driver said.
        reason: String,
        /// What to type.
        advice: &'static str,
    },
}
