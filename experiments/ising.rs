//! Train an Ising network to read images, and let it read by the time average of Gibbs sampling.
//!
//! image → clamped field → layers of spins → time average → loss → gradient → couplings → sampling → report.

#[path = "ising/hardware.rs"]
mod hardware;
#[path = "ising/report.rs"]
mod report;
#[path = "ising/settings.rs"]
mod settings;
#[path = "ising/summary.rs"]
mod summary;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use thermograd::{Correlation, Normalisation};
use thermograd_datasets::mnist;
use thermograd_experiments::say;
use thermograd_experiments::workbench::run::check_export;
use thermograd_experiments::workbench::{Bench, HeldOut, Session, afford};
use thermograd_models::ising::readout::Expected;
use thermograd_models::ising::sampling::Sweeps;
use thermograd_models::{Examples, Fit, IsingNet, Parameters, Progress, Realisation};

use crate::settings::{Arguments, Settings};
use crate::summary::Summary;

/// Pixels as −2 … 2: clamped units are analogue.
const INPUTS: Normalisation = Normalisation { offset: 0.5, scale: 0.25, norm: None };

/// Classes of every data set.
const CLASSES: usize = mnist::CLASSES as usize;

/// Sweeps at which accuracies are told.
const MARKS: [usize; 5] = [1, 3, 10, 30, 100];

/// Passes of the closure that take the way back into account.
const PASSES: usize = 20;

/// The same while training goes on, where it is only looked at.
const FEW_PASSES: usize = 4;

/// Images and sweeps that autocorrelation times are measured on.
const TAU: (usize, usize) = (50, 400);

/// Settings, and what they ask for.
struct Setup {
    settings: Settings,
    bench: Bench,
}

/// What is known of a network before it reads.
struct Forecast {
    /// `T` or `E`.
    realisation: &'static str,
    expected: Expected,
    /// In sweeps.
    tau: f64,
    tau_error: f64,
    spins: usize,
    couplings: usize,
    macs: usize,
}

/// The short name of a machine.
fn initial(realisation: Realisation) -> &'static str {
    match realisation {
        Realisation::Equilibrium => "E",
        Realisation::Temperatures => "T",
    }
}

fn main() {
    thermograd_experiments::conduct(|| train(&Arguments::read()));
}

fn train(arguments: &Arguments) -> Result<()> {
    let run = &arguments.run;
    run.export.as_deref().map_or(Ok(()), |file| check_export(file, false))?;
    let prepare = |settings: Settings| {
        let bench = arguments.data.open(&settings.source, settings.shard)?;
        bench.check_ranks(settings.trainer.recipe.batch)?;
        let setup = Setup { settings, bench };
        setup.afford()?;
        let untrained = setup.untrained()?;
        let delta = setup.settings.ising.delta;
        ensure!(
            untrained.exports() || run.export.is_none(),
            "--export: at delta = {delta:e} nothing comes back, and no symmetric couplings do that"
        );
        let _ = setup.settings.trainer.training(&untrained, &setup.bench.data.train).context("trainer")?;
        Ok((setup, untrained))
    };
    let (mut session, (setup, untrained)) =
        Session::open("ising", &run.out, &run.resume, || arguments.settings(), prepare)?;
    session.check_images(&setup.bench.data)?;
    let network = setup.train(&session, untrained)?;
    session.end_training()?;
    setup.report(&session, network, run.export.as_deref())
}

impl Setup {
    /// Refuses a network that does not fit into memory.
    fn afford(&self) -> Result<()> {
        let (image, ising) = (self.bench.data.train.shape(), &self.settings.ising);
        let (weights, spins) = (ising.weights(image, CLASSES), ising.spins(image, CLASSES));
        let shards = self.bench.shards.threads as u128 + 1;
        let batch = self.settings.shard.min(self.settings.trainer.recipe.batch) as u128;
        let what = format!("training {weights} couplings of {spins} spins");
        let trainer = &self.settings.trainer;
        let passes = if trainer.settling.epochs > 0 { 1 + trainer.passes as u128 } else { 1 };
        afford(&what, 32 * weights + shards * batch * 64 * spins * passes)
    }

    fn untrained(&self) -> Result<IsingNet> {
        let Bench { data, device, key, .. } = &self.bench;
        Ok(self.settings.ising.init(data.train.shape(), CLASSES, INPUTS, *key, device)?)
    }

    /// The images that are reported on.
    fn images(&self) -> &Examples {
        self.bench.data.reported(self.settings.against_held_out)
    }

    /// The trained network, without normalisation.
    fn train(&self, session: &Session, untrained: IsingNet) -> Result<IsingNet> {
        let (trainer, Bench { data, shards, key, .. }) = (&self.settings.trainer, &self.bench);
        let held_out = |network: &IsingNet, progress: Progress| -> Result<HeldOut> {
            // Twenty looks at most.
            let epochs = progress.steps / progress.steps_per_epoch;
            if !progress.epoch().is_multiple_of(epochs.div_ceil(20)) && progress.step < progress.steps {
                return Ok((None, None));
            }
            let network = self.fold(network, self.settings.fold_images.min(1000))?;
            let some = data.held_out.first(1000);
            Ok((Some(network.accuracy_of_means(&some, FEW_PASSES, *shards)), None))
        };
        let fit = |training, network| Fit::new(training, network, *shards, *key);
        let fit_up = fit(trainer.training(&untrained, &data.train)?, untrained);
        let trained = session.train_watched(fit_up.name(), fit_up, held_out)?;
        session.run.keep("ising.bpk", &trained.encode()?)?;
        let folded = self.fold(&trained, self.settings.fold_images)?;
        if trainer.settling.epochs == 0 || folded.is_feed_forward() {
            return Ok(folded);
        }
        let fit = fit(trainer.settled(&data.train), folded);
        let settled = session.train_watched(fit.name(), fit, held_out)?;
        session.run.keep("settled.bpk", &settled.encode()?)?;
        self.fold(&settled, self.settings.fold_images)
    }

    fn fold(&self, network: &IsingNet, images: usize) -> Result<IsingNet> {
        let Bench { data, shards, key, .. } = &self.bench;
        Ok(network.folded(&data.train, images, self.settings.trainer.forward, *shards, *key)?)
    }

    /// What is expected of a network on the images that are reported on.
    fn forecast(&self, session: &Session, network: &IsingNet, tau: Correlation) -> Forecast {
        Forecast {
            realisation: initial(network.realisation()),
            expected: self.expected(session, network, self.images()),
            tau: tau.tau,
            tau_error: tau.tau_error,
            spins: network.spins().iter().sum(),
            couplings: network.couplings(),
            macs: network.macs(),
        }
    }

    fn expected(&self, session: &Session, network: &IsingNet, images: &Examples) -> Expected {
        session.shown("forecast", |progress| network.expected(images, PASSES, self.bench.shards, progress))
    }

    /// The autocorrelation time of the outputs on held-out images.
    fn tau(&self, session: &Session, network: &IsingNet) -> Result<Correlation> {
        let (few, sweeps) = TAU;
        let (held_out, key) = (&self.bench.data.held_out, self.bench.key.fork("forecast"));
        let tau =
            session.shown("correlation", |progress| network.tau(held_out, few, sweeps, key, progress))?;
        tau.with_context(|| {
            format!(
                "the outputs are correlated for too long to be averaged: {sweeps} sweeps do not tell how long; the couplings are \
                 kept"
            )
        })
    }

    /// The machine, its autocorrelation time, and how many sweeps are left out and averaged: for an accuracy that was asked
    /// for, those that cost the fewest sweeps.
    fn schedule(&self, session: &Session, network: IsingNet) -> Result<(IsingNet, Correlation, Sweeps)> {
        let (s, held_out) = (&self.settings, &self.bench.data.held_out);
        let tau = self.tau(session, &network)?;
        let given = Sweeps { burn_in: network.burn_in(tau.tau), read: s.sweeps };
        let Some(accuracy) = s.accuracy else { return Ok((network, tau, given)) };
        let mut machines = vec![(network.clone(), tau)];
        if s.either_machine {
            let other = match network.realisation() {
                Realisation::Equilibrium => Realisation::Temperatures,
                Realisation::Temperatures => Realisation::Equilibrium,
            };
            // At δ = 0 there is no other, and one whose outputs hardly change is none to use.
            let other = network.clone().realised(other, s.ising.delta).ok();
            machines.extend(other.and_then(|other| self.tau(session, &other).ok().map(|tau| (other, tau))));
        }
        let mut cheapest: Option<(IsingNet, Correlation, Sweeps)> = None;
        for (machine, tau) in machines {
            let (name, burn_in) = (initial(machine.realisation()), machine.burn_in(tau.tau));
            let expected = self.expected(session, &machine, held_out);
            let Some(found) = expected.cheapest(accuracy, tau.tau, s.sweeps) else {
                let most = 100.0 * expected.accuracy(s.sweeps, tau.tau);
                let limit = 100.0 * expected.limit();
                say!(
                    "machine {name}: {} sweeps are expected to read {most:.2} % of held-out images, and an average that never \
                     ends {limit:.2} %",
                    s.sweeps
                );
                continue;
            };
            let (read, percent) = (found.sweeps, 100.0 * found.accuracy);
            say!("machine {name}: {read} sweeps after {burn_in} are expected to read {percent:.2} %");
            if cheapest.as_ref().is_none_or(|(.., best)| burn_in + read < best.burn_in + best.read) {
                cheapest = Some((machine, tau, Sweeps { burn_in, read }));
            }
        }
        Ok(cheapest.unwrap_or_else(|| {
            // The couplings are trained, and what they read is told anyway.
            say!("{:.2} % is out of reach, and {} sweeps are averaged", 100.0 * accuracy, s.sweeps);
            (network, tau, given)
        }))
    }

    /// Reads the test images once, or the held-out ones, and writes and prints what came of it.
    fn report(&self, session: &Session, trained: IsingNet, export: Option<&Path>) -> Result<()> {
        let (s, Bench { shards, key, .. }) = (&self.settings, &self.bench);
        let images = self.images();
        let name = if s.against_held_out { "held out" } else { "test" };
        let keep = |network: &IsingNet, sweeps: Sweeps| -> Result<()> {
            match network.exports() {
                true => Ok(session.run.export(&network.couplings_of(sweeps)?, export)?),
                false => Ok(()),
            }
        };
        let (network, tau, sweeps) = match self.schedule(session, trained.clone()) {
            Ok(found) => found,
            Err(error) => {
                // Its couplings are worth keeping all the same.
                keep(&trained, Sweeps { burn_in: TAU.1, read: s.sweeps })?;
                return Err(error);
            }
        };
        let (network, forecast) = (&network, self.forecast(session, &network, tau));
        keep(network, sweeps)?;
        if !network.exports() {
            say!(
                "at delta = {:e} no symmetric couplings do what the network does, and none are exported",
                s.ising.delta
            );
        }
        let reading = session.shown(name, |progress| {
            network.read(images, sweeps, &MARKS, *shards, key.fork(name), progress)
        })?;
        let summary = Summary::new(s, session, &forecast, &reading);
        session.run.write_json("evaluation.json", &reading)?;
        session.run.write_json("summary.json", &summary)?;
        summary.print(&reading, &forecast);
        let page = report::page(self, session, network, &reading, &forecast, &summary)?;
        session.run.write("report.html", page.as_bytes())?;
        say!("report: {}", session.run.path("report.html").display());
        Ok(())
    }
}
