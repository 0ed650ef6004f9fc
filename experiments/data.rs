//! Which images a run works on.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thermograd_datasets::{Images, mnist, strokes};
use thermograd_models::Examples;

/// What to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    /// Digits drawn from stroke skeletons; needs no file.
    Strokes,
    /// The four IDX files of MNIST, or of Fashion-MNIST, in --data-dir.
    Mnist,
}

/// Images to train on, to select on and to report on.
pub struct Data {
    /// For training.
    pub train: Examples,
    /// Training images set aside for selection.
    pub held_out: Examples,
    /// For one final report.
    pub test: Examples,
}

impl Data {
    /// Reads or draws a data set; the first `limit` images of each split, if there is a limit, with up to `held_out`
    /// training images (but no more than half) set aside.
    pub fn load(
        dataset: Dataset,
        folder: Option<&Path>,
        seed: u64,
        limit: Option<usize>,
        held_out: usize,
    ) -> Result<Self> {
        let split = match dataset {
            Dataset::Strokes => strokes::split(seed),
            #[cfg(feature = "download")]
            Dataset::Mnist if folder.is_none() => mnist::download()?,
            Dataset::Mnist => mnist::load(folder.context(
                "--dataset mnist needs its four files: add --data-dir DIR or set THERMOGRAD_DATA \
                 (or, built with --features download, let it fetch them)",
            )?)?,
        };
        let limit = limit.unwrap_or(usize::MAX);
        let (all, test) = (split.train.first(limit), split.test.first(limit));
        let (train, held_out) = all.hold_out(held_out.min(all.labels.len() / 2));
        let examples =
            |images: Images| Examples::new(images.width, images.height, images.pixels, images.labels);
        Ok(Self { train: examples(train)?, held_out: examples(held_out)?, test: examples(test)? })
    }
}
