//! CIFAR-10 in its binary version, from a folder.
//!
//! ```text
//! 10,000 times: label (u8)  1024 × red  1024 × green  1024 × blue (u8, row-major)
//! ```
//!
//! A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009);
//! <https://www.cs.toronto.edu/~kriz/cifar.html>, cifar-10-binary.tar.gz.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::idx::{IdxError, IdxProblem};
use crate::images::{Images, Split};

/// Rows and columns.
pub const SIDE: usize = 32;

/// The number of classes.
pub const CLASSES: u8 = 10;

/// Images of a file.
const COUNT: usize = 10_000;

/// Bytes of a label and its image.
const RECORD: usize = 1 + 3 * SIDE * SIDE;

/// The files of a folder: five to train on, and one to test on.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let train = (1..=5).map(|number| format!("data_batch_{number}.bin"));
    train.chain(["test_batch.bin".into()]).map(|name| folder.join(name)).collect()
}

/// Loads `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` from `folder`.
///
/// # Errors
/// [`IdxError`] naming the file, the byte and what was expected.
pub fn load(folder: &Path) -> Result<Split, IdxError> {
    let mut parts = Vec::new();
    for path in files(folder) {
        parts.push(read(&path, COUNT).map_err(|problem| IdxError { path, problem })?);
    }
    let test = parts.pop().expect("six files");
    let pixels = parts.iter().flat_map(|part| part.pixels.iter().copied()).collect();
    let labels = parts.iter().flat_map(|part| part.labels.iter().copied()).collect();
    Ok(Split { train: Images { pixels, labels, ..test.clone() }, test })
}

/// Reads a file of `count` images.
fn read(path: &Path, count: usize) -> Result<Images, IdxProblem> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take((count * RECORD + 1) as u64).read_to_end(&mut bytes)?;
    decode(&bytes, count)
}

/// Decodes `count` images.
///
/// # Errors
/// [`IdxProblem`] when the bytes are more or fewer, or a label names no class.
pub fn decode(bytes: &[u8], count: usize) -> Result<Images, IdxProblem> {
    let (found, expected) = (bytes.len(), count * RECORD);
    if found < expected {
        return Err(IdxProblem::Truncated { found, expected });
    }
    if found > expected {
        return Err(IdxProblem::TooLong { found, expected });
    }
    let (mut pixels, mut labels) = (Vec::with_capacity(expected), Vec::with_capacity(count));
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (&label, image) = record.split_first().expect("a record is not empty");
        if label >= CLASSES {
            return Err(IdxProblem::Label { byte: index * RECORD, found: label, classes: CLASSES });
        }
        labels.push(label);
        pixels.extend_from_slice(image);
    }
    Ok(Images { channels: 3, width: SIDE, height: SIDE, pixels, labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_a_label_and_three_planes() {
        let mut bytes: Vec<u8> = (0..2 * RECORD).map(|k| (k % 251) as u8).collect();
        (bytes[0], bytes[RECORD]) = (3, 9);
        let images = decode(&bytes, 2).unwrap();
        assert_eq!((images.labels.as_slice(), images.size()), (&[3, 9][..], 3072));
        assert_eq!(images.pixels_of(1), &bytes[RECORD + 1..]);
        assert!(matches!(decode(&bytes, 3), Err(IdxProblem::Truncated { found: 6146, expected: 9219 })));
        assert!(matches!(decode(&bytes, 1), Err(IdxProblem::TooLong { .. })));
        bytes[RECORD] = 10;
        assert!(matches!(decode(&bytes, 2), Err(IdxProblem::Label { byte: 3073, found: 10, classes: 10 })));
    }
}
