//! Train a thermodynamic computer to read digits.
//!
//! image → clamped field → trajectory → action or read-out → gradient → couplings → evaluation → report.

#[path = "classify/report.rs"]
mod report;
#[path = "classify/settings.rs"]
mod settings;
#[path = "classify/summary.rs"]
mod summary;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use thermograd::Substrate;
use thermograd_datasets::mnist;
use thermograd_experiments::say;
use thermograd_experiments::workbench::run::{check_export, load};
use thermograd_experiments::workbench::{Bench, HeldOut, Metric, Session, afford, unlike};
use thermograd_models::{
    Classifier, ClassifierConfig, Evaluation, Examples, Fit, Lesson, Parameters, Progress, Teacher, Training,
    exact,
};

use crate::settings::{Arguments, Settings, Trainer};
use crate::summary::Summary;

/// The settings of a run, with the images and device that they select.
struct Setup {
    settings: Settings,
    bench: Bench,
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
    let run = &arguments.run;
    run.export.as_deref().map_or(Ok(()), |file| check_export(file, true))?;
    let prepare = |settings| {
        let setup = Setup::new(settings, arguments)?;
        setup.afford_training()?;
        let untrained = setup.untrained()?;
        setup.check_training(&untrained)?;
        Ok((setup, untrained))
    };
    let (mut session, (setup, untrained)) =
        Session::open("classify", &run.out, &run.resume, || arguments.settings(), prepare)?;
    session.check_images(&setup.bench.data)?;
    let classifier = setup.train(&session, &untrained)?;
    session.end_training()?;
    session.run.export(&classifier.couplings(), run.export.as_deref())?;
    setup.report(&session, &classifier)
}

fn evaluate(arguments: &Arguments, file: &Path) -> Result<()> {
    let named = || format!("in {}", file.display());
    let couplings = load(file)?;
    let setup = Setup::new(arguments.settings()?, arguments)?;
    let classifier = Classifier::from_couplings(&couplings, &setup.bench.device).with_context(named)?;
    let session = Session::evaluation("classify --eval", arguments.run.out.as_deref(), &setup.settings)?;
    setup.report(&session, &classifier)
}

impl Setup {
    fn new(settings: Settings, arguments: &Arguments) -> Result<Self> {
        let setup = Self { bench: arguments.data.open(&settings.source, settings.shard)?, settings };
        let (trajectories, images) = (setup.settings.trajectories, setup.images().len());
        let what = format!("{trajectories} trajectories of each of {images} images");
        afford(&what, 64 * (trajectories as u128) * images as u128)?;
        Ok(setup)
    }

    /// Refuses training that does not fit into memory.
    fn afford_training(&self) -> Result<()> {
        let (s, train) = (&self.settings, &self.bench.data.train);
        let [inputs, hidden] = [train.pixels_each(), s.hidden].map(|count| count as u128);
        let free = hidden + u128::from(mnist::CLASSES);
        // Parameters with their gradients and Adam moments; and the second moments of all units for a dozen parts of
        // the images.
        let parameters = 32 * (inputs + free).saturating_mul(free);
        let moments =
            if s.trainer == Trainer::Likelihood { 0 } else { 96 * (inputs + free).saturating_pow(2) };
        let what = format!("training {hidden} hidden units on images of {inputs} pixels");
        let afforded = afford(&what, parameters.saturating_add(moments));
        // The closed form needs the second moments; descent does not.
        let descends = moments > 0 && afford(&what, parameters).is_ok();
        if descends {
            afforded.map_err(|error| anyhow!("{error}; --trainer likelihood needs less"))
        } else {
            afforded
        }
    }

    /// Refuses, before training begins, steps and hardware that a later stage of training would refuse.
    fn check_training(&self, untrained: &Classifier) -> Result<()> {
        let s = &self.settings;
        self.bench.data.check_training()?;
        match s.trainer {
            Trainer::Pathwise => self.bench.check_ranks(s.pathwise.recipe.batch)?,
            Trainer::Likelihood => self.bench.check_ranks(s.likelihood.recipe.batch)?,
            Trainer::Exact => self.bench.check_ranks(self.bench.data.train.len())?,
        }
        untrained.substrate.check_step(s.schedule.dt).context("schedule")?;
        if s.trainer == Trainer::Pathwise {
            s.pathwise.training(untrained, &self.bench.data.train).context("pathwise")?;
            s.pathwise.device(&untrained.substrate, self.bench.key).context("pathwise.hardware")?;
        }
        Ok(())
    }

    /// The images on which results are reported.
    fn images(&self) -> &Examples {
        self.bench.data.reported(self.settings.against_held_out)
    }

    /// Trains the teacher, then the couplings.
    fn train(&self, session: &Session, untrained: &Classifier) -> Result<Classifier> {
        let (s, train) = (&self.settings, &self.bench.data.train);
        let teacher = self.teacher(session, untrained)?;
        let lesson = Lesson { teacher: &teacher, guide: s.guide };
        match s.trainer {
            Trainer::Likelihood => {
                self.fit(session, untrained, s.likelihood.training(untrained, lesson, train)?)
            }
            Trainer::Exact => self.exact(session, untrained, lesson),
            Trainer::Pathwise => {
                let solved = self.exact(session, untrained, lesson)?;
                self.fit(session, &solved, s.pathwise.training(&solved, train)?)
            }
        }
    }

    fn untrained(&self) -> Result<Classifier> {
        let (s, train) = (&self.settings, &self.bench.data.train);
        let config = ClassifierConfig {
            inputs: train.pixels_each(),
            hidden: s.hidden,
            classes: usize::from(mnist::CLASSES),
            wiring: s.wiring,
            j2: s.j2,
            j4: s.j4,
            kt: s.kt,
            schedule: s.schedule,
        };
        Ok(config.init(train.normalisation(), &self.bench.device)?)
    }

    /// The trained teacher, read from the file of an earlier session if there is one.
    fn teacher(&self, session: &Session, untrained: &Classifier) -> Result<Teacher> {
        const FILE: &str = "teacher.bpk";
        let (s, Bench { data, device, shards, key }) = (&self.settings, &self.bench);
        let layers = [data.train.pixels_each(), s.hidden, usize::from(mnist::CLASSES)];
        let mut teacher = Teacher::new(s.teacher, layers, *key, device);
        if let Some(bytes) = session.run.kept(FILE)? {
            teacher = teacher.decode(&bytes).map_err(|_| unlike(FILE))?;
        } else {
            let training = s.teacher.training(&data.train, untrained.normalisation);
            teacher = session.train(Fit::new(training, teacher, *shards, *key))?;
            session.run.keep(FILE, &teacher.encode()?)?;
        }
        let accuracy = teacher.accuracy(&data.held_out, &untrained.normalisation, *shards);
        say!("teacher: {:.2} % of {} held-out images", 100.0 * accuracy, data.held_out.len());
        Ok(teacher)
    }

    /// The exact optimum, read from the file of an earlier session if there is one.
    fn exact(&self, session: &Session, untrained: &Classifier, lesson: Lesson) -> Result<Classifier> {
        const FILE: &str = "exact.safetensors";
        let Bench { data, device, shards, key } = &self.bench;
        if let Some(couplings) = session.run.kept_couplings(FILE)? {
            return Ok(Classifier::from_couplings(&couplings, device)?);
        }
        let solve = |progress: &mut dyn FnMut(f64)| {
            exact(untrained, lesson, &data.train, self.settings.ridge, *shards, *key, progress)
        };
        let classifier = untrained.with_substrate(session.shown("exact", solve)?);
        let result = self.look(&classifier)?;
        // Logged first, then saved: if a session stops in between, the next one repeats both.
        session.forget("exact", 0)?;
        session.log(&Metric {
            stage: "exact".into(),
            epoch: 1,
            step: 1,
            loss: None,
            held_out_accuracy: Some(result.top1_single.mean),
            held_out_heat_kt: Some(result.heat.mean),
        })?;
        session.run.keep(FILE, &classifier.couplings().encode()?)?;
        session.save_clock()?;
        say!("exact: {:.2} % of the held-out images", 100.0 * result.top1_single.mean);
        session.go_on()?;
        Ok(classifier)
    }

    /// Gradient descent from the couplings of `start`.
    fn fit(
        &self,
        session: &Session,
        start: &Classifier,
        training: Training<Substrate>,
    ) -> Result<Classifier> {
        let fit = Fit::new(training, start.substrate.clone(), self.bench.shards, self.bench.key);
        let held_out = |model: &Substrate, progress: Progress| -> Result<HeldOut> {
            // At most twenty evaluations, because each costs a tenth of an epoch.
            let epochs = progress.steps / progress.steps_per_epoch;
            if !progress.epoch().is_multiple_of(epochs.div_ceil(20)) && progress.step < progress.steps {
                return Ok((None, None));
            }
            let result = self.look(&start.with_substrate(model.clone()))?;
            Ok((Some(result.top1_single.mean), Some(result.heat.mean)))
        };
        Ok(start.with_substrate(session.train_watched(fit.name(), fit, held_out)?))
    }

    /// One trajectory of every held-out image.
    fn look(&self, classifier: &Classifier) -> Result<Evaluation> {
        let Bench { data, shards, key, .. } = &self.bench;
        Ok(classifier.evaluate(&data.held_out, 1, *shards, key.fork("held out"), |_| {})?)
    }

    /// Evaluates the test images (or the held-out ones), and writes and prints the results.
    fn report(&self, session: &Session, classifier: &Classifier) -> Result<()> {
        let (s, Bench { shards, key, .. }) = (&self.settings, &self.bench);
        let images = self.images();
        let name = if s.against_held_out { "held out" } else { "test" };
        let evaluation = session.shown(name, |progress| {
            classifier.evaluate(images, s.trajectories, *shards, key.fork(name), progress)
        })?;
        let summary = Summary::new(s, session, classifier, &evaluation);
        session.run.write_json("evaluation.json", &evaluation)?;
        session.run.write_json("summary.json", &summary)?;
        let page = report::page(s, &self.bench, classifier, &evaluation, &summary, &session.metrics())?;
        session.run.write("report.html", page.as_bytes())?;
        summary.print(&evaluation);
        say!("report: {}", session.run.path("report.html").display());
        Ok(())
    }
}
