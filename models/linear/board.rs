//! Circuits of resistors and capacitors driven by noise, as they were built.
//!
//! Node i has a capacitor C_i to ground. Noise sources drive nodes through resistors, and resistors join nodes to each other and
//! to ground: with G the matrix of conductances,
//!
//! ```text
//! C_i dv_i/dt = −Σ_j G_ij v_j + Σ_k s_k(t)/R_k                                                            (38)
//! ```
//!
//! which is (29) with A = C⁻¹G and D = C⁻¹ diag(Σ_k S_k/R_k²) C⁻¹. An instrument sees a band of frequencies,
//!
//! ```text
//! Σ(f₁, f₂) = 2 ∫ df M (A D Aᵀ + ω²D) Mᵀ,      M = (A² + ω²)⁻¹,  ω = 2πf                                  (39)
//! ```
//!
//! the real part of the cross spectrum (A + iω)⁻¹ D (A − iω)⁻ᵀ.

use faer::Mat;
use faer::linalg::solvers::DenseSolveCore;
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;
use serde::{Deserialize, Serialize};
use thermograd::{Key, LinearSteps, OrnsteinUhlenbeck, Scheme, Shards, run};

use crate::error::{Error, Result};
use crate::linear::problem::gauss;

/// A circuit, and what was measured of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What it is and who measured it.
    pub name: String,
    /// Farads from every node to ground.
    pub capacitors: Vec<f64>,
    /// Noise through resistors.
    pub drives: Vec<Drive>,
    /// Resistors between nodes.
    #[serde(default)]
    pub resistors: Vec<Resistor>,
    /// The band of the instrument, Hz.
    #[serde(default)]
    pub band: Option<[f64; 2]>,
    /// Published measurements.
    #[serde(default)]
    pub measured: Vec<Measurement>,
}

/// A source of white noise behind a resistor.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drive {
    /// The node, counted from 1.
    pub node: usize,
    /// Ohms.
    pub ohms: f64,
    /// Its amplitude, against that of the others.
    #[serde(default = "one")]
    pub strength: f64,
}

fn one() -> f64 {
    1.0
}

/// A resistor between two nodes, counted from 1, or from a node to ground, 0.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resistor {
    /// Its ends.
    pub nodes: [usize; 2],
    /// Ohms.
    pub ohms: f64,
}

/// What is told of two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Σ₁₂/√(Σ₁₁Σ₂₂).
    Correlation,
    /// √(Σ₁₁/Σ₂₂).
    AmplitudeRatio,
    /// The longest time constant, s.
    SlowestSeconds,
    /// The shortest time constant, s.
    FastestSeconds,
}

/// A published number.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Of what.
    pub quantity: Quantity,
    /// In which band, Hz; else in that of the instrument.
    #[serde(default)]
    pub band: Option<[f64; 2]>,
    /// The board's.
    #[serde(default)]
    pub board: Option<f64>,
    /// Its standard error.
    #[serde(default)]
    pub error: Option<f64>,
    /// That of the model of those who measured it.
    #[serde(default)]
    pub model: Option<f64>,
}

/// The highest frequency of a band, Hz.
const HIGHEST: f64 = 1e12;

/// Stretches that are simulated side by side.
const TOGETHER: usize = 32;

impl Board {
    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.capacitors.len()
    }

    /// G, in siemens.
    ///
    /// # Errors
    /// [`Error::Request`] for components that are not positive, and for nodes that there are not.
    pub fn conductance(&self) -> Result<Mat<f64>> {
        let n = self.nodes();
        let refuse = |reason: String| Err(Error::Request(format!("board `{}`: {reason}", self.name)));
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if n == 0 || self.drives.is_empty() {
            return refuse(format!(
                "{n} nodes and {} drives: at least one of each is needed",
                self.drives.len()
            ));
        }
        if let Some((node, farads)) =
            self.capacitors.iter().enumerate().find(|(_, farads)| !positive(**farads))
        {
            return refuse(format!("the capacitor of node {} has {farads} F", node + 1));
        }
        if let Some([low, high]) = self.band
            && !(low >= 0.0 && high > low && high <= HIGHEST)
        {
            return refuse(format!("a band from {low:e} to {high:e} Hz"));
        }
        let sound = |band: Option<[f64; 2]>| {
            band.is_none_or(|[low, high]| low >= 0.0 && high > low && high <= HIGHEST)
        };
        for measured in &self.measured {
            let Measurement { quantity, band, board, error, model } = measured;
            let values = [*board, *error, *model];
            if !sound(*band) || values.into_iter().flatten().any(|value| !(value.is_finite() && value >= 0.0))
            {
                return refuse(format!("a measurement of {quantity:?} in the band {band:?}: {values:?}"));
            }
            if n < 2 && matches!(quantity, Quantity::Correlation | Quantity::AmplitudeRatio) {
                return refuse(format!("{quantity:?} is of two nodes, and this board has one"));
            }
        }
        if self.drives.iter().all(|drive| drive.strength == 0.0) {
            return refuse("no drive has any strength".into());
        }
        let mut g = Mat::zeros(n, n);
        for drive in &self.drives {
            if drive.node == 0 || drive.node > n || !positive(drive.ohms) || !drive.strength.is_finite() {
                return refuse(format!(
                    "a drive of strength {} through {} ohm at node {} of {n}",
                    drive.strength, drive.ohms, drive.node
                ));
            }
            g[(drive.node - 1, drive.node - 1)] += 1.0 / drive.ohms;
        }
        for Resistor { nodes: [a, b], ohms } in self.resistors.iter().copied() {
            if a.max(b) > n || a == b || !positive(ohms) {
                return refuse(format!(
                    "a resistor of {ohms} ohm between nodes {a} and {b} of {n} (0 is ground)"
                ));
            }
            for (own, other) in [(a, b), (b, a)] {
                if own > 0 {
                    g[(own - 1, own - 1)] += 1.0 / ohms;
                    if other > 0 {
                        g[(own - 1, other - 1)] -= 1.0 / ohms;
                    }
                }
            }
        }
        Ok(g)
    }

    /// Its dynamics in volts and seconds, under noise of 1 V²/Hz (two-sided) and strength 1.
    ///
    /// # Errors
    /// Those of [`conductance`](Self::conductance) and [`OrnsteinUhlenbeck::new`].
    pub fn system(&self) -> Result<OrnsteinUhlenbeck> {
        let (g, n) = (self.conductance()?, self.nodes());
        let mut currents = vec![0.0; n];
        for drive in &self.drives {
            currents[drive.node - 1] += (drive.strength / drive.ohms).powi(2);
        }
        let a = Mat::from_fn(n, n, |i, j| g[(i, j)] / self.capacitors[i]);
        let d =
            Mat::from_fn(n, n, |i, j| if i == j { currents[i] / self.capacitors[i].powi(2) } else { 0.0 });
        Ok(OrnsteinUhlenbeck::new(a, vec![0.0; n], d)?)
    }

    /// Σ in a band, (39), or of all frequencies.
    ///
    /// # Errors
    /// Those of [`system`](Self::system).
    pub fn covariance(&self, band: Option<[f64; 2]>) -> Result<Mat<f64>> {
        let system = self.system()?;
        let Some([low, high]) = band else { return Ok(system.stationary()?) };
        let (a, d, n) = (system.drift(), system.diffusion(), self.nodes());
        let (squared, driven) = (a * a, a * &d * a.transpose());
        let density = |f: f64| {
            let omega = std::f64::consts::TAU * f;
            let denominator =
                Mat::from_fn(n, n, |i, j| squared[(i, j)] + if i == j { omega * omega } else { 0.0 });
            let m = denominator.partial_piv_lu().inverse();
            let inner = &driven + &d * faer::Scale(omega * omega);
            &m * inner * m.transpose() * faer::Scale(2.0)
        };
        let mut sum = Mat::zeros(n, n);
        // Octaves, from far below the slowest rate.
        let least = low.max(1e-4 * system.rates()[0]);
        let mut edges = vec![low];
        let mut edge = least;
        while edge < high {
            if edge > low {
                edges.push(edge);
            }
            edge *= 2.0;
        }
        edges.push(high);
        for pair in edges.windows(2) {
            for (s, weight) in gauss(8) {
                let width = pair[1] - pair[0];
                sum += density(pair[0] + s * width) * faer::Scale(weight * width);
            }
        }
        Ok(sum)
    }

    /// A quantity in a band, by (39).
    ///
    /// # Errors
    /// [`Error::Request`] for a board of one node, and those of [`covariance`](Self::covariance).
    pub fn theory(&self, quantity: Quantity, band: Option<[f64; 2]>) -> Result<f64> {
        let rates = self.system()?.rates().to_vec();
        match quantity {
            Quantity::SlowestSeconds => Ok(1.0 / rates[0]),
            Quantity::FastestSeconds => Ok(1.0 / rates[rates.len() - 1]),
            _ if self.nodes() < 2 => {
                Err(Error::Request("a board of one node has no second to compare with".into()))
            }
            _ => Ok(quantity.of(&self.covariance(band)?)),
        }
    }

    /// Simulates `blocks` stretches of `length` samples every `dt` seconds, and gives Σ of every stretch in every band: `[band]
    /// [stretch]`.
    ///
    /// # Errors
    /// Those of [`system`](Self::system) and [`run`].
    pub fn simulate(
        &self,
        bands: &[Option<[f64; 2]>],
        (blocks, length, dt): (usize, usize, f64),
        shards: Shards,
        key: Key,
    ) -> Result<Vec<Vec<Mat<f64>>>> {
        let (system, n) = (self.system()?, self.nodes());
        let exact = LinearSteps::<f64>::new(&system, Scheme::Exact, dt, key)?;
        let settle = LinearSteps::<f64>::new(&system, Scheme::Exact, 40.0 / system.rates()[0], key)?;
        let transform = FftPlanner::new().plan_fft_forward(length);
        let shards = Shards { size: TOGETHER, ..shards };
        let parts = shards.map(blocks, |range| -> Result<Vec<Vec<Mat<f64>>>> {
            let (key, count) = (key.skip(range.start as u64), range.len());
            let settle = settle.clone().with_key(key.fork("settle"));
            let start = run(&settle, Mat::zeros(n, count).into(), 1, |_| {})?;
            let mut series = vec![Vec::with_capacity(length); n * count];
            run(&exact.clone().with_key(key), start, length, |step| {
                for (k, series) in series.iter_mut().enumerate() {
                    series.push(Complex::new(step.after.x[(k % n, k / n)], 0.0));
                }
            })?;
            series.iter_mut().for_each(|series| transform.process(series));
            let of = |series: &[Vec<Complex<f64>>], band: &Option<[f64; 2]>| {
                let [low, high] = band.unwrap_or([0.0, 0.5 / dt]);
                let frequency = |k: usize| k as f64 / (length as f64 * dt);
                let inside = (0..length / 2).filter(|&k| (low..high).contains(&frequency(k)));
                let mut sum = Mat::zeros(n, n);
                for k in inside {
                    for i in 0..n {
                        for j in 0..n {
                            let cross = series[i][k] * series[j][k].conj();
                            // The mean is known to be zero: what it is not is fluctuation.
                            let sides = if k == 0 { 1.0 } else { 2.0 };
                            sum[(i, j)] += sides * cross.re / (length as f64).powi(2);
                        }
                    }
                }
                sum
            };
            Ok(series.chunks(n).map(|series| bands.iter().map(|band| of(series, band)).collect()).collect())
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?.concat();
        Ok((0..bands.len()).map(|band| parts.iter().map(|part| part[band].clone()).collect()).collect())
    }
}

impl Quantity {
    /// Of a covariance.
    pub fn of(self, sigma: &Mat<f64>) -> f64 {
        match self {
            Self::Correlation => sigma[(0, 1)] / (sigma[(0, 0)] * sigma[(1, 1)]).sqrt(),
            Self::AmplitudeRatio => (sigma[(0, 0)] / sigma[(1, 1)]).sqrt(),
            Self::SlowestSeconds | Self::FastestSeconds => f64::NAN,
        }
    }
}
