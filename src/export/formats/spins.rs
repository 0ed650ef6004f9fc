//! Spin models in the formats of other programs. Units keep their order but lose their names.
//!
//! | | text |
//! |---|---|
//! | BQM JSON | dimod's serialised binary quadratic model, schema 3; `SPIN` and `BINARY` are read, `SPIN` is written |
//! | BQM COO | `# vartype=SPIN` (or `BINARY`), then rows `i j value`; `i i value` is a field; no offset |
//! | G-set | `spins edges`, then rows `i j weight` counted from 1; weight = J; neither fields nor offset. A cut, the weight between −1 and +1, is (Σ weights − E)/2 |
//! | QUBO | qbsolv's: `p qubo 0 spins nodes couplers`, rows `i i a` and `i j Q`, comments `c …`; `c offset …` is an extension |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::description::{MOST_UNITS, Sampling};
use crate::export::ising::{Ising, Pair};
use crate::export::text::{json, number, text};
use crate::network::substrate::SubstrateConfig;

/// The fields of dimod's schema that are used here.
#[derive(Serialize, Deserialize)]
struct Bqm {
    #[serde(rename = "type")]
    kind: String,
    version: Version,
    use_bytes: bool,
    index_type: String,
    bias_type: String,
    num_variables: usize,
    num_interactions: usize,
    variable_labels: Vec<serde_json::Value>,
    variable_type: String,
    offset: f64,
    #[serde(default)]
    info: serde_json::Map<String, serde_json::Value>,
    linear_biases: Vec<f64>,
    quadratic_biases: Vec<f64>,
    quadratic_head: Vec<usize>,
    quadratic_tail: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
struct Version {
    bqm_schema: String,
}

const KIND: &str = "BinaryQuadraticModel";
const SCHEMA: &str = "3.0.0";

/// How spins are sampled, as `sampling` in `info`, which dimod keeps and leaves to others.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    realisation: String,
    groups: BTreeMap<String, Members>,
    output: String,
    classes: usize,
    burn_in: usize,
    sweeps: usize,
}

/// A group of spins.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    beta: f64,
    /// The first and the last.
    units: [usize; 2],
}

/// The name of [`Info`] in `info`.
const SAMPLING: &str = "sampling";

impl Info {
    fn of(couplings: &Couplings, sampling: &Sampling) -> Result<Self> {
        let SubstrateConfig { topology, kt, .. } = &couplings.description.substrate;
        if *kt == 0.0 {
            let reason = "at kT = 0 beta is infinite, and JSON has no infinity";
            return Err(Problem::Unsupported(reason.into()).into());
        }
        let groups = sampling.betas.iter().map(|(name, beta)| {
            let units = topology.columns(name)?;
            Ok((name.clone(), Members { beta: beta / kt, units: [units.start, units.end - 1] }))
        });
        Ok(Self {
            realisation: sampling.realisation().into(),
            groups: groups.collect::<Result<_>>()?,
            output: sampling.output.clone(),
            classes: sampling.classes,
            burn_in: sampling.burn_in,
            sweeps: sampling.sweeps,
        })
    }

    /// The spins of a model in their groups, sampled so.
    fn couplings(self, model: &Ising) -> Result<Couplings> {
        let mut members: Vec<(&String, [usize; 2])> =
            self.groups.iter().map(|(name, members)| (name, members.units)).collect();
        members.sort_unstable_by_key(|(_, units)| *units);
        let (mut groups, mut next) = (Vec::new(), 0);
        for (name, [first, last]) in members {
            if first != next || last < first || last >= model.fields.len() {
                let units = model.fields.len();
                let reason = format!(
                    "info: group `{name}` has units {first} to {last}; groups follow each other and hold the {units} units"
                );
                return Err(Problem::Description(reason).into());
            }
            groups.push((name.as_str(), last + 1 - first));
            next = last + 1;
        }
        if next != model.fields.len() {
            let reason = format!("info: the groups hold {next} of {} units", model.fields.len());
            return Err(Problem::Description(reason).into());
        }
        let mut couplings = model.couplings_in(&groups)?;
        let sampling = Sampling {
            betas: self.groups.into_iter().map(|(name, members)| (name, members.beta)).collect(),
            output: self.output,
            classes: self.classes,
            burn_in: self.burn_in,
            sweeps: self.sweeps,
        };
        if sampling.realisation() != self.realisation {
            let (found, betas) = (self.realisation, sampling.realisation());
            return Err(Problem::Description(format!(
                "info: the realisation is `{found}`, and the betas are of `{betas}`"
            ))
            .into());
        }
        couplings.description.sampling = Some(sampling);
        couplings.validate()?;
        Ok(couplings)
    }
}

/// A spin model for a format that says nothing of temperatures.
pub(super) fn at_one_temperature(couplings: &Couplings) -> Result<Ising> {
    let betas = couplings.description.sampling.as_ref().map(|sampling| &sampling.betas);
    let kt = couplings.description.substrate.kt;
    if let Some((group, beta)) = betas.into_iter().flatten().find(|(_, beta)| **beta / kt != 1.0) {
        let beta = beta / kt;
        let reason = format!(
            "group `{group}` has beta = {beta}, which this format cannot say; BQM JSON can say what is finite"
        );
        return Err(Problem::Unsupported(reason).into());
    }
    Ising::of(couplings)
}

/// The same in the fewest digits that identify numbers of single precision.
pub(super) fn shortened(mut model: Ising) -> Ising {
    let pairs = model.couplings.iter_mut().map(|(_, value)| value);
    for value in model.fields.iter_mut().chain(pairs) {
        *value = (*value as f32).to_string().parse().expect("a number");
    }
    model
}

/// What BQM JSON says of couplings.
pub(super) fn to_bqm_with_sampling(couplings: &Couplings) -> Result<Vec<u8>> {
    let sampling = &couplings.description.sampling;
    let info = sampling.as_ref().map(|sampling| Info::of(couplings, sampling)).transpose()?;
    Ok(written(shortened(Ising::of(couplings)?), info, "float32"))
}

/// The couplings of BQM JSON, with what it says of sampling.
pub(super) fn from_bqm_with_sampling(bytes: &[u8]) -> Result<Couplings> {
    match read(bytes)? {
        (model, None) => model.couplings(),
        (model, Some(info)) => info.couplings(&model),
    }
}

pub(super) fn to_bqm(model: &Ising) -> Vec<u8> {
    written(model.clone(), None, "float64")
}

pub(super) fn from_bqm(bytes: &[u8]) -> Result<Ising> {
    Ok(read(bytes)?.0)
}

fn written(model: Ising, sampling: Option<Info>, bias_type: &str) -> Vec<u8> {
    let mut info = serde_json::Map::new();
    if let Some(sampling) = sampling {
        info.insert(SAMPLING.into(), json!(sampling));
    }
    let bqm = Bqm {
        kind: KIND.into(),
        version: Version { bqm_schema: SCHEMA.into() },
        use_bytes: false,
        index_type: "int32".into(),
        bias_type: bias_type.into(),
        num_variables: model.fields.len(),
        num_interactions: model.couplings.len(),
        variable_labels: (0..model.fields.len()).map(serde_json::Value::from).collect(),
        variable_type: "SPIN".into(),
        offset: model.offset,
        info,
        linear_biases: model.fields,
        quadratic_biases: model.couplings.iter().map(|&(_, value)| value).collect(),
        quadratic_head: model.couplings.iter().map(|&([i, _], _)| i).collect(),
        quadratic_tail: model.couplings.iter().map(|&([_, j], _)| j).collect(),
    };
    serde_json::to_string_pretty(&bqm).expect("plain data").into_bytes()
}

fn read(bytes: &[u8]) -> Result<(Ising, Option<Info>)> {
    const FORMAT: &str = "a binary quadratic model";
    let refuse = |reason: String| -> Error { Problem::Container { format: FORMAT, reason }.into() };
    if bytes.starts_with(b"DIMODBQM") {
        let advice = "this is dimod's binary file; write it as `json.dump(bqm.to_serializable(), file)`";
        return Err(refuse(advice.into()));
    }
    let value: serde_json::Value = json(text(bytes, FORMAT)?)?;
    if value.get("substrate").is_some() {
        return Err(refuse("this is a description; the couplings are in the file next to it".into()));
    }
    let (kind, schema) = (&value["type"], &value["version"]["bqm_schema"]);
    if kind != KIND || !schema.as_str().is_some_and(|schema| schema.starts_with("3.")) {
        let expected = format!("`{KIND}` of schema {SCHEMA}");
        return Err(refuse(format!("its type is {kind} of schema {schema}, expected {expected}")));
    }
    let mut bqm: Bqm = serde_json::from_value(value).map_err(|error| refuse(error.to_string()))?;
    if bqm.use_bytes {
        return Err(refuse("its biases are bytes; serialise it with use_bytes=False".into()));
    }
    let spins = bqm.linear_biases.len();
    let counts = [bqm.quadratic_biases.len(), bqm.quadratic_head.len(), bqm.quadratic_tail.len()];
    if bqm.num_variables != spins || counts != [bqm.num_interactions; 3] {
        return Err(refuse(format!(
            "{} variables and {} interactions are declared, but {spins} and {counts:?} were found",
            bqm.num_variables, bqm.num_interactions
        )));
    }
    let labels: BTreeSet<String> = bqm.variable_labels.iter().map(ToString::to_string).collect();
    if bqm.variable_labels.len() != spins || labels.len() != spins {
        let (all, different) = (bqm.variable_labels.len(), labels.len());
        return Err(refuse(format!("{spins} variables have {all} labels, {different} of them different")));
    }
    let heads = bqm.quadratic_head.into_iter().zip(bqm.quadratic_tail);
    let pairs: Vec<Pair> = heads.map(|(i, j)| [i, j]).zip(bqm.quadratic_biases).collect();
    let mut seen = BTreeSet::new();
    for &([i, j], _) in &pairs {
        if i.max(j) >= spins || i == j {
            return Err(Problem::Unknown(format!("the pair of units {i} and {j} of {}", spins)).into());
        }
        if !seen.insert([i.min(j), i.max(j)]) {
            return Err(Problem::Duplicate(format!("the pair of units {i} and {j}")).into());
        }
    }
    let model = model(&bqm.variable_type, bqm.linear_biases, pairs, bqm.offset)?;
    let info = bqm.info.remove(SAMPLING).map(serde_json::from_value).transpose();
    Ok((model, info.map_err(|error| refuse(format!("info.{SAMPLING}: {error}")))?))
}

/// A model over spins, or over zeros and ones, of pairs that were checked.
fn model(vartype: &str, linear: Vec<f64>, pairs: Vec<Pair>, offset: f64) -> Result<Ising> {
    if let Some(odd) =
        linear.iter().chain(pairs.iter().map(|(_, value)| value)).chain([&offset]).find(|x| !x.is_finite())
    {
        return Err(
            Problem::Unsupported(format!("a bias or offset of {odd}: finite numbers are read")).into()
        );
    }
    match vartype {
        "SPIN" => Ok(Ising { fields: linear, couplings: pairs, offset }),
        "BINARY" => Ok(Ising::from_binary(&linear, &pairs, offset)),
        other => Err(Problem::Unsupported(format!("no vartype `{other}`: SPIN or BINARY")).into()),
    }
}

/// Rows `i j value` of so many units, where `first` is the number of the first one; a field is a row `i i value`, if `fields` are allowed.
fn rows<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    first: usize,
    units: usize,
    fields: bool,
) -> Result<Vec<Pair>> {
    let (mut rows, mut seen) = (Vec::new(), BTreeMap::new());
    for (line, row) in lines {
        let words: Vec<&str> = row.split_whitespace().take(4).collect();
        let &[i, j, value] = &words[..] else {
            return Err(Problem::Line { line, reason: "a row is `i j value`".into() }.into());
        };
        let unit = |word: &str| -> Result<usize> {
            let found: usize = number(word, line)?;
            let unit = found.checked_sub(first).filter(|&unit| unit < units);
            let last = (units + first).saturating_sub(1);
            let reason = || format!("there is no unit {found}: units are {first} to {last}");
            Ok(unit.ok_or_else(|| Problem::Line { line, reason: reason() })?)
        };
        let value: f64 = number(value, line)?;
        if !(value as f32).is_finite() {
            return Err(
                Problem::Line { line, reason: format!("{value} is not finite in single precision") }.into()
            );
        }
        let [a, b] = [unit(i)?, unit(j)?];
        if a == b && !fields {
            return Err(Problem::Line { line, reason: format!("unit {i} is coupled to itself") }.into());
        }
        if let Some(other) = seen.insert([a.min(b), a.max(b)], line) {
            let reason = format!("units {i} and {j} are in line {other} already");
            return Err(Problem::Line { line, reason }.into());
        }
        rows.push(([a, b], value));
    }
    Ok(rows)
}

/// Lines with their numbers, from 1, without empty ones.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

/// Fields and pairs of rows of so many units, whose diagonal holds the fields.
fn split(rows: Vec<Pair>, units: usize) -> (Vec<f64>, Vec<Pair>) {
    let (diagonal, pairs): (Vec<_>, Vec<_>) = rows.into_iter().partition(|([i, j], _)| i == j);
    let mut fields = vec![0.0; units];
    for ([i, _], field) in diagonal {
        fields[i] = field;
    }
    (fields, pairs)
}

pub(super) fn to_coo(model: &Ising) -> Result<Vec<u8>> {
    if model.offset != 0.0 {
        let reason = format!("rows cannot hold the offset {}; BQM JSON can", model.offset);
        return Err(Problem::Unsupported(reason).into());
    }
    let mut out = String::from("# vartype=SPIN\n");
    for (i, field) in model.fields.iter().enumerate() {
        let _ = writeln!(out, "{i} {i} {field}");
    }
    for ([i, j], coupling) in &model.couplings {
        let _ = writeln!(out, "{i} {j} {coupling}");
    }
    Ok(out.into_bytes())
}

pub(super) fn from_coo(bytes: &[u8]) -> Result<Ising> {
    let text = text(bytes, "rows of a binary quadratic model")?;
    let vartype =
        text.lines().filter(|line| line.starts_with('#')).find_map(|line| line.split_once("vartype="));
    let vartype = vartype.map(|(_, vartype)| vartype.trim());
    let vartype =
        vartype.ok_or(Problem::NoDescription("no line says `# vartype=SPIN` or `# vartype=BINARY`; add the one that is meant (dimod's `coo.dump` writes it with vartype_header=True)"))?;
    let rows = rows(lines(text).filter(|(_, line)| !line.starts_with('#')), 0, MOST_UNITS, true)?;
    let units = promised(rows.iter().map(|([i, j], _)| i.max(j) + 1).max().unwrap_or(0), bytes)?;
    let (fields, pairs) = split(rows, units);
    model(vartype, fields, pairs, 0.0)
}

pub(super) fn to_gset(model: &Ising) -> Result<Vec<u8>> {
    if model.offset != 0.0 || model.fields.iter().any(|&field| field != 0.0) {
        return Err(
            Problem::Unsupported("a graph cannot hold fields and offsets; BQM JSON can".into()).into()
        );
    }
    let mut out = format!("{} {}\n", model.fields.len(), model.couplings.len());
    for ([i, j], coupling) in &model.couplings {
        let _ = writeln!(out, "{} {} {coupling}", i + 1, j + 1);
    }
    Ok(out.into_bytes())
}

/// The numbers of units and edges on the first line of a graph.
fn counts(line: &str) -> Option<[usize; 2]> {
    let words: Vec<usize> = line.split_whitespace().take(3).map(str::parse).collect::<Result<_, _>>().ok()?;
    <[usize; 2]>::try_from(words).ok()
}

/// Whether a text of numbers is a graph: two counts on the first line, and three numbers on the second.
pub(super) fn looks_like_gset(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut lines = lines(text);
    let counted = lines.next().is_some_and(|(_, line)| counts(line).is_some());
    counted && lines.next().is_none_or(|(_, line)| line.split_whitespace().count() == 3)
}

pub(super) fn from_gset(bytes: &[u8]) -> Result<Ising> {
    let mut lines = lines(text(bytes, "a graph")?);
    let (line, first) = lines.next().ok_or(Problem::NoDescription("the file is empty"))?;
    let [units, edges] = counts(first)
        .ok_or_else(|| Problem::Line { line, reason: "the first line is `spins edges`".into() })?;
    let units = promised(units, bytes)?;
    let rows = rows(lines, 1, units, false)?;
    if rows.len() != edges {
        let (name, found) = ("the list of edges".into(), vec![rows.len()]);
        return Err(Problem::Shape { name, found, expected: vec![edges] }.into());
    }
    model("SPIN", vec![0.0; units], rows, 0.0)
}

/// The declared number of units, if it is plausible for a file of this size: thousands of units may have neither
/// field nor coupling, but not millions.
fn promised(units: usize, bytes: &[u8]) -> Result<usize> {
    let limit = MOST_UNITS.min((1 << 16) + bytes.len());
    if units <= limit {
        return Ok(units);
    }
    let what =
        if limit < MOST_UNITS { format!("units in a file of {} bytes", bytes.len()) } else { "units".into() };
    Err(Problem::TooLarge { what, count: units as u128, limit: limit as u128 }.into())
}

pub(super) fn to_qubo(model: &Ising) -> Vec<u8> {
    let (linear, quadratic, offset) = model.to_binary();
    let mut out =
        String::from("c E = sum_i a_i z_i + sum_(i<j) Q_ij z_i z_j + offset, z = 0 or 1 = (1 + s)/2\n");
    let _ = writeln!(out, "c offset {offset}");
    let _ = writeln!(out, "p qubo 0 {0} {0} {1}", linear.len(), quadratic.len());
    for (i, a) in linear.iter().enumerate() {
        let _ = writeln!(out, "{i} {i} {a}");
    }
    for ([i, j], q) in quadratic {
        let _ = writeln!(out, "{} {} {q}", i.min(j), i.max(j));
    }
    out.into_bytes()
}

pub(super) fn from_qubo(bytes: &[u8]) -> Result<Ising> {
    let text = text(bytes, "a quadratic form")?;
    let (mut offset, mut head, mut data) = (0.0, None, Vec::new());
    for (line, row) in lines(text) {
        match row.split_once(char::is_whitespace) {
            Some(("c", comment)) => {
                // Other comments may begin with the same word.
                if let ["offset", value] = comment.split_whitespace().collect::<Vec<_>>()[..] {
                    match value.parse::<f64>() {
                        Ok(value) if value.is_finite() => offset = value,
                        Err(_) if value.starts_with(char::is_alphabetic) => {}
                        _ => {
                            return Err(Problem::Line {
                                line,
                                reason: format!("the offset `{value}` is no finite number"),
                            }
                            .into());
                        }
                    }
                }
            }
            _ if row == "c" => {}
            Some(("p", promise)) if head.is_none() => head = Some((line, promise)),
            _ => data.push((line, row)),
        }
    }
    let (line, promise) = head.ok_or(Problem::NoDescription("no line begins with `p qubo`"))?;
    let words: Vec<&str> = promise.split_whitespace().take(6).collect();
    let &["qubo", _, units, nodes, couplers] = &words[..] else {
        return Err(Problem::Line { line, reason: "expected `p qubo 0 units nodes couplers`".into() }.into());
    };
    let units = promised(number(units, line)?, bytes)?;
    let promised: [usize; 2] = [number(nodes, line)?, number(couplers, line)?];
    let rows = rows(data.into_iter(), 0, units, true)?;
    let nodes = rows.iter().filter(|([i, j], _)| i == j).count();
    let (linear, pairs) = split(rows, units);
    let found = [("the list of nodes", nodes), ("the list of couplers", pairs.len())];
    for ((name, found), expected) in found.into_iter().zip(promised) {
        if found != expected {
            let (name, found) = (name.into(), vec![found]);
            return Err(Problem::Shape { name, found, expected: vec![expected] }.into());
        }
    }
    model("BINARY", linear, pairs, offset)
}
