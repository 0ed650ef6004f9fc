//! Digital answers, to compare with. Nothing that a machine does depends on them.

use faer::linalg::solvers::{DenseSolveCore, Llt, PartialPivLu, Solve};
use faer::{Mat, Side};
use thermograd::OrnsteinUhlenbeck;

use crate::error::{Error, Result};
use crate::linear::problem::Problem;

/// A digital solver.
pub trait Digital {
    /// A⁻¹b.
    ///
    /// # Errors
    /// [`Error::Request`] for a matrix that is not positive definite.
    fn solve(&self, a: &Mat<f64>, b: &[f64]) -> Result<Mat<f64>>;
    /// A⁻¹.
    ///
    /// # Errors
    /// As [`solve`](Self::solve).
    fn inverse(&self, a: &Mat<f64>) -> Result<Mat<f64>>;
    /// ln det A.
    ///
    /// # Errors
    /// As [`solve`](Self::solve).
    fn log_determinant(&self, a: &Mat<f64>) -> Result<f64>;
    /// e^A.
    ///
    /// # Errors
    /// [`Error::Request`] when it overflows.
    fn exponential(&self, a: &Mat<f64>) -> Result<Mat<f64>>;
    /// Σ of AΣ + ΣAᵀ = D.
    ///
    /// # Errors
    /// Those of [`OrnsteinUhlenbeck::stationary`].
    fn lyapunov(&self, system: &OrnsteinUhlenbeck) -> Result<Mat<f64>>;
}

/// Factorisations of faer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Factorisations;

fn cholesky(a: &Mat<f64>) -> Result<Llt<f64>> {
    Llt::new(a.as_ref(), Side::Lower)
        .map_err(|_| Error::Request("the matrix is not positive definite, up to rounding".into()))
}

impl Digital for Factorisations {
    fn solve(&self, a: &Mat<f64>, b: &[f64]) -> Result<Mat<f64>> {
        let b = Mat::from_fn(b.len(), 1, |i, _| b[i]);
        Ok(cholesky(a)?.solve(b))
    }

    fn inverse(&self, a: &Mat<f64>) -> Result<Mat<f64>> {
        Ok(cholesky(a)?.inverse())
    }

    fn log_determinant(&self, a: &Mat<f64>) -> Result<f64> {
        let factor = cholesky(a)?;
        let diagonal = factor.L().diagonal();
        Ok(2.0 * (0..a.nrows()).map(|i| diagonal[i].ln()).sum::<f64>())
    }

    /// The diagonal Padé approximant of order 6 of A/2ᵏ, squared k times.
    fn exponential(&self, a: &Mat<f64>) -> Result<Mat<f64>> {
        const ORDER: i32 = 6;
        let n = a.nrows();
        let norm = a.norm_l2().max(f64::MIN_POSITIVE);
        let halvings = (norm / 0.25).log2().ceil().max(0.0) as i32;
        let x = a * faer::Scale(0.5_f64.powi(halvings));
        let mut power = Mat::<f64>::identity(n, n);
        let (mut above, mut below, mut factor) = (power.clone(), power.clone(), 1.0);
        for k in 1..=ORDER {
            power = &power * &x;
            factor *= f64::from(ORDER - k + 1) / f64::from(k * (2 * ORDER - k + 1));
            above += &power * faer::Scale(factor);
            below += &power * faer::Scale(if k % 2 == 0 { factor } else { -factor });
        }
        let mut exponential = PartialPivLu::new(below.as_ref()).solve(above);
        for _ in 0..halvings {
            exponential = &exponential * &exponential;
        }
        match exponential.is_all_finite() {
            true => Ok(exponential),
            false => Err(Error::Request("the exponential overflows".into())),
        }
    }

    fn lyapunov(&self, system: &OrnsteinUhlenbeck) -> Result<Mat<f64>> {
        Ok(system.stationary()?)
    }
}

impl Problem {
    /// The digital answer.
    ///
    /// # Errors
    /// Those of the solver.
    pub fn digital(&self, digital: &impl Digital) -> Result<Mat<f64>> {
        match self {
            Self::Solve { a, b } => digital.solve(a, b),
            Self::Inverse { a } => digital.inverse(a),
            Self::LogDeterminant { a, over } => {
                let under = over.as_ref().map_or(Ok(0.0), |over| digital.log_determinant(over))?;
                Ok(Mat::full(1, 1, digital.log_determinant(a)? - under))
            }
            Self::Exponential { a, time } => digital.exponential(&(&**a * faer::Scale(*time))),
            Self::Lyapunov { a, d } => {
                digital.lyapunov(&OrnsteinUhlenbeck::new(Mat::clone(a), vec![0.0; a.nrows()], Mat::clone(d))?)
            }
        }
    }
}
