//! Linear dynamics with velocities: a damped particle in a quadratic potential, and the cells of an RLC array.
//!
//! ```text
//! dx = p dt,      dp = −(A x − b) dt − γ p dt + √(2γ kT) dW                                              (30)
//! di = L⁻¹ v dt,      dv = −C⁻¹ (R⁻¹ v + i) dt + √(2κ₀) C⁻¹ dW                                         (31)
//! ```
//!
//! Both are (29) of a state twice as long with noise on half of it. The first ends in x ~ N(A⁻¹b, kT A⁻¹), p ~ N(0, kT) for any
//! γ > 0. The second is the stochastic processing unit of D. Melanson et al., Nature Communications 16, 3757 (2025): voltages v
//! of cells with inductances L and resistances R to ground and capacitances C, which couplings make a matrix. It ends in
//! Cov(v) = κ₀R C⁻¹, Cov(i) = κ₀R L⁻¹ with κ₀R a thermal energy.

use faer::linalg::solvers::{DenseSolveCore, Llt};
use faer::{Mat, Side};

use crate::dynamics::ornstein_uhlenbeck::OrnsteinUhlenbeck;
use crate::error::{LinearProblem, Result};

/// Positions, then momenta, of (30).
///
/// # Errors
/// Those of [`OrnsteinUhlenbeck::gradient`] for A, b and kT, and [`Error::Linear`](crate::Error::Linear) for γ ≤ 0.
pub fn underdamped(a: Mat<f64>, b: Vec<f64>, gamma: f64, kt: f64) -> Result<OrnsteinUhlenbeck> {
    let n = b.len();
    let checked = OrnsteinUhlenbeck::gradient(a, b, kt)?;
    if !(gamma > 0.0 && gamma.is_finite()) {
        return Err(LinearProblem::NotPositive { what: "gamma", value: gamma }.into());
    }
    let drift = Mat::from_fn(2 * n, 2 * n, |i, j| match (i < n, j < n) {
        (true, true) => 0.0,
        (true, false) => {
            if i + n == j {
                -1.0
            } else {
                0.0
            }
        }
        (false, true) => checked.drift()[(i - n, j)],
        (false, false) => {
            if i == j {
                gamma
            } else {
                0.0
            }
        }
    });
    let noise = Mat::from_fn(2 * n, 2 * n, |i, j| if i == j && i >= n { 2.0 * gamma * kt } else { 0.0 });
    let force = std::iter::repeat_n(0.0, n).chain(checked.force().iter().copied()).collect();
    OrnsteinUhlenbeck::new(drift, force, noise)
}

/// An array of cells: capacitances between them, and the same inductance and resistance in each.
#[derive(Clone, Debug)]
pub struct CellArray {
    /// C, symmetric and positive definite.
    pub capacitance: Mat<f64>,
    /// L of a cell.
    pub inductance: f64,
    /// R of a cell.
    pub resistance: f64,
    /// κ₀R, the thermal energy of a cell.
    pub kt: f64,
}

impl CellArray {
    /// Currents, then voltages, of (31).
    ///
    /// To write the law of a circuit as rates of change takes the inverse of its capacitances: nature needs none of it, and
    /// neither does a circuit simulator, which solves Kirchhoff's laws at every step.
    ///
    /// # Errors
    /// Those of [`OrnsteinUhlenbeck::gradient`] for C and kT, and [`Error::Linear`](crate::Error::Linear) for L or R ≤ 0.
    pub fn dynamics(&self) -> Result<OrnsteinUhlenbeck> {
        let Self { capacitance, inductance, resistance, kt } = self;
        let n = capacitance.nrows();
        OrnsteinUhlenbeck::gradient(capacitance.clone(), vec![0.0; n], *kt)?;
        for (what, value) in [("the inductance", *inductance), ("the resistance", *resistance)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(LinearProblem::NotPositive { what, value }.into());
            }
        }
        let inverse = Llt::new(capacitance.as_ref(), Side::Lower)
            .map_err(|_| LinearProblem::NoEigenvalues { what: "C" })?
            .inverse();
        let drift = Mat::from_fn(2 * n, 2 * n, |i, j| match (i < n, j < n) {
            (true, true) => 0.0,
            (true, false) => {
                if i + n == j {
                    -1.0 / inductance
                } else {
                    0.0
                }
            }
            (false, true) => inverse[(i - n, j)],
            (false, false) => inverse[(i - n, j - n)] / resistance,
        });
        // The noise √(2κ₀) C⁻¹ dW, with κ₀ = kT/R.
        let square = &inverse * &inverse;
        let noise = Mat::from_fn(2 * n, 2 * n, |i, j| match (i < n, j < n) {
            (false, false) => kt / resistance * (square[(i - n, j - n)] + square[(j - n, i - n)]),
            _ => 0.0,
        });
        OrnsteinUhlenbeck::new(drift, vec![0.0; 2 * n], noise)
    }
}
