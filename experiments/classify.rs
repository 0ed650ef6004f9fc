//! Train a thermodynamic computer to read digits.
//!
//! image → clamped field → trajectory → action or read-out → gradient → couplings → evaluation → report.

#[path = "classify/report.rs"]
mod report;
#[path = "classify/settings.rs"]
mod settings;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use clap::Parser;
use serde::{Deserialize, Serialize};
use thermograd::units::digital_energy_kt;
use thermograd::{Couplings, Key, Shards, Substrate};
use thermograd_datasets::{Images, mnist, strokes};
use thermograd_experiments::progress::{INTERRUPTED, bar, interrupted, part_bar};
use thermograd_experiments::run::{self, Run};
use thermograd_models::{
    Classifier, ClassifierConfig, Evaluation, Examples, Fit, Lesson, Progress, Teacher, exact,
};

use crate::settings::{Arguments, Dataset, Settings, Trainer};

/// One line of metrics.jsonl: a pass over the examples.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metric {
    stage: String,
    epoch: usize,
    step: usize,
    loss: Option<f64>,
    held_out_accuracy: Option<f64>,
    held_out_heat_kt: Option<f64>,
}

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
    match outcome {
        Ok(ControlFlow::Continue(())) => {}
        Ok(ControlFlow::Break(())) => std::process::exit(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::exit(1);
        }
    }
}

fn train_and_report(arguments: &Arguments) -> Result<ControlFlow<()>> {
    let (run, setup) = match &arguments.resume {
        Some(folder) => {
            let run = Run::open(folder)?;
            let settings = Settings::read(&run.path("config.toml"))?;
            (run, Setup::new(settings, arguments)?)
        }
        None => {
            let setup = Setup::new(arguments.settings()?, arguments)?;
            (setup.open("classify", arguments)?, setup)
        }
    };
    println!("run folder: {}", run.folder().display());

    let mut clock = Clock::open(&run);
    let Some(classifier) = setup.train(&run, &mut clock)? else {
        println!("\nsaved; continue with: classify --resume {}", run.folder().display());
        return Ok(ControlFlow::Break(()));
    };
    let couplings = classifier.couplings();
    let bytes = couplings.encode()?;
    for path in [Some(run.path("couplings.safetensors")), arguments.export.clone()].into_iter().flatten() {
        run::write(&path, &bytes)?;
        run::write(&path.with_extension("json"), couplings.describe().as_bytes())?;
    }
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
    let run = setup.open("classify-eval", arguments)?;
    println!("run folder: {}", run.folder().display());
    setup.report(&run, &classifier, &[], None)
}

impl Setup {
    fn new(settings: Settings, arguments: &Arguments) -> Result<Self> {
        let device = settings.backend.device()?;
        let split = match settings.dataset {
            Dataset::Strokes => strokes::split(settings.seed),
            #[cfg(feature = "download")]
            Dataset::Mnist if settings.data_dir.is_none() => mnist::download()?,
            Dataset::Mnist => mnist::load(settings.data_folder()?)?,
        };
        let limit = settings.limit.unwrap_or(usize::MAX);
        let (all, test) = (split.train.first(limit), split.test.first(limit));
        let (train, held_out) = all.hold_out(settings.held_out.min(all.labels.len() / 2));
        let examples =
            |images: Images| Examples::new(images.width, images.height, images.pixels, images.labels);
        Ok(Self {
            shards: arguments.shards(&settings),
            device,
            key: Key::new(settings.seed),
            train: examples(train)?,
            held_out: examples(held_out)?,
            test: examples(test)?,
            settings,
        })
    }

    /// A new run folder with the settings in it, before anything is computed.
    fn open(&self, experiment: &str, arguments: &Arguments) -> Result<Run> {
        let run = Run::create(experiment, arguments.out.as_deref())?;
        run.write("config.toml", toml::to_string(&self.settings)?.as_bytes())?;
        Ok(run)
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
                let fit = teacher.fit(self.train.len(), self.shards, self.key);
                let train = |fit: &mut Fit<Teacher>, watch: &mut Watch<Teacher>| {
                    Teacher::train(fit, &self.train, &normalisation, watch)
                };
                let Some(teacher) = stage(run, clock, "teacher", fit, |_, _| Ok((None, None)), train)? else {
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
            let fit = s.likelihood.fit(&untrained, self.train.len(), self.shards, self.key);
            let train = |fit: &mut Fit<Substrate>, watch: &mut Watch<Substrate>| {
                s.likelihood.train(fit, &untrained, lesson, &self.train, watch)
            };
            let substrate = stage(run, clock, "likelihood", fit, held_out, train)?;
            return Ok(substrate.map(|substrate| untrained.with_substrate(substrate)));
        }
        let solved = self.exact(run, clock, &untrained, lesson)?;
        if s.trainer == Trainer::Exact || interrupted() {
            return Ok((!interrupted()).then_some(solved));
        }
        let fit = s.pathwise.fit(&solved, self.train.len(), self.shards, self.key);
        let train = |fit: &mut Fit<Substrate>, watch: &mut Watch<Substrate>| {
            s.pathwise.train(fit, &solved, &self.train, watch)
        };
        let substrate = stage(run, clock, "pathwise", fit, held_out, train)?;
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

/// What a stage calls after every step.
type Watch<'a, M> = dyn FnMut(&Fit<M>, Progress) -> Result<ControlFlow<()>> + 'a;

/// One training with a bar, metrics and a checkpoint after every epoch and at Ctrl-C; goes on from a checkpoint.
/// None after Ctrl-C.
fn stage<M: Module + Sync>(
    run: &Run,
    clock: &mut Clock,
    name: &str,
    mut fit: Fit<M>,
    held_out: impl Fn(&M, Progress) -> Result<(Option<f64>, Option<f64>)>,
    train: impl FnOnce(&mut Fit<M>, &mut Watch<M>) -> Result<ControlFlow<()>>,
) -> Result<Option<M>> {
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
    let outcome = train(&mut fit, &mut |fit, progress| {
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
struct Clock {
    before: Duration,
    start: Instant,
}

impl Clock {
    const FILE: &str = "checkpoints/seconds.json";

    fn open(run: &Run) -> Self {
        let seconds = run.read(Self::FILE).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let before = Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default();
        Self { before, start: Instant::now() }
    }

    fn seconds(&self) -> f64 {
        (self.before + self.start.elapsed()).as_secs_f64()
    }

    fn save(&self, run: &Run) -> Result<()> {
        run.write_json(Self::FILE, &self.seconds())
    }
}
