//! Symmetric positive definite matrices to try machines on.

use faer::Mat;
use thermograd::Key;

use crate::error::{Error, Result};

/// U diag(λ) Uᵀ with a random orthogonal U and λ from 1/κ to 1, equally far apart in their logarithms.
///
/// # Errors
/// [`Error::Request`] for no unknowns, and for κ below 1.
pub fn conditioned(size: usize, condition: f64, key: Key) -> Result<Mat<f64>> {
    check(size)?;
    if !(condition >= 1.0 && condition.is_finite()) {
        return Err(Error::Request(format!("a condition number of {condition}: it is 1 or more")));
    }
    let basis = normals(size, size, key.fork("basis")).qr().compute_Q();
    let last = (size - 1).max(1) as f64;
    let rate = |k: usize| condition.powf(k as f64 / last - 1.0);
    let scaled = Mat::from_fn(size, size, |i, k| basis[(i, k)] * rate(k));
    Ok(symmetric(&(scaled * basis.transpose())))
}

/// XᵀX/m of m = 2n rows of independent normals.
///
/// # Errors
/// [`Error::Request`] for no unknowns.
pub fn wishart(size: usize, key: Key) -> Result<Mat<f64>> {
    check(size)?;
    let x = normals(2 * size, size, key.fork("wishart"));
    Ok(symmetric(&(x.transpose() * &x * faer::Scale(0.5 / size as f64))))
}

/// 2 on the diagonal and −1 beside it: a chain of springs that is fixed at both ends.
///
/// # Errors
/// [`Error::Request`] for no unknowns.
pub fn laplacian(size: usize) -> Result<Mat<f64>> {
    check(size)?;
    Ok(Mat::from_fn(size, size, |i, j| match i.abs_diff(j) {
        0 => 2.0,
        1 => -1.0,
        _ => 0.0,
    }))
}

/// Independent standard normals.
pub fn normals(rows: usize, columns: usize, key: Key) -> Mat<f64> {
    let values = key.normals(0, rows, columns);
    Mat::from_fn(rows, columns, |i, j| f64::from(values[i * columns + j]))
}

fn symmetric(a: &Mat<f64>) -> Mat<f64> {
    (a + a.transpose()) * faer::Scale(0.5)
}

fn check(size: usize) -> Result<()> {
    match size {
        0 => Err(Error::Request("a matrix of no unknowns".into())),
        _ => Ok(()),
    }
}
