//! Autoregressive forecasts with inputs, to compare a twin with.
//!
//! ```text
//! y(k) = Σ_{i=1…p} [A_i y(k − i) + B_i ū(k − i)] + c      (55)
//! ```
//!
//! with all sensors y and the inputs ū between rows, fitted by least squares on rows without gaps. It knows nothing of walls, and is
//! hard to beat over short times.

use faer::Mat;
use faer::linalg::solvers::SolveLstsq;

use crate::error::{Error, Result};
use crate::thermal::kalman::Measured;

/// A fitted model.
#[derive(Clone, Debug)]
pub struct Arx {
    order: usize,
    /// `[feature, sensor]`.
    weights: Mat<f64>,
}

fn features(order: usize, y: &[Vec<f64>], measured: &Measured, row: usize) -> Vec<f64> {
    let mut all = vec![1.0];
    for lag in 1..=order {
        all.extend(&y[row - lag]);
        all.extend(measured.between(row - lag));
    }
    all
}

impl Arx {
    /// Fits a model of this order to the first `rows` rows.
    ///
    /// # Errors
    /// [`Error::Request`] for fewer whole rows than weights.
    pub fn fit(measured: &Measured, rows: usize, order: usize) -> Result<Self> {
        let y = &measured.sensors;
        let used: Vec<usize> = (order..rows).filter(|&row| measured.is_whole(row - order, row)).collect();
        let count = 1 + order * (y[0].len() + measured.inputs[0].len());
        if used.len() < 2 * count {
            return Err(Error::Request(format!(
                "{} whole rows for {count} weights of order {order}",
                used.len()
            )));
        }
        let all: Vec<Vec<f64>> = used.iter().map(|&row| features(order, y, measured, row)).collect();
        // A ridge far below the data keeps columns that never change from mattering.
        let ridge = 1e-6;
        let x = Mat::from_fn(used.len() + count, count, |i, j| match i.checked_sub(used.len()) {
            None => all[i][j],
            Some(k) => {
                if k == j {
                    ridge
                } else {
                    0.0
                }
            }
        });
        let target =
            Mat::from_fn(used.len() + count, y[0].len(), |i, j| used.get(i).map_or(0.0, |&row| y[row][j]));
        Ok(Self { order, weights: x.qr().solve_lstsq(target) })
    }

    /// Forecasts `steps` rows after `row`, which is the last that is known, from measured inputs; none where a measurement that it
    /// needs is missing.
    pub fn forecast(&self, measured: &Measured, row: usize, steps: usize) -> Option<Vec<Vec<f64>>> {
        let first = (row + 1).checked_sub(self.order)?;
        if !measured.is_whole(first, row) {
            return None;
        }
        let mut y = measured.sensors[..=row].to_vec();
        for next in row + 1..=row + steps {
            let x = features(self.order, &y, measured, next);
            let of = |sensor: usize| (0..x.len()).map(|k| x[k] * self.weights[(k, sensor)]).sum::<f64>();
            y.push((0..measured.sensors[0].len()).map(of).collect());
        }
        Some(y.split_off(row + 1))
    }
}
