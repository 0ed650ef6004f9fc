//! Problems of linear algebra as machines, and the averages that answer them.
//!
//! ```text
//! Solve, invert      dx = −(Ax − b) dt + √2 dW              ⟨x⟩ = A⁻¹b,   Cov x = A⁻¹
//! Determinant        A_s = A₀ + s (A − A₀)                 ln det A − ln det A₀ = ∫₀¹ ⟨xᵀ(A − A₀)x⟩_s ds                  (33)
//! Exponential        dx = −(α − A) x dt + √(2α − A − Aᵀ) dW     Cov x = 1,   ⟨x(t + τ) x(t)ᵀ⟩ = e^(−ατ) e^(Aτ)             (34)
//! Lyapunov           dx = −Ax dt + √D dW                   A Cov x + Cov x Aᵀ = D
//! Regression         A = XᵀX/σ² + 1/τ²,  b = Xᵀy/σ²         x ~ the posterior of the weights
//! ```
//!
//! After M. Aifer et al., "Thermodynamic linear algebra", npj Unconventional Computing 1, 13 (2024), and S. Duffield et al.,
//! "Thermodynamic matrix exponentials and thermodynamic parallelism", Phys. Rev. Research 7, 013147 (2025). The integral over s
//! is thermodynamic integration (J. G. Kirkwood, 1935) by Gauss–Legendre nodes. With μ the eigenvalues of A against A₀ the integrand
//! is Σ(μ − 1)/(1 + s(μ − 1)), which is steep near 0 where μ is large and near 1 where it is small: beyond a factor of 20 the
//! interval is divided there into pieces that grow by a factor of 4, and pieces have as many nodes as ln det within 10⁻³ takes. α shifts the drift where A + Aᵀ is not
//! negative: by half a rate more than is needed, where the error of an average of given length is smallest. The stochastic normal
//! equation of the last line is the first one with a matrix made of data; τ is the s.d. of the prior of the weights.

use std::sync::Arc;

use faer::{Mat, Side};
use thermograd::dynamics::ornstein_uhlenbeck::check_matrix;
use thermograd::{Key, LinearProblem, OrnsteinUhlenbeck};

use crate::error::{Error, Result};
use crate::linear::averages::Observable;
use crate::linear::machine::{Device, Machine, Precision};
use crate::linear::plan::{Until, chains, norm_of_inverse, of_form, of_position, of_square};

/// What is asked.
#[derive(Clone, Debug)]
pub enum Problem {
    /// A⁻¹b.
    Solve {
        /// Symmetric and positive definite.
        a: Arc<Mat<f64>>,
        /// As many numbers.
        b: Vec<f64>,
    },
    /// A⁻¹.
    Inverse {
        /// Symmetric and positive definite.
        a: Arc<Mat<f64>>,
    },
    /// ln det A, or its difference from that of another matrix.
    LogDeterminant {
        /// Symmetric and positive definite.
        a: Arc<Mat<f64>>,
        /// Another one; none for ln det A itself, which starts from the diagonal of A.
        over: Option<Arc<Mat<f64>>>,
    },
    /// e^(At).
    Exponential {
        /// Square.
        a: Arc<Mat<f64>>,
        /// t.
        time: f64,
    },
    /// Σ of AΣ + ΣAᵀ = D.
    Lyapunov {
        /// Its eigenvalues have positive real parts.
        a: Arc<Mat<f64>>,
        /// Symmetric and positive semi-definite.
        d: Arc<Mat<f64>>,
    },
}

/// One machine and what is averaged of it.
#[derive(Clone, Debug)]
pub struct Part {
    /// By which its average enters the answer.
    pub weight: f64,
    /// The machine.
    pub machine: Machine,
    /// What is averaged.
    pub observable: Observable,
    /// The time step.
    pub h: f64,
}

/// Machines whose averages add up to an answer.
#[derive(Clone, Debug)]
pub struct Program {
    /// The machines.
    pub parts: Vec<Part>,
    /// What is added, [1, 1] or nothing.
    pub offset: f64,
    /// Whether errors are relative to the norm of the answer; else they are absolute.
    pub relative: bool,
    /// T times the mean squared error of the answer over an average of length T of all chains, where (32) tells it.
    pub rate: Option<f64>,
    /// The norm of the answer, where the spectrum tells it.
    pub norm: Option<f64>,
}

/// Nodes and weights of Gauss–Legendre quadrature on [0, 1].
pub fn gauss(count: usize) -> Vec<(f64, f64)> {
    let n = count as f64;
    let polynomial = |x: f64| {
        let (mut before, mut now) = (1.0, x);
        for k in 2..=count {
            let k = k as f64;
            (before, now) = (now, ((2.0 * k - 1.0) * x * now - (k - 1.0) * before) / k);
        }
        // P_n, and its derivative.
        (now, n * (x * now - before) / (x * x - 1.0))
    };
    let node = |k: usize| {
        let mut x = (std::f64::consts::PI * (k as f64 + 0.75) / (n + 0.5)).cos();
        for _ in 0..50 {
            let (value, slope) = polynomial(x);
            x -= value / slope;
        }
        let slope = polynomial(x).1;
        (0.5 * (1.0 - x), 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..count).map(node).collect()
}

/// What quadrature may be off by in all, of ln det: far below any error that noise leaves in the time there is.
const OFF: f64 = 1e-3;

/// Nodes of thermodynamic integration, of so many eigenvalues against A₀ between `least` and `most`: as many as it takes for the sum of
/// ln μ to be within 10⁻³ wherever they are.
pub fn path(least: f64, most: f64, eigenvalues: usize) -> Vec<(f64, f64)> {
    const STEEP: f64 = 20.0;
    let mut edges = vec![0.0, 1.0];
    let mut divide = |factor: f64, place: &dyn Fn(f64) -> f64| {
        let mut width = 1.0 / factor;
        while factor > STEEP && width < 0.5 {
            edges.push(place(width));
            width *= 4.0;
        }
    };
    divide(most, &|width| width);
    divide(1.0 / least, &|width| 1.0 - width);
    edges.sort_unstable_by(f64::total_cmp);
    let of = |nodes: usize| -> Vec<(f64, f64)> {
        let piece = |pair: &[f64]| {
            let (low, width) = (pair[0], pair[1] - pair[0]);
            gauss(nodes)
                .into_iter()
                .map(move |(s, weight)| (low + s * width, weight * width))
                .collect::<Vec<_>>()
        };
        edges.windows(2).flat_map(piece).collect()
    };
    let off = |nodes: &[(f64, f64)], mu: f64| {
        let sum: f64 = nodes.iter().map(|(s, weight)| weight * (mu - 1.0) / (1.0 + s * (mu - 1.0))).sum();
        (sum - mu.ln()).abs()
    };
    let marks = |k: u32| least * (most / least).powf(f64::from(k) / 200.0);
    let exact = |nodes: &Vec<(f64, f64)>| {
        let worst = (0..=200).map(|k| off(nodes, marks(k))).fold(0.0, f64::max);
        eigenvalues as f64 * worst <= OFF
    };
    let fewest = if edges.len() == 2 { 8 } else { 5 };
    (fewest..60).map(of).find(exact).unwrap_or_else(|| of(60))
}

impl Problem {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Solve { .. } => "solve",
            Self::Inverse { .. } => "inverse",
            Self::LogDeterminant { .. } => "logdet",
            Self::Exponential { .. } => "expm",
            Self::Lyapunov { .. } => "lyapunov",
        }
    }

    /// A.
    pub fn matrix(&self) -> &Mat<f64> {
        self.shared()
    }

    /// A, to be shared.
    pub fn shared(&self) -> &Arc<Mat<f64>> {
        match self {
            Self::Solve { a, .. }
            | Self::Inverse { a }
            | Self::LogDeterminant { a, .. }
            | Self::Exponential { a, .. }
            | Self::Lyapunov { a, .. } => a,
        }
    }

    /// The machines that answer it at temperature kT.
    ///
    /// # Errors
    /// [`Error::Request`] for what the device cannot do, and those of [`OrnsteinUhlenbeck::new`] and
    /// [`gradient`](OrnsteinUhlenbeck::gradient): matrices of the wrong kind.
    pub fn program(&self, device: Device, kt: f64, precision: &Precision, key: Key) -> Result<Program> {
        precision.check()?;
        let machines = precision.machines();
        let rounding = |what: &'static str| {
            let bits = precision.bits;
            move |error: Error| match bits {
                0 => error,
                _ => Error::Request(format!("{what} of {bits} bits: {error}; use more bits")),
            }
        };
        let mut program = Program { parts: Vec::new(), offset: 0.0, relative: true, rate: None, norm: None };
        let ideal = *precision == Precision::default();
        match self {
            Self::Solve { a, b } => {
                let force = Arc::new(Mat::from_fn(b.len(), 1, |i, _| b[i]));
                check_matrix("A", (**a).as_ref(), a.nrows())?;
                if !ideal {
                    // So that a matrix that is wrong is not taken for one of too few bits.
                    let _ = OrnsteinUhlenbeck::gradient(a.clone(), b.clone(), kt)?;
                }
                for machine in 0..machines {
                    let held = precision.held(&force, machine, key.fork("b")).col_as_slice(0).to_vec();
                    let made = precision.held(a, machine, key.fork("A"));
                    let machine =
                        device.programmed(made, held, kt, precision).map_err(rounding("a matrix"))?;
                    program.add(1.0 / machines as f64, machine, Observable::Position);
                }
                if ideal && device == Device::Rc {
                    program.rate = Some(of_position(program.rates(), kt));
                }
            }
            Self::Inverse { a } => {
                check_matrix("A", (**a).as_ref(), a.nrows())?;
                if !ideal {
                    let _ = OrnsteinUhlenbeck::gradient(a.clone(), vec![0.0; a.nrows()], kt)?;
                }
                for machine in 0..machines {
                    let made = precision.held(a, machine, key.fork("A"));
                    let machine = device
                        .programmed(made, vec![0.0; a.nrows()], kt, precision)
                        .map_err(rounding("a matrix"))?;
                    program.add(1.0 / (machines as f64 * kt), machine, Observable::Square);
                }
                if ideal && device == Device::Rc {
                    program.rate = Some(of_square(program.rates(), 1.0));
                    program.norm = Some(norm_of_inverse(program.rates(), 1.0));
                }
            }
            Self::LogDeterminant { a, over } => {
                check_matrix("A", (**a).as_ref(), a.nrows())?;
                let n = a.nrows();
                let (from, offset) = match over {
                    Some(over) => (over.clone(), 0.0),
                    None => {
                        let diagonal = Mat::from_fn(n, n, |i, j| if i == j { a[(i, j)] } else { 0.0 });
                        (Arc::new(diagonal), (0..n).map(|i| a[(i, i)].ln()).sum())
                    }
                };
                check_matrix("the other matrix", (*from).as_ref(), n)?;
                let rates = |matrix: &Arc<Mat<f64>>| -> Result<(f64, f64)> {
                    let rates =
                        OrnsteinUhlenbeck::gradient(matrix.clone(), vec![0.0; n], kt)?.rates().to_vec();
                    Ok((rates[0], rates[n - 1]))
                };
                let ((least, most), (under, over_all)) = (rates(a)?, rates(&from)?);
                let nodes = path(least / over_all, most / under, n);
                (program.offset, program.relative) = (offset, false);
                for machine in 0..machines {
                    let to = precision.held(a, machine, key.fork("A"));
                    let from = if over.is_some() {
                        precision.held(&from, machine, key.fork("over"))
                    } else {
                        from.clone()
                    };
                    let change = Arc::new(&*to - &*from);
                    for &(s, weight) in &nodes {
                        let made = &*from + &*change * faer::Scale(s);
                        let made = device
                            .programmed(made, vec![0.0; n], kt, precision)
                            .map_err(rounding("a matrix"))?;
                        let weight = weight / (machines as f64 * kt);
                        let rate =
                            (ideal && device == Device::Rc).then(|| of_form(&made.system, &change, kt));
                        if let Some(rate) = rate.flatten() {
                            // Every node has its share of the time.
                            *program.rate.get_or_insert(0.0) += nodes.len() as f64 * weight * weight * rate;
                        }
                        program.add(weight, made, Observable::Form(change.clone()));
                    }
                }
            }
            Self::Exponential { a, time } => {
                check_matrix("A", (**a).as_ref(), a.nrows())?;
                if !(*time > 0.0 && time.is_finite()) {
                    return Err(Error::Request(format!("t = {time}: it must be positive and finite")));
                }
                self.overdamped_alone(device)?;
                for machine in 0..machines {
                    let a = precision.held(a, machine, key.fork("A"));
                    let n = a.nrows();
                    let both = &*a + a.transpose();
                    let values = both
                        .self_adjoint_eigenvalues(Side::Lower)
                        .map_err(|_| thermograd::Error::from(LinearProblem::NoEigenvalues { what: "A" }))?;
                    let alpha = 0.5 * values[n - 1] + 0.5 / time;
                    let unit = |i: usize, j: usize| if i == j { 1.0 } else { 0.0 };
                    let drift = Mat::from_fn(n, n, |i, j| alpha * unit(i, j) - a[(i, j)]);
                    let noise = Mat::from_fn(n, n, |i, j| 2.0 * alpha * unit(i, j) - both[(i, j)]);
                    let system = OrnsteinUhlenbeck::new(drift, vec![0.0; n], noise)?;
                    let machine = Machine::general(system, precision)?;
                    let weight = (alpha * time).exp() / machines as f64;
                    if !weight.is_finite() {
                        return Err(Error::Request(format!("e^({:.3e}) overflows", alpha * time)));
                    }
                    let lag = (time / machine.step(true)).ceil().max(1.0);
                    if lag > 10_000.0 {
                        return Err(Error::Request(format!(
                            "t = {time} is {lag} times the fastest time constant of the machine, and so many readings would \
                             wait for theirs: 10000 at most"
                        )));
                    }
                    let (observable, h) = (Observable::Lagged(lag as usize), time / lag);
                    program.parts.push(Part { weight, machine, observable, h });
                }
            }
            Self::Lyapunov { a, d } => {
                check_matrix("A", (**a).as_ref(), a.nrows())?;
                check_matrix("D", (**d).as_ref(), d.nrows())?;
                self.overdamped_alone(device)?;
                for machine in 0..machines {
                    let (a, d) = (
                        precision.held(a, machine, key.fork("A")),
                        precision.held(d, machine, key.fork("D")),
                    );
                    let system = OrnsteinUhlenbeck::new(Mat::clone(&a), vec![0.0; d.nrows()], Mat::clone(&d))
                        .map_err(Error::from)
                        .map_err(rounding("matrices"))?;
                    let machine = Machine::general(system, precision)?;
                    program.add(1.0 / machines as f64, machine, Observable::Square);
                }
            }
        }
        Ok(program)
    }

    fn overdamped_alone(&self, device: Device) -> Result<()> {
        match device {
            Device::Rc => Ok(()),
            _ => Err(Error::Request(format!(
                "{}: drift and noise of any kind are what an overdamped network has; use the device `rc`",
                self.name()
            ))),
        }
    }
}

impl Program {
    fn add(&mut self, weight: f64, machine: Machine, observable: Observable) {
        let h = machine.step(!matches!(observable, Observable::Position));
        self.parts.push(Part { weight, machine, observable, h });
    }

    /// The rates of the first machine.
    fn rates(&self) -> &[f64] {
        self.parts[0].machine.system.rates()
    }

    /// The time of averages that have an error, relative to the norm of the answer unless errors are absolute, where (32) tells.
    pub fn planned(&self, error: f64, norm: f64) -> Option<f64> {
        let scale = if self.relative { norm } else { 1.0 };
        self.rate.map(|rate| rate / (error * scale).powi(2))
    }

    /// How many chains are best by (40), where theory tells the time of the averages.
    ///
    /// The norm of A⁻¹b, which is not known yet, is taken to be |b|³/bᵀAb, that of one step of steepest descent: it is never
    /// larger than the truth.
    pub fn chains(&self, until: Until) -> Option<usize> {
        let (slowest, parts) = (self.slowest(), self.parts.len() as f64);
        let typical = || {
            let system = &self.parts[0].machine.system;
            let b = Mat::from_fn(system.size(), 1, |i, _| system.force()[i]);
            b.norm_l2().powi(3) / (b.transpose() * system.drift() * &b)[(0, 0)]
        };
        let time = match until {
            Until::Time(time) => Some(time),
            Until::Error(error) => {
                self.planned(error, self.norm.unwrap_or_else(typical)).map(|time| time / slowest)
            }
        };
        // A chain of a program is one of each of its machines.
        time.map(|time| chains(time / parts, until.burn_in()))
    }

    /// The slowest time constant of all machines.
    pub fn slowest(&self) -> f64 {
        self.parts.iter().map(|part| part.machine.slowest()).fold(0.0, f64::max)
    }
}

/// The normal equations of a linear regression: the precision of the posterior of the weights, and what it is multiplied with.
///
/// # Errors
/// [`Error::Request`] for numbers that do not fit each other, and for σ and τ that are not positive.
pub fn regression(x: &Mat<f64>, y: &[f64], noise: f64, prior: f64) -> Result<Problem> {
    if x.nrows() != y.len() || x.ncols() == 0 {
        return Err(Error::Request(format!(
            "{} rows of {} columns, and {} targets: a target for each row and a column are needed",
            x.nrows(),
            x.ncols(),
            y.len()
        )));
    }
    for (what, value) in [("the noise of the targets", noise), ("the s.d. of the prior", prior)] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(Error::Request(format!("{what} is {value}: it must be positive and finite")));
        }
    }
    let scale = noise.powi(-2);
    let target = Mat::from_fn(y.len(), 1, |i, _| y[i]);
    let a = x.transpose() * x * faer::Scale(scale);
    let b = x.transpose() * target * faer::Scale(scale);
    let ridge = |i: usize, j: usize| if i == j { prior.powi(-2) } else { 0.0 };
    let n = a.nrows();
    let a = Mat::from_fn(n, n, |i, j| 0.5 * (a[(i, j)] + a[(j, i)]) + ridge(i, j));
    Ok(Problem::Solve { a: Arc::new(a), b: b.col_as_slice(0).to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ∫ (μ − 1)/(1 + s(μ − 1)) ds = ln μ, however large or small μ is.
    #[test]
    fn determinants_of_any_condition_are_integrated() {
        let ranges = [(0.2, 4.0), (0.05, 20.0), (1e-4, 1.0), (1e-3, 50.0), (1.0, 1e6), (1e-6, 1e6)];
        for ((least, most), n) in ranges.into_iter().flat_map(|range| [(range, 1), (range, 500)]) {
            let nodes = path(least, most, n);
            for k in 0..=333 {
                let mu = least * f64::powf(most / least, f64::from(k) / 333.0);
                let found: f64 =
                    nodes.iter().map(|(s, weight)| weight * (mu - 1.0) / (1.0 + s * (mu - 1.0))).sum();
                let off = n as f64 * (found - mu.ln()).abs();
                assert!(off < 1.1e-3, "{n}, {least} {most} {mu}: {off}");
            }
        }
    }

    #[test]
    fn quadrature_is_exact_for_polynomials() {
        for power in 0..16 {
            let found: f64 = gauss(8).iter().map(|(s, weight)| weight * s.powi(power)).sum();
            assert!((found - 1.0 / f64::from(power + 1)).abs() < 1e-14, "{power}: {found}");
        }
    }
}
