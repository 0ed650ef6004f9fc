//! The images that a run works on, and its device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thermograd::{Backend, Key, Shards, ranks};
use thermograd_datasets::{Images, cifar, mnist, strokes};
use thermograd_models::Examples;

use crate::workbench::settings::name;

/// A data set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dataset {
    /// Digits drawn from stroke skeletons; needs no file.
    Strokes,
    /// MNIST, from its four IDX files in --data-dir.
    Mnist,
    /// Fashion-MNIST (ten kinds of clothes), from the same four files.
    FashionMnist,
    /// The six binary files of CIFAR-10 in --data-dir: ten kinds of animals and vehicles, in colour.
    #[value(name = "cifar10")]
    #[serde(rename = "cifar10")]
    Cifar10,
}

impl Dataset {
    /// Whether it is read from files.
    pub fn reads_files(self) -> bool {
        self != Self::Strokes
    }

    /// The name of a class.
    pub fn class(self, class: usize) -> String {
        const CLOTHES: [&str; 10] =
            ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"];
        const THINGS: [&str; 10] =
            ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
        let name = match self {
            Self::FashionMnist => CLOTHES.get(class),
            Self::Cifar10 => THINGS.get(class),
            Self::Strokes | Self::Mnist => None,
        };
        name.map_or_else(|| class.to_string(), |name| (*name).into())
    }

    /// What its images show.
    pub fn shows(self) -> &'static str {
        match self {
            Self::FashionMnist => "clothes",
            Self::Cifar10 => "animals and vehicles",
            Self::Strokes | Self::Mnist => "digits",
        }
    }

    /// The files of it in a folder.
    pub fn files(self, folder: &Path) -> Vec<PathBuf> {
        match self {
            Self::Strokes => Vec::new(),
            Self::Mnist | Self::FashionMnist => mnist::files(folder),
            Self::Cifar10 => cifar::files(folder),
        }
    }
}

/// Examples per shard of a batch, by default.
pub const SHARD: usize = 128;

/// The settings for images, device and key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// The data set.
    pub dataset: Dataset,
    /// Where the files are.
    pub data_dir: Option<PathBuf>,
    /// Where to compute.
    pub backend: Backend,
    /// The number of the device, where a backend has several.
    pub device: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// How many images of each split to use, from the first; all if none.
    pub limit: Option<usize>,
    /// The number of training images set aside for selection and never trained on; half of them at most.
    pub held_out: usize,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            dataset: Dataset::Strokes,
            data_dir: None,
            backend: Backend::Flex,
            device: 0,
            seed: 0,
            limit: None,
            held_out: 5000,
        }
    }
}

/// The images, device and key of an experiment.
pub struct Bench {
    /// Images.
    pub data: Data,
    /// Where to compute.
    pub device: Device,
    /// How batches are split.
    pub shards: Shards,
    /// The key of everything random.
    pub key: Key,
}

impl Bench {
    /// Refuses more ranks than there are shards of a batch, since some would have nothing to do.
    pub fn check_ranks(&self, batch: usize) -> Result<()> {
        let (count, shards) = (ranks::count(), self.shards.ranges(batch).len());
        ensure!(
            count <= shards.max(1),
            "{count} ranks for {shards} shards: batches of {batch} are split into shards of {}; start fewer ranks, \
             or add --set shard={}",
            self.shards.size,
            (batch / count).max(1)
        );
        Ok(())
    }
}

impl Data {
    /// The images on which results are reported: held-out ones while settings are still being chosen.
    pub fn reported(&self, held_out: bool) -> &Examples {
        if held_out { &self.held_out } else { &self.test }
    }

    /// Refuses training images from which nothing can be learned.
    pub fn check_training(&self) -> Result<()> {
        let train = &self.train;
        let varies = (1..train.len()).any(|index| train.pixels(index) != train.pixels(0));
        ensure!(varies || train.len() < 2, "all training images are equal");
        Ok(())
    }

    /// A checksum of all images and labels, which differs between data sets and between their splits.
    pub fn fingerprint(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for examples in [&self.train, &self.held_out, &self.test] {
            for index in 0..examples.len() {
                hasher.update(examples.pixels(index));
                hasher.update(&[examples.label(index) as u8]);
            }
        }
        hasher.finalize()
    }
}

/// Images for training, selection and the final report.
pub struct Data {
    /// For training.
    pub train: Examples,
    /// Training images set aside for selection.
    pub held_out: Examples,
    /// For one final report.
    pub test: Examples,
}

impl Source {
    /// Opens images, device and key. On CPUs, batches are split into shards of `shard` examples on the given number
    /// of threads, or on one per core; elsewhere they stay whole.
    pub fn open(&self, shard: usize, threads: Option<usize>) -> Result<Bench> {
        let device = self.device()?;
        let mut shards = Shards::new(shard);
        shards.threads = threads.unwrap_or(shards.threads).clamp(1, 1024);
        if !self.backend.is_cpu() {
            // A GPU is parallel itself; what several share must be split.
            shards = if ranks::count() == 1 { Shards::whole() } else { Shards { size: shard, threads: 1 } };
        }
        // Ranks tell out work in chunks that depend on it.
        ranks::agree("number of threads", &shards.threads.to_string())?;
        let data = self.data()?;
        if ranks::count() > 1 {
            ranks::agree("images", &data.fingerprint().to_string())?;
        }
        Ok(Bench { data, device, shards, key: self.key() })
    }

    /// Where to compute.
    pub fn device(&self) -> Result<Device> {
        Ok(self.backend.numbered(self.device)?)
    }

    /// Reads or draws the images.
    pub fn data(&self) -> Result<Data> {
        let split = match self.dataset {
            Dataset::Strokes => strokes::split(self.seed),
            #[cfg(feature = "download")]
            Dataset::Mnist if self.data_dir.is_none() => mnist::download()?,
            Dataset::Mnist | Dataset::FashionMnist => mnist::load(&self.folder()?)?,
            Dataset::Cifar10 => cifar::load(&self.folder()?)?,
        };
        ensure!(self.held_out > 0, "held_out: at least one image is needed");
        let limit = self.limit.unwrap_or(usize::MAX);
        let (all, test) = (split.train.first(limit), split.test.first(limit));
        let (train, held_out) = all.hold_out(self.held_out.min(all.len() / 2));
        let examples = |images: Images| {
            let Images { channels, width, height, pixels, labels } = images;
            Examples::coloured(channels, width, height, pixels, labels)
        };
        Ok(Data { train: examples(train)?, held_out: examples(held_out)?, test: examples(test)? })
    }

    /// The folder with the files of the data set: the data folder, or its subfolder named after the data set.
    pub fn folder(&self) -> Result<PathBuf> {
        let set = name(&self.dataset);
        let folder = self.data_dir.clone().with_context(|| {
            format!(
                "--dataset {set} needs its files: add --data-dir DIR or set THERMOGRAD_DATA (MNIST itself is \
                 downloaded by a build with --features download)"
            )
        })?;
        let own = folder.join(set);
        Ok(if own.is_dir() { own } else { folder })
    }

    /// The key of everything random.
    pub fn key(&self) -> Key {
        Key::new(self.seed)
    }
}
