//! Arrays for NumPy: `numpy.load` reads them.
//!
//! The arrays of the [native](super::native) format under their names, as `<f4` and `<i4`, and `description`, the
//! bytes of the description's JSON: `json.loads(file["description"].tobytes())`. Arrays of `<f8` and `<i8` are read
//! too.

use std::io::{BufReader, Cursor, Read, Write};

use npyz::{NpyFile, WriterBuilder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::error::{Error, Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::formats::arrays::Arrays;
use crate::export::text::text;

/// The most bytes that the arrays of one file may unpack to.
pub const LIMIT: u64 = 1 << 30;

/// The arrays of a small file may unpack to this many bytes, or to [`RATIO`] times its size if that is more.
pub const SMALL: u64 = 1 << 26;

/// How many times smaller than its arrays a large file may be. Trained couplings hardly compress.
pub const RATIO: u64 = 64;

/// Bytes of the header of an array; NumPy writes 118 for arrays like these.
const HEADER: usize = 512;

const DESCRIPTION: &str = "description";

pub(super) fn encode(couplings: &Couplings) -> Result<Vec<u8>> {
    let packed = pack(couplings, CompressionMethod::Deflated)?;
    let values = couplings.tensors.values().map(|(_, values)| HEADER + 4 * values.len()).sum::<usize>();
    // Arrays that compress too well, such as untrained couplings, are stored uncompressed, because the reader would
    // refuse them.
    match values as u64 <= limit(&packed) {
        true => Ok(packed),
        false => pack(couplings, CompressionMethod::Stored),
    }
}

fn pack(couplings: &Couplings, method: CompressionMethod) -> Result<Vec<u8>> {
    let Arrays { values, pairs } = Arrays::of(couplings);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let described = couplings.describe().into_bytes();
    let options = SimpleFileOptions::default().compression_method(method);
    add(&mut archive, options, DESCRIPTION, &[described.len()], &described)?;
    for (name, (shape, values)) in values {
        add(&mut archive, options, &name, &shape, &values)?;
    }
    for (name, (shape, units)) in pairs {
        add(&mut archive, options, &name, &shape, &units)?;
    }
    Ok(archive.finish().map_err(refused)?.into_inner())
}

fn add<T: npyz::AutoSerialize + Copy>(
    archive: &mut ZipWriter<Cursor<Vec<u8>>>,
    options: SimpleFileOptions,
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
    archive.start_file(format!("{name}.npy"), options).map_err(refused)?;
    archive.write_all(&bytes).map_err(refused)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Couplings> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(refused)?;
    if listed(bytes, archive.comment().len()) != Some(archive.len()) {
        return Err(refused("its directory lists an array twice, or does not end the file"));
    }
    let mut arrays = Arrays::default();
    let (mut described, mut left) = (None, limit(bytes));
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(refused)?;
        let name = entry.name().map_err(refused)?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else {
            return Err(Problem::Unknown(name).into());
        };
        let size = entry.size();
        left = left.checked_sub(size).ok_or_else(|| Problem::TooLarge {
            what: "bytes unpacked from an npz file of this size".into(),
            count: u128::from(limit(bytes) - left) + u128::from(size),
            limit: limit(bytes).into(),
        })?;
        match array(&name, entry, size)? {
            (_, Array::Bytes(bytes)) if name == DESCRIPTION => described = Some(bytes),
            (shape, Array::Values(values)) => drop(arrays.values.insert(name, (shape, values))),
            (shape, Array::Units(units)) => drop(arrays.pairs.insert(name, (shape, units))),
            (_, Array::Bytes(_)) => return Err(Problem::Unknown(name).into()),
        }
    }
    let described = described.ok_or(Problem::NoDescription("there is no array `description`"))?;
    arrays.join(text(&described, "a description")?)
}

/// What the arrays of a file may unpack to.
fn limit(bytes: &[u8]) -> u64 {
    LIMIT.min(SMALL + RATIO * bytes.len() as u64)
}

/// The number of files that the directory of an archive lists. The reader keeps only one of several with the same
/// name.
fn listed(bytes: &[u8], comment: usize) -> Option<usize> {
    let end = bytes.get(bytes.len().checked_sub(comment + 22)?..)?;
    end.starts_with(b"PK\x05\x06").then(|| usize::from(u16::from_le_bytes([end[10], end[11]])))
}

enum Array {
    Bytes(Vec<u8>),
    Values(Vec<f32>),
    Units(Vec<i32>),
}

/// Reads one `.npy` file of `size` bytes. Values are unpacked only once the header has confirmed that size.
fn array(name: &str, stream: impl Read, size: u64) -> Result<(Vec<usize>, Array)> {
    let mut stream = BufReader::new(stream);
    let refuse = |reason: String| -> Error {
        Problem::Container { format: "a NumPy array", reason: format!("`{name}`: {reason}") }.into()
    };
    let failed = |error: std::io::Error| refuse(error.to_string());
    let mut header = vec![0; 10];
    stream.read_exact(&mut header).map_err(failed)?;
    // The length of the header follows six bytes of magic and two of version.
    let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
    if header[6] != 1 || length > HEADER {
        return Err(refuse(format!("a header of version 1 and up to {HEADER} bytes is expected")));
    }
    header.resize(10 + length, 0);
    stream.read_exact(&mut header[10..]).map_err(failed)?;
    if !is_flat(&header[10..]) {
        return Err(refuse("its header is more than a dictionary with a shape".into()));
    }
    let data = size.saturating_sub(header.len() as u64);
    let mut stream = stream.take(data + 1);
    let file = NpyFile::new(header.chain(stream.by_ref())).map_err(failed)?;
    if file.order() != npyz::Order::C {
        return Err(refuse("the array is in Fortran order, expected C order".into()));
    }
    let shape: Vec<usize> = file.shape().iter().map(|&size| size as usize).collect();
    let kind = file.dtype().descr();
    let bytes: u64 = kind.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    let promised = file.shape().iter().try_fold(bytes, |product, &size| product.checked_mul(size));
    if promised != Some(data) {
        return Err(refuse(format!("{data} bytes of values do not have the shape {shape:?} of {kind}")));
    }
    let array = match kind.trim_matches('\'') {
        "<f4" => Array::Values(values(file, |value: f32| value).map_err(failed)?),
        "<f8" => Array::Values(values(file, |value: f64| value as f32).map_err(failed)?),
        "<i4" => Array::Units(values(file, |unit: i32| unit).map_err(failed)?),
        // An index that does not fit is outside every group and is refused later.
        "<i8" => Array::Units(values(file, |unit: i64| i32::try_from(unit).unwrap_or(-1)).map_err(failed)?),
        "|u1" => Array::Bytes(values(file, |byte: u8| byte).map_err(failed)?),
        other => {
            let (name, found) = (name.to_owned(), other.to_owned());
            return Err(Problem::Type { name, found, expected: "<f4, <f8, <i4, <i8 or |u1" }.into());
        }
    };
    match stream.read(&mut [0]).map_err(failed)? {
        0 => Ok((shape, array)),
        _ => Err(refuse(format!("it is longer than the {size} bytes that the directory lists"))),
    }
}

/// Whether a header is a dictionary whose values are words and one tuple. Nested headers are not passed to the
/// parser, whose time doubles with every level.
fn is_flat(header: &[u8]) -> bool {
    let brackets = header.iter().copied().filter(|byte| b"{}()[]".contains(byte));
    brackets.eq(b"{()}".iter().copied())
}

fn values<T: npyz::Deserialize, U>(
    file: NpyFile<impl Read>,
    convert: impl Fn(T) -> U,
) -> std::io::Result<Vec<U>> {
    let data = file.data::<T>().map_err(std::io::Error::other)?;
    let mut values = Vec::with_capacity(data.len() as usize);
    for value in data {
        values.push(convert(value?));
    }
    Ok(values)
}

fn refused(error: impl std::fmt::Display) -> Error {
    Problem::Container { format: "an npz file", reason: error.to_string() }.into()
}
