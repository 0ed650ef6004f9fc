//! Text files of numbers: words with their lines, and what may be wrong with them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TextError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: TextProblem,
}

/// What is wrong with a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextProblem {
    /// The system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Bytes that are no text.
    #[error("it is no text: byte {0} is neither UTF-8 nor Latin-1")]
    NotText(usize),
    /// Longer than is read.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// A line that cannot be read.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Something about the whole.
    #[error("{0}")]
    Whole(String),
}

impl TextProblem {
    pub(crate) fn line(line: usize, reason: impl Into<String>) -> Self {
        Self::Line { line, reason: reason.into() }
    }
}

/// Bytes of a file, at most: a file that goes on for ever is not read.
const MOST: u64 = 1 << 30;

/// Reads a file with one of the decoders of this crate.
///
/// # Errors
/// [`TextError`], which names the file.
pub fn read<T>(path: &Path, decode: impl FnOnce(&str) -> Result<T, TextProblem>) -> Result<T, TextError> {
    let text = || {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            return Err(TextProblem::TooLong(MOST));
        }
        String::from_utf8(bytes).or_else(|error| {
            let (place, bytes) = (error.utf8_error().valid_up_to(), error.into_bytes());
            // Older files have names and comments in Latin-1, whose bytes are the first characters of Unicode.
            let control = |byte: &u8| matches!(byte, 0..9 | 14..32 | 127..160);
            if bytes.iter().any(control) {
                return Err(TextProblem::NotText(place));
            }
            Ok(bytes.into_iter().map(char::from).collect())
        })
    };
    text().and_then(|text| decode(&text)).map_err(|problem| TextError { path: path.to_owned(), problem })
}

/// The words of a text, each with its line, counted from 1.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.flat_map(|(index, line)| line.split_whitespace().map(move |word| (index + 1, word)))
}

/// Words one after the other, whatever lines they are on.
pub(crate) struct Words<'a> {
    words: Box<dyn Iterator<Item = (usize, &'a str)> + 'a>,
    /// The line of the last one.
    pub(crate) line: usize,
}

impl<'a> Words<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { words: Box::new(words(text)), line: 1 }
    }

    /// The next word, if there is one.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        let (line, word) = self.words.next()?;
        self.line = line;
        Some(word)
    }

    /// The next word as a number; `what` it is.
    pub(crate) fn number<T: FromStr>(&mut self, what: &str) -> Result<T, TextProblem> {
        let Some(word) = self.word() else {
            return Err(TextProblem::line(self.line, format!("the file ends before {what}")));
        };
        number(word, self.line, what)
    }
}

/// A word as a number.
pub(crate) fn number<T: FromStr>(word: &str, line: usize, what: &str) -> Result<T, TextProblem> {
    word.parse().map_err(|_| TextProblem::line(line, format!("{what} is `{}`", shown(word))))
}

/// A word, shortened.
pub(crate) fn shown(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_default).collect()
}
