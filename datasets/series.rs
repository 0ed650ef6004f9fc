//! Tables of numbers in time: a line of names, then a line a time.
//!
//! Numbers are separated by commas, or throughout by semicolons or tabs, as the first line has them; names and values may be quoted. Empty
//! fields, `NA` and `NaN` are missing. A column that holds something else is kept out, and named if it is asked for.

use std::collections::BTreeMap;

use crate::text::{TextProblem, shown};

/// Columns of numbers; what is missing is NaN.
#[derive(Clone, PartialEq, Debug)]
pub struct Series {
    /// By name.
    pub columns: BTreeMap<String, Vec<f64>>,
    /// Columns that are no numbers: the line and the word where that was seen.
    pub others: BTreeMap<String, (usize, String)>,
    /// Rows.
    pub rows: usize,
}

impl Series {
    /// Reads a table.
    ///
    /// # Errors
    /// [`TextProblem`] with the line: no names, names that are there twice, lines with more or fewer fields.
    pub fn decode(text: &str) -> Result<Self, TextProblem> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let first = text.lines().next().unwrap_or_default();
        let separator = [';', '\t'].into_iter().find(|separator| first.contains(*separator)).unwrap_or(',');
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator as u8)
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(text.as_bytes());
        let broken = |error: csv::Error| {
            let line = error.position().map_or(1, |position| position.line() as usize);
            TextProblem::line(line, error.to_string())
        };
        let names: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_owned).collect();
        if names.iter().all(String::is_empty) {
            return Err(TextProblem::Whole("there is no line of names".into()));
        }
        let mut values = vec![Vec::new(); names.len()];
        let mut others = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(TextProblem::line(1, format!("column `{}` is there twice", shown(name))));
            }
        }
        let mut rows = 0;
        for record in reader.records() {
            let record = record.map_err(broken)?;
            let line = record.position().map_or(0, |position| position.line() as usize);
            if record.len() != names.len() {
                let (found, expected) = (record.len(), names.len());
                return Err(TextProblem::line(
                    line,
                    format!("{found} fields, and there are {expected} names"),
                ));
            }
            for ((name, column), word) in names.iter().zip(&mut values).zip(record.iter()) {
                let missing = ["", "NA", "NaN", "nan", "na"].contains(&word);
                let value = if missing { Some(f64::NAN) } else { word.parse().ok() };
                if value.is_none() {
                    others.entry(name.clone()).or_insert((line, shown(word)));
                }
                column.push(value.unwrap_or(f64::NAN));
            }
            rows += 1;
        }
        let columns = names.into_iter().zip(values).filter(|(name, _)| !others.contains_key(name)).collect();
        Ok(Self { columns, others, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_and_broken_ones_refused() {
        let text = "\u{feff}\"t\";\"T in\";when\n0;21.5;now\n1;;later\n2;NA;\"then\"\n";
        let series = Series::decode(text).unwrap();
        assert_eq!((series.rows, &series.columns["t"]), (3, &vec![0.0, 1.0, 2.0]));
        assert!(series.columns["T in"][1].is_nan() && series.columns["T in"][2].is_nan());
        assert_eq!(series.others["when"], (2, "now".into()));
        for (text, part) in [
            ("", "no line of names"),
            ("t,t\n1,2\n", "line 1: column `t` is there twice"),
            ("t,x\n1,2\n1\n", "line 3: 1 fields, and there are 2 names"),
            ("t,x\n1,2,3\n", "line 2: 3 fields"),
        ] {
            let error = Series::decode(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
