//! The IDX format of MNIST: a big-endian header and bytes, plain or gzipped.
//!
//! ```text
//! 0  0  0x08  rank    dimension 0 (u32)  …  dimension rank−1 (u32)    values (u8)
//! ```
//!
//! (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits"; 0x08 stands for unsigned
//! bytes, the only type used there.)

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Why a file could not be used: which file, where in it, and what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct IdxError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: IdxProblem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxProblem {
    /// It cannot be read, or its compression is broken.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It ends too early.
    #[error("ends at byte {found}, expected {expected} bytes")]
    Truncated {
        /// Its length.
        found: usize,
        /// The length that its header declares.
        expected: usize,
    },
    /// There are bytes after its values.
    #[error("has {found} bytes, expected the values to end at byte {expected}")]
    TooLong {
        /// Its length, as far as it was read.
        found: usize,
        /// The length that its header declares.
        expected: usize,
    },
    /// It is a file of another kind.
    #[error("magic number {found:#010x} at byte 0, expected {expected:#010x} ({kind})")]
    Magic {
        /// The first four bytes.
        found: u32,
        /// What they should be.
        expected: u32,
        /// The kind of file that was expected.
        kind: &'static str,
    },
    /// Its dimensions are out of range.
    #[error("dimension {dimension} at byte {byte} is {found}, expected {expected}")]
    Dimension {
        /// Which dimension.
        dimension: usize,
        /// Where in the header.
        byte: usize,
        /// What it is.
        found: usize,
        /// What it should be.
        expected: String,
    },
    /// A label is not one of the classes.
    #[error("label {found} at byte {byte}, expected below {classes}")]
    Label {
        /// Where in the file.
        byte: usize,
        /// What it is.
        found: u8,
        /// The number of classes.
        classes: u8,
    },
}

/// The most values that a file may have: twenty times those of MNIST.
pub const LARGEST: usize = 1 << 30;

/// The most values that a small compressed file may have, if this is more than [`RATIO`] times its size.
pub const SMALL: usize = 1 << 26;

/// How many times smaller than its values a large compressed file may be. MNIST shrinks to a fifth.
pub const RATIO: usize = 64;

/// The values of one file with their dimensions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Idx {
    /// Sizes, slowest first.
    pub dimensions: Vec<usize>,
    /// Row-major values.
    pub values: Vec<u8>,
}

/// Reads a file of `rank` dimensions, decompressing it if its name ends in `.gz`.
///
/// # Errors
/// [`IdxError`] for a missing, truncated, overlong or wrong file.
pub fn read(path: &Path, rank: usize, kind: &'static str) -> Result<Idx, IdxError> {
    let named = |problem| IdxError { path: path.to_owned(), problem };
    let file = fs::File::open(path).map_err(|error| named(error.into()))?;
    let size = file.metadata().map_err(|error| named(error.into()))?.len();
    let most = (size as usize).saturating_mul(RATIO).saturating_add(SMALL).min(LARGEST);
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => decode_up_to(most, GzDecoder::new(file), rank, kind),
        false => decode(file, rank, kind),
    }
    .map_err(named)
}

/// Decodes a stream of `rank` dimensions and up to [`LARGEST`] values. Memory is bounded by the actual or the
/// declared size of the stream, whichever is less.
///
/// # Errors
/// [`IdxProblem`].
pub fn decode(stream: impl Read, rank: usize, kind: &'static str) -> Result<Idx, IdxProblem> {
    decode_up_to(LARGEST, stream, rank, kind)
}

fn decode_up_to(
    most: usize,
    mut stream: impl Read,
    rank: usize,
    kind: &'static str,
) -> Result<Idx, IdxProblem> {
    let mut header = Vec::new();
    let header_len = 4 + 4 * rank;
    stream.by_ref().take(header_len as u64).read_to_end(&mut header)?;
    let word = |at: usize| -> Option<u32> {
        let bytes = header.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    };
    let truncated = || IdxProblem::Truncated { found: header.len(), expected: header_len };
    let magic = word(0).ok_or_else(truncated)?;
    let expected = 0x0800 + rank as u32;
    if magic != expected {
        return Err(IdxProblem::Magic { found: magic, expected, kind });
    }
    let mut count = 1_usize;
    let mut dimensions = Vec::new();
    for dimension in 0..rank {
        let byte = 4 + 4 * dimension;
        let found = word(byte).ok_or_else(truncated)? as usize;
        count = count.saturating_mul(found);
        if found == 0 || count > most {
            let expected = format!("at least 1 and no more than {most} values in a file of this size");
            return Err(IdxProblem::Dimension { dimension, byte, found, expected });
        }
        dimensions.push(found);
    }
    // The operating system commits no memory for capacity that is never written.
    let mut values = Vec::with_capacity(count);
    stream.take(count as u64 + 1).read_to_end(&mut values)?;
    let (found, expected) = (header_len + values.len(), header_len + count);
    match values.len() {
        len if len < count => Err(IdxProblem::Truncated { found, expected }),
        len if len > count => Err(IdxProblem::TooLong { found, expected }),
        _ => Ok(Idx { dimensions, values }),
    }
}
