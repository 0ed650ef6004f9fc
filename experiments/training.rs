//! What trainings of all experiments share: one loop of bar, metrics and checkpoints, and the time it took.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use thermograd_models::{Fit, Progress, Training};

use crate::progress::{bar, interrupted};
use crate::run::Run;

/// One line of metrics.jsonl: a pass over the examples.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metric {
    /// Which training.
    pub stage: String,
    /// Passes over the examples.
    pub epoch: usize,
    /// Steps.
    pub step: usize,
    /// The mean loss of the pass.
    pub loss: Option<f64>,
    /// Accuracy on held-out images.
    pub held_out_accuracy: Option<f64>,
    /// Mean heat on held-out images, in units of kT.
    pub held_out_heat_kt: Option<f64>,
}

/// One training with a bar, metrics and a checkpoint after every epoch and at Ctrl-C; goes on from a checkpoint.
/// None after Ctrl-C.
pub fn stage<T: Training>(
    run: &Run,
    clock: &mut Clock,
    name: &str,
    mut fit: Fit<T>,
    held_out: impl Fn(&T::Model, Progress) -> Result<(Option<f64>, Option<f64>)>,
) -> Result<Option<T::Model>> {
    let file = format!("checkpoints/{name}.ckpt");
    if run.has(&file) {
        fit = fit.resume(&run.read(&file)?).with_context(|| format!("in {}", run.path(&file).display()))?;
    }
    // What an interrupted session logged after its last checkpoint is done again.
    let metrics: Vec<Metric> = run.read_json_lines("metrics.jsonl");
    let done = |metric: &Metric| metric.stage != name || metric.step <= fit.steps_done();
    run.write_json_lines("metrics.jsonl", &metrics.into_iter().filter(done).collect::<Vec<_>>())?;

    let bar = bar(name, 1);
    let mut best: Option<f64> = None;
    let outcome = fit.run(|fit, progress| -> Result<_> {
        bar.set_length(progress.steps as u64);
        bar.set_position(progress.step as u64);
        let stop = interrupted();
        if progress.ends_epoch() {
            let (accuracy, heat) = held_out(&fit.model, progress)?;
            best = accuracy.or(best);
            let shown = best.map_or(String::new(), |part| format!(", held-out {:.2} %", 100.0 * part));
            bar.set_message(format!("epoch {}, loss {:.4}{shown}", progress.epoch(), progress.loss));
            let metric = Metric {
                stage: name.into(),
                epoch: progress.epoch(),
                step: progress.step,
                loss: Some(progress.loss),
                held_out_accuracy: accuracy,
                held_out_heat_kt: heat,
            };
            run.append_json("metrics.jsonl", &metric)?;
        }
        if progress.ends_epoch() || stop {
            run.write(&file, &fit.checkpoint()?)?;
            clock.save(run)?;
        }
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    bar.finish_and_clear();
    match outcome {
        // A stage that is done is not interrupted: what follows looks for itself.
        ControlFlow::Continue(()) => Ok(Some(fit.finish())),
        ControlFlow::Break(()) => Ok(None),
    }
}

/// Seconds of training over all sessions of a run.
pub struct Clock {
    before: Duration,
    start: Instant,
    counts: bool,
}

impl Clock {
    const FILE: &str = "checkpoints/seconds.json";

    /// The clock of a run, with the seconds of earlier sessions.
    pub fn open(run: &Run) -> Self {
        let seconds = run.read(Self::FILE).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let before = Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default();
        Self { before, start: Instant::now(), counts: true }
    }

    /// A clock for what is no part of the training: it is never saved.
    pub fn idle() -> Self {
        Self { before: Duration::ZERO, start: Instant::now(), counts: false }
    }

    /// Seconds until now.
    pub fn seconds(&self) -> f64 {
        (self.before + self.start.elapsed()).as_secs_f64()
    }

    /// Keeps the seconds for a later session.
    pub fn save(&self, run: &Run) -> Result<()> {
        if !self.counts {
            return Ok(());
        }
        run.write_json(Self::FILE, &self.seconds())
    }
}
