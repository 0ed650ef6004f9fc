//! The likelihood of measured temperatures under a house, and what is known of its nodes after them.
//!
//! ```text
//! T(t + h) = F T(t) + G u + √Q ξ,      F = e^(Ah),  G = ∫₀ʰ e^(As) ds B,  Q = ∫₀ʰ e^(As) D e^(Aᵀs) ds      (53)
//! ln p(y₁ … y_N) = −½ Σ_k [ln 2πS_k + ε_k²/S_k],      ε = y − m,  S = P + s²
//! ```
//!
//! with means m and covariances P of the Kalman filter: steps between measurements are exact for inputs that are constant in between
//! (the mean of both ends is taken), measurements of one time are taken in one after the other, and missing ones are left out. All
//! is written for any kind of number, so that dual numbers carry its derivatives along (the forward mode of automatic
//! differentiation). F, G and Q are Taylor series of h/2ᵏ, doubled k times: F ← F², G ← G + FG, Q ← Q + FQFᵀ.

use num_dual::{DualNum, DualNumCopy};

use crate::error::{Error, Result};
use crate::thermal::house::{House, OUTDOORS, Record};

/// A kind of number: f64, or one that carries derivatives.
pub trait Number: DualNumCopy + DualNum<Primitive = f64> {}
impl<T: DualNumCopy + DualNum<Primitive = f64>> Number for T {}

/// A dense matrix, by rows.
#[derive(Clone, Debug)]
pub struct Matrix<T> {
    rows: usize,
    columns: usize,
    values: Vec<T>,
}

impl<T: Number> Matrix<T> {
    fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![T::from(0.0); rows * columns] }
    }

    fn identity(size: usize) -> Self {
        let mut one = Self::new(size, size);
        (0..size).for_each(|k| *one.at_mut(k, k) = T::from(1.0));
        one
    }

    /// An entry.
    pub fn at(&self, row: usize, column: usize) -> T {
        self.values[row * self.columns + column]
    }

    fn at_mut(&mut self, row: usize, column: usize) -> &mut T {
        &mut self.values[row * self.columns + column]
    }

    fn times(&self, other: &Self) -> Self {
        let mut product = Self::new(self.rows, other.columns);
        for i in 0..self.rows {
            for k in 0..self.columns {
                let left = self.at(i, k);
                for j in 0..other.columns {
                    *product.at_mut(i, j) += left * other.at(k, j);
                }
            }
        }
        product
    }

    fn transposed(&self) -> Self {
        let mut other = Self::new(self.columns, self.rows);
        for i in 0..self.rows {
            for j in 0..self.columns {
                *other.at_mut(j, i) = self.at(i, j);
            }
        }
        other
    }

    fn plus(mut self, other: &Self) -> Self {
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += *b);
        self
    }

    fn scaled(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|a| *a *= factor);
        self
    }

    /// Its product with a vector.
    pub fn apply(&self, vector: &[T]) -> Vec<T> {
        (0..self.rows)
            .map(|i| (0..self.columns).map(|j| self.at(i, j) * vector[j]).fold(T::from(0.0), |a, b| a + b))
            .collect()
    }

    fn norm(&self) -> f64 {
        let row = |i: usize| (0..self.columns).map(|j| self.at(i, j).re().abs()).sum::<f64>();
        (0..self.rows).map(row).fold(0.0, f64::max)
    }
}

/// The equations (52) of a house with some parameters.
#[derive(Clone, Debug)]
pub struct Machine<T> {
    a: Matrix<T>,
    b: Matrix<T>,
    /// σ² of every node.
    d: Vec<T>,
    /// Observed nodes, and s² of their sensors.
    pub(crate) sensors: Vec<(usize, T)>,
    /// Hidden nodes, and their temperature at the start above the first measurement.
    starts: Vec<(usize, T)>,
}

/// A step of (53).
#[derive(Clone, Debug)]
pub struct Transition<T> {
    /// F.
    pub f: Matrix<T>,
    /// G.
    pub g: Matrix<T>,
    /// Q.
    pub q: Matrix<T>,
}

impl<T: Number> Machine<T> {
    /// The equations of a house; `parameters` are as [`House::parameters`] has them, not their logarithms.
    pub fn new(house: &House, parameters: &[T]) -> Self {
        let layout = house.layout();
        let nodes = house.nodes.len();
        let inputs = house.inputs();
        let input =
            |name: &str| inputs.iter().position(|other| *other == name).expect("an input of the house");
        let c = &parameters[..nodes];
        let (mut a, mut b) = (Matrix::new(nodes, nodes), Matrix::new(nodes, inputs.len()));
        for (link, wall) in house.links.iter().enumerate() {
            let k = parameters[layout.resistance(link)].recip();
            let ends = [&wall.between[0], &wall.between[1]];
            for [own, other] in [ends, [ends[1], ends[0]]] {
                let Some(i) = house.node(own) else { continue };
                *a.at_mut(i, i) -= k / c[i];
                match house.node(other) {
                    Some(j) => *a.at_mut(i, j) += k / c[i],
                    None => {
                        debug_assert_eq!(other, OUTDOORS);
                        *b.at_mut(i, 0) += k / c[i];
                    }
                }
            }
        }
        let mut gain = 0;
        for (i, node) in house.nodes.iter().enumerate() {
            for column in &node.heat {
                *b.at_mut(i, input(column)) += c[i].recip();
            }
            for column in node.gain.keys() {
                *b.at_mut(i, input(column)) += parameters[layout.gain(gain)] / c[i];
                gain += 1;
            }
        }
        let square = |x: T| x * x;
        let sensors = house.sensors().into_iter().enumerate();
        let starts = house.hidden().into_iter().enumerate();
        Self {
            a,
            b,
            d: (0..nodes).map(|node| square(parameters[layout.noise(node)])).collect(),
            sensors: sensors.map(|(k, node)| (node, square(parameters[layout.sensor(k)]))).collect(),
            starts: starts.map(|(k, node)| (node, parameters[layout.start(k)])).collect(),
        }
    }

    /// A step of length h.
    pub fn transition(&self, h: f64) -> Transition<T> {
        let n = self.a.rows;
        let doublings = (self.a.norm() * h / 0.25).log2().ceil().clamp(0.0, 60.0) as i32;
        let small = h * 0.5_f64.powi(doublings);
        let mut diffusion = Matrix::new(n, n);
        (0..n).for_each(|k| *diffusion.at_mut(k, k) = self.d[k]);
        let (mut f, mut g, mut q) = (Matrix::identity(n), Matrix::new(n, self.b.columns), Matrix::new(n, n));
        let (mut power, mut drive, mut noise) = (Matrix::identity(n), self.b.clone(), diffusion);
        // Terms of order (h|A|)ⁿ/n! with h|A| ≤ ¼: 12 are enough.
        for order in 1..=12 {
            let factor = small / f64::from(order);
            g = g.plus(&drive.clone().scaled(factor));
            q = q.plus(&noise.clone().scaled(factor));
            power = self.a.times(&power).scaled(factor);
            f = f.plus(&power);
            drive = self.a.times(&drive).scaled(factor);
            noise = self.a.times(&noise).plus(&noise.times(&self.a.transposed())).scaled(factor);
        }
        for _ in 0..doublings {
            g = f.times(&g).plus(&g);
            q = f.times(&q).times(&f.transposed()).plus(&q);
            f = f.times(&f);
        }
        Transition { f, g, q }
    }

    /// At the first row: nodes that are measured there are known as well as their sensors, others that are observed are about where they
    /// are first measured, and hidden ones where the parameters say.
    pub fn start(&self, rows: &[Vec<f64>]) -> Known<T> {
        let n = self.a.rows;
        let mut known = Known { mean: vec![T::from(0.0); n], covariance: Matrix::new(n, n) };
        let mut middle = 0.0;
        for (sensor, (node, variance)) in self.sensors.iter().enumerate() {
            let first = rows.iter().enumerate().find(|(_, row)| row[sensor].is_finite());
            let (row, value) = first.map_or((usize::MAX, 0.0), |(row, values)| (row, values[sensor]));
            middle += value / self.sensors.len() as f64;
            known.mean[*node] = T::from(value);
            *known.covariance.at_mut(*node, *node) = if row == 0 { *variance } else { T::from(LATER) };
        }
        for (node, above) in &self.starts {
            known.mean[*node] = *above + middle;
            *known.covariance.at_mut(*node, *node) = T::from(VAGUE);
        }
        known
    }
}

impl Transition<f64> {
    /// After a step from known temperatures, with noise √Q ξ of these normal numbers (the root of Cholesky).
    pub fn sampled(&self, temperatures: &[f64], u: &[f64], normals: &[f64]) -> Vec<f64> {
        let n = temperatures.len();
        let mut root = Matrix::<f64>::new(n, n);
        for i in 0..n {
            for j in 0..=i {
                let sum: f64 = (0..j).map(|k| root.at(i, k) * root.at(j, k)).sum();
                let left = self.q.at(i, j) - sum;
                *root.at_mut(i, j) =
                    if i == j { left.max(0.0).sqrt() } else { left / root.at(j, j).max(f64::MIN_POSITIVE) };
            }
        }
        let (own, brought, noise) = (self.f.apply(temperatures), self.g.apply(u), root.apply(normals));
        (0..n).map(|i| own[i] + brought[i] + noise[i]).collect()
    }
}

/// The variance of the temperature of an observed node that is measured later only, in K².
const LATER: f64 = 25.0;

/// The variance of temperatures of hidden nodes about where the parameters have them start, in K².
const VAGUE: f64 = 0.01;

/// What is known of the nodes at a time.
#[derive(Clone, Debug)]
pub struct Known<T> {
    /// m.
    pub mean: Vec<T>,
    /// P.
    pub covariance: Matrix<T>,
}

/// What a measurement was, beside what was expected.
#[derive(Clone, Copy, Debug)]
pub struct Innovation<T> {
    /// The row of the record.
    pub row: usize,
    /// The number of the sensor.
    pub sensor: usize,
    /// ε.
    pub error: T,
    /// S.
    pub variance: T,
}

impl<T: Number> Known<T> {
    /// After a step with inputs u.
    #[must_use]
    pub fn stepped(&self, step: &Transition<T>, u: &[f64]) -> Self {
        let u: Vec<T> = u.iter().map(|&u| T::from(u)).collect();
        let (own, brought) = (step.f.apply(&self.mean), step.g.apply(&u));
        let mean = own.into_iter().zip(brought).map(|(a, b)| a + b).collect();
        let covariance = step.f.times(&self.covariance).times(&step.f.transposed()).plus(&step.q);
        Self { mean, covariance }
    }

    /// Takes in a measurement of a node: its error and variance beforehand.
    fn measure(&mut self, node: usize, variance: T, value: f64) -> (T, T) {
        let n = self.mean.len();
        let error = -self.mean[node] + value;
        let s = self.covariance.at(node, node) + variance;
        let gain: Vec<T> = (0..n).map(|i| self.covariance.at(i, node) / s).collect();
        let row: Vec<T> = (0..n).map(|j| self.covariance.at(node, j)).collect();
        for (i, gain) in gain.into_iter().enumerate() {
            self.mean[i] += gain * error;
            for (j, entry) in row.iter().enumerate() {
                *self.covariance.at_mut(i, j) -= gain * *entry;
            }
        }
        (error, s)
    }
}

/// Inputs and measurements of a house in a record, in its order.
#[derive(Clone, Debug)]
pub struct Measured {
    /// h.
    pub times: Vec<f64>,
    /// By row: inputs.
    pub inputs: Vec<Vec<f64>>,
    /// By row: sensors; NaN where one is missing.
    pub sensors: Vec<Vec<f64>>,
    /// Whether inputs hold from their row to the next.
    pub held: bool,
    /// The median step.
    usual: f64,
}

impl Measured {
    /// What a house needs of a record.
    ///
    /// # Errors
    /// Those of [`Record::check`].
    pub fn new(house: &House, record: &Record) -> Result<Self> {
        record.check(house)?;
        let of = |names: Vec<&str>| -> Result<Vec<Vec<f64>>> {
            let columns = names.into_iter().map(|name| record.column(name)).collect::<Result<Vec<_>>>()?;
            Ok((0..record.len()).map(|row| columns.iter().map(|column| column[row]).collect()).collect())
        };
        let sensors = house.nodes.iter().filter_map(|node| node.observed.as_deref()).collect();
        Ok(Self {
            times: record.times().to_vec(),
            inputs: of(house.inputs())?,
            sensors: of(sensors)?,
            held: house.held,
            usual: record.usual(),
        })
    }

    /// The usual step, in h: the median.
    pub fn usual(&self) -> f64 {
        self.usual
    }

    /// Refuses sensors that the first rows, which are fitted, or the others tell too little of.
    ///
    /// # Errors
    /// [`Error::Request`] for fewer than ten measurements after the first row, measurements that never change, and none in other rows.
    pub fn check(&self, house: &House, rows: usize) -> Result<()> {
        for (sensor, node) in house.sensors().into_iter().enumerate() {
            let values = |rows: std::ops::Range<usize>| {
                self.sensors[rows].iter().map(move |row| row[sensor]).filter(|value| value.is_finite())
            };
            let (count, name) = (values(1..rows).count(), &house.nodes[node].name);
            let refuse = |reason: String| Err(Error::Request(format!("`{name}` {reason}")));
            if count < 10 {
                return refuse(format!(
                    "is measured {count} times in the rows that are fitted, after the first: ten are needed"
                ));
            }
            let first = values(0..rows).next().unwrap_or_default();
            if values(0..rows).all(|value| value == first) {
                return refuse(format!(
                    "is {first} in all rows that are fitted: a sensor that never changes tells nothing"
                ));
            }
            if rows < self.sensors.len() && values(rows..self.sensors.len()).next().is_none() {
                return refuse(
                    "is not measured in the rows that are held out: there is nothing to judge forecasts by"
                        .into(),
                );
            }
        }
        Ok(())
    }

    /// Whether every step between these rows is about as long as usual.
    pub fn is_even(&self, first: usize, last: usize) -> bool {
        let even = |[a, b]: &[f64; 2]| ((b - a) / self.usual - 1.0).abs() < 0.5;
        self.times[first..=last].array_windows().all(even)
    }

    /// Whether these rows have no gap, and all sensors.
    pub fn is_whole(&self, first: usize, last: usize) -> bool {
        self.sensors[first..=last].iter().flatten().all(|value| value.is_finite())
            && self.is_even(first, last)
    }

    /// What a sensor measured at the same time of the last day that is known at `row`, if a row is within half a step of it; of an
    /// earlier day, where that day's is missing.
    pub fn days_before(&self, row: usize, time: f64, sensor: usize) -> Option<f64> {
        let known = &self.times[..=row];
        let first = ((time - known[row]) / 24.0 - 1e-9).ceil().max(1.0) as u64;
        (first..)
            .map(|days| time - 24.0 * days as f64)
            .take_while(|at| *at >= known[0] - 0.5 * self.usual)
            .find_map(|at| {
                let after = known.partition_point(|other| *other < at);
                let nearest =
                    [after.checked_sub(1), Some(after)].into_iter().flatten().filter(|near| *near <= row);
                let near =
                    nearest.min_by(|a, b| (known[*a] - at).abs().total_cmp(&(known[*b] - at).abs()))?;
                let value = self.sensors[near][sensor];
                ((known[near] - at).abs() <= 0.5 * self.usual && value.is_finite()).then_some(value)
            })
    }

    /// Inputs between a row and the next.
    pub fn between(&self, row: usize) -> Vec<f64> {
        if self.held {
            return self.inputs[row].clone();
        }
        let (a, b) = (&self.inputs[row], &self.inputs[row + 1]);
        a.iter().zip(b).map(|(a, b)| 0.5 * (a + b)).collect()
    }
}

/// Filters some rows from the start of a record: ln p, innovations, and what is known after the last row. `seen` is shown what is
/// known after every row.
pub fn filter<T: Number>(
    machine: &Machine<T>,
    measured: &Measured,
    rows: usize,
    mut seen: impl FnMut(usize, &Known<T>),
) -> (T, Vec<Innovation<T>>, Known<T>) {
    let mut known = machine.start(&measured.sensors[..rows]);
    let (mut likelihood, mut innovations) = (T::from(0.0), Vec::new());
    let mut steps: Vec<(f64, Transition<T>)> = Vec::new();
    for row in 0..rows {
        if row > 0 {
            let h = measured.times[row] - measured.times[row - 1];
            let found = steps.iter().position(|(other, _)| (other - h).abs() < 1e-9 * h);
            let place = found.unwrap_or_else(|| {
                // Irregular times would fill memory.
                if steps.len() >= 64 {
                    steps.remove(0);
                }
                steps.push((h, machine.transition(h)));
                steps.len() - 1
            });
            known = known.stepped(&steps[place].1, &measured.between(row - 1));
        }
        for (sensor, &(node, variance)) in machine.sensors.iter().enumerate() {
            let value = measured.sensors[row][sensor];
            // The first measurements are where the filter starts.
            if !value.is_finite() || row == 0 {
                continue;
            }
            let (error, s) = known.measure(node, variance, value);
            likelihood -= (s * std::f64::consts::TAU).ln() * 0.5 + error * error / s * 0.5;
            innovations.push(Innovation { row, sensor, error, variance: s });
        }
        seen(row, &known);
    }
    (likelihood, innovations, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of six hours with a gap of a day: days before are found by time, not by rows, and only where something was measured.
    #[test]
    fn days_before_are_days() {
        let times: Vec<f64> = (0..12).map(|k| f64::from(6 * k + if k > 7 { 24 } else { 0 })).collect();
        let sensors = times.iter().map(|t| vec![if *t == 18.0 { f64::NAN } else { *t }]).collect();
        let measured = Measured { inputs: vec![vec![]; 12], sensors, held: false, usual: 6.0, times };
        // Row 7 is 42 h; after it come 72, 78, 84 and 90 h.
        assert_eq!(measured.days_before(7, 72.0, 0), Some(24.0));
        assert_eq!(measured.days_before(7, 66.0, 0), Some(42.0));
        assert_eq!(measured.days_before(7, 70.0, 0), Some(24.0));
        assert_eq!(measured.days_before(11, 96.0, 0), Some(72.0));
        // A day before it nothing was measured, nor at −6 h.
        assert_eq!(measured.days_before(3, 42.0, 0), None);
        assert_eq!(measured.days_before(6, 42.0, 0), None);
        assert_eq!(measured.days_before(7, 48.0, 0), Some(24.0));
        assert!(measured.is_even(0, 7) && !measured.is_even(0, 8));
    }
}
