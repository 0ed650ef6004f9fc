//! A single unit in its well: equilibrium by quadrature, relaxation by a master equation.
//!
//! A unit under a force f has the density ρ(x) ∝ exp(−(J₂x² + J₄x⁴ − fx)/kT) at equilibrium; away from it, ρ obeys
//! the Fokker–Planck equation of (3),
//!
//! ```text
//! ∂ρ/∂t = ∂_x [μ (2J₂x + 4J₄x³ − f) ρ] + μkT ∂²_x ρ.      (13)
//! ```
//!
//! On a grid of spacing h this becomes hopping between neighbours at rates (μkT/h²) exp(−ΔU/2kT), which obeys
//! detailed balance for any spacing. Time is integrated by the trapezoidal rule (Crank and Nicolson 1947), of second
//! order. This describes uncoupled units completely, so moments of whole networks of them need no simulation.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use rand::RngExt;

use crate::error::{Error, Result};
use crate::network::substrate::Substrate;
use crate::network::topology::{Group, check_constants};
use crate::noise::Key;

/// Number of grid points.
const POINTS: usize = 241;

/// Energy at the edges of the grid above the minimum, in kT: the density there is e⁻³⁰ of its maximum.
const EDGE: f64 = 30.0;

/// A unit without couplings, on a grid wide enough for forces up to some magnitude.
#[derive(Clone, Debug)]
pub struct Well {
    j2: f64,
    j4: f64,
    mobility: f64,
    kt: f64,
    edge: f64,
}

/// The probability of each point of the grid of a [`Well`].
#[derive(Clone, Debug)]
pub struct Density {
    edge: f64,
    weights: Vec<f64>,
}

impl Well {
    /// A unit of `group`, whose units must all be alike, at `kt`, for forces of magnitude up to `force`.
    ///
    /// # Errors
    /// [`Error::Topology`] when its units differ, [`Error::NotConfining`], and [`Error::Constant`] when kT is not
    /// positive or `force` not finite.
    pub fn new(group: &Group, kt: f64, force: f64) -> Result<Self> {
        if [&group.j2, &group.j4, &group.mobility].iter().any(|constant| constant.shared().is_none()) {
            let reason = format!("the units of group `{}` differ: say which one", group.name);
            return Err(Error::Topology(reason));
        }
        Self::of_unit(group, 0, kt, force)
    }

    /// One unit of `group` at `kt`, for forces of magnitude up to `force`.
    ///
    /// # Errors
    /// [`Error::NotConfining`], and [`Error::Constant`] when kT is not positive or `force` not finite.
    pub fn of_unit(group: &Group, unit: usize, kt: f64, force: f64) -> Result<Self> {
        check_constants(group)?;
        for (name, value, good) in [("kT", kt, kt > 0.0), ("largest force", force, force >= 0.0)] {
            if !good || !value.is_finite() {
                let expected = "must be positive and finite";
                return Err(Error::Constant { name: name.into(), value, expected });
            }
        }
        let [j2, j4, mobility] = [&group.j2, &group.j4, &group.mobility].map(|constant| constant.at(unit));
        let mut well = Self { j2, j4, mobility, kt, edge: 1e-3 };
        // Wide enough that even the edge against which the force pushes is rarely reached.
        let high = |edge: f64| {
            let energy = |x: f64| well.potential(x) - force * x;
            let lowest = (0..=200).map(|k| energy(edge * k as f64 / 200.0)).fold(0.0, f64::min);
            energy(edge) - lowest > EDGE * kt
        };
        let mut edge = well.edge;
        while !high(edge) {
            edge *= 1.02;
            if !edge.is_finite() {
                let expected = "must be small enough for the energies of a unit to be finite";
                return Err(Error::Constant { name: "kT".into(), value: kt, expected });
            }
        }
        well.edge = edge;
        Ok(well)
    }

    /// J₂x² + J₄x⁴.
    pub fn potential(&self, x: f64) -> f64 {
        (self.j2 + self.j4 * x * x) * x * x
    }

    /// 2J₂x + 4J₄x³.
    pub fn slope(&self, x: f64) -> f64 {
        (2.0 * self.j2 + 4.0 * self.j4 * x * x) * x
    }

    /// The density at equilibrium under `force`.
    pub fn equilibrium(&self, force: f64) -> Density {
        let energy = |x: f64| (self.potential(x) - force * x) / self.kt;
        let energies: Vec<f64> = grid(self.edge).map(energy).collect();
        let lowest = energies.iter().copied().fold(f64::INFINITY, f64::min);
        let weights: Vec<f64> = energies.iter().map(|energy| (lowest - energy).exp()).collect();
        let sum: f64 = weights.iter().sum();
        Density { edge: self.edge, weights: weights.into_iter().map(|weight| weight / sum).collect() }
    }

    /// The density after a time `dt` under `force`.
    pub fn relax(&self, density: &Density, force: f64, dt: f64) -> Density {
        let x: Vec<f64> = grid(self.edge).collect();
        let h = x[1] - x[0];
        let rate = self.mobility * self.kt / (h * h);
        let hop = |from: f64, to: f64| {
            let rise = self.potential(to) - self.potential(from) - force * (to - from);
            rate * (-rise / (2.0 * self.kt)).exp()
        };
        let up: Vec<f64> = x.windows(2).map(|pair| hop(pair[0], pair[1])).collect();
        let down: Vec<f64> = x.windows(2).map(|pair| hop(pair[1], pair[0])).collect();
        let n = x.len();
        let away = |i: usize| if i + 1 < n { up[i] } else { 0.0 } + if i > 0 { down[i - 1] } else { 0.0 };
        // (1 − ½dt L) ρ′ = (1 + ½dt L) ρ with L the hopping operator: tridiagonal, solved by elimination.
        let (half, rho) = (0.5 * dt, &density.weights);
        let right = |i: usize| {
            let from_below = if i > 0 { up[i - 1] * rho[i - 1] } else { 0.0 };
            let from_above = if i + 1 < n { down[i] * rho[i + 1] } else { 0.0 };
            rho[i] + half * (from_below + from_above - away(i) * rho[i])
        };
        let (mut ratio, mut value) = (vec![0.0; n], vec![0.0; n]);
        for i in 0..n {
            let below = if i > 0 { -half * up[i - 1] } else { 0.0 };
            let (last_ratio, last_value) = if i > 0 { (ratio[i - 1], value[i - 1]) } else { (0.0, 0.0) };
            let pivot = 1.0 + half * away(i) - below * last_ratio;
            ratio[i] = if i + 1 < n { -half * down[i] / pivot } else { 0.0 };
            value[i] = (right(i) - below * last_value) / pivot;
        }
        for i in (0..n - 1).rev() {
            value[i] -= ratio[i] * value[i + 1];
        }
        Density { edge: self.edge, weights: value }
    }

    /// Samples of the equilibrium without force, by inversion of the distribution function.
    ///
    /// # Shapes
    /// Row-major `[row, unit]`; rows are the trajectories of the key.
    pub fn sample(&self, rows: usize, units: usize, key: Key) -> Vec<f32> {
        draw(&[self.equilibrium(0.0).quantiles()], rows, units, key)
    }

    /// ⟨x⟩ at equilibrium as a differentiable function of the force.
    ///
    /// # Errors
    /// [`Error::Exact`] when the fit is worse than 5e-3 for any force up to `force`.
    pub fn response(&self, force: f64) -> Result<Response> {
        Response::fit(self, force)
    }
}

impl Substrate {
    /// States in which each unit is in equilibrium alone in its well, without couplings and fields.
    ///
    /// # Shapes
    /// `[rows, unit]`; rows are the trajectories of the key.
    ///
    /// # Errors
    /// Those of [`Well::of_unit`].
    pub fn uncoupled_equilibrium(&self, rows: usize, key: Key) -> Result<Tensor<2>> {
        let states = |group: &Group| -> Result<Tensor<2>> {
            let alike = group.j2.shared().is_some() && group.j4.shared().is_some();
            let quantiles = |unit| -> Result<Quantiles> {
                Ok(Well::of_unit(group, unit, self.kt(), 0.0)?.equilibrium(0.0).quantiles())
            };
            let wells: Result<Vec<_>> = (0..if alike { 1 } else { group.units }).map(quantiles).collect();
            let values = draw(&wells?, rows, group.units, key.fork(&group.name));
            Ok(Tensor::from_data(TensorData::new(values, [rows, group.units]), self.options()))
        };
        let states: Result<Vec<_>> = self.topology().free().map(states).collect();
        Ok(Tensor::cat(states?, 1))
    }
}

/// Row-major `[row, unit]` samples from the distribution of each unit, or from one distribution that all share.
fn draw(distributions: &[Quantiles], rows: usize, units: usize, key: Key) -> Vec<f32> {
    let of_row = |row: usize| {
        let mut rng = key.row(row as u64).rng();
        (0..units).map(move |unit| {
            let quantiles = &distributions[unit.min(distributions.len() - 1)];
            quantiles.at(rng.random::<f64>()) as f32
        })
    };
    (0..rows).flat_map(of_row).collect()
}

/// The points of the grid.
fn grid(edge: f64) -> impl Iterator<Item = f64> {
    (0..POINTS).map(move |i| edge * (2.0 * i as f64 / (POINTS - 1) as f64 - 1.0))
}

impl Density {
    /// ⟨f(x)⟩.
    pub fn mean_of(&self, f: impl Fn(f64) -> f64) -> f64 {
        grid(self.edge).zip(&self.weights).map(|(x, weight)| weight * f(x)).sum()
    }

    /// ⟨x⟩ and ⟨x²⟩ − ⟨x⟩².
    pub fn moments(&self) -> (f64, f64) {
        let mean = self.mean_of(|x| x);
        (mean, self.mean_of(|x| (x - mean).powi(2)))
    }

    /// The inverse of the distribution function.
    pub fn quantiles(&self) -> Quantiles {
        let spacing = 2.0 * self.edge / (POINTS - 1) as f64;
        let mut sum = 0.0;
        let mut knots = vec![(0.0, -self.edge - 0.5 * spacing)];
        for (x, weight) in grid(self.edge).zip(&self.weights) {
            sum += weight.max(0.0);
            knots.push((sum, x + 0.5 * spacing));
        }
        knots.iter_mut().for_each(|knot| knot.0 /= sum);
        Quantiles { knots }
    }
}

/// The inverse of a distribution function.
#[derive(Clone, Debug)]
pub struct Quantiles {
    /// (probability below, x).
    knots: Vec<(f64, f64)>,
}

impl Quantiles {
    /// The quantile: the value below which the fraction `fraction` of the probability lies.
    pub fn at(&self, fraction: f64) -> f64 {
        let next = self.knots.partition_point(|knot| knot.0 <= fraction).clamp(1, self.knots.len() - 1);
        let ((p0, x0), (p1, x1)) = (self.knots[next - 1], self.knots[next]);
        x0 + (x1 - x0) * ((fraction - p0) / (p1 - p0).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    }
}

/// ⟨x⟩ of a [`Well`] as a sum of hyperbolic tangents of the force, Σ_k c_k tanh(f/f_k).
#[derive(Clone, Debug)]
pub struct Response {
    /// (c_k, f_k).
    terms: Vec<(f64, f64)>,
    /// The largest deviation from the quadrature.
    pub error: f64,
}

impl Response {
    /// Number of forces at which the function is fitted.
    const FORCES: usize = 400;
    /// Number of terms.
    const TERMS: usize = 4;

    fn fit(well: &Well, force: f64) -> Result<Self> {
        let forces: Vec<f64> =
            (1..=Self::FORCES).map(|k| force * (k as f64 / Self::FORCES as f64).powi(2)).collect();
        let means: Vec<f64> = forces.iter().map(|&f| well.equilibrium(f).moments().0).collect();
        // The force at which the well's response becomes nonlinear sets the smallest scale, and the largest force the
        // largest.
        let bend = means[Self::FORCES - 1] * forces[0] / means[0].max(f64::MIN_POSITIVE);
        let candidates = (1..=20).flat_map(|k| (1..=8).map(move |l| (k, l))).map(|(k, l)| {
            let (smallest, largest) = (bend * 0.1 * f64::from(k), force * 0.25 * f64::from(l));
            let step = (largest / smallest).max(1.0).powf(1.0 / (Self::TERMS - 1) as f64);
            let scales: Vec<f64> = (0..Self::TERMS).map(|k| smallest * step.powi(k as i32)).collect();
            Self::with_scales(&scales, &forces, &means)
        });
        let best = candidates.flatten().min_by(|a, b| a.error.total_cmp(&b.error));
        match best {
            Some(response) if response.error < 5e-3 => Ok(response),
            _ => Err(Error::Exact(format!(
                "the mean of a unit with J2 = {}, J4 = {} at kT = {} is not a sum of {} hyperbolic tangents of the \
                 force to 5e-3 (reached {:.1e})",
                well.j2,
                well.j4,
                well.kt,
                Self::TERMS,
                best.map_or(f64::NAN, |response| response.error)
            ))),
        }
    }

    fn with_scales(scales: &[f64], forces: &[f64], means: &[f64]) -> Option<Self> {
        let (n, k) = (forces.len(), scales.len());
        let a = Mat::from_fn(n, k, |i, j| (forces[i] / scales[j]).tanh());
        let y = Mat::from_fn(n, 1, |i, _| means[i]);
        let normal = Mat::from_fn(k, k, |i, j| {
            let sum: f64 = (0..n).map(|row| a[(row, i)] * a[(row, j)]).sum();
            sum + if i == j { 1e-9 * n as f64 } else { 0.0 }
        });
        let c = normal.llt(Side::Lower).ok()?.solve(a.transpose() * &y);
        let terms: Vec<_> = scales.iter().enumerate().map(|(j, &scale)| (c[(j, 0)], scale)).collect();
        let mut response = Self { terms, error: 0.0 };
        let deviation = |(&f, &mean): (&f64, &f64)| (response.at(f) - mean).abs();
        response.error = forces.iter().zip(means).map(deviation).fold(0.0, f64::max);
        Some(response)
    }

    /// ⟨x⟩ under one force.
    pub fn at(&self, force: f64) -> f64 {
        self.terms.iter().map(|(c, scale)| c * (force / scale).tanh()).sum()
    }

    /// ⟨x⟩ under each force of a tensor, differentiable.
    ///
    /// With tanh y = 2σ(2y) − 1 of the logistic function, and its slope worked out here: Burn's tanh is slow on processors, and would be
    /// computed twice.
    pub fn of<const D: usize>(&self, force: &Tensor<D>) -> Tensor<D> {
        let still = force.clone().detach();
        let logistic = |scale: f64| sigmoid(still.clone() * (2.0 / scale));
        let all = self.terms.iter().map(|(c, _)| c).sum::<f64>();
        let add = |a: Tensor<D>, b: Tensor<D>| a + b;
        if !force.is_autodiff() {
            let sum = self.terms.iter().map(|&(c, scale)| logistic(scale) * (2.0 * c)).reduce(add);
            return sum.expect("terms") - all;
        }
        let term = |&(c, scale): &(f64, f64)| {
            let up = logistic(scale);
            (up.clone() * (2.0 * c), (up.clone() - up.square()) * (4.0 * c / scale))
        };
        let sums = self.terms.iter().map(term).reduce(|(a, b), (c, d)| (a + c, b + d));
        let (mean, slope) = sums.expect("terms");
        mean - all + (force.clone() - still) * slope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A harmonic unit: mean f/2J₂ and variance kT/2J₂; from a mean m₀ it relaxes as e^(−2μJ₂t).
    #[test]
    fn a_harmonic_unit_is_that_of_the_textbook() {
        let (j2, kt, mobility) = (1.5, 0.4, 2.0);
        let group = Group::free("unit", 1).wells(j2, 0.0).mobility(mobility);
        let well = Well::new(&group, kt, 3.0).unwrap();
        let (mean, variance) = well.equilibrium(1.2).moments();
        assert!((mean - 1.2 / (2.0 * j2)).abs() < 1e-6 && (variance - kt / (2.0 * j2)).abs() < 1e-6);
        let mut density = well.equilibrium(1.2);
        for _ in 0..100 {
            density = well.relax(&density, 0.0, 0.002);
        }
        let (later, still) = density.moments();
        let expected = mean * (-2.0 * mobility * j2 * 0.2_f64).exp();
        // The rates reproduce diffusion up to h²/12⟨x²⟩ = 1e-3.
        assert!((later - expected).abs() < 2e-3 * mean, "{later} {expected}");
        assert!((still - variance).abs() < 2e-3 * variance, "{still} {variance}");
        assert!((density.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn equilibrium_stays() {
        let group = Group::free("unit", 1).wells(-0.5, 1.0);
        let well = Well::new(&group, 0.1, 2.0).unwrap();
        let density = well.equilibrium(0.7);
        let later = well.relax(&density, 0.7, 0.5);
        for (a, b) in density.weights.iter().zip(&later.weights) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn the_response_of_a_bistable_unit_is_fitted() {
        for (j2, j4, kt) in [(-0.5, 1.0, 0.1), (1.0, 1.0, 0.1), (1.0, 1.0, 1.0), (-0.5, 1.0, 0.5)] {
            let well = Well::new(&Group::free("unit", 1).wells(j2, j4), kt, 6.0).unwrap();
            let response = well.response(6.0).unwrap();
            println!("J2 = {j2}, kT = {kt}: {:.1e} {:?}", response.error, response.terms);
            assert_eq!(response.at(0.0), 0.0);
            let exact = well.equilibrium(-1.3).moments().0;
            assert!((response.at(-1.3) - exact).abs() < 5e-3);
        }
    }

    /// Tensors have the values and slopes of the sum itself.
    #[test]
    fn the_response_of_tensors_is_that_of_numbers() {
        let well = Well::new(&Group::free("unit", 1).wells(-0.5, 1.0), 0.1, 6.0).unwrap();
        let response = well.response(6.0).unwrap();
        let forces: Vec<f32> = (-60..=60).map(|k| 0.1 * k as f32).collect();
        let force = Tensor::<1>::from_floats(&forces[..], &burn::tensor::Device::flex());
        let plain = crate::to_f64(response.of(&force));
        let force = force.autodiff().require_grad();
        let mean = response.of(&force);
        let slopes = crate::to_f64(force.grad(&mean.clone().sum().backward()).unwrap());
        for (((f, plain), mean), slope) in forces.iter().zip(plain).zip(crate::to_f64(mean)).zip(slopes) {
            let (f, h) = (f64::from(*f), 1e-5);
            let expected = (response.at(f + h) - response.at(f - h)) / (2.0 * h);
            assert!(
                (mean - response.at(f)).abs() < 1e-6 && (mean - plain).abs() < 1e-6,
                "{f}: {mean} {plain}"
            );
            assert!((slope - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{f}: {slope} {expected}");
        }
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        let well = Well::new(&Group::free("unit", 1), 0.1, 0.0).unwrap();
        let density = well.equilibrium(0.0);
        let quantiles = density.quantiles();
        assert!(quantiles.at(0.5).abs() < 1e-9);
        let draws = 20_000;
        let values: Vec<f64> = (0..draws).map(|k| quantiles.at((k as f64 + 0.5) / draws as f64)).collect();
        let variance = values.iter().map(|x| x * x).sum::<f64>() / draws as f64;
        assert!((variance / density.moments().1 - 1.0).abs() < 1e-3);
    }
}
