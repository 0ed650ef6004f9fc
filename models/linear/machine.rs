//! Machines that do linear algebra, and what is imprecise about them.
//!
//! A machine is programmed with a matrix A, a force b and noise, and nothing else: no answer goes in. Three kinds compute with
//! their fluctuations: an overdamped network, whose voltages obey (29) with drift A; a damped one, (30); and an array of RLC
//! cells with capacitances A, (31).
//!
//! A reading may come through a low-pass filter of angular frequency ω, dy = ω(x − y) dt, which is part of the linear dynamics,
//! and may have noise of its own.

use std::sync::Arc;

use faer::Mat;
use faer::traits::RealField;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thermograd::{CellArray, Key, LinearSteps, OrnsteinUhlenbeck, Scheme, underdamped};

use crate::error::{Error, Result};

/// A kind of machine.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Device {
    /// An overdamped network.
    Rc,
    /// A damped network, with γ over √λ_min of A.
    Underdamped {
        /// γ/√λ_min.
        damping: f64,
    },
    /// An array of RLC cells with capacitances A.
    Rlc {
        /// L of a cell.
        inductance: f64,
        /// R of a cell.
        resistance: f64,
    },
}

/// What is imprecise; by default nothing.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Precision {
    /// Bits of every entry of A and b, the sign among them; 0 for as many as there are.
    pub bits: u32,
    /// Machines whose entries are rounded up or down at random, so that they are right on average, and whose answers are
    /// averaged; 0 rounds to the nearest.
    pub dithers: usize,
    /// The relative s.d. of the components that hold A.
    pub mismatch: f64,
    /// The angular frequency above which readings are damped, in units of the fastest rate of the machine; 0 for none.
    pub bandwidth: f64,
    /// The s.d. of the noise of a reading, in units of x.
    pub read_out: f64,
}

impl Default for Precision {
    fn default() -> Self {
        Self { bits: 0, dithers: 0, mismatch: 0.0, bandwidth: 0.0, read_out: 0.0 }
    }
}

impl Precision {
    /// Refuses numbers that mean nothing.
    ///
    /// # Errors
    /// [`Error::Request`] that names the number.
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Request(reason));
        if self.bits == 1 || self.bits > 52 {
            return refuse(format!("bits = {}: 2 to 52, or 0 for no rounding", self.bits));
        }
        if self.dithers > 0 && self.bits == 0 {
            return refuse(format!("{} dithers, and no bits to round to", self.dithers));
        }
        if self.bandwidth > 1e6 {
            return refuse(format!(
                "bandwidth = {}: up to 1e6 fastest rates, or 0 for no filter",
                self.bandwidth
            ));
        }
        let all = [("mismatch", self.mismatch), ("bandwidth", self.bandwidth), ("read-out", self.read_out)];
        match all.into_iter().find(|(_, value)| !(*value >= 0.0 && value.is_finite())) {
            Some((name, value)) => refuse(format!("{name} = {value}: zero or more is needed")),
            None => Ok(()),
        }
    }

    /// How many machines are averaged.
    pub fn machines(&self) -> usize {
        self.dithers.max(1)
    }

    /// Entries of a symmetric or a general matrix, as one of the machines has them.
    ///
    /// Odd machines round with the complements of the random numbers of the even ones before them, so that their errors cancel.
    pub fn held(&self, matrix: &Arc<Mat<f64>>, machine: usize, key: Key) -> Arc<Mat<f64>> {
        if self.bits == 0 && self.mismatch == 0.0 {
            return matrix.clone();
        }
        let (rows, columns, most) = (matrix.nrows(), matrix.ncols(), matrix.norm_max());
        let symmetric =
            rows == columns && (0..rows).all(|i| (0..i).all(|j| matrix[(i, j)] == matrix[(j, i)]));
        let level = most / (2.0_f64.powi(self.bits as i32 - 1) - 1.0);
        let mut made = Mat::clone(matrix);
        if self.bits > 0 && most > 0.0 {
            let mut dice = key.fork("dither").at(machine as u64 / 2).rng();
            for i in 0..rows {
                for j in 0..columns {
                    let up = if self.dithers == 0 {
                        0.5
                    } else {
                        let u = dice.random::<f64>();
                        if machine.is_multiple_of(2) { u } else { 1.0 - u }
                    };
                    made[(i, j)] = (matrix[(i, j)] / level + up).floor() * level;
                }
            }
        }
        // The components are those of one board, whatever they are set to.
        if self.mismatch > 0.0 {
            let normals = key.fork("mismatch").normals(0, rows, columns);
            for i in 0..rows {
                for j in 0..columns {
                    made[(i, j)] *= 1.0 + self.mismatch * f64::from(normals[i * columns + j]);
                }
            }
        }
        if symmetric {
            // One component holds both.
            for i in 0..rows {
                for j in 0..i {
                    made[(j, i)] = made[(i, j)];
                }
            }
        }
        Arc::new(made)
    }
}

/// Linear dynamics, and the components that are read. Clones share their matrices.
#[derive(Clone, Debug)]
pub struct Machine {
    /// How it moves.
    pub system: Arc<OrnsteinUhlenbeck>,
    /// The scheme of its steps.
    pub scheme: Scheme,
    /// The first component that is read.
    first: usize,
    /// How many are.
    count: usize,
    /// Components without filters.
    unfiltered: usize,
    /// Noise of a reading.
    read_out: f64,
}

impl Device {
    /// The machine that is programmed with A and b at temperature kT.
    ///
    /// # Errors
    /// [`Error::Request`] for b on a machine that has no forces, and those of [`OrnsteinUhlenbeck::gradient`].
    pub fn programmed(
        &self,
        a: impl Into<Arc<Mat<f64>>>,
        b: Vec<f64>,
        kt: f64,
        precision: &Precision,
    ) -> Result<Machine> {
        let a = a.into();
        precision.check()?;
        let n = b.len();
        let (system, first, scheme) = match *self {
            Self::Rc => (OrnsteinUhlenbeck::gradient(a, b, kt)?, 0, Scheme::LeimkuhlerMatthews),
            Self::Underdamped { damping } => {
                let slowest = OrnsteinUhlenbeck::gradient(a.clone(), b.clone(), kt)?.rates()[0];
                (underdamped(Mat::clone(&a), b, damping * slowest.sqrt(), kt)?, 0, Scheme::Exact)
            }
            Self::Rlc { inductance, resistance } => {
                if b.iter().any(|b| *b != 0.0) {
                    return Err(Error::Request(
                        "the cells of the RLC array fluctuate about zero, and no force acts on them: it inverts and samples, and \
                         solves nothing"
                            .into(),
                    ));
                }
                let cells = CellArray { capacitance: Mat::clone(&a), inductance, resistance, kt };
                (cells.dynamics()?, n, Scheme::Exact)
            }
        };
        let (unfiltered, system) = (system.size(), Arc::new(system));
        Machine { system, scheme, first, count: n, unfiltered, read_out: precision.read_out }
            .filtered(precision.bandwidth)
    }
}

impl Machine {
    /// A machine whose whole state is read: general drift and noise, by exact steps.
    pub fn general(system: OrnsteinUhlenbeck, precision: &Precision) -> Result<Self> {
        precision.check()?;
        let count = system.size();
        let (scheme, read_out) = (Scheme::Exact, precision.read_out);
        let machine = Self { system: Arc::new(system), scheme, first: 0, count, unfiltered: count, read_out };
        machine.filtered(precision.bandwidth)
    }

    /// The same behind low-pass filters of so many times its largest rate.
    fn filtered(self, bandwidth: f64) -> Result<Self> {
        if bandwidth == 0.0 {
            return Ok(self);
        }
        let (n, m, first) = (self.system.size(), self.count, self.first);
        let (a, d) = (self.system.drift(), self.system.diffusion());
        let omega = bandwidth * self.system.fastest();
        let drift = Mat::from_fn(n + m, n + m, |i, j| match (i < n, j < n) {
            (true, true) => a[(i, j)],
            (true, false) => 0.0,
            (false, true) => {
                if first + i - n == j {
                    -omega
                } else {
                    0.0
                }
            }
            (false, false) => {
                if i == j {
                    omega
                } else {
                    0.0
                }
            }
        });
        let noise = Mat::from_fn(n + m, n + m, |i, j| if i < n && j < n { d[(i, j)] } else { 0.0 });
        let force = self.system.force().iter().copied().chain(std::iter::repeat_n(0.0, m)).collect();
        let system = Arc::new(OrnsteinUhlenbeck::new(drift, force, noise)?);
        Ok(Self { system, scheme: Scheme::Exact, first: n, ..self })
    }

    /// The time step for averages of x or of its squares: one over the fastest rate for a scheme whose averages of x over many
    /// steps are those of all times, and half of that otherwise.
    pub fn step(&self, squares: bool) -> f64 {
        let all = self.scheme == Scheme::LeimkuhlerMatthews && !squares;
        (if all { 1.0 } else { 0.5 }) / self.system.fastest()
    }

    /// The slowest time constant.
    pub fn slowest(&self) -> f64 {
        1.0 / self.system.rates()[0]
    }

    /// How many components the machine has without the filters of its read-out, which come last.
    pub fn unfiltered(&self) -> usize {
        self.unfiltered
    }

    /// How many components are read.
    pub fn readings(&self) -> usize {
        self.count
    }

    /// Steps of length h.
    ///
    /// # Errors
    /// Those of [`LinearSteps::new`].
    pub fn steps<T: RealField + From<f32> + 'static>(&self, h: f64, key: Key) -> Result<LinearSteps<T>> {
        Ok(LinearSteps::new(&self.system, self.scheme, h, key)?)
    }

    /// What is read after step `made` of a state `[component, chain]`: `[reading, chain]`.
    pub fn read<T: Copy + Into<f64>>(&self, x: &Mat<T>, key: Key, made: usize) -> Mat<f64> {
        let chains = x.ncols();
        let mut seen = Mat::from_fn(self.count, chains, |i, chain| x[(self.first + i, chain)].into());
        if self.read_out > 0.0 {
            let noise = key.fork("read-out").normals(made as u32, chains, self.count);
            for (chain, noise) in noise.chunks(self.count).enumerate() {
                for (i, noise) in noise.iter().enumerate() {
                    seen[(i, chain)] += self.read_out * f64::from(*noise);
                }
            }
        }
        seen
    }
}
