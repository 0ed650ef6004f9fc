//! Adapts couplings to hardware: pruned, quantised or for mismatch, with fine-tuning.

use anyhow::{Result, anyhow, ensure};
use serde::Serialize;
use thermograd::{Estimate, Hardware, Imperfection, Scale, Substrate};
use thermograd_experiments::report::{counted, percent, spread};
use thermograd_experiments::say;
use thermograd_experiments::workbench::run::load;
use thermograd_experiments::workbench::{Bench, Session, Settings as _, run as outputs, set};
use thermograd_models::{Classifier, Examples, Fit};

use crate::arguments::{Prune, Quantize, Tune, load_classifier};
use crate::settings::{BITS, KEEP, Settings};

/// The results: single-trajectory accuracies on the test images.
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
pub fn prune(task: &Prune) -> Result<()> {
    run("couplings prune", &task.tuning, |s| s.keep = Some(task.keep.unwrap_or(KEEP)))
}

/// `couplings quantize`.
pub fn quantize(task: &Quantize) -> Result<()> {
    run("couplings quantize", &task.tuning, |s| {
        s.bits = Some(task.bits.unwrap_or(BITS));
        set(&mut s.scale, task.scale.map(Scale::from));
    })
}

/// `couplings tune`.
pub fn tune(task: &Tune) -> Result<()> {
    ensure!(
        task.resume.is_some() || task.fine_tune.is_some_and(|epochs| epochs > 0),
        "how long? Add --fine-tune EPOCHS"
    );
    run("couplings tune", task, |_| {})
}

fn run(command: &'static str, task: &Tune, change: impl Fn(&mut Settings)) -> Result<()> {
    let prepare = |settings: Settings| {
        let before = load_classifier(&settings.file, &settings.source.device()?)?;
        // Refuse impossible imperfections before images are read.
        for imperfection in &settings.pathwise.hardware {
            Hardware::ideal(before.substrate.clone()).with(*imperfection, settings.source.key())?;
        }
        let bench = task.data.open(&settings.source, settings.shard)?;
        if settings.keep.is_some() || settings.pathwise.recipe.epochs > 0 {
            bench.data.check_training()?;
        }
        Ok(Setup { bench, before, settings })
    };
    let (mut session, setup) =
        Session::open(command, &task.run, &task.resume, || settings(task, change), prepare)?;
    session.check_images(&setup.bench.data)?;
    let start = setup.start(&session)?;
    let tuned = setup.fine_tuned(&session, &start)?;
    session.end_training()?;
    setup.report(&session, &start, &tuned)
}

/// Defaults, then the flags.
fn settings(task: &Tune, change: impl Fn(&mut Settings)) -> Result<Settings> {
    task.check_flags()?;
    let mut s = Settings { source: task.data.named_source()?, ..Settings::default() };
    s.file = std::path::absolute(task.file.as_deref().expect("required"))?;
    s.out = std::path::absolute(task.out.as_deref().expect("required"))?;
    set(&mut s.pathwise.recipe.epochs, task.fine_tune);
    set(&mut s.pathwise.recipe.learning_rate, task.learning_rate);
    set(&mut s.trajectories, task.trajectories);
    s.pathwise.augment = task.augment;
    change(&mut s);
    s.pathwise.hardware.extend(task.mismatch.map(|sd| Imperfection::Mismatch { sd }));
    let rounding = s.bits.map(|bits| Imperfection::Quantised { bits, scale: s.scale });
    s.pathwise.hardware.extend(rounding);
    s.check()?;
    // Refuse unusable outputs before images are read.
    let images = task.data.files();
    outputs::keep_apart([&s.file].into_iter().chain(&images), [&s.out])?;
    // Without --run the folder is a new one.
    if let Some(folder) = &task.run {
        let names = ["couplings.safetensors", "couplings.json", Setup::START, "summary.json"];
        outputs::keep_apart([&s.file], &names.map(|name| folder.join(name)))?;
    }
    outputs::try_place(&s.out)?;
    outputs::encode(&s.out, &load(&s.file)?)?;
    Ok(s)
}

/// The settings of a run, with the images and device that they select.
struct Setup {
    settings: Settings,
    bench: Bench,
    before: Classifier,
}

impl Setup {
    const START: &str = "start.safetensors";

    /// The start of fine-tuning, read from the file of an earlier session if there is one.
    fn start(&self, session: &Session) -> Result<Classifier> {
        let Bench { data, device, shards, key } = &self.bench;
        if let Some(couplings) = session.run.kept_couplings(Self::START)? {
            return Ok(Classifier::from_couplings(&couplings, device)?);
        }
        let start = match self.settings.keep {
            Some(keep) => thermograd_models::prune(&self.before, &data.train, keep, *shards, *key)?,
            None => self.before.clone(),
        };
        session.run.keep(Self::START, &start.couplings().encode()?)?;
        Ok(start)
    }

    fn fine_tuned(&self, session: &Session, start: &Classifier) -> Result<Substrate> {
        let (pathwise, Bench { data, shards, key, .. }) = (&self.settings.pathwise, &self.bench);
        if pathwise.recipe.epochs == 0 {
            return Ok(start.substrate.clone());
        }
        let training = pathwise.training(start, &data.train)?;
        let fit = Fit::new(training, start.substrate.clone(), *shards, key.fork("fine-tune"));
        let tuned = session.train_watched("fine-tune", fit, |model, _| {
            let accuracy = self.accuracy(start, &self.rounded(model)?, &data.held_out, "held out", 0)?;
            Ok((Some(accuracy), None))
        });
        let mismatch = pathwise.hardware.iter().find_map(|imperfection| match imperfection {
            Imperfection::Mismatch { sd } => Some(sd),
            _ => None,
        });
        tuned.map_err(|error| match mismatch {
            Some(sd) if error.is::<thermograd_models::Error>() => {
                anyhow!("{error:#}, or less --mismatch than {sd}")
            }
            _ => error,
        })
    }

    /// Writes the couplings, and writes and prints their accuracy on the test images.
    fn report(&self, session: &Session, start: &Classifier, tuned: &Substrate) -> Result<()> {
        let (s, test) = (&self.settings, &self.bench.data.test);
        let made = self.rounded(tuned)?;
        let couplings = start.with_substrate(made.clone()).couplings();
        session.run.export(&couplings, None)?;
        outputs::save(&s.out, &couplings)?;
        let tested = |substrate: &Substrate| -> Result<Estimate> {
            let run = |index: usize| {
                session.go_on()?;
                self.accuracy(start, substrate, test, "test", index as u64)
            };
            Ok(Estimate::of(&(0..s.trajectories).map(run).collect::<Result<Vec<_>>>()?))
        };
        let after = tested(&made)?;
        let summary = Summary {
            couplings_before: self.before.couplings().count(),
            couplings: couplings.count(),
            bits: s.bits,
            top1_before: tested(&self.before.substrate)?.mean,
            top1_untrained: tested(&self.rounded(&start.substrate)?)?.mean,
            top1: after.mean,
            top1_sd: after.sd,
            trajectories: s.trajectories,
            train_seconds: session.seconds(),
        };
        session.run.write_json("summary.json", &summary)?;
        summary.print(test.len(), s.pathwise.recipe.epochs > 0);
        say!("couplings: {}", s.out.display());
        Ok(())
    }

    /// The couplings to write: rounded to their levels, if they are quantised.
    fn rounded(&self, substrate: &Substrate) -> Result<Substrate> {
        let Some(bits) = self.settings.bits else {
            return Ok(substrate.clone());
        };
        let rounding = Imperfection::Quantised { bits, scale: self.settings.scale };
        Ok(Hardware::ideal(substrate.clone()).with(rounding, self.bench.key)?.substrate)
    }

    /// Accuracy with one trajectory per example; `name` and `index` select the noise.
    fn accuracy(
        &self,
        classifier: &Classifier,
        substrate: &Substrate,
        examples: &Examples,
        name: &str,
        trajectory: u64,
    ) -> Result<f64> {
        let device = Hardware::ideal(substrate.clone());
        let key = self.bench.key.fork(name).at(trajectory);
        Ok(classifier.accuracy_on(&device, examples, self.bench.shards, key)?)
    }
}

impl Summary {
    fn print(&self, images: usize, trained: bool) {
        say!("\n{images} test images, {} each, read from one", counted(self.trajectories, "trajectory"));
        say!(
            "  as they came          {:.2} %, {}",
            100.0 * self.top1_before,
            counted(self.couplings_before, "coupling")
        );
        let bits = self.bits.map_or(String::new(), |bits| format!(" of {bits} bits"));
        say!(
            "  changed               {:.2} %, {}{bits}",
            100.0 * self.top1_untrained,
            counted(self.couplings, "coupling")
        );
        if trained {
            say!(
                "  changed and trained   {}{}, in {:.0} s",
                percent(self.top1),
                spread(self.top1_sd),
                self.train_seconds
            );
        }
    }
}
