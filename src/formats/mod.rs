//! Files of couplings: one value, [`Couplings`], in and out of several formats.
//!
//! | format | extension | holds | convention |
//! |---|---|---|---|
//! | [safetensors](native) | `.safetensors` | everything | native: tensors by name, description as JSON metadata |
//! | [`npz`] | `.npz` | everything | the same tensors as NumPy arrays, the description as bytes of JSON |
//! | [CSV](csv) | `.csv` | everything | one row a coupling, each pair once, the description as a comment |
//! | [BQM](spins) JSON | `.json`, `.bqm` | spin models | dimod: E = Σ h s + Σ J s s + offset, each pair once, no β |
//! | [BQM](spins) COO | `.coo` | spin models | the same as rows `i j value`, h on the diagonal, no offset |
//! | [G-set](spins) | `.gset` | spin models | weighted graph, units from 1; weight = J, so a ground state is a maximum cut |
//! | [QUBO](spins) | `.qubo` | spin models | E = Σ Q z z over z = 0, 1, z = (1 + s)/2, each pair once |
//! | [`parameters`] | `.txt` | the published classifier | one number a parameter, bonds first |
//!
//! The first three say everything about the network; the others take for granted what their row says. Couplings are
//! energies on the scale of kT, positive ones favour opposite signs, and every format counts each pair once. Values
//! are single precision. A text is recognised by what is in it: `.txt` may also be a G-set graph.
//!
//! Decoders take bytes of any origin: what is wrong is an [error](crate::couplings::Problem), and memory stays within
//! a small multiple of what the bytes hold (for npz, of what they unpack to, up to [`npz::LIMIT`]).

pub mod csv;
pub mod native;
pub mod npz;
pub mod parameters;
pub mod spins;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::couplings::{Couplings, Description, Problem, VERSION};
use crate::error::Result;
use crate::topology::Pattern;

/// A file format of couplings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Tensors by name with a description: the native one.
    Safetensors,
    /// The same for NumPy.
    Npz,
    /// The same as a table.
    Csv,
    /// A binary quadratic model of dimod as JSON.
    BqmJson,
    /// A binary quadratic model of dimod as rows.
    BqmCoo,
    /// A weighted graph as in the G-set.
    Gset,
    /// A quadratic form over zeros and ones as qbsolv reads it.
    Qubo,
    /// The parameters of the published classifier, one number after the other.
    Parameters,
}

impl Format {
    /// All formats with their names and extensions.
    pub const ALL: [(Self, &str, &[&str]); 8] = [
        (Self::Safetensors, "safetensors", &["safetensors"]),
        (Self::Npz, "npz", &["npz"]),
        (Self::Csv, "csv", &["csv"]),
        (Self::BqmJson, "bqm", &["json", "bqm"]),
        (Self::BqmCoo, "coo", &["coo"]),
        (Self::Gset, "gset", &["gset"]),
        (Self::Qubo, "qubo", &["qubo"]),
        (Self::Parameters, "parameters", &["txt"]),
    ];

    /// The format of a file name, by its extension.
    ///
    /// # Errors
    /// [`Problem::Unsupported`] with the extensions that are known.
    pub fn of_name(name: &str) -> Result<Self> {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
        let found = Self::ALL.iter().find(|(_, _, extensions)| extensions.contains(&extension.as_str()));
        found.map(|(format, ..)| *format).ok_or_else(|| {
            let known: Vec<String> =
                Self::ALL.iter().flat_map(|(.., all)| all.iter()).map(|e| format!(".{e}")).collect();
            let reason = format!("`{name}` has no extension of couplings, which are {}", known.join(" "));
            Problem::Unsupported(reason).into()
        })
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Error::Couplings`](crate::Error::Couplings) when the couplings are not valid or the format has no words for
    /// them.
    pub fn encode(self, couplings: &Couplings) -> Result<Vec<u8>> {
        couplings.validate()?;
        match self {
            Self::Safetensors => native::encode(couplings),
            Self::Npz => npz::encode(couplings),
            Self::Csv => csv::encode(couplings),
            Self::BqmJson => spins::to_bqm(couplings),
            Self::BqmCoo => spins::to_coo(couplings),
            Self::Gset => spins::to_gset(couplings),
            Self::Qubo => spins::to_qubo(couplings),
            Self::Parameters => parameters::encode(couplings),
        }
    }

    /// The couplings in the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Couplings`](crate::Error::Couplings), saying what is wrong with the bytes, and the errors of
    /// [`Description::validate`].
    pub fn decode(self, bytes: &[u8]) -> Result<Couplings> {
        match self {
            Self::Safetensors => native::decode(bytes),
            Self::Npz => npz::decode(bytes),
            Self::Csv => csv::decode(bytes),
            Self::BqmJson => spins::from_bqm(bytes),
            Self::BqmCoo => spins::from_coo(bytes),
            Self::Gset => spins::from_gset(bytes),
            Self::Qubo => spins::from_qubo(bytes),
            Self::Parameters if spins::looks_like_gset(bytes) => spins::from_gset(bytes),
            Self::Parameters => parameters::decode(bytes),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = Self::ALL.iter().find(|(format, ..)| format == self).map_or("", |(_, name, _)| name);
        f.write_str(name)
    }
}

impl Couplings {
    /// The bytes of a safetensors file.
    ///
    /// # Errors
    /// As [`Format::encode`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        Format::Safetensors.encode(self)
    }

    /// Reads the bytes of a safetensors file.
    ///
    /// # Errors
    /// As [`Format::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        Format::Safetensors.decode(bytes)
    }
}

/// Couplings as the named arrays that files hold: `J.`, `b.` and `d.` as they are, pairs apart as `P.<from>-<to>`
/// `[pairs, 2]`.
#[derive(Default)]
struct Arrays {
    values: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pairs: BTreeMap<String, (Vec<usize>, Vec<i32>)>,
}

impl Arrays {
    fn of(couplings: &Couplings) -> Self {
        let mut pairs = BTreeMap::new();
        for block in &couplings.description.substrate.topology.blocks {
            if let Pattern::Pairs(list) = &block.pattern {
                let flat = list.as_flattened().iter().map(|&unit| unit as i32).collect();
                pairs.insert(format!("P.{}", block.name()), (vec![list.len(), 2], flat));
            }
        }
        Self { values: couplings.tensors.clone(), pairs }
    }

    /// The couplings of a description whose lists of pairs are here.
    fn join(mut self, mut description: Description) -> Result<Couplings> {
        let old = std::mem::replace(&mut description.version, VERSION) == 1;
        for block in &mut description.substrate.topology.blocks {
            let (name, block_name) = (format!("P.{}", block.name()), block.name());
            let Pattern::Pairs(list) = &mut block.pattern else {
                continue;
            };
            if old {
                self.gather(&block_name, list)?;
                continue;
            }
            let Some((shape, flat)) = self.pairs.remove(&name) else {
                return Err(Problem::Missing(name).into());
            };
            if !matches!(shape[..], [count, 2] if count * 2 == flat.len()) {
                return Err(Problem::Shape { name, found: shape, expected: vec![flat.len() / 2, 2] }.into());
            }
            // A negative number becomes one that is outside every group, and is refused as that.
            let unit = |&unit: &i32| usize::try_from(unit).unwrap_or(usize::MAX);
            *list = flat.chunks_exact(2).map(|pair| [unit(&pair[0]), unit(&pair[1])]).collect();
        }
        if let Some((name, _)) = self.pairs.pop_first() {
            return Err(Problem::Unknown(name).into());
        }
        let couplings = Couplings { description, tensors: self.values };
        couplings.validate()?;
        Ok(couplings)
    }

    /// The listed pairs of what version 1 stored as a matrix.
    fn gather(&mut self, block: &str, pairs: &[[usize; 2]]) -> Result<()> {
        let name = format!("J.{block}");
        let Some((shape, values)) = self.values.get_mut(&name) else {
            return Err(Problem::Missing(name).into());
        };
        let &[rows, columns] = &shape[..] else {
            return Err(Problem::Shape { name, found: shape.clone(), expected: vec![0, 0] }.into());
        };
        let at = |&[i, j]: &[usize; 2]| (i < rows && j < columns).then(|| values[i * columns + j]);
        let Some(listed) = pairs.iter().map(at).collect::<Option<Vec<f32>>>() else {
            return Err(Problem::Shape { name, found: shape.clone(), expected: vec![0, 0] }.into());
        };
        *shape = vec![listed.len()];
        *values = listed;
        Ok(())
    }
}

/// A description from its JSON text.
fn description(text: &str) -> Result<Description> {
    let value: serde_json::Value = json(text)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        None => return Err(Problem::Description("there is no version".into()).into()),
        Some(found) if found == 0 || found > u64::from(VERSION) => {
            return Err(Problem::Version { found, newest: VERSION }.into());
        }
        Some(_) => {}
    }
    serde_json::from_value(value).map_err(|error| Problem::Description(error.to_string()).into())
}

/// JSON whose objects name everything once.
fn json<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut twice = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Unique(&mut twice).deserialize(&mut reader);
    if let Some(name) = twice {
        return Err(Problem::Duplicate(name).into());
    }
    read.and_then(|()| serde_json::from_str(text))
        .map_err(|error| Problem::Description(error.to_string()).into())
}

/// Reads any JSON and remembers a name that an object has twice.
struct Unique<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> std::result::Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                *self.0 = Some(name);
                return Err(serde::de::Error::custom("a name is there twice"));
            }
            seen.insert(name);
            map.next_value_seed(Unique(self.0))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while list.next_element_seed(Unique(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }
}

/// The text of a file, or an error that names its format.
fn text<'a>(bytes: &'a [u8], format: &'static str) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|error| Problem::Container { format, reason: format!("not text ({error})") }.into())
}

/// A number of a text file.
fn number<T: std::str::FromStr>(word: &str, line: usize) -> Result<T> {
    let reason =
        || format!("`{}` is no {}", word.chars().take(40).collect::<String>(), std::any::type_name::<T>());
    word.parse().map_err(|_| Problem::Line { line, reason: reason() }.into())
}
