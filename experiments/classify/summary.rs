//! The results of a run of `classify` in a few numbers.

use serde::Serialize;
use thermograd::units::digital_energy_kt;
use thermograd_experiments::report::{counted, percent, spread};
use thermograd_experiments::say;
use thermograd_experiments::workbench::{Session, name};
use thermograd_models::{Classifier, Evaluation};

use crate::settings::Settings;

/// summary.json; the keys are stable.
#[derive(Serialize)]
pub struct Summary {
    pub dataset: String,
    /// The images that were evaluated: test images, or held-out training images.
    pub images: &'static str,
    pub trainer: String,
    pub backend: String,
    pub seed: u64,
    pub trajectories: usize,
    pub top1_single: f64,
    pub top1_single_sd: f64,
    pub top1_avg: f64,
    pub top2_avg: f64,
    /// Of one trajectory: the trajectory behind `top1_single`.
    pub heat_kt: f64,
    pub heat_kt_sd: f64,
    /// Of all trajectories of an image together: the price of `top1_avg`.
    pub heat_kt_avg: f64,
    pub advantage: f64,
    pub mac_picojoule: f64,
    pub train_seconds: f64,
}

impl Summary {
    pub fn new(
        settings: &Settings,
        session: &Session,
        classifier: &Classifier,
        evaluation: &Evaluation,
    ) -> Self {
        let digital = digital_energy_kt(classifier.digital_macs(), settings.mac_picojoule);
        Self {
            dataset: name(&settings.source.dataset),
            images: if settings.against_held_out { "held-out" } else { "test" },
            trainer: if session.trains() { name(&settings.trainer) } else { "none (--eval)".into() },
            backend: settings.source.backend.to_string(),
            seed: settings.source.seed,
            trajectories: evaluation.trajectories,
            top1_single: evaluation.top1_single.mean,
            top1_single_sd: evaluation.top1_single.sd,
            top1_avg: evaluation.top1_average,
            top2_avg: evaluation.top2_average,
            heat_kt: evaluation.heat.mean,
            heat_kt_sd: evaluation.heat.sd,
            heat_kt_avg: evaluation.heat.mean * evaluation.trajectories as f64,
            advantage: digital / evaluation.heat.mean,
            mac_picojoule: settings.mac_picojoule,
            train_seconds: session.seconds(),
        }
    }

    pub fn print(&self, evaluation: &Evaluation) {
        let each = counted(self.trajectories, "trajectory");
        say!("\n{} {} images, {each} each", evaluation.images, self.images);
        say!("  one trajectory        {}{}", percent(self.top1_single), spread(self.top1_single_sd));
        if self.trajectories > 1 {
            let [count, heat] = [self.trajectories as f64, self.heat_kt_avg];
            say!("  average of {count:<3}        {}, at {heat:.3e} kT", percent(self.top1_avg));
        }
        say!("  two guesses, average  {}", percent(self.top2_avg));
        say!("  without noise         {}", percent(evaluation.top1_noiseless));
        say!("  heat of a trajectory  {:.3e} kT (s.d. {:.1e})", self.heat_kt, self.heat_kt_sd);
        if self.heat_kt > 0.0 {
            let price = self.mac_picojoule;
            say!("  digital / heat        {:.1e} at {price} pJ per multiply–accumulate", self.advantage);
        }
        if self.train_seconds > 0.0 {
            say!("  training              {:.1} s", self.train_seconds);
        }
    }
}
