//! What a run of `ising` is made of: the defaults of a network and data set, then a file, then flags.

use anyhow::{Context, Result, ensure};
use clap::{CommandFactory, Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use thermograd_experiments::workbench::{
    DataFlags, Dataset, RunFlags, Settings as _, Source, check_recipes, name, parse, set, version,
    with_defaults,
};
use thermograd_models::{Augment, Forward, Hidden, IsingConfig, IsingTrainer, Realisation, Recipe};

/// Train an Ising network to read images, and let it read by the time average of Gibbs sampling.
///
/// Layers of ±1 spins with symmetric couplings, the first held at the image; the answer is the class whose output spins
/// point up most over G sweeps. Couplings are trained by backpropagation. The run folder holds the configuration, metrics,
/// checkpoints, couplings, summary.json and report.html.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:
  ising                                                        digits drawn from strokes, no files needed
  ising --dataset mnist --data-dir DIR                         MNIST, a hidden layer of 512 spins
  ising --dataset mnist --data-dir DIR --realisation e --delta 1    at one temperature, in equilibrium
  ising --dataset fashion-mnist --data-dir DIR --network conv  local couplings that places share
  ising --dataset mnist --data-dir DIR --accuracy 0.98         as few sweeps as are expected to be enough
  ising --resume runs/ising-1                                  continue after Ctrl-C"
)]
pub struct Arguments {
    /// Which layers.
    #[arg(long, value_enum)]
    network: Option<Network>,
    /// What makes the way up outweigh the way back.
    #[arg(long, value_enum)]
    realisation: Option<RealisationName>,
    /// How much of the way back is left: temperatures or couplings fall by this factor from layer to layer.
    #[arg(long, allow_negative_numbers = true)]
    delta: Option<f64>,
    /// Copies of every hidden spin.
    #[arg(long, value_name = "M")]
    replicas: Option<usize>,
    /// Passes over the training images.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Sweeps that are averaged.
    #[arg(long, value_name = "G", conflicts_with = "accuracy")]
    sweeps: Option<usize>,
    /// Average as few sweeps as are expected to reach this accuracy, between 0 and 1, on the machine that needs fewer of them
    /// (unless --realisation says which); no more than `sweeps` of the settings.
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true)]
    accuracy: Option<f64>,
    /// Report on held-out training images instead of the test images: for choosing settings.
    #[arg(long)]
    held_out: bool,
    #[command(flatten)]
    pub data: DataFlags,
    #[command(flatten)]
    pub run: RunFlags,
}

/// Which layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// One hidden layer of 512 spins.
    Mlp,
    /// Two or three layers of local couplings.
    Conv,
    /// Six layers of local couplings: many hours on a processor, meant for a GPU.
    Deep,
}

/// The two machines by short names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum RealisationName {
    /// One temperature, in equilibrium; later layers have weaker couplings.
    E,
    /// A temperature for each layer; later layers are colder.
    T,
}

impl From<RealisationName> for Realisation {
    fn from(name: RealisationName) -> Self {
        match name {
            RealisationName::E => Self::Equilibrium,
            RealisationName::T => Self::Temperatures,
        }
    }
}

/// Everything that decides the numbers of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The version of the program that wrote this.
    pub version: String,
    /// Images, device and key.
    #[serde(flatten)]
    pub source: Source,
    /// The name of the layers.
    pub network: Network,
    /// G, the sweeps that are averaged.
    pub sweeps: usize,
    /// The accuracy for which G is chosen on held-out images, at most the one above.
    pub accuracy: Option<f64>,
    /// Whether it may be the other machine with the same couplings that is expected to reach that accuracy in fewer sweeps.
    pub either_machine: bool,
    /// Report on held-out training images instead of the test images.
    pub against_held_out: bool,
    /// Examples a shard of a batch: sums keep their bits only for equal sizes.
    pub shard: usize,
    /// Training images that normalised fields are folded by.
    pub fold_images: usize,
    /// Energy of a spin that changes its sign, in J.
    pub flip_joules: f64,
    /// The layers and the machine.
    pub ising: IsingConfig,
    /// How it is trained.
    pub trainer: IsingTrainer,
}

impl Default for Settings {
    fn default() -> Self {
        Self::of(Dataset::Strokes, Network::Mlp, Realisation::Temperatures)
    }
}

impl Arguments {
    /// What was given on the command line.
    pub fn read() -> Self {
        let d = Settings::default();
        let mut defaults = DataFlags::defaults(&d.source);
        defaults.extend([
            ("dataset", name(&d.source.dataset)),
            ("network", name(&d.network)),
            ("realisation", "t".into()),
            ("delta", "0.3 mlp, 0.1 conv and deep, 1 with --realisation e".into()),
            ("replicas", d.ising.replicas.to_string()),
            ("epochs", "of the network and data set".into()),
            ("sweeps", d.sweeps.to_string()),
            ("out", "runs/ising-N".into()),
        ]);
        parse(with_defaults(Self::command(), defaults))
    }

    /// Defaults, then the file, then single settings, then the flags.
    pub fn settings(&self) -> Result<Settings> {
        let mut layers = self.run.layers()?;
        layers.extend(self.network.map(|network| ("network".into(), name(&network).into())));
        layers.extend(self.data.dataset.map(|dataset| ("dataset".into(), name(&dataset).into())));
        let chosen = Settings::default().with(&layers).with_context(|| self.run.named())?;
        let machine = self.realisation.map_or(chosen.ising.realisation, Realisation::from);
        let mut settings = Settings::of(chosen.source.dataset, chosen.network, machine).with(&layers)?;
        let s = &mut settings;
        self.data.set(&mut s.source)?;
        self.run.check(None)?;
        s.against_held_out |= self.held_out;
        s.ising.realisation = machine;
        set(&mut s.ising.delta, self.delta);
        set(&mut s.ising.replicas, self.replicas);
        set(&mut s.trainer.recipe.epochs, self.epochs);
        set(&mut s.sweeps, self.sweeps);
        s.accuracy = self.accuracy.or(s.accuracy);
        s.either_machine = self.realisation.is_none() && (s.either_machine || self.accuracy.is_some());
        s.version = version();
        s.check()?;
        Ok(settings)
    }
}

impl Settings {
    /// The defaults of a network on a data set: chosen on held-out images.
    fn of(dataset: Dataset, network: Network, realisation: Realisation) -> Self {
        let conv = |channels, kernel, stride| Hidden::Conv { channels, kernel, stride };
        let colour = dataset == Dataset::Cifar10;
        let (hidden, scale, normalise) = match network {
            Network::Mlp => (vec![Hidden::Dense(512)], 0.3, false),
            Network::Conv if colour => (vec![conv(48, 5, 2), conv(96, 3, 2), conv(192, 3, 2)], 1.0, true),
            Network::Conv => (vec![conv(32, 5, 2), conv(64, 3, 2)], 0.6, false),
            Network::Deep => {
                let pairs = [(64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2)];
                (pairs.map(|(channels, stride)| conv(channels, 3, stride)).into(), 1.0, true)
            }
        };
        let equilibrium = realisation == Realisation::Equilibrium;
        let delta = match network {
            _ if equilibrium => 1.0,
            Network::Mlp => 0.3,
            Network::Conv | Network::Deep => 0.1,
        };
        let ising = IsingConfig { hidden, outputs: 10, replicas: 1, realisation, delta, scale, normalise };
        let (epochs, batch) = match (network, dataset) {
            (Network::Mlp, Dataset::Mnist) => (20, 200),
            (Network::Mlp, _) => (25, 200),
            (Network::Conv, Dataset::Cifar10) => (14, 100),
            (Network::Conv, _) => (8, 100),
            (Network::Deep, _) => (60, 100),
        };
        let settling = match network {
            Network::Mlp => 0,
            Network::Conv | Network::Deep if colour => 3,
            Network::Conv | Network::Deep => 2,
        };
        let clothes = dataset == Dataset::FashionMnist;
        let recipe = Recipe {
            epochs,
            batch,
            learning_rate: 2e-3,
            warm_up: 100,
            final_fraction: 0.0,
            ..Recipe::default()
        };
        let trainer = IsingTrainer {
            recipe,
            forward: match network {
                Network::Mlp if clothes || colour => Forward::StraightThrough,
                Network::Conv | Network::Deep if colour => Forward::Closure,
                _ => Forward::MeanField,
            },
            logit_gain: if network == Network::Mlp && clothes { 7.0 } else { 10.0 },
            fixed_point: if equilibrium && network == Network::Mlp { 1.0 } else { 0.0 },
            magnitude: if equilibrium && network == Network::Mlp { 0.03 } else { 0.0 },
            settling: Recipe { epochs: settling, learning_rate: 5e-4, ..recipe },
            passes: 1,
            augment: match (dataset, network) {
                (Dataset::FashionMnist, Network::Mlp) => Augment::default(),
                (Dataset::FashionMnist, _) => Augment { shift: 0, flip: true },
                (Dataset::Cifar10, _) => Augment { shift: 2, flip: true },
                (Dataset::Mnist | Dataset::Strokes, _) => Augment::PIXEL,
            },
        };
        Self {
            version: version(),
            source: Source { dataset, ..Source::default() },
            network,
            sweeps: 100,
            accuracy: None,
            either_machine: false,
            against_held_out: false,
            shard: 50,
            fold_images: 5000,
            flip_joules: 1e-15,
            ising,
            trainer,
        }
    }
}

impl thermograd_experiments::workbench::settings::Settings for Settings {
    fn check(&self) -> Result<()> {
        ensure!(self.sweeps > 0 && self.sweeps <= 1_000_000, "sweeps: between 1 and a million are possible");
        ensure!(self.source.limit.is_none_or(|limit| limit >= 2), "limit: at least two images are needed");
        ensure!(
            self.shard > 0 && self.fold_images > 0,
            "shard and fold_images: at least one example is needed"
        );
        ensure!(
            self.accuracy.is_none_or(|accuracy| accuracy > 0.0 && accuracy < 1.0),
            "accuracy: a fraction between 0 and 1 is needed, as in 0.98"
        );
        ensure!(
            self.flip_joules >= 0.0 && self.flip_joules.is_finite(),
            "flip_joules: must be finite and not negative"
        );
        let t = &self.trainer;
        ensure!((1..=50).contains(&t.passes), "trainer.passes: between 1 and 50 are possible");
        ensure!(t.logit_gain > 0.0 && t.logit_gain.is_finite(), "trainer.logit_gain: must be positive");
        ensure!(
            [t.fixed_point, t.magnitude].iter().all(|term| *term >= 0.0 && term.is_finite()),
            "trainer: terms of the loss must be finite and not negative"
        );
        ensure!(t.augment.shift < 28, "trainer.augment.shift: less than an image is needed");
        // No epochs of settling are none, and the rest of its recipe must make sense anyway.
        let settling = Recipe { epochs: t.settling.epochs.max(1), ..t.settling };
        check_recipes([("trainer.recipe", t.recipe), ("trainer.settling", settling)])?;
        self.ising.check().context("ising")?;
        Ok(())
    }
}
