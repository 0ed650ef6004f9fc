//! A table for people and spreadsheets.
//!
//! ```text
//! # thermograd {"version":3,…}      the description, on one line
//! kind,from,i,to,j,value
//! J,input,0,hidden,3,0.25          J_ij between unit i of a group and unit j of another, each pair once
//! b,hidden,3,,,-1.5                the bias of a unit
//! d,visible,2,,7,0.1               the shift of the well of unit j at knot i, if wells move
//! s,hidden,2,,7,0.9                the gain of unit j at knot i, if units have gains of their own
//! ```
//!
//! Rows may come in any order; the rows of a block with listed pairs are also its list of pairs. Units count from 0.

use std::collections::BTreeMap;

use crate::error::{Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::description::Description;
use crate::export::text::{number, text};
use crate::network::topology::{Block, Pattern};

const MARK: &str = "# thermograd ";
const HEAD: [&str; 6] = ["kind", "from", "i", "to", "j", "value"];

pub(super) fn encode(couplings: &Couplings) -> Result<Vec<u8>> {
    let outline = couplings.description.outline();
    let mut table = ::csv::Writer::from_writer(format!("{MARK}{outline}\n").into_bytes());
    let mut row = |cells: [&str; 6]| table.write_record(cells).expect("memory can be written");
    row(HEAD);
    let topology = &couplings.description.substrate.topology;
    for block in &topology.blocks {
        for ([i, j], value) in couplings.pairs(block) {
            row(["J", &block.from, &i.to_string(), &block.to, &j.to_string(), &value.to_string()]);
        }
    }
    for (name, (shape, values)) in &couplings.tensors {
        let (kind, group) = name.split_once('.').expect("a validated name");
        for (index, value) in values.iter().enumerate() {
            let value = value.to_string();
            match kind {
                "b" => row(["b", group, &index.to_string(), "", "", &value]),
                "d" | "s" => {
                    let (knot, unit) = (index / shape[1], index % shape[1]);
                    row([kind, group, &knot.to_string(), "", &unit.to_string(), &value]);
                }
                _ => {}
            }
        }
    }
    Ok(table.into_inner().expect("memory can be written"))
}

/// The position of a value, and the value.
type Entry = (usize, usize, f32);

pub(super) fn decode(bytes: &[u8]) -> Result<Couplings> {
    let table = text(bytes, "a table")?;
    let mut descriptions = table.lines().filter_map(|line| line.strip_prefix(MARK));
    let described = descriptions.next().ok_or_else(|| Problem::NoDescription(undescribed(table)))?;
    if descriptions.next().is_some() {
        return Err(Problem::Duplicate(MARK.trim().into()).into());
    }
    // In every version the rows are the list of pairs.
    let (mut described, _) = Description::from_json(described)?;

    let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let mut reader = ::csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(table.as_bytes());
    let refused = |error: ::csv::Error| Problem::Container { format: "a table", reason: error.to_string() };
    if !reader.headers().map_err(refused)?.iter().eq(HEAD) {
        let reason = format!("its columns are {}, separated by commas", HEAD.join(","));
        return Err(Problem::Container { format: "a table", reason }.into());
    }
    for record in reader.records() {
        let record = record.map_err(refused)?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let name = match &record[0] {
            "J" => format!("J.{}-{}", &record[1], &record[3]),
            kind @ ("b" | "d" | "s") => format!("{kind}.{}", &record[1]),
            other => {
                return Err(Problem::Line { line, reason: format!("no kind `{other}`: J, b, d or s") }.into());
            }
        };
        let second = if &record[0] == "b" { 0 } else { number(&record[4], line)? };
        let entry = (number(&record[2], line)?, second, number(&record[5], line)?);
        entries.entry(name).or_default().push(entry);
    }

    // Once the lists of pairs are known, so are all shapes.
    let mut tensors = BTreeMap::new();
    for block in &mut described.substrate.topology.blocks {
        let name = format!("J.{}", block.name());
        if let Pattern::Pairs(pairs) = &mut block.pattern {
            let rows = entries.remove(&name).unwrap_or_default();
            *pairs = rows.iter().map(|&(i, j, _)| [i, j]).collect();
            let values = rows.into_iter().map(|(.., value)| value).collect();
            tensors.insert(name, (vec![pairs.len()], values));
        }
    }
    described.validate()?;
    let within = |block: &Block| block.from == block.to && block.pattern == Pattern::Full;
    let symmetric: Vec<String> = described
        .substrate
        .topology
        .blocks
        .iter()
        .filter(|b| within(b))
        .map(|b| format!("J.{}", b.name()))
        .collect();
    for (name, shape) in described.tensors()? {
        if tensors.contains_key(&name) {
            continue;
        }
        let rows = entries.remove(&name).unwrap_or_default();
        let values = dense(&name, &shape, &rows, symmetric.contains(&name))?;
        tensors.insert(name, (shape, values));
    }
    if let Some((name, _)) = entries.pop_first() {
        return Err(Problem::Unknown(name).into());
    }
    let couplings = Couplings { description: described, tensors };
    couplings.validate()?;
    Ok(couplings)
}

/// Why there is no description.
fn undescribed(table: &str) -> &'static str {
    match table.contains(&format!("\"{MARK}")) {
        true => {
            "a spreadsheet has changed the line `# thermograd …`; restore the original line, and make sure that values have \
             decimal points and are separated by commas"
        }
        false => "no line begins with `# thermograd `",
    }
}

/// The tensor from its rows, which must give every value once.
fn dense(name: &str, shape: &[usize], rows: &[Entry], symmetric: bool) -> Result<Vec<f32>> {
    let (height, width) = (shape[0], shape.get(1).copied().unwrap_or(1));
    let entries =
        if symmetric { height as u128 * (height as u128 - 1) / 2 } else { height as u128 * width as u128 };
    if rows.is_empty() && entries > 0 {
        return Err(Problem::Missing(name.into()).into());
    }
    if rows.len() as u128 != entries {
        let (name, found) = (name.to_owned(), vec![rows.len()]);
        return Err(
            Problem::Shape { name, found, expected: vec![entries.min(usize::MAX as u128) as usize] }.into()
        );
    }
    let mut values = vec![f32::NAN; height * width];
    let mut put = |i: usize, j: usize, value: f32| {
        let entry = if i < height && j < width { values.get_mut(i * width + j) } else { None };
        match entry {
            None => Err(Problem::Unknown(format!("{name} [{i}, {j}]"))),
            Some(entry) if !entry.is_nan() => Err(Problem::Duplicate(format!("{name} [{i}, {j}]"))),
            Some(entry) => {
                *entry = value;
                Ok(())
            }
        }
    };
    for &(i, j, value) in rows {
        if !value.is_finite() {
            return Err(Problem::NotFinite {
                name: name.into(),
                place: i.saturating_mul(width).saturating_add(j),
                value,
            }
            .into());
        }
        put(i, j, value)?;
        if symmetric {
            put(j, i, value)?;
        }
    }
    if symmetric {
        (0..height).for_each(|i| values[i * width + i] = 0.0);
    }
    Ok(values)
}
