//! Make images from thermal noise.
//!
//! images → noising → couplings that reverse it → noise → trajectory → images, heat and work → scores → report.

#[path = "generate/judgement.rs"]
mod judgement;
#[path = "generate/report.rs"]
mod report;
#[path = "generate/settings.rs"]
mod settings;
#[path = "generate/summary.rs"]
mod summary;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use thermograd::{Couplings, Scale, Schedule, Shards};
use thermograd_experiments::say;
use thermograd_experiments::workbench::run::{check_export, load};
use thermograd_experiments::workbench::{Bench, Metric, SHARD, Session, afford, bar};
use thermograd_models::generator::metrics::{Nearest, nearest};
use thermograd_models::generator::stored;
use thermograd_models::{
    Denoiser, Diffusion, Examples, Fit, Generator, Parameters, Request, Rule, Samples, Stored,
};

use crate::settings::{Arguments, Mode, Settings};
use crate::summary::Summary;

/// Classes of all data sets.
const CLASSES: usize = 10;

/// A trained generator.
pub enum Model {
    /// A thermodynamic computer.
    Computer(Generator),
    /// A conventional network.
    Network(Diffusion),
}

/// The settings of a run, with the images and device that they select.
pub struct Setup {
    settings: Settings,
    bench: Bench,
    judge_file: PathBuf,
}

/// Images generated with one read-out, the class assigned to each, and the most similar real image.
pub struct Drawn {
    images: Vec<f32>,
    labels: Vec<usize>,
    nearest: Vec<Nearest>,
}

/// Everything that was generated, by read-out, with its heat and work.
pub struct Gallery {
    drawn: BTreeMap<&'static str, Drawn>,
    heat: Vec<f64>,
    work: Vec<f64>,
}

fn main() {
    thermograd_experiments::conduct(|| {
        let arguments = Arguments::read();
        match &arguments.eval {
            Some(file) => evaluate(&arguments, file),
            None => train(&arguments),
        }
    });
}

fn train(arguments: &Arguments) -> Result<()> {
    let (run, prepare) = (&arguments.run, |settings| Setup::new(settings, arguments));
    run.export.as_deref().map_or(Ok(()), |file| check_export(file, false))?;
    let (mut session, setup) =
        Session::open("generate", &run.out, &run.resume, || arguments.settings(), prepare)?;
    session.check_images(&setup.bench.data)?;
    let model = setup.train(&session)?;
    session.end_training()?;
    match (&model, &run.export) {
        (Model::Computer(generator), export) => {
            session.run.export(&generator.couplings(), export.as_deref())?;
        }
        (Model::Network(network), export) => {
            session.run.write("diffusion.bpk", &network.encode()?)?;
            let folder = session.run.folder().display();
            ensure!(
                export.is_none(),
                "--export: a network has no couplings; its weights are {folder}/diffusion.bpk"
            );
        }
    }
    setup.report(&session, &model)
}

fn evaluate(arguments: &Arguments, file: &Path) -> Result<()> {
    let named = || format!("in {}", file.display());
    let mut settings = arguments.settings()?;
    let couplings = load(file)?;
    let device = settings.source.device()?;
    let mut generator =
        Generator::from_couplings(&couplings, settings.noising, &device).with_context(named)?;
    settings.mode = if generator.classes().is_some() { Mode::Classes } else { Mode::Stored };
    arguments.check_for(&settings)?;
    generator.schedule = arguments.schedule(generator.schedule)?;
    generator.substrate.check_step(generator.schedule.dt)?;
    // The couplings in the file already include the gain.
    (settings.dt, settings.stored.t_f, settings.stored.gain) =
        (generator.schedule.dt, generator.schedule.duration(), 1.0);
    let setup = Setup::new(settings, arguments)?;
    let (pixels, asked) = (generator.pixels(), setup.bench.data.train.pixels_each());
    ensure!(
        pixels == asked,
        "{} makes images of {pixels} pixels, but those of the data set have {asked}",
        file.display()
    );
    for (index, (knob, value)) in setup.settings.imperfections()?.into_iter().enumerate() {
        let key = setup.bench.key.fork("device").at(index as u64);
        let device = knob.device(&generator.substrate, value, Scale::Unit, key).context("--imperfection")?;
        generator = generator.with_substrate(device.substrate);
        generator.substrate.check_step(generator.schedule.dt).context("--imperfection")?;
    }
    let session = Session::evaluation("generate --eval", arguments.run.out.as_deref(), &setup.settings)?;
    setup.report(&session, &Model::Computer(generator))
}

impl Setup {
    fn new(settings: Settings, arguments: &Arguments) -> Result<Self> {
        let bench = arguments.data.open(&settings.source, SHARD)?;
        if let Some(class) = settings.class.filter(|&class| class >= CLASSES) {
            bail!("--class {class}: the classes are 0 to {}", CLASSES - 1);
        }
        if let Some(digit) = settings.stored.digits.iter().find(|&&digit| digit >= CLASSES) {
            bail!("--digits: {digit} is not one of the digits 0 to {}", CLASSES - 1);
        }
        let judge_file = arguments.judge.clone();
        let judge_file = judge_file.unwrap_or_else(|| judgement::judge_file(&settings, &bench.data));
        let setup = Self { settings, bench, judge_file };
        setup.afford_all()?;
        if setup.settings.mode == Mode::Classes && setup.settings.eval.is_none() {
            setup.settings.classes.check(setup.bench.data.train.shape())?;
            setup.settings.refinement.check(&setup.bench.data.train, CLASSES)?;
        }
        if setup.settings.mode == Mode::Stored {
            // Checked before there is a run folder.
            setup.stored()?;
        }
        setup.cached_judge()?;
        Ok(setup)
    }

    /// Refuses work that does not fit into memory.
    fn afford_all(&self) -> Result<()> {
        let (s, pixels) = (&self.settings, self.bench.data.train.pixels_each() as u128);
        let count = s.count();
        // Generated images in each read-out, and the images that they are compared with.
        afford(&format!("{count} images"), (count as u128).saturating_mul(64 * pixels))?;
        let hidden = s.hidden() as u128;
        let pairs = match s.mode {
            // Moments of all units in double precision, and their solution.
            Mode::Stored => (pixels + hidden).saturating_pow(2).saturating_mul(3),
            Mode::Classes => pixels.saturating_mul(hidden + s.classes.filters as u128 * pixels.div_ceil(16)),
            Mode::Diffusion => hidden.saturating_pow(2).saturating_add(2 * pixels * hidden),
        };
        // Parameters with their gradients and Adam moments.
        let what = format!("{hidden} hidden units and images of {pixels} pixels");
        if s.eval.is_none() { afford(&what, pairs.saturating_mul(32)) } else { Ok(()) }
    }

    fn train(&self, session: &Session) -> Result<Model> {
        let (s, Bench { data, device, shards, key }) = (&self.settings, &self.bench);
        let pixels = data.train.pixels_each();
        match s.mode {
            Mode::Stored => Ok(Model::Computer(self.train_stored(session)?)),
            Mode::Classes => {
                let denoiser = s.classes.init(data.train.shape(), CLASSES, *key, device)?;
                // Refuse before training what cannot be run afterwards.
                denoiser.generator(s.noising, s.dt)?.substrate.check_step(s.dt)?;
                let training = s.classes.training(&denoiser, s.noising, &data.train)?;
                let denoiser = session.train(Fit::new(training, denoiser, *shards, *key))?;
                let denoiser = match s.refinement.steps {
                    0 => denoiser,
                    _ => self.refine(session, denoiser)?,
                };
                Ok(Model::Computer(denoiser.generator(s.noising, s.dt)?))
            }
            Mode::Diffusion => {
                let network = s.diffusion.init(pixels, CLASSES, *key, device);
                let fit = Fit::new(s.diffusion.training(&data.train), network, *shards, *key);
                Ok(Model::Network(session.train(fit)?))
            }
        }
    }

    /// Trains a generator of classes on its own samples.
    fn refine(&self, session: &Session, denoiser: Denoiser) -> Result<Denoiser> {
        /// Images that are compared with each other.
        const TOGETHER: usize = 256;
        let (s, Bench { data, shards, key, .. }) = (&self.settings, &self.bench);
        let (refinement, key) = (s.refinement, key.fork("refinement"));
        let generator = denoiser.generator(s.noising, s.dt)?;
        let training = refinement.training(&generator, s.label_strength, &data.train, *shards, key)?;
        let together = Shards { size: TOGETHER, ..*shards };
        session.train(Fit::new(training, denoiser, together, key))
    }

    /// The images to store.
    fn stored(&self) -> Result<Stored> {
        let settings = &self.settings.stored;
        Ok(Stored::choose(&self.bench.data.train, &settings.digits, settings.images)?)
    }

    fn train_stored(&self, session: &Session) -> Result<Generator> {
        let (s, stored) = (&self.settings, self.stored()?);
        let schedule = Schedule::new(s.dt, s.stored.t_f)?;
        let pixels = self.bench.data.train.pixels_each();
        let untrained = s.stored.computer.init(pixels, schedule, s.noising, &self.bench.device)?;
        untrained.substrate.check_step(s.dt)?;
        let trained = match s.stored.trainer.rule() {
            None => {
                let bar = bar("exact", 1);
                bar.keep_moving();
                let solved = stored::exact(&untrained, &stored, s.stored.ridge)?;
                bar.end();
                untrained.with_substrate(solved)
            }
            Some(rule) => self.descend(session, untrained, &stored, rule)?,
        };
        session.go_on()?;
        Ok(trained.amplified(s.stored.gain)?)
    }

    /// Gradient descent, with a checkpoint after every cycle.
    fn descend(
        &self,
        session: &Session,
        mut generator: Generator,
        stored: &Stored,
        rule: Rule,
    ) -> Result<Generator> {
        const FILE: &str = "descent.ckpt";
        let descent = self.settings.stored.descent;
        let mut done = 0;
        if let Some(bytes) = session.run.kept(FILE)? {
            // The number of cycles, then the couplings after them.
            let (cycles, couplings) =
                bytes.split_first_chunk::<8>().context("checkpoints/descent.ckpt is too short")?;
            let couplings = Couplings::decode(couplings).context("in checkpoints/descent.ckpt")?;
            generator = generator.with_substrate(couplings.substrate(&self.bench.device)?);
            done = u64::from_le_bytes(*cycles) as usize;
        }
        session.forget("descent", done)?;
        let bar = bar("cycles", descent.cycles as u64);
        bar.set_position(done as u64);
        for cycle in done..descent.cycles {
            let (substrate, action) = descent.cycle(&generator, stored, rule, cycle, self.bench.key)?;
            ensure!(
                action.is_finite(),
                "cycle {cycle}: the action became {action}; use a smaller stored.descent.rate"
            );
            generator = generator.with_substrate(substrate);
            bar.set_position(cycle as u64 + 1);
            bar.set_message(format!("action {action:.4} per step and unit"));
            let (stage, passes, loss) = ("descent".into(), cycle + 1, Some(action));
            session.log(&Metric { stage, epoch: passes, step: passes, loss, ..Metric::default() })?;
            let cycles = (passes as u64).to_le_bytes();
            session.run.keep(FILE, &[&cycles[..], &generator.couplings().encode()?].concat())?;
            session.save_clock()?;
            session.go_on()?;
        }
        bar.end();
        Ok(generator)
    }

    /// Draws the requested images with labels of some strength.
    fn draw(&self, model: &Model, strength: f64, progress: impl FnMut(f64)) -> Result<Gallery> {
        let s = &self.settings;
        let key = self.bench.key.fork("samples");
        let asked: Vec<usize> = (0..s.count()).map(|k| s.class.unwrap_or(k % CLASSES)).collect();
        let shards = Shards { size: s.shard, ..self.bench.shards };
        let samples = match model {
            Model::Computer(generator) => {
                let request = self.request(generator, asked.clone(), strength);
                generator.sample(&request, shards, key, progress)?
            }
            Model::Network(network) => Samples {
                raw: network.sample(&asked, s.diffusion.steps, s.guidance, shards, key, progress),
                ..Samples::default()
            },
        };
        let candidates = self.candidates()?;
        let drawn = |images: Vec<f32>| {
            let nearest = nearest(&images, &candidates, self.bench.shards);
            // No particular stored image was requested, so each sample is assigned to the one it is most similar to.
            let labels = match s.mode {
                Mode::Stored => nearest.iter().map(|nearest| candidates.label(nearest.index)).collect(),
                Mode::Classes | Mode::Diffusion => asked.clone(),
            };
            Drawn { images, labels, nearest }
        };
        let readouts = [("raw", samples.raw), ("force", samples.force)];
        let readouts = readouts.into_iter().filter(|(_, images)| !images.is_empty());
        let drawn = readouts.map(|(name, images)| (name, drawn(images))).collect();
        Ok(Gallery { drawn, heat: samples.heat, work: samples.work })
    }

    /// The images among which the most similar ones are searched.
    fn candidates(&self) -> Result<Examples> {
        let train = &self.bench.data.train;
        match self.settings.mode {
            Mode::Stored => Ok(self.stored()?.examples(train.width())?),
            Mode::Classes | Mode::Diffusion => Ok(train.clone()),
        }
    }

    /// The request for images of these classes, by labels of some strength.
    fn request(&self, generator: &Generator, labels: Vec<usize>, label_strength: f64) -> Request {
        let s = &self.settings;
        Request {
            count: labels.len(),
            labels: (generator.classes().is_some() || s.class.is_some()).then_some(labels),
            label_strength,
            hidden: s.hidden_units,
            accounts: s.accounts.unwrap_or(usize::MAX),
        }
    }

    /// Draws images, and writes and prints the results.
    fn report(&self, session: &Session, model: &Model) -> Result<()> {
        let judge = self.judge(session)?;
        let draw = |strength: f64, what: &str| {
            session
                .shown(what, |progress| self.draw(model, strength, progress))
                .map(|drawn| (strength, drawn))
        };
        let (strength, gallery) = draw(self.settings.label_strength, "images")?;
        let others = self.settings.strengths.iter().filter(|other| **other != strength);
        let others = others.map(|&other| draw(other, &format!("images at {other}")));
        let evaluation = self.evaluation(model, judge, &gallery, &others.collect::<Result<Vec<_>>>()?)?;
        let summary = Summary::new(&self.settings, &evaluation, session.seconds());
        let run = &session.run;
        run.write_json("evaluation.json", &evaluation)?;
        run.write_json("summary.json", &summary)?;
        let page = report::page(self, model, &gallery, &evaluation, &summary, &session.metrics())?;
        run.write("report.html", page.html.as_bytes())?;
        for (name, bytes) in page.pictures {
            run.write(name, &bytes)?;
        }
        summary.print(&evaluation);
        say!("report: {}", run.path("report.html").display());
        Ok(())
    }
}
