//! What came of a run of `ising`, in a few numbers.

use serde::Serialize;
use thermograd_experiments::report::percent;
use thermograd_experiments::say;
use thermograd_experiments::workbench::{Session, name};
use thermograd_models::ising::sampling::Reading;

use crate::Forecast;
use crate::settings::Settings;

/// summary.json; the keys are stable.
#[derive(Serialize)]
pub struct Summary {
    pub dataset: String,
    /// What the numbers are of: test images, or held-out training images.
    pub images: &'static str,
    pub network: String,
    pub realisation: String,
    pub delta: f64,
    pub replicas: usize,
    pub seed: u64,
    pub backend: String,
    /// G.
    pub sweeps: usize,
    pub burn_in: usize,
    /// Of the average of G sweeps.
    pub accuracy: f64,
    pub accuracy_predicted: f64,
    /// Of an average that lasts for ever, by the closure.
    pub accuracy_mean_field: f64,
    pub tau_sweeps: f64,
    pub tau_sweeps_error: f64,
    pub spins: usize,
    pub couplings: usize,
    pub flips_per_image: f64,
    pub joules_per_image: f64,
    pub macs_digital: usize,
    pub train_seconds: f64,
}

impl Summary {
    pub fn new(s: &Settings, session: &Session, forecast: &Forecast, reading: &Reading) -> Self {
        let (sweeps, accuracy) = reading.accuracy[reading.accuracy.len() - 1];
        Self {
            dataset: name(&s.source.dataset),
            images: if s.against_held_out { "held-out" } else { "test" },
            network: name(&s.network),
            realisation: forecast.realisation.into(),
            delta: s.ising.delta,
            replicas: s.ising.replicas,
            seed: s.source.seed,
            backend: s.source.backend.to_string(),
            sweeps,
            burn_in: reading.burn_in,
            accuracy,
            accuracy_predicted: forecast.expected.accuracy(sweeps, forecast.tau),
            accuracy_mean_field: forecast.expected.limit(),
            tau_sweeps: forecast.tau,
            tau_sweeps_error: forecast.tau_error,
            spins: forecast.spins,
            couplings: forecast.couplings,
            flips_per_image: reading.flips_per_image,
            joules_per_image: reading.flips_per_image * s.flip_joules,
            macs_digital: forecast.macs,
            train_seconds: session.seconds(),
        }
    }

    pub fn print(&self, reading: &Reading, forecast: &Forecast) {
        let burn_in = self.burn_in;
        say!("\n{} {} images, {burn_in} sweeps of burn-in", reading.images, self.images);
        say!("  sweeps averaged   accuracy   expected");
        for &(sweeps, accuracy) in &reading.accuracy {
            let expected = percent(forecast.expected.accuracy(sweeps, forecast.tau));
            say!("  {sweeps:>15}   {:>8}   {expected:>8}", percent(accuracy));
        }
        say!("  mean field        {}", percent(self.accuracy_mean_field));
        say!("  autocorrelation   {:.2} ± {:.2} sweeps", self.tau_sweeps, self.tau_sweeps_error);
        say!("  flips of spins    {:.3e} an image, {} spins", self.flips_per_image, self.spins);
        say!("  at a price        {:.2e} J an image", self.joules_per_image);
        say!("  digital           {:.3e} multiply–accumulates an image", self.macs_digital as f64);
        if self.train_seconds > 0.0 {
            say!("  training          {:.1} s", self.train_seconds);
        }
    }
}
