//! Matrices and vectors from files.
//!
//! | extension | what |
//! |---|---|
//! | `.mtx` | Matrix Market (R. F. Boisvert, R. Pozo and K. A. Remington, NISTIR 5935, 1996): coordinate or array; real, integer or pattern; general, symmetric or skew-symmetric |
//! | `.npy` | NumPy: one or two dimensions of floating-point or integer numbers, little or big endian |
//! | `.csv` | a row a line, numbers separated by commas, or by semicolons or tabs throughout; lines that begin with `#` are comments |

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};

/// A dense matrix; a vector has one column.
#[derive(Clone, PartialEq, Debug)]
pub struct Matrix {
    /// Its rows.
    pub rows: usize,
    /// Its columns.
    pub columns: usize,
    /// Row by row.
    pub values: Vec<f64>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct MatrixError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: MatrixProblem,
}

/// What is wrong with the bytes of a matrix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatrixProblem {
    /// The system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A name without a known extension.
    #[error("its name does not end in .mtx, .npy or .csv")]
    Extension,
    /// A line that cannot be read.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A header that cannot be read.
    #[error("{0}")]
    Header(String),
    /// Entries that are missing or too many.
    #[error("{expected} entries are declared, and {found} were found")]
    Count {
        /// Found.
        found: usize,
        /// Declared.
        expected: usize,
    },
    /// NaN or an infinity.
    #[error("row {row}, column {column}, counted from 0, is {value}")]
    NotFinite {
        /// Counted from 0.
        row: usize,
        /// Counted from 0.
        column: usize,
        /// The value.
        value: f64,
    },
    /// More numbers than are accepted.
    #[error("{rows} by {columns} numbers are {bytes} bytes, and {limit} are accepted")]
    TooLarge {
        /// Declared.
        rows: u128,
        /// Declared.
        columns: u128,
        /// Eight a number.
        bytes: u128,
        /// The limit.
        limit: u128,
    },
}

type Result<T> = std::result::Result<T, MatrixProblem>;

/// Reads a matrix of at most `limit` bytes.
///
/// # Errors
/// [`MatrixError`] naming the file and the line.
pub fn read(path: &Path, limit: u128) -> std::result::Result<Matrix, MatrixError> {
    let named = |problem| MatrixError { path: path.to_owned(), problem };
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    // Text takes more room than the numbers; a file that goes on for ever is not read.
    let most = 32 * limit as u64 + (1 << 20);
    let bytes = || -> Result<Vec<u8>> {
        let file = fs::File::open(path)?;
        let mut bytes = Vec::with_capacity(file.metadata()?.len().min(most) as usize + 1);
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match extension.as_str() {
        "mtx" | "npy" | "csv" => bytes().and_then(|bytes| decode(&extension, &bytes, limit)).map_err(named),
        _ => Err(named(MatrixProblem::Extension)),
    }
}

/// Decodes the bytes of a file with an extension.
///
/// # Errors
/// [`MatrixProblem`].
pub fn decode(extension: &str, bytes: &[u8], limit: u128) -> Result<Matrix> {
    let text = || {
        std::str::from_utf8(bytes).map_err(|error| {
            MatrixProblem::Header(format!("it is no text: byte {} is no UTF-8", error.valid_up_to()))
        })
    };
    let matrix = match extension {
        "mtx" => matrix_market(text()?, limit),
        "csv" => csv(text()?, limit),
        "npy" => npy(bytes, limit),
        _ => Err(MatrixProblem::Extension),
    }?;
    match matrix.values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(MatrixProblem::NotFinite {
            row: place / matrix.columns,
            column: place % matrix.columns,
            value: matrix.values[place],
        }),
        None => Ok(matrix),
    }
}

/// Refuses what is larger than `limit` bytes.
fn afford(rows: u64, columns: u64, limit: u128) -> Result<usize> {
    let (rows, columns) = (u128::from(rows), u128::from(columns));
    let bytes = rows.saturating_mul(columns).saturating_mul(8);
    if bytes > limit {
        return Err(MatrixProblem::TooLarge { rows, columns, bytes, limit });
    }
    match bytes / 8 {
        0 => Err(MatrixProblem::Header(format!("{rows} by {columns}: there is nothing in it"))),
        count => Ok(count as usize),
    }
}

fn number<T: std::str::FromStr>(word: &str, line: usize) -> Result<T> {
    word.parse().map_err(|_| MatrixProblem::Line { line, reason: format!("`{}` is no number", shown(word)) })
}

/// A word, shortened.
fn shown(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_default).collect()
}

fn matrix_market(text: &str, limit: u128) -> Result<Matrix> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let head = lines.next().map_or("", |(_, line)| line).to_ascii_lowercase();
    let words: Vec<&str> = head.split_whitespace().collect();
    let &["%%matrixmarket", "matrix", layout, field, symmetry] = &words[..] else {
        return Err(MatrixProblem::Header(
            "the first line is not `%%MatrixMarket matrix coordinate|array real|integer|pattern general|symmetric|skew-symmetric`"
                .into(),
        ));
    };
    let coordinate = match layout {
        "coordinate" => true,
        "array" => false,
        other => {
            return Err(MatrixProblem::Header(format!("no layout `{}`: coordinate or array", shown(other))));
        }
    };
    let valued = match (field, coordinate) {
        ("real" | "integer" | "double", _) => true,
        ("pattern", true) => false,
        (other, _) => {
            return Err(MatrixProblem::Header(format!(
                "numbers are `{}`: real or integer is needed",
                shown(other)
            )));
        }
    };
    let sign = match symmetry {
        "general" => None,
        "symmetric" => Some(1.0),
        "skew-symmetric" => Some(-1.0),
        other => {
            return Err(MatrixProblem::Header(format!("no symmetry `{}` of real matrices", shown(other))));
        }
    };
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('%'));
    let (line, sizes) =
        lines.next().ok_or_else(|| MatrixProblem::Header("there is no line of sizes".into()))?;
    let sizes: Vec<u64> =
        sizes.split_whitespace().take(4).map(|word| number(word, line)).collect::<Result<_>>()?;
    let (rows, columns, entries) = match (&sizes[..], coordinate) {
        (&[rows, columns, entries], true) => (rows, columns, Some(entries)),
        (&[rows, columns], false) => (rows, columns, None),
        _ => {
            let expected = if coordinate { "`rows columns entries`" } else { "`rows columns`" };
            return Err(MatrixProblem::Line { line, reason: format!("the sizes are {expected}") });
        }
    };
    if sign.is_some() && rows != columns {
        return Err(MatrixProblem::Line {
            line,
            reason: format!("{rows} by {columns} is not square, and not symmetric"),
        });
    }
    let count = afford(rows, columns, limit)?;
    let (rows, columns) = (rows as usize, columns as usize);
    let mut values = vec![0.0; count];
    let mut seen = vec![false; if coordinate { count } else { 0 }];
    let mut set = |i: usize, j: usize, value: f64| {
        values[i * columns + j] = value;
        if let (Some(sign), true) = (sign, i != j) {
            values[j * columns + i] = sign * value;
        }
    };
    if let Some(expected) = entries {
        let mut found = 0;
        for (line, row) in lines {
            let words: Vec<&str> = row.split_whitespace().take(4).collect();
            let refuse = |reason: String| Err(MatrixProblem::Line { line, reason });
            let (i, j, value): (usize, usize, f64) = match (&words[..], valued) {
                (&[i, j, value], true) => (number(i, line)?, number(j, line)?, number(value, line)?),
                (&[i, j], false) => (number(i, line)?, number(j, line)?, 1.0),
                _ => {
                    return refuse(format!("an entry is `row column{}`", if valued { " value" } else { "" }));
                }
            };
            if i == 0 || j == 0 || i > rows || j > columns {
                return refuse(format!(
                    "there is no entry ({i}, {j}): rows are 1 to {rows}, columns 1 to {columns}"
                ));
            }
            let (i, j) = (i - 1, j - 1);
            if sign.is_some() && j > i {
                return refuse(
                    "a symmetric matrix lists what is below its diagonal, and this entry is above".into(),
                );
            }
            if sign == Some(-1.0) && i == j {
                return refuse("a skew-symmetric matrix has no diagonal".into());
            }
            if std::mem::replace(&mut seen[i * columns + j], true) {
                return refuse(format!("entry ({}, {}) is there twice", i + 1, j + 1));
            }
            set(i, j, value);
            found += 1;
        }
        if found as u64 != expected {
            return Err(MatrixProblem::Count { found, expected: expected as usize });
        }
    } else {
        // Column by column; of symmetric ones what is on and below the diagonal.
        let first = |j: usize| match sign {
            None => 0,
            Some(sign) => j + usize::from(sign < 0.0),
        };
        let mut places = (0..columns).flat_map(|j| (first(j)..rows).map(move |i| (i, j)));
        let expected = (0..columns).map(|j| rows.saturating_sub(first(j))).sum();
        let mut found = 0;
        for (line, row) in lines {
            for word in row.split_whitespace() {
                let value = number(word, line)?;
                found += 1;
                if let Some((i, j)) = places.next() {
                    set(i, j, value);
                }
            }
        }
        if found != expected {
            return Err(MatrixProblem::Count { found, expected });
        }
    }
    Ok(Matrix { rows, columns, values })
}

fn csv(text: &str, limit: u128) -> Result<Matrix> {
    let (mut rows, mut columns, mut values) = (0, 0, Vec::new());
    // Some programs mark the beginning of a text in UTF-8.
    let text = text.trim_start_matches('\u{feff}');
    let rows_of = || {
        let all = text.lines().enumerate().map(|(index, row)| (index + 1, row.trim()));
        all.filter(|(_, row)| !row.is_empty() && !row.starts_with('#'))
    };
    let comma = [';', '\t'].into_iter().find(|&mark| rows_of().any(|(_, row)| row.contains(mark)));
    let comma = comma.unwrap_or(',');
    for (line, row) in rows_of() {
        let row = row.trim_end_matches(comma);
        let before = values.len();
        for word in row.split(comma) {
            values.push(number::<f64>(word.trim(), line)?);
        }
        let found = values.len() - before;
        if rows == 0 {
            columns = found;
        } else if found != columns {
            let reason = format!("{found} numbers, and {columns} in the rows before");
            return Err(MatrixProblem::Line { line, reason });
        }
        rows += 1;
        afford(rows, columns as u64, limit)?;
    }
    afford(rows, columns as u64, limit)?;
    Ok(Matrix { rows: rows as usize, columns, values })
}

fn npy(bytes: &[u8], limit: u128) -> Result<Matrix> {
    let file =
        NpyFile::new(bytes).map_err(|error| MatrixProblem::Header(format!("no NumPy array: {error}")))?;
    let (rows, columns) = match file.shape() {
        &[rows] => (rows, 1),
        &[rows, columns] => (rows, columns),
        shape => {
            return Err(MatrixProblem::Header(format!(
                "an array of {} dimensions: one or two are needed",
                shape.len()
            )));
        }
    };
    let (count, fortran) = (afford(rows, columns, limit)?, file.order() == Order::Fortran);
    let (rows, columns) = (rows as usize, columns as usize);
    let DType::Plain(kind) = file.dtype() else {
        return Err(MatrixProblem::Header("an array of records: numbers are needed".into()));
    };
    // No more than there are bytes for, whatever the header says.
    let (kind, room) = ((kind.type_char(), kind.size_field()), count.min(bytes.len()));
    fn all<T: npyz::Deserialize>(
        file: NpyFile<&[u8]>,
        room: usize,
        real: impl Fn(T) -> f64,
    ) -> Result<Vec<f64>> {
        let numbers =
            file.data::<T>().map_err(|error| MatrixProblem::Header(format!("no numbers: {error}")))?;
        let mut values = Vec::with_capacity(room);
        for value in numbers {
            values.push(real(value?));
        }
        Ok(values)
    }
    let values = match kind {
        (TypeChar::Float, 8) => all::<f64>(file, room, |value| value),
        (TypeChar::Float, 4) => all::<f32>(file, room, f64::from),
        (TypeChar::Int, 8) => all::<i64>(file, room, |value| value as f64),
        (TypeChar::Int, 4) => all::<i32>(file, room, f64::from),
        (kind, size) => Err(MatrixProblem::Header(format!(
            "numbers of type {kind:?} and {size} bytes: float64, float32, int64 or int32 are read"
        ))),
    }?;
    if values.len() != count {
        return Err(MatrixProblem::Count { found: values.len(), expected: count });
    }
    let values = match fortran {
        false => values,
        true => (0..count).map(|k| values[k % columns * rows + k / columns]).collect(),
    };
    Ok(Matrix { rows, columns, values })
}

impl Matrix {
    /// The bytes of a NumPy file: of one dimension for one column.
    pub fn npy(&self) -> Vec<u8> {
        let shape = [self.rows as u64, self.columns as u64];
        let shape = if self.columns == 1 { &shape[..1] } else { &shape[..] };
        let mut bytes = Vec::new();
        let writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes);
        let mut writer = writer.begin_nd().expect("memory takes all");
        writer.extend(self.values.iter().copied()).expect("memory takes all");
        writer.finish().expect("memory takes all");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u128 = 1 << 20;

    fn told(extension: &str, text: &str) -> String {
        decode(extension, text.as_bytes(), MIB).unwrap_err().to_string()
    }

    #[test]
    fn matrix_market_files_of_every_layout() {
        let dense = |values: &[f64]| Matrix { rows: 2, columns: 2, values: values.to_vec() };
        let read = |text: &str| decode("mtx", text.as_bytes(), MIB).unwrap();
        let symmetric = "%%MatrixMarket matrix coordinate real symmetric\n% a comment\n\n2 2 3\n1 1 2.5\n2 1 -1e0\n2 2 3\n";
        assert_eq!(read(symmetric), dense(&[2.5, -1.0, -1.0, 3.0]));
        let array = "%%MatrixMarket Matrix Array Real General\n2 2\n1\n2\n3\n4\n";
        assert_eq!(read(array), dense(&[1.0, 3.0, 2.0, 4.0]));
        assert_eq!(
            read("%%MatrixMarket matrix array integer symmetric\n2 2\n1 2 3\n"),
            dense(&[1.0, 2.0, 2.0, 3.0])
        );
        assert_eq!(
            read("%%MatrixMarket matrix array real skew-symmetric\n2 2\n5\n"),
            dense(&[0.0, -5.0, 5.0, 0.0])
        );
        assert_eq!(
            read("%%MatrixMarket matrix coordinate pattern general\n2 2 1\n1 2\n"),
            dense(&[0.0, 1.0, 0.0, 0.0])
        );
    }

    #[test]
    fn numpy_files_come_back() {
        let matrix = Matrix { rows: 2, columns: 3, values: vec![1.0, -2.0, 3.5, 4.0, 0.0, 1e-300] };
        assert_eq!(decode("npy", &matrix.npy(), MIB).unwrap(), matrix);
        let vector = Matrix { rows: 3, columns: 1, values: vec![1.0, 2.0, 3.0] };
        assert_eq!(decode("npy", &vector.npy(), MIB).unwrap(), vector);
        for cut in 0..matrix.npy().len() {
            assert!(decode("npy", &matrix.npy()[..cut], MIB).is_err(), "{cut}");
        }
        // Written as NumPy writes an array in Fortran's order.
        let head = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let padded = format!("{head:<117}\n");
        bytes.extend((padded.len() as u16).to_le_bytes());
        bytes.extend(padded.bytes());
        [1.0_f32, 2.0, 3.0, 4.0].iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        assert_eq!(decode("npy", &bytes, MIB).unwrap().values, [1.0, 3.0, 2.0, 4.0]);
    }

    #[test]
    fn tables_have_rows_of_one_length() {
        let read = decode("csv", b"# a comment; one\n1, 2,\n\n3,4\n", MIB).unwrap();
        assert_eq!(read, Matrix { rows: 2, columns: 2, values: vec![1.0, 2.0, 3.0, 4.0] });
        assert_eq!(decode("csv", "\u{feff}1; 2\r\n3;4\r\n".as_bytes(), MIB).unwrap(), read);
        assert_eq!(decode("csv", b"1\t2\n3\t4\n", MIB).unwrap(), read);
        // A decimal comma is none of ours.
        assert!(told("csv", "1,5;2\n").contains("`1,5` is no number"));
        assert!(told("csv", "1,2\n3\n").contains("line 2: 1 numbers, and 2"));
        assert!(told("csv", "1,x\n").contains("`x` is no number"));
        assert!(told("csv", "1,nan\n").contains("row 0, column 1, counted from 0, is NaN"));
        assert!(told("csv", "").contains("nothing in it"));
    }

    #[test]
    fn broken_files_are_refused_with_their_line() {
        let head = "%%MatrixMarket matrix coordinate real symmetric\n";
        for (text, part) in [
            ("2 2 3\n", "first line"),
            ("%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 2 3\n", "`complex`"),
            ("%%MatrixMarket matrix coordinate real hermitian\n", "`hermitian`"),
            (&format!("{head}2 3 1\n1 1 1\n"), "line 2: 2 by 3 is not square"),
            (&format!("{head}2 2 1\n1 2 1\n"), "line 3: a symmetric matrix"),
            (&format!("{head}2 2 1\n3 1 1\n"), "no entry (3, 1)"),
            (&format!("{head}2 2 2\n1 1 1\n1 1 1\n"), "line 4: entry (1, 1) is there twice"),
            (&format!("{head}2 2 2\n1 1 1\n"), "2 entries are declared, and 1"),
            (&format!("{head}2 2 1\n1 1 one\n"), "`one` is no number"),
            (&format!("{head}2 2\n"), "`rows columns entries`"),
            (&format!("{head}4000000000 4000000000 1\n"), "bytes, and 1048576 are accepted"),
            (
                "%%MatrixMarket matrix array real general\n9223372036854775808 4611686018427387904\n",
                "are accepted",
            ),
            ("%%MatrixMarket matrix array real general\n2 2\n1 2 3\n", "4 entries are declared, and 3"),
            ("%%MatrixMarket matrix array real general\n2 2\n1 2 3 4 5\n", "and 5 were found"),
        ] {
            let error = told("mtx", text);
            assert!(error.contains(part), "{text:?}: {error}");
        }
        assert!(decode("mtx", b"\xff\xfe", MIB).unwrap_err().to_string().contains("UTF-8"));
    }
}
