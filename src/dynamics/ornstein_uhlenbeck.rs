//! Linear dynamics with noise: any stable drift, and noise of any covariance.
//!
//! ```text
//! dx = −(A x − b) dt + √D dW,      x(t + h) = F x(t) + ∫₀ʰ e^(−As) b ds + √Q ξ      (29)
//! F = e^(−Ah),      Q = ∫₀ʰ e^(−As) D e^(−Aᵀs) ds
//! ```
//!
//! √D is any matrix whose product with its transpose is D, which may be singular, and A need be neither symmetric nor
//! normal. Three [schemes](Scheme) step it: the second equation, which has no error for any h; Euler–Maruyama; and that of
//! B. Leimkuhler and C. Matthews (Appl. Math. Res. Express 2013, 34), whose stationary distribution is exact for symmetric A
//! and D ∝ 1.
//!
//! F and Q are Taylor series for h/2ᵏ, where they converge quickly, and then doubled k times,
//!
//! ```text
//! F ← F²,      Q ← Q + F Q Fᵀ,
//! ```
//!
//! which adds up positive terms alone. The block exponential of C. F. Van Loan (IEEE Trans. Autom. Control 23, 395, 1978)
//! gives the same for one step, but holds e^(Ah), which overflows for long ones. The stationary covariance is the limit of
//! the doubling, and solves AΣ + ΣAᵀ = D. Nothing here inverts A.

use std::any::Any;
use std::sync::Arc;

use faer::linalg::matmul::matmul;
use faer::traits::RealField;
use faer::traits::math_utils::{from_f64, is_finite};
use faer::{Accum, Mat, MatRef, Par, Side};

use crate::dynamics::run::{Dynamics, Place};
use crate::error::{LinearProblem, Result};
use crate::noise::Key;

/// A drift, a force and a noise.
#[derive(Clone, Debug)]
pub struct OrnsteinUhlenbeck {
    a: Arc<Mat<f64>>,
    b: Vec<f64>,
    d: Diffusion,
    /// Real parts of the eigenvalues of A, in ascending order.
    rates: Vec<f64>,
    /// The largest magnitude of an eigenvalue.
    fastest: f64,
}

/// The covariance of the noise per time.
#[derive(Clone, Debug)]
enum Diffusion {
    /// D = d·1.
    Isotropic(f64),
    /// D, and √D.
    Full(Mat<f64>, Mat<f64>),
}

/// Refuses what is no square matrix of finite numbers of that size.
///
/// # Errors
/// [`Error::Linear`](crate::Error::Linear) with the sizes, or the place of the number.
pub fn check_matrix(what: &'static str, matrix: MatRef<f64>, size: usize) -> Result<()> {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    if (rows, columns) != (size, size) || size == 0 {
        return Err(LinearProblem::Size { what, rows, columns, expected: size }.into());
    }
    for (row, column) in (0..columns).flat_map(|column| (0..rows).map(move |row| (row, column))) {
        let value = matrix[(row, column)];
        if !value.is_finite() {
            return Err(LinearProblem::NotFinite { what, row, column, value }.into());
        }
    }
    Ok(())
}

/// Refuses a matrix that is not symmetric, up to rounding.
fn check_symmetric(what: &'static str, matrix: MatRef<f64>) -> Result<()> {
    let size = matrix.norm_max();
    for column in 0..matrix.ncols() {
        for row in 0..column {
            let difference = (matrix[(row, column)] - matrix[(column, row)]).abs();
            if difference > 1e-12 * size {
                return Err(LinearProblem::NotSymmetric { what, row, column, difference }.into());
            }
        }
    }
    Ok(())
}

/// Refuses a force that is not finite.
fn check_force(b: &[f64]) -> Result<()> {
    match b.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((row, &value)) => Err(LinearProblem::NotFinite { what: "b", row, column: 0, value }.into()),
        None => Ok(()),
    }
}

/// Refuses a step of no length.
fn check_step(h: f64) -> Result<()> {
    if h > 0.0 && h.is_finite() { Ok(()) } else { Err(LinearProblem::Step { h }.into()) }
}

/// A matrix whose product with its transpose is a positive semi-definite one.
fn root(what: &'static str, matrix: MatRef<f64>) -> Result<Mat<f64>> {
    let size = matrix.nrows();
    if (0..size).all(|j| (0..size).all(|i| i == j || matrix[(i, j)] == 0.0) && matrix[(j, j)] >= 0.0) {
        return Ok(Mat::from_fn(size, size, |i, j| if i == j { matrix[(i, i)].sqrt() } else { 0.0 }));
    }
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| LinearProblem::NoEigenvalues { what })?;
    let (vectors, values) = (eigen.U(), eigen.S().column_vector());
    let (least, most) = (values[0], values[size - 1]);
    if least < -1e-10 * most.abs().max(f64::MIN_POSITIVE) {
        return Err(LinearProblem::NotDefinite { what, eigenvalue: least }.into());
    }
    Ok(Mat::from_fn(size, size, |i, j| vectors[(i, j)] * values[j].max(0.0).sqrt()))
}

impl OrnsteinUhlenbeck {
    /// The dynamics of drift A, force b and noise covariance D per time.
    ///
    /// # Errors
    /// [`Error::Linear`](crate::Error::Linear) for matrices that are not square or of another size than b, for numbers that
    /// are not finite, for D that is not symmetric and positive semi-definite, and for A with an eigenvalue whose real part
    /// is not positive: x would not come to rest.
    pub fn new(a: Mat<f64>, b: Vec<f64>, d: Mat<f64>) -> Result<Self> {
        check_matrix("A", a.as_ref(), b.len())?;
        check_matrix("D", d.as_ref(), b.len())?;
        check_force(&b)?;
        check_symmetric("D", d.as_ref())?;
        let noise = root("D", d.as_ref())?;
        let values = a.eigenvalues().map_err(|_| LinearProblem::NoEigenvalues { what: "A" })?;
        let mut rates: Vec<f64> = values.iter().map(|value| value.re).collect();
        rates.sort_unstable_by(f64::total_cmp);
        // NaN is neither first nor last.
        if let Some(&rate) = rates.iter().find(|rate| rate.is_nan() || **rate <= 0.0) {
            return Err(LinearProblem::Unstable { rate }.into());
        }
        let fastest = values.iter().map(|value| value.norm()).fold(0.0, f64::max);
        Ok(Self { a: Arc::new(a), b, d: Diffusion::Full(d, noise), rates, fastest })
    }

    /// The dynamics of ½ xᵀAx − bᵀx at temperature kT and mobility 1: D = 2kT, stationary N(A⁻¹b, kT A⁻¹).
    ///
    /// # Errors
    /// [`Error::Linear`](crate::Error::Linear) for A that is not square, symmetric and positive definite, for b of another
    /// size, and for numbers that are not finite, kT among them, which must not be negative.
    pub fn gradient(a: impl Into<Arc<Mat<f64>>>, b: Vec<f64>, kt: f64) -> Result<Self> {
        let a = a.into();
        check_matrix("A", (*a).as_ref(), b.len())?;
        check_symmetric("A", (*a).as_ref())?;
        check_force(&b)?;
        if !(kt >= 0.0 && kt.is_finite()) {
            return Err(LinearProblem::NotFinite { what: "kT", row: 0, column: 0, value: kt }.into());
        }
        let rates = a
            .self_adjoint_eigenvalues(Side::Lower)
            .map_err(|_| LinearProblem::NoEigenvalues { what: "A" })?;
        match rates[0] > 0.0 {
            true => {
                let fastest = rates[rates.len() - 1];
                Ok(Self { a, b, d: Diffusion::Isotropic(2.0 * kt), rates, fastest })
            }
            false => Err(LinearProblem::Unstable { rate: rates[0] }.into()),
        }
    }

    /// How many components x has.
    pub fn size(&self) -> usize {
        self.b.len()
    }

    /// A.
    pub fn drift(&self) -> MatRef<'_, f64> {
        (*self.a).as_ref()
    }

    /// b.
    pub fn force(&self) -> &[f64] {
        &self.b
    }

    /// D.
    pub fn diffusion(&self) -> Mat<f64> {
        match &self.d {
            Diffusion::Isotropic(d) => scaled(*d, &Mat::identity(self.size(), self.size())),
            Diffusion::Full(d, _) => d.clone(),
        }
    }

    /// The largest magnitude of an eigenvalue of A: the rate of the fastest decay or rotation.
    pub fn fastest(&self) -> f64 {
        self.fastest
    }

    /// The real parts of the eigenvalues of A, in ascending order: one over a time constant each.
    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// F, ∫ e^(−As) b ds and Q of (29) for a step of length h.
    ///
    /// # Errors
    /// [`Error::Linear`](crate::Error::Linear) for a step that is not positive and finite.
    pub fn transition(&self, h: f64) -> Result<Transition> {
        check_step(h)?;
        let size = self.size();
        let halvings = (h * norm((*self.a).as_ref()) / 0.5).log2().ceil().max(0.0) as i32;
        let step = h * 0.5_f64.powi(halvings);
        // Taylor series in the step: of F, of ∫ e^(−As) ds, and of Q, the terms of which are LⁿD with LX = −(AX + XAᵀ).
        let mut propagator = Mat::<f64>::identity(size, size);
        let (mut power, mut term) = (propagator.clone(), self.diffusion());
        let (mut integral, mut covariance) = (scaled(step, &power), scaled(step, &term));
        let mut factor = step;
        for n in 2..=TERMS {
            power = scaled(-1.0, &(&*self.a * &power));
            let drift = &*self.a * &term;
            term = scaled(-1.0, &(&drift + drift.transpose()));
            propagator += scaled(factor, &power);
            factor *= step / f64::from(n);
            integral += scaled(factor, &power);
            covariance += scaled(factor, &term);
        }
        for _ in 0..halvings {
            integral = &integral + &propagator * &integral;
            covariance = doubled(&propagator, &covariance);
            propagator = &propagator * &propagator;
        }
        let b = Mat::from_fn(size, 1, |i, _| self.b[i]);
        let shift = (&integral * b).col_as_slice(0).to_vec();
        let noise = root("Q", covariance.as_ref())?;
        Ok(Transition { h, propagator, shift, covariance, noise })
    }

    /// Σ, the covariance in the steady state: AΣ + ΣAᵀ = D.
    ///
    /// # Errors
    /// [`Error::Linear`](crate::Error::Linear) when a hundred doublings of the time are too few for it to settle.
    pub fn stationary(&self) -> Result<Mat<f64>> {
        let Transition { mut propagator, mut covariance, .. } =
            self.transition(1.0 / norm((*self.a).as_ref()))?;
        for _ in 0..100 {
            let next = doubled(&propagator, &covariance);
            let change = (&next - &covariance).norm_max();
            covariance = next;
            if change <= 1e-16 * covariance.norm_max() {
                return Ok(covariance);
            }
            propagator = &propagator * &propagator;
        }
        Err(LinearProblem::Unsettled.into())
    }

    /// The same dynamics of the eigenmodes of A, which do not see each other, and the eigenvectors U in columns: x = U y.
    /// None unless A is symmetric and D ∝ 1.
    pub fn modes(&self) -> Option<(Self, Mat<f64>)> {
        let size = self.size();
        let isotropic = match &self.d {
            Diffusion::Isotropic(_) => true,
            Diffusion::Full(d, _) => {
                (0..size).all(|j| (0..size).all(|i| d[(i, j)] == if i == j { d[(0, 0)] } else { 0.0 }))
            }
        };
        if !isotropic || check_symmetric("A", (*self.a).as_ref()).is_err() {
            return None;
        }
        let eigen = self.a.self_adjoint_eigen(Side::Lower).ok()?;
        let (vectors, values) = (eigen.U().to_owned(), eigen.S().column_vector());
        let a = Mat::from_fn(size, size, |i, j| if i == j { values[i] } else { 0.0 });
        let b = Mat::from_fn(size, 1, |i, _| self.b[i]);
        let b = (vectors.transpose() * b).col_as_slice(0).to_vec();
        Some((Self { a: Arc::new(a), b, ..self.clone() }, vectors))
    }
}

/// Terms of the Taylor series: 0.5ⁿ/n! and, for Q, 1ⁿ/n! are below 1e-18.
const TERMS: u32 = 20;

/// The largest sum of magnitudes in a row: no eigenvalue is above it.
fn norm(matrix: MatRef<f64>) -> f64 {
    let row = |i: usize| (0..matrix.ncols()).map(|j| matrix[(i, j)].abs()).sum::<f64>();
    (0..matrix.nrows()).map(row).fold(0.0, f64::max)
}

fn scaled(factor: f64, matrix: &Mat<f64>) -> Mat<f64> {
    matrix * faer::Scale(factor)
}

/// Q + F Q Fᵀ, kept symmetric.
fn doubled(f: &Mat<f64>, q: &Mat<f64>) -> Mat<f64> {
    let next = q + f * q * f.transpose();
    (&next + next.transpose()) * faer::Scale(0.5)
}

/// One exact step.
#[derive(Clone, Debug)]
pub struct Transition {
    /// Its length.
    pub h: f64,
    /// F.
    pub propagator: Mat<f64>,
    /// ∫₀ʰ e^(−As) b ds.
    pub shift: Vec<f64>,
    /// Q.
    pub covariance: Mat<f64>,
    /// √Q.
    noise: Mat<f64>,
}

/// How (29) is stepped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Without error.
    Exact,
    /// x ← x − h(Ax − b) + √h √D (ξ_n + ξ_(n+1))/2.
    LeimkuhlerMatthews,
    /// x ← x − h(Ax − b) + √h √D ξ_n.
    EulerMaruyama,
}

/// Independent chains.
#[derive(Clone, Debug)]
pub struct Linear<T = f64> {
    /// `[component, chain]`.
    pub x: Mat<T>,
    /// √D ξ of the step that comes, where the step before has used it too.
    noise: Option<Mat<T>>,
}

impl<T> From<Mat<T>> for Linear<T> {
    fn from(x: Mat<T>) -> Self {
        Self { x, noise: None }
    }
}

/// Steps of one length of independent chains, in double or in single precision. Clones share their matrices.
#[derive(Clone, Debug)]
pub struct LinearSteps<T = f64> {
    h: f64,
    scheme: Scheme,
    propagator: Arc<Product<T>>,
    shift: Arc<Vec<T>>,
    noise: Arc<Product<T>>,
    key: Key,
    first: usize,
}

impl<T: RealField + From<f32> + 'static> LinearSteps<T> {
    /// Steps of length h.
    ///
    /// # Errors
    /// Those of [`OrnsteinUhlenbeck::transition`].
    pub fn new(system: &OrnsteinUhlenbeck, scheme: Scheme, h: f64, key: Key) -> Result<Self> {
        check_step(h)?;
        let size = system.size();
        let (propagator, shift, noise) = match scheme {
            Scheme::Exact => {
                let Transition { propagator, shift, noise, .. } = system.transition(h)?;
                (
                    Product::new(size, |i, j| propagator[(i, j)]),
                    shift,
                    Product::new(size, |i, j| noise[(i, j)]),
                )
            }
            Scheme::LeimkuhlerMatthews | Scheme::EulerMaruyama => {
                let one = |i: usize, j: usize| if i == j { 1.0 } else { 0.0 };
                let noise = |i: usize, j: usize| match &system.d {
                    Diffusion::Isotropic(d) => (h * d).sqrt() * one(i, j),
                    Diffusion::Full(_, root) => h.sqrt() * root[(i, j)],
                };
                let propagator = Product::step(&system.a, h);
                (propagator, system.b.iter().map(|b| h * b).collect(), Product::new(size, noise))
            }
        };
        let shift = Arc::new(shift.into_iter().map(|value| from_f64::<T>(value)).collect());
        let (propagator, noise) = (Arc::new(propagator), Arc::new(noise));
        Ok(Self { h, scheme, propagator, shift, noise, key: key.fork("linear"), first: 0 })
    }

    /// The same with other noise.
    pub fn with_key(self, key: Key) -> Self {
        Self { key: key.fork("linear"), ..self }
    }

    /// The same whose first step has this number, for a run that goes on.
    pub fn starting_at(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// √D ξ of a step, `[component, chain]`.
    fn drawn(&self, index: usize, chains: usize) -> Mat<T> {
        let size = self.shift.len();
        let values = self.key.normals((self.first + index) as u32, chains, size);
        let mut xi = Mat::zeros(size, chains);
        for (column, values) in xi.col_iter_mut().zip(values.chunks(size)) {
            column.iter_mut().zip(values).for_each(|(xi, value)| *xi = T::from(*value));
        }
        match &*self.noise {
            Product::Diagonal(_) => {
                self.noise.scale(&mut xi);
                xi
            }
            Product::Dense(root) | Product::Step(root, _) => &**root * xi,
        }
    }
}

impl<T: RealField + From<f32> + 'static> Dynamics for LinearSteps<T> {
    type State = Linear<T>;

    fn step(&self, index: usize, state: Linear<T>) -> Linear<T> {
        let Linear { mut x, noise } = state;
        let chains = x.ncols();
        let drawn = self.drawn(index, chains);
        let (mut next, noise) = match self.scheme {
            Scheme::LeimkuhlerMatthews => {
                let before = noise.unwrap_or(drawn);
                let after = self.drawn(index + 1, chains);
                ((before + &after) * faer::Scale(from_f64::<T>(0.5)), Some(after))
            }
            Scheme::Exact | Scheme::EulerMaruyama => (drawn, None),
        };
        for chain in next.col_iter_mut() {
            chain.iter_mut().zip(self.shift.iter()).for_each(|(x, shift)| *x = x.clone() + shift.clone());
        }
        match &*self.propagator {
            Product::Dense(matrix) => add_product(&mut next, matrix, &x, 1.0),
            Product::Step(drift, h) => {
                add_product(&mut next, drift, &x, -h);
                next += x;
            }
            Product::Diagonal(_) => {
                self.propagator.scale(&mut x);
                next += x;
            }
        }
        Linear { x: next, noise }
    }

    fn diverged(&self, Linear { x, .. }: &Linear<T>) -> Option<Place> {
        let places = (0..x.ncols()).flat_map(|chain| (0..x.nrows()).map(move |i| (i, chain)));
        let (unit, trajectory) = places.into_iter().find(|&place| !is_finite(&x[place]))?;
        Some(Place { trajectory, group: "x".into(), unit })
    }

    fn time(&self, steps: usize) -> f64 {
        (self.first + steps) as f64 * self.h
    }
}

/// Rows that are multiplied at once: faer copies what it multiplies, and every thread would have its own copy of all of them.
const ROWS: usize = 256;

/// y + factor·M x.
fn add_product<T: RealField>(y: &mut Mat<T>, matrix: &Mat<T>, x: &Mat<T>, factor: f64) {
    let factor = from_f64::<T>(factor);
    for first in (0..y.nrows()).step_by(ROWS) {
        let count = ROWS.min(y.nrows() - first);
        let (some, rows) = (y.as_mut().subrows_mut(first, count), matrix.subrows(first, count));
        matmul(some, Accum::Add, rows, x, factor.clone(), Par::Seq);
    }
}

/// A matrix to multiply by.
#[derive(Clone, Debug)]
enum Product<T> {
    Dense(Arc<Mat<T>>),
    Diagonal(Vec<T>),
    /// 1 − hA, of the drift A.
    Step(Arc<Mat<T>>, f64),
}

impl<T: RealField + 'static> Product<T> {
    fn new(size: usize, entry: impl Fn(usize, usize) -> f64) -> Self {
        if (0..size).all(|j| (0..size).all(|i| i == j || entry(i, j) == 0.0)) {
            Self::Diagonal((0..size).map(|i| from_f64::<T>(entry(i, i))).collect())
        } else {
            Self::Dense(Arc::new(Mat::from_fn(size, size, |i, j| from_f64::<T>(entry(i, j)))))
        }
    }

    /// 1 − hA. In double precision it shares A.
    fn step(a: &Arc<Mat<f64>>, h: f64) -> Self {
        let size = a.nrows();
        let one = |i: usize, j: usize| if i == j { 1.0 } else { 0.0 };
        let entry = |i: usize, j: usize| one(i, j) - h * a[(i, j)];
        if (0..size).all(|j| (0..size).all(|i| i == j || a[(i, j)] == 0.0)) {
            return Self::new(size, entry);
        }
        let shared: Arc<dyn Any + Send + Sync> = a.clone();
        match shared.downcast::<Mat<T>>() {
            Ok(a) => Self::Step(a, h),
            Err(_) => Self::new(size, entry),
        }
    }

    /// The product with a diagonal, in place.
    fn scale(&self, x: &mut Mat<T>) {
        let Self::Diagonal(values) = self else { return };
        for chain in x.col_iter_mut() {
            chain.iter_mut().zip(values).for_each(|(x, value)| *x = x.clone() * value.clone());
        }
    }
}
