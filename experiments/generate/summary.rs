//! The results of a run of `generate` in a few numbers.

use serde::Serialize;
use thermograd::Estimate;
use thermograd_experiments::say;
use thermograd_experiments::workbench::name;
use thermograd_models::Scores;

use crate::judgement::Evaluation;
use crate::settings::{Mode, Readout, Settings};

/// summary.json; the keys are stable and explained in the help.
#[derive(Serialize)]
pub struct Summary {
    pub mode: Mode,
    pub dataset: String,
    pub seed: u64,
    /// The factor on trained couplings and biases, for a computer that stores images.
    pub gain: Option<f64>,
    #[serde(flatten)]
    pub scores: Scores,
    pub readout: Readout,
    pub heat_kt: Option<f64>,
    pub heat_kt_sd: Option<f64>,
    pub train_seconds: f64,
}

impl Summary {
    pub fn new(s: &Settings, evaluation: &Evaluation, seconds: f64) -> Self {
        let readout = if s.mode == Mode::Diffusion { Readout::Raw } else { s.headline() };
        Self {
            mode: s.mode,
            dataset: name(&s.source.dataset),
            seed: s.source.seed,
            gain: (s.mode == Mode::Stored && s.eval.is_none()).then_some(s.stored.gain),
            scores: evaluation.generated[&name(&readout)],
            readout,
            heat_kt: evaluation.heat_kt.map(|heat| heat.mean),
            heat_kt_sd: evaluation.heat_kt.map(|heat| heat.sd),
            train_seconds: seconds,
        }
    }

    pub fn print(&self, evaluation: &Evaluation) {
        say!("\n{} images against {}", self.scores.n, evaluation.reference);
        say!("                 recognised  accuracy  Fréchet  precision  recall  class entropy");
        for (name, scores) in evaluation.generated.iter().chain(&evaluation.calibration) {
            let Scores { accuracy, frechet, precision, recall, class_entropy, .. } = scores;
            let recognised = scores.recognised.map_or("–".into(), |part| format!("{:.1} %", 100.0 * part));
            let accuracy = format!("{:.1} %", 100.0 * accuracy);
            say!(
                "  {name:14} {recognised:>10} {accuracy:>9} {frechet:8.1} {precision:10.2} {recall:7.2} {class_entropy:14.2}"
            );
        }
        if let Some(gain) = self.gain {
            say!("  gain on the trained couplings  {gain}");
        }
        if let Some(heat) = evaluation.heat_kt {
            say!("  heat of an image  {}", kt(heat));
        }
        if let Some(work) = evaluation.work_kt.filter(|_| self.mode == Mode::Classes) {
            say!("  work of the protocol  {}", kt(work));
        }
        if let Some(macs) = evaluation.digital_macs {
            say!("  multiply–accumulates of an image  {macs:.2e}");
        }
        if self.train_seconds > 0.0 {
            say!("  training          {:.1} s", self.train_seconds);
        }
    }
}

/// An estimate in kT, with its standard deviation and the number of images.
pub fn kt(estimate: Estimate) -> String {
    let Estimate { mean, sd, count, .. } = estimate;
    let [mean, sd] = [mean, sd].map(|value| value.round() + 0.0); // no −0
    format!("{mean} kT (s.d. {sd}, {count} images)")
}
