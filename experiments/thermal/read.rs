//! A network of heat that reads images.

use anyhow::{Result, ensure};
use serde::Serialize;
use thermograd::{HeatCircuit, HeatFlow, Key, Shards, run, to_f64};
use thermograd_datasets::mnist;
use thermograd_experiments::report::percent;
use thermograd_experiments::say;
use thermograd_experiments::workbench::{Bench, HeldOut, Session, afford, name};
use thermograd_models::thermal::hardware::{Flaw, ThermalAccount, flawed};
use thermograd_models::thermal::network::{Inputs, PIXELS, ThermalNet};
use thermograd_models::thermal::reading::ThermalReading;
use thermograd_models::{Examples, Fit, Parameters, Progress};

use crate::arguments::ReadFlags;
use crate::reading;
use crate::settings::Settings;

/// Classes of every data set.
const CLASSES: usize = mnist::CLASSES as usize;

/// Images of points at which hardware is tried.
const FLAWED: usize = 2000;

/// How many times as short steps are that stand for a device, which has none.
const FINER: usize = 8;

/// Levels and mismatches that are tried.
pub const FLAWS: [Flaw; 8] = [
    Flaw::Levels(4),
    Flaw::Levels(8),
    Flaw::Levels(16),
    Flaw::Levels(32),
    Flaw::Mismatch(0.03),
    Flaw::Mismatch(0.1),
    Flaw::Mismatch(0.3),
    Flaw::Mismatch(0.6),
];

/// Settings, and what they ask for.
pub struct Setup {
    /// Settings.
    pub settings: Settings,
    /// Images, device and key.
    pub bench: Bench,
}

/// summary.json; the keys are stable.
#[derive(Serialize)]
pub struct Summary {
    pub dataset: String,
    /// What the numbers are of: test images, or held-out training images.
    pub images: &'static str,
    pub nonlinearity: String,
    pub inputs: String,
    pub hidden: usize,
    pub seed: u64,
    /// σ of the training.
    pub sigma: f64,
    /// Without noise.
    pub accuracy: f64,
    /// The same in steps that are an eighth as long.
    pub accuracy_fine: f64,
    /// Of the first image.
    pub ledger: Ledger,
    /// At every σ: accuracy, and the heat drawn in an inference in units of k_BT.
    pub accuracy_noise: Vec<Noisy>,
    /// Heat drawn in an inference in units of k_BT at the σ of the assumed heat capacity.
    pub energy_kt: f64,
    /// Heat drawn in an inference without noise in units of C₀ΔT, with its standard deviation over images. Of pulsed inputs: what the pulses
    /// bring, while `ledger.given` is what the inputs then give up.
    pub energy: [f64; 2],
    pub conductances: usize,
    pub account: ThermalAccount,
    pub train_seconds: f64,
}

/// Where heat goes in an inference without noise, in units of C₀ΔT, and the entropy that it produces, in units of C₀.
#[derive(Clone, Copy, Serialize)]
pub struct Ledger {
    /// What warm reservoirs give up; of pulsed inputs, what they lose.
    pub given: f64,
    /// What cold ones take up.
    pub taken: f64,
    /// What hidden nodes and outputs hold at the end.
    pub held: f64,
    /// What the surroundings take up.
    pub leaked: f64,
    pub entropy: f64,
}

/// One size of fluctuations.
#[derive(Clone, Copy, Serialize)]
pub struct Noisy {
    pub sigma: f64,
    pub accuracy: f64,
    pub energy_kt: Option<f64>,
}

/// Trains and reads.
pub fn train(flags: &ReadFlags) -> Result<()> {
    let run = &flags.run;
    if let Some(file) = &run.export {
        reading::check_export(file)?;
    }
    let prepare = |settings: Settings| {
        let bench = flags.data.open(&settings.source, settings.shard)?;
        let setup = Setup { settings, bench };
        setup.afford()?;
        let Bench { data, key, device, .. } = &setup.bench;
        let untrained = setup.settings.thermal.init(data.train.shape(), CLASSES, *key, device)?;
        Ok((setup, untrained))
    };
    let (mut session, (setup, untrained)) =
        Session::open("thermal-read", &run.out, &run.resume, || flags.settings(), prepare)?;
    session.check_images(&setup.bench.data)?;
    let network = setup.fit(&session, untrained)?;
    session.end_training()?;
    setup.report(&session, &network, flags)
}

impl Setup {
    /// Refuses a network that does not fit into memory.
    fn afford(&self) -> Result<()> {
        let [channels, high, wide] = self.bench.data.train.shape();
        let s = &self.settings.thermal;
        let inputs = (2 * channels * high * wide / (s.pool * s.pool).max(1)) as u128;
        let (hidden, classes) = (s.hidden as u128, CLASSES as u128);
        let links = inputs * (hidden + classes) + hidden * classes;
        let shards = self.bench.shards.threads as u128 + 1;
        let states = self.settings.shard as u128 * (30 * hidden + inputs) * s.steps as u128 * 4;
        ensure!(links < 1 << 28, "{links} conductances: no more than {} are possible", 1 << 28);
        afford(&format!("training {links} conductances"), shards * (24 * links + states))
    }

    /// The images that are reported on.
    pub fn images(&self) -> &Examples {
        self.bench.data.reported(self.settings.against_held_out)
    }

    fn fit(&self, session: &Session, untrained: ThermalNet) -> Result<ThermalNet> {
        let (trainer, Bench { data, shards, key, .. }) = (&self.settings.trainer, &self.bench);
        let held_out = |network: &ThermalNet, progress: Progress| -> Result<HeldOut> {
            let epochs = progress.steps / progress.steps_per_epoch;
            if !progress.epoch().is_multiple_of(epochs.div_ceil(20)) && progress.step < progress.steps {
                return Ok((None, None));
            }
            let some = data.held_out.first(1000);
            Ok((Some(self.read(network, &some, trainer.sigma, *shards, *key, |_| {})?.accuracy), None))
        };
        let fit = Fit::new(trainer.training(&data.train), untrained, *shards, *key);
        let trained = session.train_watched(fit.name(), fit, held_out)?;
        session.run.keep("thermal.bpk", &trained.encode()?)?;
        Ok(trained)
    }

    fn read(
        &self,
        network: &ThermalNet,
        images: &Examples,
        sigma: f64,
        shards: Shards,
        key: Key,
        progress: impl FnMut(f64),
    ) -> Result<ThermalReading> {
        use burn::module::Module;
        Ok(network.clone().valid().read(images, sigma, shards, key.fork("reading"), progress)?)
    }

    /// The heat of the first image, by the circuit in double precision.
    fn ledger(&self, network: &ThermalNet, circuit: &HeatCircuit) -> Result<Ledger> {
        let inputs = network.inputs(self.images().clamped(&[0], &PIXELS, None, &self.bench.device));
        let [count, ..] = network.sizes();
        let mut theta = to_f64(inputs);
        theta.resize(circuit.nodes().len(), 0.0);
        let flow = HeatFlow::new(circuit, network.config().step)?.with_held(&theta)?;
        let start = flow.start(&theta)?;
        let end = run(&flow, start.clone(), network.config().steps, |_| {})?;
        let change = |node: usize| end.energies[node] - start.energies[node];
        let (inputs, others) = (0..count, count..theta.len());
        Ok(Ledger {
            given: inputs.clone().map(|node| (-change(node)).max(0.0)).sum(),
            taken: inputs.map(|node| change(node).max(0.0)).sum(),
            held: others.map(change).sum(),
            leaked: end.leaked,
            entropy: end.entropy,
        })
    }

    /// Reads the test images once, or the held-out ones, and writes and prints what came of it.
    fn report(&self, session: &Session, network: &ThermalNet, flags: &ReadFlags) -> Result<()> {
        let (s, Bench { shards, key, data, .. }) = (&self.settings, &self.bench);
        let images = self.images();
        let circuit = network.circuit()?;
        reading::export(session, flags.run.export.as_deref(), self, network, &circuit)?;
        let all: Vec<ThermalReading> = session.shown("reading", |progress| {
            let count = s.noises.len() as f64;
            let of = |(k, &sigma): (usize, &f64)| {
                self.read(network, images, sigma, *shards, key.at(k as u64), |part| {
                    progress((k as f64 + part) / count);
                })
            };
            s.noises.iter().enumerate().map(of).collect::<Result<Vec<_>>>()
        })?;
        let quiet = match s.noises.iter().position(|sigma| *sigma == 0.0) {
            Some(place) => all[place].clone(),
            None => self.read(network, images, 0.0, *shards, *key, |_| {})?,
        };
        // What hardware makes of it, on held-out images: nothing is chosen on test images.
        let some = data.held_out.first(FLAWED);
        let flaws = session.shown("hardware", |progress| {
            let of = |(k, &flaw): (usize, &Flaw)| -> Result<f64> {
                let made = network
                    .with_conductances(&flawed(&circuit, flaw, key.fork("device").at(k as u64))?, 1)?;
                progress(k as f64 / FLAWS.len() as f64);
                Ok(self.read(&made, &some, 0.0, *shards, *key, |_| {})?.accuracy)
            };
            FLAWS.iter().enumerate().map(of).collect::<Result<Vec<_>>>()
        })?;
        let ideal =
            self.read(&network.with_conductances(&circuit, 1)?, &some, 0.0, *shards, *key, |_| {})?.accuracy;
        // A device has no steps.
        let fine = session.shown("shorter steps", |progress| {
            self.read(&network.with_conductances(&circuit, FINER)?, images, 0.0, *shards, *key, progress)
        })?;
        let ledger = self.ledger(network, &circuit)?;
        let t = &s.thermal;
        let [inputs, _, outputs] = network.sizes();
        let account = s.account.account(
            quiet.drawn[0],
            t.steps as f64 * t.step,
            t.surroundings,
            inputs / 2 + outputs,
            circuit.links().len() + circuit.leaks().iter().filter(|leak| **leak > 0.0).count(),
        )?;
        let summary = Summary {
            dataset: name(&s.source.dataset),
            images: if s.against_held_out { "held-out" } else { "test" },
            nonlinearity: format!("{:?}", t.nonlinearity).to_lowercase(),
            inputs: if t.inputs == Inputs::Clamped { "clamped" } else { "pulsed" }.into(),
            hidden: t.hidden,
            seed: s.source.seed,
            sigma: s.trainer.sigma,
            accuracy: quiet.accuracy,
            accuracy_fine: fine.accuracy,
            ledger,
            accuracy_noise: all
                .iter()
                .map(|reading| Noisy {
                    sigma: reading.sigma,
                    accuracy: reading.accuracy,
                    energy_kt: reading.drawn_kt(t.surroundings),
                })
                .collect(),
            energy_kt: account.drawn_kt,
            energy: quiet.drawn,
            conductances: account.writes,
            account,
            train_seconds: session.seconds(),
        };
        session.run.write_json("evaluation.json", &all)?;
        session.run.write_json("summary.json", &summary)?;
        summary.print(&quiet);
        let page = reading::page(self, session, network, &quiet, &summary, (ideal, &flaws))?;
        session.run.write("report.html", page.as_bytes())?;
        say!("report: {}", session.run.path("report.html").display());
        Ok(())
    }
}

impl Summary {
    fn print(&self, quiet: &ThermalReading) {
        say!(
            "\n{} {} images, {} hidden nodes, {}",
            quiet.images,
            self.images,
            self.hidden,
            self.nonlinearity
        );
        say!("  fluctuations   accuracy   heat drawn");
        for noisy in &self.accuracy_noise {
            let heat = noisy.energy_kt.map_or("–".into(), |kt| format!("{kt:.1e} kT"));
            say!("  {:>12}   {:>8}   {heat:>10}", noisy.sigma, percent(noisy.accuracy));
        }
        say!("  in shorter steps  {} without noise, in steps an eighth as long", percent(self.accuracy_fine));
        let l = &self.ledger;
        say!(
            "  first image       {:.1} C₀ΔT from warm inputs: {:.1} to cold ones, {:.1} in nodes, {:.2} leaked; entropy {:.2} C₀",
            l.given,
            l.taken,
            l.held,
            l.leaked,
            l.entropy
        );
        let a = &self.account;
        say!("  heat drawn        {:.1} ± {:.1} C₀ΔT an inference", self.energy[0], self.energy[1]);
        say!(
            "  at {:.0e} J/K      {:.1e} J, {:.1e} s, fluctuations of {:.1e}",
            self.energy[0].signum() * a.drawn_joules / (self.energy[0] * a.delta_kelvin),
            a.drawn_joules,
            a.seconds,
            a.sigma
        );
        say!(
            "  programming       {} conductances: {:.1e} s by phase change, {:.1e} s by moving fluids",
            a.writes,
            a.phase_change.seconds,
            a.microfluidic.seconds
        );
        if self.train_seconds > 0.0 {
            say!("  training          {:.1} s", self.train_seconds);
        }
    }
}
