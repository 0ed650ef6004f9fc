//! Train a thermodynamic computer to read digits.
//!
//! image → clamped field → trajectory → action or read-out → gradient → couplings → evaluation → report.

#[path = "classify/report.rs"]
mod report;
#[path = "classify/settings.rs"]
mod settings;

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::Parser;
use serde::{Deserialize, Serialize};
use thermograd::units::digital_energy_kt;
use thermograd::{Couplings, Key, Shards, Substrate};
use thermograd_datasets::mnist;
use thermograd_experiments::data::Data;
use thermograd_experiments::progress::{INTERRUPTED, interrupted, part_bar};
use thermograd_experiments::run::{self, Run};
use thermograd_experiments::settings::{Settings as _, shards};
use thermograd_experiments::training::{Clock, Metric, stage};
use thermograd_models::{
    Classifier, ClassifierConfig, Evaluation, Examples, Fit, Lesson, Parameters, Progress, Teacher, exact,
};

use crate::settings::{Arguments, Settings, Trainer};

/// summary.json; the keys are stable.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    dataset: String,
    trainer: String,
    backend: String,
    seed: u64,
    trajectories: usize,
    top1_single: f64,
    top1_single_sd: f64,
    top1_avg: f64,
    top2_avg: f64,
    heat_kt: f64,
    heat_kt_sd: f64,
    advantage: f64,
    mac_picojoule: f64,
    train_seconds: f64,
}

/// Settings, data and device of a run.
struct Setup {
    settings: Settings,
    shards: Shards,
    device: Device,
    key: Key,
    train: Examples,
    held_out: Examples,
    test: Examples,
}

fn main() {
    let arguments = Arguments::parse();
    let outcome = thermograd_experiments::begin().and_then(|()| match &arguments.eval {
        Some(file) => evaluate_file(&arguments, file).map(|()| ControlFlow::Continue(())),
        None => train_and_report(&arguments),
    });
    thermograd_experiments::end(outcome);
}

fn train_and_report(arguments: &Arguments) -> Result<ControlFlow<()>> {
    let (run, setup) = match &arguments.resume {
        Some(folder) => {
            let run = Run::open(folder)?;
            let settings = Settings::read(&run.path(Run::SETTINGS))?;
            (run, Setup::new(settings, arguments)?)
        }
        None => {
            let setup = Setup::new(arguments.settings()?, arguments)?;
            (Run::begin("classify", arguments.out.as_deref(), &setup.settings)?, setup)
        }
    };
    println!("run folder: {}", run.folder().display());

    let mut clock = Clock::open(&run);
    let Some(classifier) = setup.train(&run, &mut clock)? else {
        println!("\nsaved; continue with: classify --resume {}", run.folder().display());
        return Ok(ControlFlow::Break(()));
    };
    run.export(&classifier.couplings(), arguments.export.as_deref())?;
    let metrics = run.read_json_lines("metrics.jsonl");
    setup.report(&run, &classifier, &metrics, Some(clock.seconds()))?;
    Ok(ControlFlow::Continue(()))
}

fn evaluate_file(arguments: &Arguments, file: &Path) -> Result<()> {
    let named = || format!("in {}", file.display());
    let couplings = Couplings::decode(&run::read(file)?).with_context(named)?;
    let settings = arguments.settings()?;
    let setup = Setup::new(settings, arguments)?;
    let classifier = Classifier::from_couplings(&couplings, &setup.device).with_context(named)?;
    let run = Run::begin("classify-eval", arguments.out.as_deref(), &setup.settings)?;
    println!("run folder: {}", run.folder().display());
    setup.report(&run, &classifier, &[], None)
}

impl Setup {
    fn new(settings: Settings, arguments: &Arguments) -> Result<Self> {
        let device = settings.backend.device()?;
        let folder = settings.data_dir.as_deref();
        let data = Data::load(settings.dataset, folder, settings.seed, settings.limit, settings.held_out)?;
        Ok(Self {
            shards: shards(settings.backend, arguments.threads, settings.shard),
            device,
            key: Key::new(settings.seed),
            train: data.train,
            held_out: data.held_out,
            test: data.test,
            settings,
        })
    }

    /// Teacher, then couplings. None after Ctrl-C.
    fn train(&self, run: &Run, clock: &mut Clock) -> Result<Option<Classifier>> {
        let s = &self.settings;
        let normalisation = self.train.normalisation();
        let config = ClassifierConfig {
            inputs: self.train.pixels_each(),
            hidden: s.hidden,
            classes: usize::from(mnist::CLASSES),
            wiring: s.wiring,
            j2: s.j2,
            j4: s.j4,
            kt: s.kt,
            schedule: s.schedule,
        };
        let untrained = config.init(normalisation, &self.device)?;

        let layers = [config.inputs, config.hidden, config.classes];
        let teacher = Teacher::new(s.teacher, layers, self.key, &self.device);
        let teacher = match run.has("teacher.bpk") {
            true => teacher.decode(&run.read("teacher.bpk")?)?,
            false => {
                let training = s.teacher.training(&self.train, normalisation);
                let fit = Fit::new(training, teacher, self.shards, self.key);
                let Some(teacher) = stage(run, clock, "teacher", fit, |_, _| Ok((None, None)))? else {
                    return Ok(None);
                };
                run.write("teacher.bpk", &teacher.encode()?)?;
                teacher
            }
        };
        let accuracy = teacher.accuracy(&self.held_out, &normalisation, self.shards);
        println!("teacher: {:.2} % of {} held-out images", 100.0 * accuracy, self.held_out.len());

        let held_out = |model: &Substrate, progress: Progress| {
            // Twenty looks at most: each costs a tenth of an epoch.
            let epochs = progress.steps / progress.steps_per_epoch;
            let due = progress.epoch().is_multiple_of(epochs.div_ceil(20)) || progress.step == progress.steps;
            if !due {
                return Ok((None, None));
            }
            let result = self.look(&untrained.with_substrate(model.clone()))?;
            Ok((Some(result.top1_single.mean), Some(result.heat.mean)))
        };
        let lesson = Lesson { teacher: &teacher, guide: s.guide };
        if s.trainer == Trainer::Likelihood {
            let training = s.likelihood.training(&untrained, lesson, &self.train)?;
            let fit = Fit::new(training, untrained.substrate.clone(), self.shards, self.key);
            let substrate = stage(run, clock, "likelihood", fit, held_out)?;
            return Ok(substrate.map(|substrate| untrained.with_substrate(substrate)));
        }
        let solved = self.exact(run, clock, &untrained, lesson)?;
        if s.trainer == Trainer::Exact || interrupted() {
            return Ok((!interrupted()).then_some(solved));
        }
        let training = s.pathwise.training(&solved, &self.train)?;
        let fit = Fit::new(training, solved.substrate.clone(), self.shards, self.key);
        let substrate = stage(run, clock, "pathwise", fit, held_out)?;
        Ok(substrate.map(|substrate| untrained.with_substrate(substrate)))
    }

    /// The exact optimum, from the file of an earlier session if there is one.
    fn exact(
        &self,
        run: &Run,
        clock: &mut Clock,
        untrained: &Classifier,
        lesson: Lesson,
    ) -> Result<Classifier> {
        const FILE: &str = "exact.safetensors";
        if run.has(FILE) {
            let couplings = Couplings::decode(&run.read(FILE)?).with_context(|| format!("in {FILE}"))?;
            return Ok(Classifier::from_couplings(&couplings, &self.device)?);
        }
        let s = &self.settings;
        let (bar, progress) = part_bar("exact");
        let solved = exact(untrained, lesson, &self.train, s.ridge, self.shards, self.key, progress)?;
        bar.finish_and_clear();
        let classifier = untrained.with_substrate(solved);
        run.write(FILE, &classifier.couplings().encode()?)?;
        let result = self.look(&classifier)?;
        let metric = Metric {
            stage: "exact".into(),
            epoch: 1,
            step: 1,
            loss: None,
            held_out_accuracy: Some(result.top1_single.mean),
            held_out_heat_kt: Some(result.heat.mean),
        };
        clock.save(run)?;
        run.append_json("metrics.jsonl", &metric)?;
        println!("exact: {:.2} % of the held-out images", 100.0 * result.top1_single.mean);
        Ok(classifier)
    }

    /// One trajectory of every held-out image.
    fn look(&self, classifier: &Classifier) -> Result<Evaluation> {
        Ok(classifier.evaluate(&self.held_out, 1, self.shards, self.key.fork("held out"), |_| {})?)
    }

    /// Runs the test set once, and writes and prints what came of it.
    fn report(
        &self,
        run: &Run,
        classifier: &Classifier,
        metrics: &[Metric],
        seconds: Option<f64>,
    ) -> Result<()> {
        let s = &self.settings;
        let (bar, mut progress) = part_bar("test");
        let tell = |part| {
            progress(part);
            if interrupted() {
                bar.finish_and_clear();
                match seconds {
                    None => println!("\nstopped"),
                    Some(_) => {
                        println!("\nsaved; continue with: classify --resume {}", run.folder().display());
                    }
                }
                std::process::exit(INTERRUPTED);
            }
        };
        let evaluation =
            classifier.evaluate(&self.test, s.trajectories, self.shards, self.key.fork("test"), tell)?;
        bar.finish_and_clear();
        let summary = Summary::new(s, classifier, &evaluation, seconds);
        run.write_json("evaluation.json", &evaluation)?;
        run.write_json("summary.json", &summary)?;
        let page = report::page(s, classifier, &self.test, &evaluation, &summary, metrics, self.key)?;
        run.write("report.html", page.as_bytes())?;
        summary.print(&evaluation);
        println!("report: {}", run.path("report.html").display());
        Ok(())
    }
}

impl Summary {
    fn new(
        settings: &Settings,
        classifier: &Classifier,
        evaluation: &Evaluation,
        seconds: Option<f64>,
    ) -> Self {
        let digital = digital_energy_kt(classifier.digital_macs(), settings.mac_picojoule);
        let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        Self {
            dataset: name(&settings.dataset),
            trainer: if seconds.is_some() { name(&settings.trainer) } else { "none (--eval)".into() },
            backend: settings.backend.to_string(),
            seed: settings.seed,
            trajectories: evaluation.trajectories,
            top1_single: evaluation.top1_single.mean,
            top1_single_sd: evaluation.top1_single.sd,
            top1_avg: evaluation.top1_average,
            top2_avg: evaluation.top2_average,
            heat_kt: evaluation.heat.mean,
            heat_kt_sd: evaluation.heat.sd,
            advantage: digital / evaluation.heat.mean,
            mac_picojoule: settings.mac_picojoule,
            train_seconds: seconds.unwrap_or(0.0),
        }
    }

    fn print(&self, evaluation: &Evaluation) {
        let percent = |part: f64| format!("{:.2} %", 100.0 * part);
        println!("\n{} test images, {} trajectories each", evaluation.images, self.trajectories);
        println!(
            "  one trajectory        {} (s.d. {:.2})",
            percent(self.top1_single),
            100.0 * self.top1_single_sd
        );
        println!("  average of {:<3}        {}", self.trajectories, percent(self.top1_avg));
        println!("  two guesses, average  {}", percent(self.top2_avg));
        println!("  without noise         {}", percent(evaluation.top1_noiseless));
        println!("  heat per inference    {:.3e} kT (s.d. {:.1e})", self.heat_kt, self.heat_kt_sd);
        println!(
            "  digital / heat        {:.1e} at {} pJ a multiply–accumulate",
            self.advantage, self.mac_picojoule
        );
        if self.train_seconds > 0.0 {
            println!("  training              {:.1} s", self.train_seconds);
        }
    }
}

/// The spread of an accuracy, if there was more than one trajectory to tell.
pub fn spread(sd: f64) -> String {
    if sd.is_finite() { format!(" (s.d. {:.2} over trajectories)", 100.0 * sd) } else { String::new() }
}
