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

use faer::{Mat, MatRef, Side};

use crate::dynamics::run::{Dynamics, Place};
use crate::error::{LinearProblem, Result};
use crate::noise::Key;

/// A drift, a force and a noise.
#[derive(Clone, Debug)]
pub struct OrnsteinUhlenbeck {
    a: Mat<f64>,
    b: Vec<f64>,
    d: Mat<f64>,
    /// √D.
    noise: Mat<f64>,
}

/// Refuses what is no matrix of finite numbers of that size.
fn check_matrix(what: &'static str, matrix: MatRef<f64>, size: usize) -> Result<()> {
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
        if let Some((row, &value)) = b.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(LinearProblem::NotFinite { what: "b", row, column: 0, value }.into());
        }
        check_symmetric("D", d.as_ref())?;
        let noise = root("D", d.as_ref())?;
        let values = a.eigenvalues().map_err(|_| LinearProblem::NoEigenvalues { what: "A" })?;
        let slowest = values.iter().map(|value| value.re).fold(f64::INFINITY, f64::min);
        if slowest <= 0.0 || slowest.is_nan() {
            return Err(LinearProblem::Unstable { rate: slowest }.into());
        }
        Ok(Self { a, b, d, noise })
    }

    /// The dynamics of ½ xᵀAx − bᵀx at temperature kT and mobility 1: D = 2kT, stationary N(A⁻¹b, kT A⁻¹).
    ///
    /// # Errors
    /// Those of [`new`](Self::new), and [`Error::Linear`](crate::Error::Linear) for A that is not symmetric.
    pub fn gradient(a: Mat<f64>, b: Vec<f64>, kt: f64) -> Result<Self> {
        check_matrix("A", a.as_ref(), b.len())?;
        check_symmetric("A", a.as_ref())?;
        let d = Mat::from_fn(b.len(), b.len(), |i, j| if i == j { 2.0 * kt } else { 0.0 });
        Self::new(a, b, d)
    }

    /// How many components x has.
    pub fn size(&self) -> usize {
        self.b.len()
    }

    /// A.
    pub fn drift(&self) -> MatRef<'_, f64> {
        self.a.as_ref()
    }

    /// b.
    pub fn force(&self) -> &[f64] {
        &self.b
    }

    /// D.
    pub fn diffusion(&self) -> MatRef<'_, f64> {
        self.d.as_ref()
    }

    /// F, ∫ e^(−As) b ds and Q of (29) for a step of length h.
    ///
    /// # Errors
    /// [`Error::Linear`](crate::Error::Linear) for a step that is not positive and finite.
    pub fn transition(&self, h: f64) -> Result<Transition> {
        check_step(h)?;
        let size = self.size();
        let halvings = (h * norm(self.a.as_ref()) / 0.5).log2().ceil().max(0.0) as i32;
        let step = h * 0.5_f64.powi(halvings);
        // Taylor series in the step: of F, of ∫ e^(−As) ds, and of Q, the terms of which are LⁿD with LX = −(AX + XAᵀ).
        let mut propagator = Mat::<f64>::identity(size, size);
        let (mut power, mut term) = (propagator.clone(), self.d.clone());
        let (mut integral, mut covariance) = (scaled(step, &power), scaled(step, &term));
        let mut factor = step;
        for n in 2..=TERMS {
            power = scaled(-1.0, &(&self.a * &power));
            let drift = &self.a * &term;
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
            self.transition(1.0 / norm(self.a.as_ref()))?;
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
        let (size, d) = (self.size(), self.d[(0, 0)]);
        let isotropic = (0..size).all(|j| (0..size).all(|i| self.d[(i, j)] == if i == j { d } else { 0.0 }));
        if !isotropic || check_symmetric("A", self.a.as_ref()).is_err() {
            return None;
        }
        let eigen = self.a.self_adjoint_eigen(Side::Lower).ok()?;
        let (vectors, values) = (eigen.U().to_owned(), eigen.S().column_vector());
        let a = Mat::from_fn(size, size, |i, j| if i == j { values[i] } else { 0.0 });
        let b = Mat::from_fn(size, 1, |i, _| self.b[i]);
        let b = (vectors.transpose() * b).col_as_slice(0).to_vec();
        Some((Self { a, b, ..self.clone() }, vectors))
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

/// Steps of one length of independent chains; the state is `[component, chain]`.
#[derive(Clone, Debug)]
pub struct LinearSteps {
    h: f64,
    scheme: Scheme,
    propagator: Product,
    shift: Vec<f64>,
    noise: Product,
    key: Key,
}

impl LinearSteps {
    /// Steps of length h.
    ///
    /// # Errors
    /// Those of [`OrnsteinUhlenbeck::transition`].
    pub fn new(system: &OrnsteinUhlenbeck, scheme: Scheme, h: f64, key: Key) -> Result<Self> {
        check_step(h)?;
        let (propagator, shift, noise) = match scheme {
            Scheme::Exact => {
                let Transition { propagator, shift, noise, .. } = system.transition(h)?;
                (propagator, shift, noise)
            }
            Scheme::LeimkuhlerMatthews | Scheme::EulerMaruyama => {
                let size = system.size();
                let propagator = Mat::<f64>::identity(size, size) - scaled(h, &system.a);
                let shift = system.b.iter().map(|b| h * b).collect();
                (propagator, shift, scaled(h.sqrt(), &system.noise))
            }
        };
        let (propagator, noise) = (Product::of(propagator), Product::of(noise));
        Ok(Self { h, scheme, propagator, shift, noise, key: key.fork("linear") })
    }

    /// Normal numbers of a step, `[component, chain]`.
    fn normals(&self, index: usize, chains: usize) -> Mat<f64> {
        let size = self.shift.len();
        let values = self.key.normals(index as u32, chains, size);
        Mat::from_fn(size, chains, |i, chain| f64::from(values[chain * size + i]))
    }
}

impl Dynamics for LinearSteps {
    type State = Mat<f64>;

    fn step(&self, index: usize, x: Mat<f64>) -> Mat<f64> {
        let chains = x.ncols();
        let mut xi = self.normals(index, chains);
        if self.scheme == Scheme::LeimkuhlerMatthews {
            xi = (xi + self.normals(index + 1, chains)) * faer::Scale(0.5);
        }
        let mut next = self.propagator.times(x) + self.noise.times(xi);
        for chain in next.col_iter_mut() {
            chain.iter_mut().zip(&self.shift).for_each(|(x, shift)| *x += shift);
        }
        next
    }

    fn diverged(&self, x: &Mat<f64>) -> Option<Place> {
        let places = (0..x.ncols()).flat_map(|chain| (0..x.nrows()).map(move |i| (i, chain)));
        let (unit, trajectory) = places.into_iter().find(|&place| !x[place].is_finite())?;
        Some(Place { trajectory, group: "x".into(), unit })
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.h
    }
}

/// A matrix to multiply by, which may be diagonal.
#[derive(Clone, Debug)]
enum Product {
    Dense(Mat<f64>),
    Diagonal(Vec<f64>),
}

impl Product {
    fn of(matrix: Mat<f64>) -> Self {
        let size = matrix.nrows();
        let diagonal = (0..size).all(|j| (0..size).all(|i| i == j || matrix[(i, j)] == 0.0));
        if diagonal {
            Self::Diagonal((0..size).map(|i| matrix[(i, i)]).collect())
        } else {
            Self::Dense(matrix)
        }
    }

    fn times(&self, mut x: Mat<f64>) -> Mat<f64> {
        match self {
            Self::Dense(matrix) => matrix * x,
            Self::Diagonal(values) => {
                for chain in x.col_iter_mut() {
                    chain.iter_mut().zip(values).for_each(|(x, value)| *x *= value);
                }
                x
            }
        }
    }
}
