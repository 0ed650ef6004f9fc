//! Houses fitted to measured temperatures, with errors, and compared.
//!
//! The logarithm of the likelihood (53) plus that of the prior is maximised by steps of Fisher's scoring with Levenberg's and
//! Marquardt's damping,
//!
//! ```text
//! (I + λ diag I) δ = ∇ ln p,      I_ab = Σ_k [∂_aε ∂_bε/S + ½ ∂_aS ∂_bS/S²] + 1/prior² on the diagonal      (54)
//! ```
//!
//! from several starts, and, where that becomes slow, by Newton's steps with the curvature itself. Standard errors are square roots of the diagonal of I⁻¹, and the eigenvectors of I say which combinations of
//! parameters the measurements tell, and which they do not.

use std::ops::ControlFlow;

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use num_dual::DualSVec64;
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use thermograd::Key;

use crate::error::{Error, Result};
use crate::thermal::house::{House, MOST_PARAMETERS, Parameter};
use crate::thermal::kalman::{Innovation, Machine, Measured, Number, filter};

type Dual = DualSVec64<MOST_PARAMETERS>;

/// How a house is fitted.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Fitting {
    /// Standard deviation of the prior of logarithms about the first guesses.
    pub prior: f64,
    /// Starts: the first guesses, and others about them.
    pub starts: usize,
    /// Steps from each, at most.
    pub steps: usize,
}

/// A fit is at rest where gᵀI⁻¹g is less: the estimates are then within about a hundredth of their standard errors of the maximum.
pub const AT_REST: f64 = 1e-4;

impl Default for Fitting {
    fn default() -> Self {
        Self { prior: 1.5, starts: 4, steps: 200 }
    }
}

/// A house that was fitted.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// What was estimated.
    pub parameters: Vec<Parameter>,
    /// Estimates.
    pub values: Vec<f64>,
    /// As they were estimated: logarithms, where they are.
    pub estimates: Vec<f64>,
    /// Standard errors of those.
    pub errors: Vec<f64>,
    /// ln p of the measurements.
    pub likelihood: f64,
    /// The information of measurements and prior.
    pub information: Mat<f64>,
    /// That of the measurements alone.
    pub measured: Mat<f64>,
    /// Steps that were made, from all starts.
    pub steps: usize,
    /// Whether the best start came to rest: whether a step of Fisher's scoring from the estimates has gᵀI⁻¹g under [`AT_REST`].
    pub settled: bool,
    /// Measurements.
    pub measurements: usize,
    /// Columns that they are of, in order.
    pub observed: Vec<String>,
}

/// A combination of parameters.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Direction {
    /// The standard error along it by the measurements alone, in factors of e and, of temperatures, in widths of their prior; infinite if
    /// they tell nothing.
    pub error: f64,
    /// The parameters that take most part, with their components.
    pub parts: Vec<(String, f64)>,
}

/// The value of a parameter, from what is estimated.
fn value<T: Number>(parameter: &Parameter, estimate: T) -> T {
    if parameter.logarithmic { estimate.exp() } else { estimate }
}

fn guess(parameter: &Parameter) -> f64 {
    if parameter.logarithmic { parameter.guess.ln() } else { parameter.guess }
}

/// ln p of measurements and prior with gradient and information.
struct Point {
    posterior: f64,
    likelihood: f64,
    gradient: Vec<f64>,
    information: Mat<f64>,
    measured: Mat<f64>,
    measurements: usize,
}

fn look(
    house: &House,
    parameters: &[Parameter],
    measured: &Measured,
    rows: usize,
    estimates: &[f64],
) -> Point {
    let count = parameters.len();
    let duals: Vec<Dual> = parameters
        .iter()
        .zip(estimates)
        .enumerate()
        .map(|(k, (parameter, &x))| value(parameter, Dual::from_re(x).derivative(k)))
        .collect();
    let (likelihood, innovations, _) = filter(&Machine::new(house, &duals), measured, rows, |_, _| {});
    let slope = |x: &Dual, k: usize| x.eps.0.as_ref().map_or(0.0, |eps| eps[k]);
    let mut information = Mat::<f64>::zeros(count, count);
    for Innovation { error, variance, .. } in &innovations {
        let s = variance.re;
        let by = |x: &Dual| -> Vec<f64> { (0..count).map(|k| slope(x, k)).collect() };
        let (e, v) = (by(error), by(variance));
        for a in 0..count {
            for b in 0..=a {
                information[(a, b)] += e[a] * e[b] / s + 0.5 * v[a] * v[b] / (s * s);
            }
        }
    }
    let measured = Mat::from_fn(count, count, |a, b| information[(a.max(b), a.min(b))]);
    let mut information = measured.clone();
    let mut gradient: Vec<f64> = (0..count).map(|k| slope(&likelihood, k)).collect();
    let mut posterior = likelihood.re;
    for (k, parameter) in parameters.iter().enumerate() {
        let off = (estimates[k] - guess(parameter)) / parameter.prior;
        posterior -= 0.5 * off * off;
        gradient[k] -= off / parameter.prior;
        information[(k, k)] += 1.0 / parameter.prior.powi(2);
    }
    Point {
        posterior,
        likelihood: likelihood.re,
        gradient,
        information,
        measured,
        measurements: innovations.len(),
    }
}

impl Point {
    /// gᵀI⁻¹g, twice the rise that an undamped step promises; infinite where there is none.
    fn decrement(&self) -> f64 {
        let count = self.gradient.len();
        let gradient = Mat::from_fn(count, 1, |k, _| self.gradient[k]);
        let Ok(factor) = self.information.llt(Side::Lower) else { return f64::INFINITY };
        let step = factor.solve(&gradient);
        (0..count).map(|k| gradient[(k, 0)] * step[(k, 0)]).sum()
    }
}

/// −∇∇ ln p, by differences of gradients.
fn curvature(
    house: &House,
    parameters: &[Parameter],
    measured: &Measured,
    rows: usize,
    x: &[f64],
    gradient: &[f64],
) -> Mat<f64> {
    const H: f64 = 1e-4;
    let moved = |k: usize| {
        let mut x = x.to_vec();
        x[k] += H;
        look(house, parameters, measured, rows, &x).gradient
    };
    let columns: Vec<Vec<f64>> = (0..x.len()).map(moved).collect();
    let entry = |a: usize, b: usize| (gradient[a] - columns[b][a]) / H;
    Mat::from_fn(x.len(), x.len(), |a, b| 0.5 * (entry(a, b) + entry(b, a)))
}

/// Fits a house to the first `rows` rows. `watch` is shown the part that is done at the most, and ln p.
///
/// # Errors
/// Those of [`House::check`]; [`Error::Request`] for a fitting that is none, when no start has a likelihood, or when `watch` breaks.
pub fn fit(
    house: &House,
    measured: &Measured,
    rows: usize,
    fitting: Fitting,
    key: Key,
    mut watch: impl FnMut(f64, f64) -> ControlFlow<()>,
) -> Result<Fitted> {
    house.check()?;
    measured.check(house, rows)?;
    let Fitting { prior, starts, steps } = fitting;
    if !(prior > 0.0 && prior.is_finite()) || starts == 0 || steps == 0 {
        return Err(Error::Request("a fit needs a prior of positive width, a start and a step".into()));
    }
    let parameters = house.parameters(prior);
    let mut best: Option<(Vec<f64>, Point)> = None;
    let mut made = 0;
    for start in 0..starts {
        let normals = key.fork("starts").at(start as u64).normals(0, 1, parameters.len());
        let spread = if start == 0 { 0.0 } else { 0.7 };
        let mut x: Vec<f64> = parameters
            .iter()
            .zip(normals)
            .map(|(parameter, normal)| guess(parameter) + spread * f64::from(normal))
            .collect();
        let mut point = look(house, &parameters, measured, rows, &x);
        let (mut damping, mut slow) = (1e-2, false);
        for step in 0..steps {
            made += 1;
            let part = (start as f64 + step as f64 / steps as f64) / starts as f64;
            let told = best.as_ref().map_or(point.posterior, |best| best.1.posterior.max(point.posterior));
            if watch(part, told).is_break() {
                return Err(Error::Request("stopped before the fit came to rest".into()));
            }
            if !point.posterior.is_finite() || point.decrement() < 1e-3 * AT_REST || damping > 1e10 {
                break;
            }
            let count = parameters.len();
            let damped = |information: &Mat<f64>| {
                let own = |a: usize, b: usize| information[(a, b)] * if a == b { 1.0 + damping } else { 1.0 };
                Mat::from_fn(count, count, own).llt(Side::Lower).ok()
            };
            // Near the top, where the house is not quite true, the curvature that is there is better than what is expected of it.
            let curved = slow.then(|| curvature(house, &parameters, measured, rows, &x, &point.gradient));
            let factor = curved.as_ref().and_then(damped).or_else(|| damped(&point.information));
            let Some(factor) = factor else { break };
            let delta = factor.solve(Mat::from_fn(count, 1, |k, _| point.gradient[k]));
            // No logarithm moves by more than one and a half in a step.
            let longest = (0..count).map(|k| delta[(k, 0)].abs()).fold(0.0, f64::max);
            let short = (1.5 / longest).min(1.0);
            let next: Vec<f64> = (0..count).map(|k| x[k] + short * delta[(k, 0)]).collect();
            let trial = look(house, &parameters, measured, rows, &next);
            let rise = trial.posterior - point.posterior;
            if rise >= 0.0 {
                (x, point) = (next, trial);
                damping = (damping * 0.3).max(1e-9);
                slow = rise < 0.1;
            } else {
                damping *= 5.0;
            }
        }
        let better = best.as_ref().is_none_or(|best| point.posterior > best.1.posterior);
        if point.posterior.is_finite() && better {
            best = Some((x, point));
        }
    }
    let Some((estimates, point)) = best else {
        return Err(Error::Request(
            "no start has a likelihood: are first guesses and columns in °C, kW and h?".into(),
        ));
    };
    let settled = point.decrement() < AT_REST;
    let count = parameters.len();
    let inverse = point
        .information
        .llt(Side::Lower)
        .map_err(|_| Error::Request("the information is singular: use a narrower prior".into()))?
        .solve(Mat::<f64>::identity(count, count));
    Ok(Fitted {
        values: parameters.iter().zip(&estimates).map(|(parameter, &x)| value(parameter, x)).collect(),
        parameters,
        estimates,
        errors: (0..count).map(|k| inverse[(k, k)].max(0.0).sqrt()).collect(),
        likelihood: point.likelihood,
        information: point.information,
        measured: point.measured,
        steps: made,
        settled,
        measurements: point.measurements,
        observed: {
            let mut columns: Vec<String> =
                house.nodes.iter().filter_map(|node| node.observed.clone()).collect();
            columns.sort_unstable();
            columns
        },
    })
}

impl Fitted {
    /// Correlations of the estimates.
    ///
    /// # Panics
    /// Never: the information was inverted before.
    pub fn correlations(&self) -> Mat<f64> {
        let count = self.values.len();
        let inverse = self
            .information
            .llt(Side::Lower)
            .expect("it was inverted")
            .solve(Mat::<f64>::identity(count, count));
        Mat::from_fn(count, count, |a, b| inverse[(a, b)] / (inverse[(a, a)] * inverse[(b, b)]).sqrt())
    }

    /// Combinations of the parameters by how well the measurements alone tell them, the worst first.
    pub fn directions(&self) -> Vec<Direction> {
        let count = self.values.len();
        // Steps of one are a factor of e, or the width of the prior where no logarithm is estimated.
        let unit = |k: usize| if self.parameters[k].logarithmic { 1.0 } else { self.parameters[k].prior };
        let measured = Mat::from_fn(count, count, |a, b| self.measured[(a, b)] * unit(a) * unit(b));
        let Ok(eigen) = measured.self_adjoint_eigen(Side::Lower) else { return Vec::new() };
        (0..count)
            .map(|k| {
                let information = eigen.S()[k].max(0.0);
                let mut parts: Vec<(String, f64)> =
                    (0..count).map(|i| (self.parameters[i].name.clone(), eigen.U()[(i, k)])).collect();
                parts.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
                parts.retain(|(_, part)| part.abs() > 0.25);
                Direction { error: information.sqrt().recip(), parts }
            })
            .collect()
    }

    /// Combinations whose standard error is above one by the measurements alone: a factor of e of what is logarithmic.
    pub fn unidentified(&self) -> Vec<Direction> {
        self.directions().into_iter().filter(|direction| direction.error >= 1.0).collect()
    }

    /// The heat that is lost to the outdoors per kelvin, in kW/K, when all observed nodes are a kelvin warmer and nothing changes any
    /// more; with its standard error.
    pub fn heat_loss(&self, house: &House) -> (f64, f64) {
        let duals: Vec<Dual> = self
            .parameters
            .iter()
            .zip(&self.estimates)
            .enumerate()
            .map(|(k, (parameter, &x))| value(parameter, Dual::from_re(x).derivative(k)))
            .collect();
        let loss = heat_loss(house, &duals);
        let count = self.values.len();
        let slope: Vec<f64> = (0..count).map(|k| loss.eps.0.as_ref().map_or(0.0, |eps| eps[k])).collect();
        let variance = match self.information.llt(Side::Lower) {
            Ok(factor) => {
                let solved = factor.solve(Mat::from_fn(count, 1, |k, _| slope[k]));
                (0..count).map(|k| slope[k] * solved[(k, 0)]).sum::<f64>()
            }
            Err(_) => f64::NAN,
        };
        (loss.re, variance.sqrt())
    }
}

/// The heat that a house with these parameters loses per kelvin, in kW/K.
pub fn heat_loss<T: Number>(house: &House, parameters: &[T]) -> T {
    let layout = house.layout();
    let n = house.nodes.len();
    // Hidden nodes float: their temperatures are found by Gauss and Seidel's eliminations on the Laplacian.
    let (mut laplacian, mut out) = (vec![vec![T::from(0.0); n]; n], vec![T::from(0.0); n]);
    for (link, wall) in house.links.iter().enumerate() {
        let k = parameters[layout.resistance(link)].recip();
        match [house.node(&wall.between[0]), house.node(&wall.between[1])] {
            [Some(i), Some(j)] => {
                for (i, j) in [(i, j), (j, i)] {
                    laplacian[i][i] += k;
                    laplacian[i][j] -= k;
                }
            }
            [Some(i), None] | [None, Some(i)] => {
                laplacian[i][i] += k;
                out[i] += k;
            }
            [None, None] => {}
        }
    }
    let observed = house.sensors();
    // L_hh T_h = −L_ho 1.
    let hidden = house.hidden();
    let m = hidden.len();
    let mut rows: Vec<Vec<T>> = hidden
        .iter()
        .map(|&i| {
            let mut row: Vec<T> = hidden.iter().map(|&j| laplacian[i][j]).collect();
            row.push(observed.iter().map(|&j| -laplacian[i][j]).fold(T::from(0.0), |a, b| a + b));
            row
        })
        .collect();
    for k in 0..m {
        let pivot = rows[k].clone();
        for row in &mut rows[k + 1..] {
            let factor = row[k] / pivot[k];
            row.iter_mut().zip(&pivot).for_each(|(a, b)| *a -= factor * *b);
        }
    }
    let mut theta = vec![T::from(1.0); n];
    for k in (0..m).rev() {
        let known = (k + 1..m).map(|j| rows[k][j] * theta[hidden[j]]).fold(T::from(0.0), |a, b| a + b);
        theta[hidden[k]] = (rows[k][m] - known) / rows[k][k];
    }
    (0..n).map(|i| out[i] * theta[i]).fold(T::from(0.0), |a, b| a + b)
}

/// A house within another: twice the difference of ln p, and how probable as much is if the smaller one is true.
///
/// That one lies within the other is for the caller to know. Likelihoods are taken at the
/// maxima with the prior. The reference is χ² of as many degrees of freedom as parameters differ. It is too large where the smaller house lies on the edge of
/// the larger one (a resistance of zero, say): probabilities are then upper bounds.
///
/// # Errors
/// [`Error::Request`] if they are of different columns, of numbers of measurements, or have as many parameters.
pub fn likelihood_ratio(smaller: &Fitted, larger: &Fitted) -> Result<(f64, usize, f64)> {
    let refuse = |reason: String| Err(Error::Request(reason));
    let of = |fitted: &Fitted| format!("{} of {}", fitted.measurements, fitted.observed.join(", "));
    if (smaller.measurements, &smaller.observed) != (larger.measurements, &larger.observed) {
        return refuse(format!(
            "likelihoods are of different measurements ({}; {})",
            of(smaller),
            of(larger)
        ));
    }
    let (few, many) = (smaller.values.len(), larger.values.len());
    if few >= many {
        return refuse(format!("neither house has more parameters ({few} and {many})"));
    }
    let freedom = many - few;
    let twice = 2.0 * (larger.likelihood - smaller.likelihood);
    let chi = ChiSquared::new(freedom as f64).expect("degrees of freedom are positive");
    Ok((twice, freedom, if twice > 0.0 { chi.sf(twice) } else { 1.0 }))
}

/// Standardised innovations of one sensor, and whether they are white.
#[derive(Clone, Debug, Serialize)]
pub struct Residuals {
    /// ε/√S in time.
    pub standardised: Vec<f64>,
    /// Autocorrelations at lags of 1, 2, … measurements.
    pub autocorrelation: Vec<f64>,
    /// 1.96/√N: nineteen of twenty are within it if they are white.
    pub band: f64,
    /// The cumulated periodogram at rising frequencies, from 0 to 1.
    pub periodogram: Vec<f64>,
    /// Its largest distance from a straight line; beyond [`periodogram_band`](Self::periodogram_band) they are not white.
    pub distance: f64,
    /// 1.36/√q of q frequencies: Kolmogorov and Smirnov's band of 95 % (M. S. Bartlett, 1955).
    pub periodogram_band: f64,
}

impl Residuals {
    /// Of one sensor.
    pub fn new(innovations: &[Innovation<f64>], sensor: usize, lags: usize) -> Self {
        let standardised: Vec<f64> = innovations
            .iter()
            .filter(|innovation| innovation.sensor == sensor)
            .map(|innovation| innovation.error / innovation.variance.sqrt())
            .collect();
        let n = standardised.len();
        let mean = standardised.iter().sum::<f64>() / n.max(1) as f64;
        let centred: Vec<f64> = standardised.iter().map(|x| x - mean).collect();
        let square = centred.iter().map(|x| x * x).sum::<f64>().max(f64::MIN_POSITIVE);
        let at =
            |lag: usize| centred.iter().zip(&centred[lag.min(n)..]).map(|(a, b)| a * b).sum::<f64>() / square;
        let mut buffer: Vec<rustfft::num_complex::Complex<f64>> =
            centred.iter().map(|&x| rustfft::num_complex::Complex::new(x, 0.0)).collect();
        if n > 0 {
            rustfft::FftPlanner::new().plan_fft_forward(n).process(&mut buffer);
        }
        // Frequencies strictly between 0 and a half.
        let q = n.saturating_sub(1) / 2;
        let power: Vec<f64> = buffer[..(q + 1).min(n)].iter().skip(1).map(|x| x.norm_sqr()).collect();
        let whole = power.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut sum = 0.0;
        let periodogram: Vec<f64> = power
            .iter()
            .map(|power| {
                sum += power / whole;
                sum
            })
            .collect();
        let line = |k: usize| (k + 1) as f64 / q as f64;
        let distance = periodogram.iter().enumerate().map(|(k, x)| (x - line(k)).abs()).fold(0.0, f64::max);
        Self {
            standardised,
            autocorrelation: (1..=lags.min(n.saturating_sub(1))).map(at).collect(),
            band: 1.96 / (n.max(1) as f64).sqrt(),
            periodogram,
            distance,
            periodogram_band: 1.36 / (q.max(1) as f64).sqrt(),
        }
    }
}

/// A forecast from one row of a record.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// The last row that is known.
    pub from: usize,
    /// By row after it and sensor: what is expected to be measured.
    pub mean: Vec<Vec<f64>>,
    /// Its standard deviation, the error of the sensor included.
    pub sd: Vec<Vec<f64>>,
}

/// What a house with these parameters forecasts over `steps` rows, from what is known at every one of `starts` (rising), with inputs as they were
/// measured; and the innovations of all rows.
pub fn forecasts(
    house: &House,
    parameters: &[f64],
    measured: &Measured,
    starts: &[usize],
    steps: usize,
) -> (Vec<Forecast>, Vec<Innovation<f64>>, Vec<Vec<f64>>) {
    let machine = Machine::<f64>::new(house, parameters);
    let rows = measured.times.len();
    let (mut all, mut filtered) = (Vec::new(), Vec::new());
    let (_, innovations, _) = filter(&machine, measured, rows, |row, known| {
        filtered.push(known.mean.clone());
        if starts.binary_search(&row).is_err() {
            return;
        }
        let (mut known, mut mean, mut sd) = (known.clone(), Vec::new(), Vec::new());
        let mut step: Option<(f64, crate::thermal::kalman::Transition<f64>)> = None;
        for next in row..(row + steps).min(rows - 1) {
            let h = measured.times[next + 1] - measured.times[next];
            if step.as_ref().is_none_or(|(other, _)| (other - h).abs() > 1e-9 * h) {
                step = Some((h, machine.transition(h)));
            }
            let Some((_, transition)) = &step else { return };
            known = known.stepped(transition, &measured.between(next));
            mean.push(machine.sensors.iter().map(|(node, _)| known.mean[*node]).collect());
            let spread =
                |(node, variance): &(usize, f64)| (known.covariance.at(*node, *node) + variance).sqrt();
            sd.push(machine.sensors.iter().map(spread).collect());
        }
        all.push(Forecast { from: row, mean, sd });
    });
    (all, innovations, filtered)
}

/// The root mean square of errors of forecasts, and their number; `forecast` gives what is expected after a start, by row and sensor.
pub fn rmse(
    measured: &Measured,
    starts: &[usize],
    steps: usize,
    mut forecast: impl FnMut(usize) -> Option<Vec<Vec<f64>>>,
) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    for &start in starts {
        let Some(expected) = forecast(start) else { continue };
        for (ahead, row) in expected.iter().take(steps).enumerate() {
            let Some(seen) = measured.sensors.get(start + 1 + ahead) else { break };
            for (value, expected) in seen.iter().zip(row) {
                if value.is_finite() && expected.is_finite() {
                    sum += (value - expected).powi(2);
                    count += 1;
                }
            }
        }
    }
    ((sum / count.max(1) as f64).sqrt(), count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::thermal::house::Record;
    use crate::thermal::made_up::{Heating, made, truth};

    /// Gradients through the filter beside finite differences, and the information beside the mean of gradients of many records: here, that
    /// it is symmetric and positive.
    #[test]
    fn gradients_of_the_likelihood_are_those_of_finite_differences() {
        let house = House::two("outdoors", "T_living", "P_living", Some("sun"));
        let rooms = House::rooms();
        let record = made(&rooms, &truth(&rooms, Key::new(1)), 3, Heating::Setpoints, Key::new(2)).unwrap();
        let measured = Measured::new(&house, &record).unwrap();
        let parameters = house.parameters(1.0);
        let x: Vec<f64> = parameters.iter().map(|parameter| guess(parameter) + 0.1).collect();
        let point = look(&house, &parameters, &measured, 60, &x);
        for k in 0..x.len() {
            let at = |h: f64| {
                let mut x = x.clone();
                x[k] += h;
                look(&house, &parameters, &measured, 60, &x).posterior
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (slope - point.gradient[k]).abs() < 1e-5 * (1.0 + slope.abs()),
                "{k}: {slope} {}",
                point.gradient[k]
            );
        }
        assert!(point.information.llt(Side::Lower).is_ok());
    }

    /// Nothing tells the capacity of a heater from its resistance but their product: a warning names both.
    #[test]
    fn what_measurements_do_not_tell_is_named() {
        let rooms = House::rooms();
        let record = made(&rooms, &truth(&rooms, Key::new(1)), 6, Heating::Setpoints, Key::new(2)).unwrap();
        let mut house = House::one("outdoors", "T_living", "P_living", None);
        // An area for a column that never changes.
        house.nodes[0].gain = BTreeMap::from([("dark".to_string(), 1.0)]);
        let mut columns = BTreeMap::from([("dark".to_string(), vec![0.0; record.len()])]);
        for name in ["outdoors", "T_living", "P_living"] {
            columns.insert(name.into(), record.column(name).unwrap().to_vec());
        }
        let record = Record::new(record.times().to_vec(), columns).unwrap();
        let measured = Measured::new(&house, &record).unwrap();
        let fitting = Fitting { starts: 1, ..Fitting::default() };
        let fitted =
            fit(&house, &measured, 100, fitting, Key::new(3), |_, _| ControlFlow::Continue(())).unwrap();
        let named = fitted.unidentified();
        assert!(named[0].parts[0].0.contains("A interior dark") && named[0].error.is_infinite(), "{named:?}");
    }

    /// Likelihoods are compared of the same measurements only, and a fit that was stopped short does not pass for one at rest.
    #[test]
    fn fits_that_are_none_are_not_compared() {
        let rooms = House::rooms();
        let record = made(&rooms, &truth(&rooms, Key::new(1)), 6, Heating::Setpoints, Key::new(2)).unwrap();
        let fitted = |house: &House, steps: usize| {
            let fitting = Fitting { starts: 1, steps, ..Fitting::default() };
            let measured = Measured::new(house, &record).unwrap();
            fit(house, &measured, 100, fitting, Key::new(3), |_, _| ControlFlow::Continue(())).unwrap()
        };
        let one = |column| fitted(&House::one("outdoors", column, "P_living", Some("sun")), 200);
        let (living, bed) = (one("T_living"), one("T_bed"));
        let larger = fitted(&House::two("outdoors", "T_living", "P_living", Some("sun")), 200);
        assert!(living.settled && larger.settled);
        let (twice, freedom, p) = likelihood_ratio(&living, &larger).unwrap();
        assert!(twice > 0.0 && freedom == 4 && p < 1.0, "{twice} {freedom} {p}");
        let refused = |smaller, larger| likelihood_ratio(smaller, larger).unwrap_err().to_string();
        assert!(refused(&bed, &larger).contains("of T_bed; 99 of T_living"));
        assert!(refused(&larger, &living).contains("neither house has more parameters"));
        assert!(!fitted(&rooms, 2).settled);
    }

    #[test]
    fn residuals_that_are_white_look_so() {
        let normals = Key::new(5).normals(0, 1, 1000);
        let innovation =
            |(row, x): (usize, f64)| Innovation { row, sensor: 0, error: 2.0 * x, variance: 4.0 };
        let white: Vec<f64> = normals.iter().map(|x| f64::from(*x)).collect();
        let of = |values: &[f64]| {
            Residuals::new(&values.iter().copied().enumerate().map(innovation).collect::<Vec<_>>(), 0, 20)
        };
        let residuals = of(&white);
        assert!(residuals.distance < residuals.periodogram_band && residuals.standardised == white);
        assert!((residuals.periodogram.last().unwrap() - 1.0).abs() < 1e-9);
        let slow: Vec<f64> = white.windows(10).map(|w| w.iter().sum::<f64>()).collect();
        let residuals = of(&slow);
        assert!(residuals.distance > residuals.periodogram_band && residuals.autocorrelation[0] > 0.8);
    }
}
