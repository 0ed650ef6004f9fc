//! File formats of couplings: encodes [`Couplings`] to bytes and decodes them.
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
//! The first three hold everything about the network; the others assume what the table says. Couplings are energies
//! on the scale of kT, positive couplings favour opposite signs, and every format counts each pair once. Values are
//! single precision, but for spin models in formats of spins alone, whose numbers [stay double](Format::decode_spins). Text files are recognised by their contents: a `.txt` file may also be a G-set graph.
//!
//! Decoders accept untrusted bytes: anything wrong is an [error](crate::Problem), and memory stays within a small
//! multiple of the size of the file (for npz, of its unpacked size, which is limited to [`npz::LIMIT`] and, for small
//! files, to less).

mod arrays;
pub mod csv;
pub mod native;
pub mod npz;
pub mod parameters;
pub mod spins;

use std::fmt;

use crate::error::{Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::ising::Ising;

/// A file format of couplings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The native format: tensors by name with a description.
    Safetensors,
    /// The same as NumPy arrays.
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
            let reason = format!("`{name}` does not end in a known extension; these are {}", known.join(" "));
            Problem::Unsupported(reason).into()
        })
    }

    /// Whether it can hold spin models only.
    pub fn holds_spins_alone(self) -> bool {
        matches!(self, Self::BqmJson | Self::BqmCoo | Self::Gset | Self::Qubo)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`Error::Couplings`](crate::Error::Couplings) when the couplings are not valid or the format cannot express
    /// them.
    pub fn encode(self, couplings: &Couplings) -> Result<Vec<u8>> {
        couplings.validate()?;
        match self {
            Self::Safetensors => native::encode(couplings),
            Self::Npz => npz::encode(couplings),
            Self::Csv => csv::encode(couplings),
            Self::BqmJson => spins::to_bqm_with_sampling(couplings),
            // Sums of single-precision numbers are written as they are.
            Self::Qubo => self.encode_spins(&spins::at_one_temperature(couplings)?),
            Self::BqmCoo | Self::Gset => {
                self.encode_spins(&spins::shortened(spins::at_one_temperature(couplings)?))
            }
            Self::Parameters => parameters::encode(couplings),
        }
    }

    /// The couplings in the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Couplings`](crate::Error::Couplings), saying what is wrong with the bytes, and the errors of
    /// [`Description::validate`](crate::Description::validate).
    pub fn decode(self, bytes: &[u8]) -> Result<Couplings> {
        match self {
            Self::Safetensors => native::decode(bytes),
            Self::Npz => npz::decode(bytes),
            Self::Csv => csv::decode(bytes),
            Self::BqmJson => spins::from_bqm_with_sampling(bytes),
            Self::BqmCoo | Self::Gset | Self::Qubo => self.decode_spins(bytes)?.couplings(),
            Self::Parameters if spins::looks_like_gset(bytes) => Self::Gset.decode(bytes),
            Self::Parameters => parameters::decode(bytes),
        }
    }

    /// The bytes of a spin model, whose numbers stay as they are in double precision.
    ///
    /// # Errors
    /// [`Problem::Unsupported`] for formats that hold networks, and for fields and offsets that the format cannot hold.
    pub fn encode_spins(self, model: &Ising) -> Result<Vec<u8>> {
        match self {
            Self::BqmJson => Ok(spins::to_bqm(model)),
            Self::BqmCoo => spins::to_coo(model),
            Self::Gset => spins::to_gset(model),
            Self::Qubo => Ok(spins::to_qubo(model)),
            _ => Err(Problem::Unsupported(format!("{self} holds networks, not spin models alone")).into()),
        }
    }

    /// The spin model in the bytes of a file, in double precision where the format holds spins alone.
    ///
    /// # Errors
    /// As [`decode`](Self::decode) and [`Ising::of`].
    pub fn decode_spins(self, bytes: &[u8]) -> Result<Ising> {
        match self {
            Self::BqmJson => spins::from_bqm(bytes),
            Self::BqmCoo => spins::from_coo(bytes),
            Self::Gset => spins::from_gset(bytes),
            Self::Qubo => spins::from_qubo(bytes),
            Self::Parameters if spins::looks_like_gset(bytes) => spins::from_gset(bytes),
            _ => Ising::of(&self.decode(bytes)?),
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
