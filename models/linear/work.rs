//! Determinants from the work of switching one matrix into another.
//!
//! A machine in equilibrium at A₀ is switched to A₁ in steps: the matrix jumps, which does the work ½ xᵀ dA x on x, and then x
//! moves. With W_F the work from A₀ to A₁, and W_R that of the way back, in units of kT,
//!
//! ```text
//! ΔF = ½ ln(det A₁/det A₀),      ⟨e^(−W_F)⟩ = e^(−ΔF),      Σ_F f(W − ΔF) = Σ_R f(W + ΔF),  f(x) = 1/(1 + e^x)      (36)
//! ```
//!
//! The second equation is that of C. Jarzynski (Phys. Rev. Lett. 78, 2690, 1997), the third that of C. H. Bennett (J. Comput.
//! Phys. 22, 245, 1976) for as many ways back as forth, as M. R. Shirts et al. (Phys. Rev. Lett. 91, 140601, 2003) write it.

use faer::Mat;
use serde::{Deserialize, Serialize};
use thermograd::{Dynamics, Key, Linear, LinearSteps, OrnsteinUhlenbeck, Place, Scheme, Shards, run};

use crate::error::{Error, Result};

/// A machine whose matrix changes from step to step, and the work of that.
struct Switching {
    /// The matrix of every step, and its steps.
    stages: Vec<(Mat<f64>, LinearSteps)>,
}

/// x, and the work done so far on every chain.
#[derive(Clone)]
struct Worked {
    x: Linear,
    work: Vec<f64>,
}

impl Dynamics for Switching {
    type State = Worked;

    fn step(&self, index: usize, Worked { x, mut work }: Worked) -> Worked {
        let (matrix, steps) = &self.stages[index];
        if index > 0 {
            let change = matrix - &self.stages[index - 1].0;
            let pushed = &change * &x.x;
            for (chain, work) in work.iter_mut().enumerate() {
                *work += 0.5 * (x.x.col(chain).transpose() * pushed.col(chain));
            }
        }
        Worked { x: steps.step(index, x), work }
    }

    fn diverged(&self, state: &Worked) -> Option<Place> {
        self.stages[0].1.diverged(&state.x)
    }
}

/// What switching back and forth says of ln det A₁ − ln det A₀.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Switched {
    /// By Bennett's equation, with its standard error.
    pub bennett: (f64, f64),
    /// By Jarzynski's, from the work of the way there.
    pub jarzynski: f64,
    /// How many values of e^(−W) carry Jarzynski's average: (Σe^(−W))²/Σe^(−2W).
    pub effective: f64,
    /// Of every chain from A₀ to A₁, in kT.
    pub forward: Vec<f64>,
    /// Of every chain from A₁ to A₀, in kT.
    pub reverse: Vec<f64>,
}

/// The work of so many chains from one matrix to the other in a time, in so many steps, in units of kT.
///
/// # Errors
/// Those of [`OrnsteinUhlenbeck::gradient`] and [`run`].
pub fn works(
    from: &Mat<f64>,
    to: &Mat<f64>,
    (time, stages): (f64, usize),
    chains: usize,
    shards: Shards,
    key: Key,
) -> Result<Vec<f64>> {
    let n = from.nrows();
    let stage = |k: usize| -> Result<(Mat<f64>, LinearSteps)> {
        let s = k as f64 / stages as f64;
        let matrix = from * faer::Scale(1.0 - s) + to * faer::Scale(s);
        let system = OrnsteinUhlenbeck::gradient(matrix.clone(), vec![0.0; n], 1.0)?;
        Ok((matrix, LinearSteps::new(&system, Scheme::Exact, time / stages as f64, key)?))
    };
    let all = (0..=stages).map(stage).collect::<Result<Vec<_>>>()?;
    let start = OrnsteinUhlenbeck::gradient(from.clone(), vec![0.0; n], 1.0)?;
    // Equilibrium, by short steps from rest.
    let h = 0.5 / start.fastest();
    let settle = LinearSteps::new(&start, Scheme::LeimkuhlerMatthews, h, key)?;
    let settling = (12.0 / start.rates()[0] / h).ceil() as usize;
    let parts = shards.map(chains, |range| -> Result<Vec<f64>> {
        let (key, count) = (key.skip(range.start as u64), range.len());
        let settle = settle.clone().with_key(key.fork("start"));
        let x = run(&settle, Mat::zeros(n, count).into(), settling, |_| {})?.x.into();
        let keyed =
            all.iter().map(|(matrix, steps)| (matrix.clone(), steps.clone().with_key(key.fork("switch"))));
        let switching = Switching { stages: keyed.collect() };
        Ok(run(&switching, Worked { x, work: vec![0.0; count] }, stages + 1, |_| {})?.work)
    });
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// ln det A₁ − ln det A₀ by switching both ways.
///
/// # Errors
/// Those of [`works`], and [`Error::Request`] for fewer than two chains.
pub fn switched(
    from: &Mat<f64>,
    to: &Mat<f64>,
    pace: (f64, usize),
    chains: usize,
    shards: Shards,
    key: Key,
) -> Result<Switched> {
    if chains < 2 {
        return Err(Error::Request("switching needs two chains each way at least".into()));
    }
    let forward = works(from, to, pace, chains, shards, key.fork("forward"))?;
    let reverse = works(to, from, pace, chains, shards, key.fork("reverse"))?;
    let (difference, error) = bennett(&forward, &reverse);
    let least = forward.iter().copied().fold(f64::INFINITY, f64::min);
    let weights = || forward.iter().map(|work| (least - work).exp());
    let (sum, squares) = (weights().sum::<f64>(), weights().map(|weight| weight * weight).sum::<f64>());
    let jarzynski = 2.0 * (least - (sum / forward.len() as f64).ln());
    Ok(Switched {
        bennett: (2.0 * difference, 2.0 * error),
        jarzynski,
        effective: sum * sum / squares,
        forward,
        reverse,
    })
}

/// ΔF of Bennett's equation and its standard error, from works in kT, as many each way.
pub fn bennett(forward: &[f64], reverse: &[f64]) -> (f64, f64) {
    let fermi = |x: f64| 1.0 / (1.0 + x.exp());
    let excess = |difference: f64| {
        forward.iter().map(|work| fermi(work - difference)).sum::<f64>()
            - reverse.iter().map(|work| fermi(work + difference)).sum::<f64>()
    };
    // It grows with ΔF, which lies between the works.
    let all = || forward.iter().copied().chain(reverse.iter().map(|work| -work));
    let (mut low, mut high) =
        (all().fold(f64::INFINITY, f64::min) - 1.0, all().fold(f64::NEG_INFINITY, f64::max) + 1.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if excess(middle) < 0.0 { low = middle } else { high = middle }
    }
    let difference = 0.5 * (low + high);
    // The variance of the difference of two sums over the square of its slope.
    let moments = |values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (variance * n / (n - 1.0), values.iter().map(|f| f * (1.0 - f)).sum::<f64>())
    };
    let (a, slope_a) = moments(&mut forward.iter().map(|work| fermi(work - difference)));
    let (b, slope_b) = moments(&mut reverse.iter().map(|work| fermi(work + difference)));
    (difference, (a + b).sqrt() / (slope_a + slope_b))
}
