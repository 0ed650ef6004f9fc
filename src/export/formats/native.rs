//! The native format: a safetensors file.
//!
//! Its tensors are little-endian `f32` `J.<from>-<to>` (a matrix, or one number per listed pair), `b.<group>` and
//! `d.<group>`, and `i32` `P.<from>-<to>` `[pairs, 2]` where a block lists its pairs. Its metadata entry `thermograd`
//! is the [`Description`](crate::Description) as JSON.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{Error, Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::formats::arrays::Arrays;
use crate::export::text::{json, text};

const KEY: &str = "thermograd";
const FORMAT: &str = "a safetensors file";

pub(super) fn encode(couplings: &Couplings) -> Result<Vec<u8>> {
    let Arrays { values, pairs } = Arrays::of(couplings);
    let mut bytes: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, (shape, values)) in values {
        bytes
            .insert(name, (Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()));
    }
    for (name, (shape, units)) in pairs {
        bytes.insert(name, (Dtype::I32, shape, units.iter().flat_map(|unit| unit.to_le_bytes()).collect()));
    }
    let views = bytes.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("a validated shape"))
    });
    let metadata = HashMap::from([(KEY.to_string(), couplings.describe())]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| refused(&error))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Couplings> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| refused(&error))?;
    let (length, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| refused(&error))?;
    // The reader would silently take the last of two entries with the same name.
    let header = bytes.get(8..8 + length).unwrap_or_default();
    let _: serde_json::Value = json(text(header, FORMAT)?)?;
    let described = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
    let described = described.ok_or(Problem::NoDescription("there is no metadata entry `thermograd`"))?;
    let mut arrays = Arrays::default();
    for (name, view) in file.tensors() {
        let (shape, words) = (view.shape().to_vec(), view.data().chunks_exact(4));
        let word = |bytes: &[u8]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        match view.dtype() {
            Dtype::F32 => {
                let values = words.map(|bytes| f32::from_le_bytes(word(bytes))).collect();
                arrays.values.insert(name, (shape, values));
            }
            Dtype::I32 => {
                let units = words.map(|bytes| i32::from_le_bytes(word(bytes))).collect();
                arrays.pairs.insert(name, (shape, units));
            }
            other => {
                return Err(
                    Problem::Type { name, found: format!("{other:?}"), expected: "F32 or I32" }.into()
                );
            }
        }
    }
    arrays.join(described)
}

fn refused(error: &safetensors::SafeTensorError) -> Error {
    Problem::Container { format: FORMAT, reason: error.to_string() }.into()
}
