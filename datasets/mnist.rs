//! MNIST, and other data sets in the same four files (Fashion-MNIST, KMNIST), from a folder.
//!
//! Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Proc. IEEE 86, 2278 (1998).

use std::path::{Path, PathBuf};

use crate::idx::{self, IdxError, IdxProblem};
use crate::images::{Images, Split};

/// The number of classes of all these data sets.
pub const CLASSES: u8 = 10;

/// Loads `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, each plain or with `.gz`, from `folder`.
///
/// # Errors
/// [`IdxError`] naming the file, the byte and what was expected.
pub fn load(folder: &Path) -> Result<Split, IdxError> {
    let [train, test] = PARTS;
    let (train, test) = (load_part(folder, train)?, load_part(folder, test)?);
    let sides = [(train.height, test.height), (train.width, test.width)];
    if let Some(side) = sides.iter().position(|(train, test)| train != test) {
        let [path, _] = paths(folder, PARTS[1]);
        let (expected, found) = sides[side];
        let expected = format!("{expected}, as in the training images");
        let problem = IdxProblem::Dimension { dimension: 1 + side, byte: 8 + 4 * side, found, expected };
        return Err(IdxError { path, problem });
    }
    Ok(Split { train, test })
}

/// The four files of a folder: training images and labels, test images and labels.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    PARTS.iter().flat_map(|part| paths(folder, part)).collect()
}

const PARTS: [&str; 2] = ["train", "t10k"];

/// The images and labels of one split.
fn paths(folder: &Path, part: &str) -> [PathBuf; 2] {
    ["images-idx3-ubyte", "labels-idx1-ubyte"].map(|kind| find(folder, &format!("{part}-{kind}")))
}

fn load_part(folder: &Path, part: &str) -> Result<Images, IdxError> {
    let [images_path, labels_path] = paths(folder, part);
    let images = idx::read(&images_path, 3, "images: unsigned bytes in three dimensions")?;
    let labels = idx::read(&labels_path, 1, "labels: unsigned bytes in one dimension")?;
    let [count, height, width] = images.dimensions[..] else { unreachable!("three dimensions were read") };
    let wrong = |problem| Err(IdxError { path: labels_path.clone(), problem });
    if labels.values.len() != count {
        return wrong(IdxProblem::Dimension {
            dimension: 0,
            byte: 4,
            found: labels.values.len(),
            expected: format!("{count}, the number of images in {}", images_path.display()),
        });
    }
    if let Some(place) = labels.values.iter().position(|&label| label >= CLASSES) {
        let found = labels.values[place];
        return wrong(IdxProblem::Label { byte: 8 + place, found, classes: CLASSES });
    }
    Ok(Images { channels: 1, width, height, pixels: images.values, labels: labels.values })
}

/// The file in the folder, gzipped or plain; the plain name if neither exists, for the error message.
fn find(folder: &Path, name: &str) -> PathBuf {
    let zipped = folder.join(format!("{name}.gz"));
    if zipped.exists() { zipped } else { folder.join(name) }
}

/// MNIST could not be fetched.
#[cfg(feature = "download")]
#[derive(Debug, thiserror::Error)]
#[error("MNIST could not be downloaded: {0}")]
pub struct DownloadError(String);

/// Downloads MNIST with burn-dataset's downloader to its cache folder, and loads it.
///
/// # Errors
/// [`DownloadError`] without a network; burn-dataset panics there, which is caught.
#[cfg(feature = "download")]
pub fn download() -> Result<Split, DownloadError> {
    use burn_dataset::Dataset;
    use burn_dataset::vision::MnistDataset;
    let images = |dataset: MnistDataset| -> Result<Images, DownloadError> {
        let items: Result<Vec<_>, _> = dataset.iter().collect();
        let items = items.map_err(|error| DownloadError(error.to_string()))?;
        Ok(Images {
            channels: 1,
            width: 28,
            height: 28,
            pixels: items.iter().flat_map(|item| item.image.iter().flatten().map(|&p| p as u8)).collect(),
            labels: items.iter().map(|item| item.label).collect(),
        })
    };
    let fetched = std::panic::catch_unwind(|| (MnistDataset::train(), MnistDataset::test()));
    let (train, test) = fetched.map_err(|panic| {
        let reason = panic.downcast_ref::<String>().cloned();
        DownloadError(reason.unwrap_or_else(|| "the downloader gave up".into()))
    })?;
    Ok(Split { train: images(train)?, test: images(test)? })
}
