//! One training stage of a session: a progress bar, metrics, and a checkpoint after every pass and at Ctrl-C.

use std::ops::ControlFlow;

use anyhow::{Error, Result, anyhow};
use burn::module::Module;
use serde::{Deserialize, Serialize};
use thermograd_models::{Fit, Progress};

use crate::workbench::progress::{bar, interrupted};
use crate::workbench::session::Session;

/// One line of metrics.jsonl: a pass over the examples.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Metric {
    /// The training stage.
    pub stage: String,
    /// Passes over the examples so far.
    pub epoch: usize,
    /// Steps so far.
    pub step: usize,
    /// The mean loss of the pass.
    pub loss: Option<f64>,
    /// Accuracy on held-out images.
    pub held_out_accuracy: Option<f64>,
    /// Mean heat on held-out images, in units of kT.
    pub held_out_heat_kt: Option<f64>,
}

/// A model on held-out images: accuracy, and mean heat in units of kT.
pub type HeldOut = (Option<f64>, Option<f64>);

/// The error of a checkpoint that is whole, as its checksum shows, but belongs to another model.
pub fn unlike(file: &str) -> Error {
    anyhow!("config.toml no longer matches checkpoints/{file}, which was written with other settings")
}

impl Session {
    const METRICS: &str = "metrics.jsonl";

    /// The log of all sessions.
    pub fn metrics(&self) -> Vec<Metric> {
        self.run.read_json_lines(Self::METRICS)
    }

    /// Removes the log entries of a stage after its last checkpoint, at `step` steps, because those steps are
    /// repeated.
    pub fn forget(&self, stage: &str, steps: usize) -> Result<()> {
        let done = |metric: &Metric| metric.stage != stage || metric.step <= steps;
        self.run.write_json_lines(Self::METRICS, &self.metrics().into_iter().filter(done).collect::<Vec<_>>())
    }

    /// Logs a pass over the examples.
    pub fn log(&self, metric: &Metric) -> Result<()> {
        self.run.append_json(Self::METRICS, metric)
    }

    /// Trains to the end, from where an earlier session stopped. After Ctrl-C, the error is
    /// [`Interrupted`](crate::workbench::progress::Interrupted).
    pub fn train<M: Module + Sync>(&self, fit: Fit<M>) -> Result<M> {
        self.train_watched(fit.name(), fit, |_, _| Ok((None, None)))
    }

    /// The same for a network that is not part of the run but cached for others too. Nothing is logged.
    pub fn train_aside<M: Module + Sync>(&self, fit: Fit<M>) -> Result<M> {
        self.train_to_the_end(fit.name(), fit, |_, _| Ok(None))
    }

    /// The same under another name, with an evaluation on held-out images after every pass.
    pub fn train_watched<M: Module + Sync>(
        &self,
        name: &str,
        fit: Fit<M>,
        held_out: impl Fn(&M, Progress) -> Result<HeldOut>,
    ) -> Result<M> {
        self.train_to_the_end(name, fit, |model, progress| {
            let (accuracy, heat) = held_out(model, progress)?;
            self.log(&Metric {
                stage: name.into(),
                epoch: progress.epoch(),
                step: progress.step,
                loss: Some(progress.loss),
                held_out_accuracy: accuracy,
                held_out_heat_kt: heat,
            })?;
            Ok(accuracy)
        })
    }

    /// Trains; after every pass `look` is called and a checkpoint is saved.
    fn train_to_the_end<M: Module + Sync>(
        &self,
        name: &str,
        mut fit: Fit<M>,
        look: impl Fn(&M, Progress) -> Result<Option<f64>>,
    ) -> Result<M> {
        let (run, file) = (&self.run, format!("{name}.ckpt"));
        if let Some(bytes) = run.kept(&file)? {
            fit = fit.resume(&bytes).map_err(|_| unlike(&file))?;
        }
        self.forget(name, fit.steps_done())?;

        let bar = bar(name, 1);
        let mut best: Option<f64> = None;
        let outcome = fit.run(|fit, progress| -> Result<_> {
            bar.set_length(progress.steps as u64);
            bar.set_position(progress.step as u64);
            let stop = interrupted();
            if progress.ends_epoch() {
                best = look(&fit.model, progress)?.or(best);
                let shown = best.map_or(String::new(), |best| format!(", held-out {:.2} %", 100.0 * best));
                bar.set_message(format!("epoch {}, loss {:.4}{shown}", progress.epoch(), progress.loss));
            }
            if progress.ends_epoch() || stop {
                run.keep(&file, &fit.checkpoint()?)?;
                self.save_clock()?;
            }
            Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        bar.end();
        match outcome {
            // Finished training is not interrupted; what follows checks for Ctrl-C itself.
            ControlFlow::Continue(()) => Ok(fit.finish()),
            ControlFlow::Break(()) => Err(self.last_words().into()),
        }
    }
}
