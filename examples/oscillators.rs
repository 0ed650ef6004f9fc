//! Another kind of machine on the same loop: phase oscillators coupled by cosines.
//!
//! ```text
//! V(θ) = −Σ_(ij) K_ij cos(θ_i − θ_j),      θ_i ← θ_i − ∂_iV Δt + √(2kTΔt) η_i
//! ```
//!
//! (Y. Kuramoto, 1975; as an Ising machine, T. Wang and J. Roychowdhury, arXiv:1903.07163 (2019)). This file only
//! defines the machine and its step; the library provides the loop, the noise, the recording and the report of a
//! divergence. `cargo run --release --example oscillators` shows thirty oscillators synchronising.

use burn::tensor::{Device, Tensor, TensorData};
use thermograd::{Dynamics, Key, Place, Recorder, Result, run, to_f64};

/// Phase oscillators in a bath.
pub struct Oscillators {
    /// K, `[unit, unit]`, symmetric.
    pub coupling: Tensor<2>,
    /// The temperature of the bath.
    pub kt: f64,
    /// Δt.
    pub dt: f64,
    /// The noise.
    pub key: Key,
}

impl Dynamics for Oscillators {
    /// Phases, `[batch, unit]`.
    type State = Tensor<2>;

    fn step(&self, index: usize, theta: Tensor<2>) -> Tensor<2> {
        let ([batch, units], (sin, cos)) = (theta.dims(), (theta.clone().sin(), theta.clone().cos()));
        // ∂_iV = Σ_j K_ij sin(θ_i − θ_j) = sin θ_i Σ_j K_ij cos θ_j − cos θ_i Σ_j K_ij sin θ_j
        let pull = |x: &Tensor<2>| x.clone().matmul(self.coupling.clone());
        let gradient = sin.clone() * pull(&cos) - cos * pull(&sin);
        let normals = self.key.normals(index as u32, batch, units);
        let eta = Tensor::from_data(TensorData::new(normals, [batch, units]), &theta.device());
        theta - gradient * self.dt + eta * (2.0 * self.kt * self.dt).sqrt()
    }

    fn diverged(&self, theta: &Tensor<2>) -> Option<Place> {
        let (units, phases) = (theta.dims()[1], to_f64(theta.clone()));
        let index = phases.iter().position(|phase| !phase.is_finite())?;
        Some(Place { trajectory: index / units, group: "oscillator".into(), unit: index % units })
    }

    fn time(&self, steps: usize) -> f64 {
        steps as f64 * self.dt
    }
}

/// |⟨e^(iθ)⟩| over the units of each trajectory: 1 if all are in phase.
pub fn order(theta: &Tensor<2>) -> Vec<f64> {
    let mean = |x: Tensor<2>| x.mean_dim(1).square();
    to_f64((mean(theta.clone().sin()) + mean(theta.clone().cos())).sqrt())
}

#[allow(dead_code)]
fn main() -> Result<()> {
    let (units, device) = (30, Device::flex());
    let coupling = (1.0 - Tensor::<2>::eye(units, &device)) * (2.0 / units as f64);
    let oscillators = Oscillators { coupling, kt: 0.2, dt: 0.02, key: Key::new(1) };
    let phases = Key::new(2).normals(0, 1, units).into_iter().map(|normal| 3.0 * normal).collect();
    let start = Tensor::from_data(TensorData::new(phases, [1, units]), &device);
    let mut recorder = Recorder::new(start.clone(), 50);
    run(&oscillators, start, 1000, |step| recorder.observe(step))?;
    let trajectory = recorder.trajectory(oscillators.dt);
    for (row, theta) in trajectory.states.iter_dim(0).enumerate() {
        let order = order(&theta.squeeze_dim(0))[0];
        let bar = "#".repeat((40.0 * order) as usize);
        println!("t = {:4.1}  order {order:.2}  {bar}", row as f64 * trajectory.interval);
    }
    Ok(())
}
