//! Make images from thermal noise.
//!
//! images → noising → couplings that reverse it → noise → trajectory → images, heat and work → scores → report.

#[path = "generate/report.rs"]
mod report;
#[path = "generate/settings.rs"]
mod settings;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::Parser;
use serde::{Deserialize, Serialize};
use thermograd::{Couplings, Estimate, Key, Schedule, Shards};
use thermograd_experiments::data::Data;
use thermograd_experiments::progress::{INTERRUPTED, bar, interrupted, part_bar};
use thermograd_experiments::run::{self, Run};
use thermograd_experiments::settings::{Settings as _, shards};
use thermograd_experiments::training::{Clock, Metric, stage};
use thermograd_models::generator::metrics::{Nearest, nearest};
use thermograd_models::generator::stored;
use thermograd_models::{
    Diffusion, Examples, Fit, Generator, Judge, Parameters, Reference, Request, Rule, Samples, Scores, Stored,
};

use crate::settings::{Arguments, Mode, Readout, Settings};

/// Classes of all data sets.
const CLASSES: usize = 10;

/// summary.json; the keys are stable and explained in the help.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Summary {
    mode: Mode,
    dataset: String,
    seed: u64,
    n: usize,
    recognised: f64,
    accuracy: f64,
    frechet: f64,
    recall: f64,
    class_entropy: f64,
    readout: Readout,
    heat_kt: Option<f64>,
    heat_kt_sd: Option<f64>,
    train_seconds: f64,
}

/// evaluation.json: everything that was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// What the numbers are relative to.
    reference: String,
    /// The judge on images it was not trained on.
    judge_accuracy: f64,
    /// By read-out.
    generated: BTreeMap<String, Scores>,
    /// The same numbers for real images, class means and noise.
    calibration: BTreeMap<String, Scores>,
    /// Heat given to the bath, in units of kT.
    heat_kt: Option<Estimate>,
    /// Work done by the protocol, in units of kT.
    work_kt: Option<Estimate>,
    /// Multiply–accumulates of one image on the conventional network.
    digital_macs: Option<f64>,
}

/// What was trained.
pub enum Model {
    /// A thermodynamic computer.
    Computer(Generator),
    /// A conventional network.
    Network(Diffusion),
}

/// Settings, data and device of a run.
pub struct Setup {
    settings: Settings,
    shards: Shards,
    device: Device,
    key: Key,
    data: Data,
    judge_file: PathBuf,
}

/// Images by read-out, what each is held to be, and the real image most like each.
pub struct Drawn {
    images: BTreeMap<&'static str, Vec<f32>>,
    labels: BTreeMap<&'static str, Vec<usize>>,
    nearest: BTreeMap<&'static str, Vec<Nearest>>,
    samples: Samples,
}

fn main() {
    let arguments = Arguments::parse();
    let outcome = thermograd_experiments::begin().and_then(|()| match &arguments.eval {
        Some(file) => evaluate_file(&arguments, file),
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
            (Run::begin("generate", arguments.out.as_deref(), &setup.settings)?, setup)
        }
    };
    println!("run folder: {}", run.folder().display());
    let mut clock = Clock::open(&run);
    let Some(model) = setup.train(&run, &mut clock)? else {
        return Ok(saved(&run));
    };
    let seconds = clock.seconds();
    clock.save(&run)?;
    match &model {
        Model::Computer(generator) => run.export(&generator.couplings(), arguments.export.as_deref())?,
        Model::Network(network) => {
            if arguments.export.is_some() {
                bail!(
                    "--export: a conventional network has no couplings; its weights are diffusion.bpk in the run folder"
                );
            }
            run.write("diffusion.bpk", &network.encode()?)?;
        }
    }
    setup.report(&run, &model, Some(seconds))
}

fn evaluate_file(arguments: &Arguments, file: &Path) -> Result<ControlFlow<()>> {
    let named = || format!("in {}", file.display());
    let couplings = Couplings::decode(&run::read(file)?).with_context(named)?;
    let mut settings = arguments.settings()?;
    let device = settings.backend.device()?;
    let generator = Generator::from_couplings(&couplings, settings.noising, &device).with_context(named)?;
    settings.mode = if generator.classes().is_some() { Mode::Classes } else { Mode::Stored };
    let setup = Setup::new(settings, arguments)?;
    let (own, asked) = (generator.pixels(), setup.data.train.pixels_each());
    if own != asked {
        bail!("{} makes images of {own} pixels, those of the data set have {asked}", file.display());
    }
    let run = Run::begin("generate-eval", arguments.out.as_deref(), &setup.settings)?;
    println!("run folder: {}", run.folder().display());
    setup.report(&run, &Model::Computer(generator), None)
}

/// Says how to go on.
fn saved(run: &Run) -> ControlFlow<()> {
    println!("\nsaved; continue with: generate --resume {}", run.folder().display());
    ControlFlow::Break(())
}

impl Setup {
    fn new(settings: Settings, arguments: &Arguments) -> Result<Self> {
        let device = settings.backend.device()?;
        let folder = settings.data_dir.as_deref();
        let data = Data::load(settings.dataset, folder, settings.seed, settings.limit, settings.held_out)?;
        if let Some(class) = settings.class.filter(|&class| class >= CLASSES) {
            bail!("--class {class}: there are classes 0 to {}", CLASSES - 1);
        }
        if let Some(digit) = settings.stored.digits.iter().find(|&&digit| digit >= CLASSES) {
            bail!("--digits: {digit} is none of the digits 0 to {}", CLASSES - 1);
        }
        let judge_file = arguments.judge.clone().unwrap_or_else(|| judge_file(&settings, &data));
        let setup = Self {
            shards: shards(settings.backend, arguments.threads, 128),
            device,
            key: Key::new(settings.seed),
            data,
            judge_file,
            settings,
        };
        if setup.settings.mode == Mode::Stored {
            // Refused before there is a run folder.
            setup.stored()?;
        }
        Ok(setup)
    }

    /// None after Ctrl-C.
    fn train(&self, run: &Run, clock: &mut Clock) -> Result<Option<Model>> {
        let s = &self.settings;
        let examples = &self.data.train;
        match s.mode {
            Mode::Stored => Ok(self.train_stored(run, clock)?.map(Model::Computer)),
            Mode::Classes => {
                let denoiser = s.classes.init(examples.pixels_each(), CLASSES, self.key, &self.device)?;
                // What cannot be run is not worth training.
                denoiser.generator(s.noising, s.dt)?.substrate.check_step(s.dt)?;
                let training = s.classes.training(&denoiser, s.noising, examples)?;
                let fit = Fit::new(training, denoiser, self.shards, self.key);
                let denoiser = stage(run, clock, "classes", fit, |_, _| Ok((None, None)))?;
                let generator = denoiser.map(|denoiser| denoiser.generator(s.noising, s.dt)).transpose()?;
                Ok(generator.map(Model::Computer))
            }
            Mode::Diffusion => {
                let network = s.diffusion.init(examples.pixels_each(), CLASSES, self.key, &self.device);
                let fit = Fit::new(s.diffusion.training(examples), network, self.shards, self.key);
                let network = stage(run, clock, "diffusion", fit, |_, _| Ok((None, None)))?;
                Ok(network.map(Model::Network))
            }
        }
    }

    /// The images that are kept.
    fn stored(&self) -> Result<Stored> {
        Ok(Stored::choose(&self.data.train, &self.settings.stored.digits, self.settings.stored.images)?)
    }

    fn train_stored(&self, run: &Run, clock: &mut Clock) -> Result<Option<Generator>> {
        let s = &self.settings;
        let stored = self.stored()?;
        let schedule = Schedule::new(s.dt, s.stored.t_f)?;
        let pixels = self.data.train.pixels_each();
        let untrained = s.stored.computer.init(pixels, schedule, s.noising, &self.device)?;
        untrained.substrate.check_step(s.dt)?;
        let trained = match s.stored.trainer.rule() {
            None => {
                let bar = bar("exact", 1);
                bar.enable_steady_tick(std::time::Duration::from_millis(200));
                let solved = stored::exact(&untrained, &stored, s.stored.ridge)?;
                bar.finish_and_clear();
                Some(untrained.with_substrate(solved))
            }
            Some(rule) => self.descend(run, clock, untrained, &stored, rule)?,
        };
        if interrupted() {
            return Ok(None);
        }
        trained.map(|generator| Ok(generator.amplified(s.stored.gain)?)).transpose()
    }

    /// Cycles of gradient descent, each of which can be resumed from.
    fn descend(
        &self,
        run: &Run,
        clock: &mut Clock,
        untrained: Generator,
        stored: &Stored,
        rule: Rule,
    ) -> Result<Option<Generator>> {
        const FILE: &str = "checkpoints/descent.safetensors";
        let descent = self.settings.stored.descent;
        let metrics: Vec<Metric> = run.read_json_lines("metrics.jsonl");
        let mut generator = untrained;
        let mut done = 0;
        if run.has(FILE) {
            let couplings = Couplings::decode(&run.read(FILE)?).with_context(|| format!("in {FILE}"))?;
            generator = generator.with_substrate(couplings.substrate(&self.device)?);
            done = metrics.iter().filter(|metric| metric.stage == "descent").count();
        }
        let bar = bar("cycles", descent.cycles as u64);
        bar.set_position(done as u64);
        for cycle in done..descent.cycles {
            let (substrate, action) = descent.cycle(&generator, stored, rule, cycle, self.key)?;
            if !action.is_finite() {
                bail!("cycle {cycle}: the action became {action}; a smaller stored.descent.rate is needed");
            }
            generator = generator.with_substrate(substrate);
            bar.set_position(cycle as u64 + 1);
            bar.set_message(format!("action {action:.4} a step and unit"));
            run.write(FILE, &generator.couplings().encode()?)?;
            let metric = Metric {
                stage: "descent".into(),
                epoch: cycle + 1,
                step: cycle + 1,
                loss: Some(action),
                held_out_accuracy: None,
                held_out_heat_kt: None,
            };
            run.append_json("metrics.jsonl", &metric)?;
            clock.save(run)?;
            if interrupted() {
                bar.finish_and_clear();
                return Ok(None);
            }
        }
        bar.finish_and_clear();
        Ok(Some(generator))
    }

    /// The images with which generated ones are compared.
    fn real(&self) -> &Examples {
        if self.settings.against_held_out { &self.data.held_out } else { &self.data.test }
    }

    /// The judging network, trained when there is none for these images yet. None after Ctrl-C.
    fn judge(&self, run: &Run) -> Result<Option<Judge>> {
        let train = &self.data.train;
        let height = train.pixels_each() / train.width();
        // One judge for all seeds: what it says of different runs compares.
        let key = Key::new(0);
        let untrained = Judge::new(train.width(), height, CLASSES, key, &self.device);
        if self.judge_file.is_file() {
            let judge = untrained.decode(&run::read(&self.judge_file)?);
            let advice = || format!("in {}; delete it to train another", self.judge_file.display());
            return Ok(Some(judge.with_context(advice)?));
        }
        let shards = Shards { size: self.shards.size.div_ceil(2), ..self.shards };
        let fit = Fit::new(self.settings.judge.training(train), untrained, shards, key);
        let judge = stage(run, &mut Clock::idle(), "judge", fit, |_, _| Ok((None, None)))?;
        if let Some(judge) = &judge {
            run::write(&self.judge_file, &judge.encode()?)?;
        }
        Ok(judge)
    }

    /// Draws the images that were asked for.
    fn draw(&self, model: &Model, tell: impl FnMut(f64)) -> Result<Drawn> {
        let s = &self.settings;
        let key = self.key.fork("samples");
        let asked: Vec<usize> = (0..s.count()).map(|k| s.class.unwrap_or(k % CLASSES)).collect();
        let shards = Shards { size: s.shard, ..self.shards };
        let samples = match model {
            Model::Computer(generator) => {
                let request = self.request(generator, asked.clone());
                generator.sample(&request, shards, key, tell)?
            }
            Model::Network(network) => Samples {
                raw: network.sample(&asked, s.diffusion.steps, s.guidance, shards, key, tell),
                ..Samples::default()
            },
        };
        let mut images = BTreeMap::from([("raw", samples.raw.clone())]);
        if !samples.force.is_empty() {
            images.insert("force", samples.force.clone());
        }
        let candidates = self.candidates()?;
        let nearest: BTreeMap<_, _> =
            images.iter().map(|(name, images)| (*name, nearest(images, &candidates, self.shards))).collect();
        // Nobody asked for one of the stored images: each sample is held to be the one it is most like.
        let own =
            |nearest: &[Nearest]| nearest.iter().map(|nearest| candidates.label(nearest.index)).collect();
        let labels = nearest.iter().map(|(name, nearest)| match s.mode {
            Mode::Stored => (*name, own(nearest)),
            Mode::Classes | Mode::Diffusion => (*name, asked.clone()),
        });
        Ok(Drawn { labels: labels.collect(), images, nearest, samples })
    }

    /// The images among which those most like generated ones are looked for.
    fn candidates(&self) -> Result<Examples> {
        match self.settings.mode {
            Mode::Stored => Ok(self.stored()?.examples(self.data.train.width())?),
            Mode::Classes | Mode::Diffusion => Ok(self.data.train.clone()),
        }
    }

    /// What is asked of a computer for images of these classes.
    fn request(&self, generator: &Generator, labels: Vec<usize>) -> Request {
        let s = &self.settings;
        Request {
            count: labels.len(),
            labels: (generator.classes().is_some() || s.class.is_some()).then_some(labels),
            label_strength: s.label_strength,
            hidden: s.hidden_units,
            accounts: s.accounts,
        }
    }

    /// Draws images, and writes and prints what came of it.
    fn report(&self, run: &Run, model: &Model, seconds: Option<f64>) -> Result<ControlFlow<()>> {
        let s = &self.settings;
        let Some(judge) = self.judge(run)? else {
            return Ok(saved(run));
        };
        let (bar, mut progress) = part_bar("images");
        let tell = |part| {
            progress(part);
            if interrupted() {
                bar.finish_and_clear();
                match seconds {
                    None => println!("\nstopped"),
                    Some(_) => drop(saved(run)),
                }
                std::process::exit(INTERRUPTED);
            }
        };
        let drawn = self.draw(model, tell)?;
        bar.finish_and_clear();
        let evaluation = self.evaluate(model, judge, &drawn)?;
        let summary = self.summary(&evaluation, seconds);
        run.write_json("evaluation.json", &evaluation)?;
        run.write_json("summary.json", &summary)?;
        let metrics: Vec<Metric> = run.read_json_lines("metrics.jsonl");
        let page = report::page(self, model, &drawn, &evaluation, &summary, &metrics)?;
        run.write("report.html", page.html.as_bytes())?;
        for (name, bytes) in page.pictures {
            run.write(name, &bytes)?;
        }
        summary.print(&evaluation, s);
        println!("report: {}", run.path("report.html").display());
        Ok(ControlFlow::Continue(()))
    }

    fn evaluate(&self, model: &Model, judge: Judge, drawn: &Drawn) -> Result<Evaluation> {
        let s = &self.settings;
        let held_out: Vec<usize> = (0..self.data.held_out.len()).collect();
        let read = judge.opinion_of(&self.data.held_out, &held_out, self.shards).classes;
        let right =
            read.iter().zip(&held_out).filter(|(read, index)| **read == self.data.held_out.label(**index));
        let judge_accuracy = right.count() as f64 / held_out.len() as f64;
        let reference = Reference::new(judge, self.real(), self.shards);
        let mut generated = BTreeMap::new();
        for (name, images) in &drawn.images {
            let scores = reference.scores(images, &drawn.labels[name], &drawn.nearest[name])?;
            generated.insert((*name).to_string(), scores);
        }
        let mut calibration = BTreeMap::new();
        for (name, images, labels) in self.calibration() {
            let nearest = nearest(&images, &self.data.train, self.shards);
            calibration.insert(name.to_string(), reference.scores(&images, &labels, &nearest)?);
        }
        let estimate = |values: &[f64]| (!values.is_empty()).then(|| Estimate::of(values));
        Ok(Evaluation {
            reference: format!(
                "{} {} images",
                self.real().len(),
                if s.against_held_out { "held-out training" } else { "test" }
            ),
            judge_accuracy,
            generated,
            calibration,
            heat_kt: estimate(&drawn.samples.heat),
            work_kt: estimate(&drawn.samples.work),
            digital_macs: match model {
                Model::Network(network) => {
                    let looks = if s.guidance == 1.0 { 1.0 } else { 2.0 };
                    Some(network.macs() * looks * (s.diffusion.steps + 1) as f64)
                }
                Model::Computer(_) => None,
            },
        })
    }

    /// As many real images, class means and noise as were drawn: between what the numbers of generated images lie.
    fn calibration(&self) -> Vec<(&'static str, Vec<f32>, Vec<usize>)> {
        use rand::RngExt;
        let (n, train) = (self.settings.count(), &self.data.train);
        // Real images that are not those of the reference.
        let other = if self.settings.against_held_out { &self.data.test } else { &self.data.held_out };
        let pixels = train.pixels_each();
        let level = |p: &u8| thermograd_models::generator::noising::level(*p) as f32;
        let real = |index: usize| index % other.len();
        let images = (0..n).flat_map(|index| other.pixels(real(index))).map(level).collect();
        let labels = (0..n).map(|index| other.label(real(index))).collect();
        let mut sums = vec![(0.0_f32, vec![0.0_f32; pixels]); CLASSES];
        for index in 0..train.len() {
            let (count, sum) = &mut sums[train.label(index)];
            *count += 1.0;
            sum.iter_mut().zip(train.pixels(index)).for_each(|(sum, p)| *sum += level(p));
        }
        let mean = |class: usize| {
            let (count, sum) = &sums[class];
            sum.iter().map(move |sum| sum / count.max(1.0))
        };
        let asked: Vec<usize> = (0..n).map(|k| k % CLASSES).collect();
        let means = asked.iter().flat_map(|&class| mean(class)).collect();
        let mut rng = self.key.fork("uniform noise").rng();
        let noise = (0..n * pixels).map(|_| rng.random_range(-1.0..=1.0)).collect();
        vec![
            ("real images", images, labels),
            ("class means", means, asked.clone()),
            ("uniform noise", noise, asked),
        ]
    }

    fn summary(&self, evaluation: &Evaluation, seconds: Option<f64>) -> Summary {
        let s = &self.settings;
        let readout = if s.mode == Mode::Diffusion { Readout::Raw } else { s.headline() };
        let scores = evaluation.generated[readout.name()];
        Summary {
            mode: s.mode,
            dataset: format!("{:?}", s.dataset).to_lowercase(),
            seed: s.seed,
            n: scores.n,
            recognised: scores.recognised,
            accuracy: scores.accuracy,
            frechet: scores.frechet,
            recall: scores.recall,
            class_entropy: scores.class_entropy,
            readout,
            heat_kt: evaluation.heat_kt.map(|heat| heat.mean),
            heat_kt_sd: evaluation.heat_kt.map(|heat| heat.sd),
            train_seconds: seconds.unwrap_or(0.0),
        }
    }
}

impl Readout {
    /// Its name in files.
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Force => "force",
        }
    }
}

impl Summary {
    fn print(&self, evaluation: &Evaluation, settings: &Settings) {
        println!("\n{} images against {}", self.n, evaluation.reference);
        println!("                 recognised  accuracy  Fréchet  recall  class entropy");
        for (name, scores) in evaluation.generated.iter().chain(&evaluation.calibration) {
            println!(
                "  {name:13} {:9.1} % {:7.1} % {:8.1} {:7.2} {:10.2}",
                100.0 * scores.recognised,
                100.0 * scores.accuracy,
                scores.frechet,
                scores.recall,
                scores.class_entropy
            );
        }
        if let Some(heat) = evaluation.heat_kt {
            println!("  heat of an image  {:.0} kT (s.d. {:.0}, {} images)", heat.mean, heat.sd, heat.count);
        }
        if let Some(work) = evaluation.work_kt.filter(|_| settings.mode == Mode::Classes) {
            println!("  work of the protocol  {:.0} kT (s.d. {:.0})", work.mean, work.sd);
        }
        if let Some(macs) = evaluation.digital_macs {
            println!("  multiply–accumulates of an image  {macs:.2e}");
        }
        if self.train_seconds > 0.0 {
            println!("  training          {:.1} s", self.train_seconds);
        }
    }
}

/// Where the judge of some images is kept: in the user's cache, under a name that says of which images.
fn judge_file(settings: &Settings, data: &Data) -> PathBuf {
    let folder = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for index in 0..data.train.len() {
        mix(data.train.pixels(index));
        mix(&[data.train.label(index) as u8]);
    }
    mix(format!("{:?} {}", settings.judge, env!("CARGO_PKG_VERSION")).as_bytes());
    folder.join("thermograd").join(format!("judge-{hash:016x}.bpk"))
}
