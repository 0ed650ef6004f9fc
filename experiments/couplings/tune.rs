//! Couplings that bear hardware: left out or rounded, and fine-tuned so.

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use thermograd::{Backend, Couplings, Hardware, Imperfection, Key, Scale, Shards, Substrate};
use thermograd_experiments::data::{Data, Dataset};
use thermograd_experiments::run::Run;
use thermograd_experiments::settings::{Settings as _, set, shards};
use thermograd_experiments::training::{Clock, stage};
use thermograd_models::{Classifier, Examples, Fit, Pathwise, Progress};

use crate::arguments::{HELD_OUT, Prune, Quantize, SHARD, TuneArguments, load, save};

/// Everything that decides the numbers of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    version: String,
    file: PathBuf,
    out: PathBuf,
    /// The part of the couplings to keep; all if none.
    keep: Option<f64>,
    /// Bits of a coupling; no rounding if none.
    bits: Option<u32>,
    scale: Scale,
    dataset: Dataset,
    data_dir: Option<PathBuf>,
    limit: Option<usize>,
    held_out: usize,
    seed: u64,
    backend: Backend,
    shard: usize,
    trajectories: usize,
    /// No epochs: no fine-tuning.
    pathwise: Pathwise,
}

impl Default for Settings {
    fn default() -> Self {
        let mut pathwise = Pathwise::default();
        pathwise.recipe.epochs = 0;
        pathwise.recipe.learning_rate = 3e-3;
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            file: PathBuf::new(),
            out: PathBuf::new(),
            keep: None,
            bits: None,
            scale: Scale::Unit,
            dataset: Dataset::Strokes,
            data_dir: None,
            limit: None,
            held_out: HELD_OUT,
            seed: 0,
            backend: Backend::Flex,
            shard: SHARD,
            trajectories: 10,
            pathwise,
        }
    }
}

impl thermograd_experiments::settings::Settings for Settings {
    fn check(&self) -> Result<()> {
        let part = self.keep.unwrap_or(1.0);
        ensure!(part > 0.0 && part <= 1.0, "keep: a part above 0 and up to 1 is needed, not {part}");
        ensure!(self.bits.is_none_or(|bits| (2..=24).contains(&bits)), "bits: 2 to 24 are possible");
        ensure!(self.pathwise.recipe.learning_rate > 0.0, "the learning rate must be positive");
        ensure!(self.trajectories > 0, "trajectories: at least one is needed");
        ensure!(self.limit.is_none_or(|limit| limit >= 2), "limit: at least two images are needed");
        Ok(())
    }
}

/// What came of it: accuracies of one trajectory on the test images.
#[derive(Serialize)]
struct Summary {
    couplings_before: usize,
    couplings: usize,
    bits: Option<u32>,
    top1_before: f64,
    /// Pruned or rounded, without training.
    top1_untrained: f64,
    top1: f64,
    top1_sd: f64,
    trajectories: usize,
    train_seconds: f64,
}

/// `couplings prune`.
pub fn prune(task: &Prune) -> Result<ControlFlow<()>> {
    begin("prune", &task.tuning, |s| s.keep = Some(task.keep.unwrap_or(0.2)))
}

/// `couplings quantize`.
pub fn quantize(task: &Quantize) -> Result<ControlFlow<()>> {
    begin("quantize", &task.tuning, |s| {
        s.bits = Some(task.bits.unwrap_or(4));
        s.scale = task.scale.map_or(Scale::Unit, Scale::from);
    })
}

/// `couplings tune`.
pub fn tune(task: &TuneArguments) -> Result<ControlFlow<()>> {
    ensure!(
        task.resume.is_some() || task.fine_tune.is_some_and(|epochs| epochs > 0),
        "how long? Add --fine-tune EPOCHS"
    );
    begin("tune", task, |_| {})
}

fn begin(name: &str, task: &TuneArguments, change: impl Fn(&mut Settings)) -> Result<ControlFlow<()>> {
    let (run, settings) = match &task.resume {
        Some(folder) => {
            let run = Run::open(folder)?;
            let settings = Settings::read(&run.path(Run::SETTINGS))?;
            (run, settings)
        }
        None => {
            let mut s = Settings {
                dataset: task.data.dataset()?,
                file: std::path::absolute(task.file.as_deref().expect("required"))?,
                out: std::path::absolute(task.out.as_deref().expect("required"))?,
                data_dir: task.data.data_dir.as_deref().map(std::path::absolute).transpose()?,
                ..Settings::default()
            };
            (s.limit, s.seed, s.backend) = (task.data.limit, task.data.seed, task.data.backend);
            set(&mut s.pathwise.recipe.epochs, task.fine_tune);
            set(&mut s.pathwise.recipe.learning_rate, task.learning_rate);
            set(&mut s.trajectories, task.trajectories);
            s.pathwise.augment = task.augment;
            change(&mut s);
            s.pathwise.hardware.extend(task.mismatch.map(|sd| Imperfection::Mismatch { sd }));
            let rounding = s.bits.map(|bits| Imperfection::Quantised { bits, scale: s.scale });
            s.pathwise.hardware.extend(rounding);
            s.check()?;
            thermograd::Format::of_name(&s.out.to_string_lossy())?;
            load(&s.file)?; // before a run folder is made for nothing
            (Run::begin(name, task.run.as_deref(), &s)?, s)
        }
    };
    println!("run folder: {}", run.folder().display());
    let bench = Bench::new(settings, task.data.threads)?;
    if bench.tune(&run)?.is_break() {
        println!("\nsaved; continue with: couplings {name} --resume {}", run.folder().display());
        return Ok(ControlFlow::Break(()));
    }
    Ok(ControlFlow::Continue(()))
}

struct Bench {
    settings: Settings,
    data: Data,
    shards: Shards,
    device: Device,
    key: Key,
}

impl Bench {
    fn new(settings: Settings, threads: Option<usize>) -> Result<Self> {
        let s = &settings;
        let data = Data::load(s.dataset, s.data_dir.as_deref(), s.seed, s.limit, s.held_out)?;
        let device = s.backend.device()?;
        let shards = shards(s.backend, threads, s.shard);
        Ok(Self { data, shards, device, key: Key::new(s.seed), settings })
    }

    fn tune(&self, run: &Run) -> Result<ControlFlow<()>> {
        let s = &self.settings;
        let before = Classifier::from_couplings(&load(&s.file)?, &self.device)?;
        let start = self.start(run, &before)?;
        let mut clock = Clock::open(run);
        let tuned = if s.pathwise.recipe.epochs == 0 {
            start.substrate.clone()
        } else {
            let training = s.pathwise.training(&start, &self.data.train)?;
            let key = self.key.fork("fine-tune");
            let fit = Fit::new(training, start.substrate.clone(), self.shards, key);
            let look = |model: &Substrate, _: Progress| {
                let accuracy =
                    self.accuracy(&start, &self.rounded(model)?, &self.data.held_out, 1, "held out")?;
                Ok((Some(accuracy[0]), None))
            };
            match stage(run, &mut clock, "fine-tune", fit, look)? {
                Some(tuned) => tuned,
                None => return Ok(ControlFlow::Break(())),
            }
        };
        let seconds = clock.seconds();
        let made = self.rounded(&tuned)?;
        let couplings = start.with_substrate(made.clone()).couplings();
        run.export(&couplings, None)?;
        save(&s.out, &couplings)?;

        let test =
            |substrate: &Substrate| self.accuracy(&start, substrate, &self.data.test, s.trajectories, "test");
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let after = thermograd::Estimate::of(&test(&made)?);
        let summary = Summary {
            couplings_before: before.couplings().count(),
            couplings: couplings.count(),
            bits: s.bits,
            top1_before: mean(&test(&before.substrate)?),
            top1_untrained: mean(&test(&self.rounded(&start.substrate)?)?),
            top1: after.mean,
            top1_sd: after.sd,
            trajectories: s.trajectories,
            train_seconds: seconds,
        };
        run.write_json("summary.json", &summary)?;
        summary.print(self.data.test.len(), s.pathwise.recipe.epochs > 0);
        println!("couplings: {}", s.out.display());
        Ok(ControlFlow::Continue(()))
    }

    /// What fine-tuning starts from, from the file of an earlier session if there is one.
    fn start(&self, run: &Run, before: &Classifier) -> Result<Classifier> {
        const FILE: &str = "start.safetensors";
        if run.has(FILE) {
            let couplings = Couplings::decode(&run.read(FILE)?).with_context(|| format!("in {FILE}"))?;
            return Ok(Classifier::from_couplings(&couplings, &self.device)?);
        }
        let start = match self.settings.keep {
            Some(keep) => thermograd_models::prune(before, &self.data.train, keep, self.shards, self.key)?,
            None => before.clone(),
        };
        run.write(FILE, &start.couplings().encode()?)?;
        Ok(start)
    }

    /// The couplings that a file can hold: on their levels, if they have levels.
    fn rounded(&self, substrate: &Substrate) -> Result<Substrate> {
        let Some(bits) = self.settings.bits else {
            return Ok(substrate.clone());
        };
        let rounding = Imperfection::Quantised { bits, scale: self.settings.scale };
        Ok(Hardware::ideal(substrate.clone()).with(rounding, self.key)?.substrate)
    }

    /// Single-trajectory accuracy, once a trajectory.
    fn accuracy(
        &self,
        classifier: &Classifier,
        substrate: &Substrate,
        examples: &Examples,
        trajectories: usize,
        name: &str,
    ) -> Result<Vec<f64>> {
        let device = Hardware::ideal(substrate.clone());
        let key = self.key.fork(name);
        let run = |run: usize| classifier.accuracy_on(&device, examples, self.shards, key.at(run as u64));
        Ok((0..trajectories).map(run).collect::<Result<_, _>>()?)
    }
}

impl Summary {
    fn print(&self, images: usize, trained: bool) {
        println!("\n{images} test images, {} trajectories each, read from one", self.trajectories);
        println!(
            "  as they came          {:.2} %, {} couplings",
            100.0 * self.top1_before,
            self.couplings_before
        );
        let bits = self.bits.map_or(String::new(), |bits| format!(" of {bits} bits"));
        println!(
            "  changed               {:.2} %, {} couplings{bits}",
            100.0 * self.top1_untrained,
            self.couplings
        );
        if trained {
            println!(
                "  changed and trained   {:.2} % (s.d. {:.2}), in {:.0} s",
                100.0 * self.top1,
                100.0 * self.top1_sd,
                self.train_seconds
            );
        }
    }
}
