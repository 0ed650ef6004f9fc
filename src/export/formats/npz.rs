//! Arrays for NumPy: `numpy.load` reads them.
//!
//! The arrays of the [native](super::native) format under their names, as `<f4` and `<i4`, and `description`, the
//! bytes of the description's JSON: `json.loads(file["description"].tobytes())`. Arrays of `<f8` and `<i8` are read
//! too.

use std::io::{Cursor, Read, Write};

use npyz::{NpyFile, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::error::{Error, Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::formats::arrays::Arrays;
use crate::export::text::text;

/// Bytes that the arrays of one file may unpack to.
pub const LIMIT: u64 = 1 << 30;

/// Bytes of the header of an array; NumPy writes 118 for arrays like ours.
const HEADER: usize = 512;

const DESCRIPTION: &str = "description";

pub(super) fn encode(couplings: &Couplings) -> Result<Vec<u8>> {
    let Arrays { values, pairs } = Arrays::of(couplings);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let described = couplings.describe().into_bytes();
    add(&mut archive, DESCRIPTION, &[described.len()], &described)?;
    for (name, (shape, values)) in values {
        add(&mut archive, &name, &shape, &values)?;
    }
    for (name, (shape, units)) in pairs {
        add(&mut archive, &name, &shape, &units)?;
    }
    Ok(archive.finish().map_err(refused)?.into_inner())
}

fn add<T: npyz::AutoSerialize + Copy>(
    archive: &mut ZipWriter<Cursor<Vec<u8>>>,
    name: &str,
    shape: &[usize],
    values: &[T],
) -> Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
    let mut bytes = Vec::new();
    let mut write = || -> std::io::Result<()> {
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    };
    write().map_err(refused)?;
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    archive.start_file(format!("{name}.npy"), options).map_err(refused)?;
    archive.write_all(&bytes).map_err(refused)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Couplings> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(refused)?;
    let mut arrays = Arrays::default();
    let (mut described, mut left) = (None, LIMIT);
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(refused)?;
        let name = entry.name().map_err(refused)?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else {
            return Err(Problem::Unknown(name).into());
        };
        let mut unpacked = Vec::new();
        entry.take(left + 1).read_to_end(&mut unpacked).map_err(refused)?;
        let Some(rest) = left.checked_sub(unpacked.len() as u64) else {
            let (count, limit) = (u128::from(LIMIT) + 1, u128::from(LIMIT));
            return Err(Problem::TooLarge { what: "unpacked bytes".into(), count, limit }.into());
        };
        left = rest;
        match array(&name, &unpacked)? {
            (_, Array::Bytes(bytes)) if name == DESCRIPTION => described = Some(bytes),
            (shape, Array::Values(values)) => drop(arrays.values.insert(name, (shape, values))),
            (shape, Array::Units(units)) => drop(arrays.pairs.insert(name, (shape, units))),
            (_, Array::Bytes(_)) => return Err(Problem::Unknown(name).into()),
        }
    }
    let described = described.ok_or(Problem::NoDescription("there is no array `description`"))?;
    arrays.join(text(&described, "a description")?)
}

enum Array {
    Bytes(Vec<u8>),
    Values(Vec<f32>),
    Units(Vec<i32>),
}

/// One `.npy` file.
fn array(name: &str, bytes: &[u8]) -> Result<(Vec<usize>, Array)> {
    let refuse = |reason: String| Problem::Container {
        format: "a NumPy array",
        reason: format!("`{name}`: {reason}"),
    };
    // Its length stands behind six bytes of magic and two of version; a short one cannot nest deeply.
    let length = bytes.get(8..10).map_or(0, |length| usize::from(length[0]) + 256 * usize::from(length[1]));
    if bytes.get(6) != Some(&1) || length > HEADER {
        return Err(refuse(format!("a header of version 1 and up to {HEADER} bytes is expected")).into());
    }
    let data = (bytes.len() - 10).saturating_sub(length) as u64;
    let file = NpyFile::new(bytes).map_err(|error| refuse(error.to_string()))?;
    if file.order() != npyz::Order::C {
        return Err(refuse("the order is Fortran's, expected C's".into()).into());
    }
    let shape: Vec<usize> = file.shape().iter().map(|&size| size as usize).collect();
    let kind = file.dtype().descr();
    let size: u64 = kind.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    let promised = file.shape().iter().try_fold(size, |product, &size| product.checked_mul(size));
    if promised != Some(data) {
        return Err(
            refuse(format!("{data} bytes of values do not have the shape {shape:?} of {kind}")).into()
        );
    }
    let failed = |error: std::io::Error| refuse(error.to_string());
    let array = match kind.trim_matches('\'') {
        "<f4" => Array::Values(file.into_vec::<f32>().map_err(failed)?),
        "<f8" => {
            Array::Values(file.into_vec::<f64>().map_err(failed)?.into_iter().map(|v| v as f32).collect())
        }
        "<i4" => Array::Units(file.into_vec::<i32>().map_err(failed)?),
        "<i8" => {
            // What does not fit is outside every group.
            let units = file.into_vec::<i64>().map_err(failed)?;
            Array::Units(units.into_iter().map(|unit| i32::try_from(unit).unwrap_or(-1)).collect())
        }
        "|u1" => Array::Bytes(file.into_vec::<u8>().map_err(failed)?),
        other => {
            let (name, found) = (name.to_owned(), other.to_owned());
            return Err(Problem::Type { name, found, expected: "<f4, <f8, <i4, <i8 or |u1" }.into());
        }
    };
    Ok((shape, array))
}

fn refused(error: impl std::fmt::Display) -> Error {
    Problem::Container { format: "an npz file", reason: error.to_string() }.into()
}
