//! Couplings as named arrays, which is how [native](super::native) and [NumPy](super::npz) files hold them.

use std::collections::BTreeMap;

use crate::error::{Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::description::Description;
use crate::export::schema::MATRICES;
use crate::network::topology::Pattern;

/// Couplings as the named arrays that files hold: `J.`, `b.` and `d.` unchanged, and lists of pairs as
/// `P.<from>-<to>` `[pairs, 2]`.
#[derive(Default)]
pub(super) struct Arrays {
    pub(super) values: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    pub(super) pairs: BTreeMap<String, (Vec<usize>, Vec<i32>)>,
}

impl Arrays {
    pub(super) fn of(couplings: &Couplings) -> Self {
        let mut pairs = BTreeMap::new();
        for block in &couplings.description.substrate.topology.blocks {
            if let Pattern::Pairs(list) = &block.pattern {
                let flat = list.as_flattened().iter().map(|&unit| unit as i32).collect();
                pairs.insert(format!("P.{}", block.name()), (vec![list.len(), 2], flat));
            }
        }
        Self { values: couplings.tensors.clone(), pairs }
    }

    /// The couplings of a description in JSON, whose lists of pairs are among these arrays.
    pub(super) fn join(mut self, described: &str) -> Result<Couplings> {
        let (mut description, version) = Description::from_json(described)?;
        for block in &mut description.substrate.topology.blocks {
            let (name, block_name) = (format!("P.{}", block.name()), block.name());
            let Pattern::Pairs(list) = &mut block.pattern else {
                continue;
            };
            if version == MATRICES {
                self.gather(&block_name, list)?;
                continue;
            }
            let Some((shape, flat)) = self.pairs.remove(&name) else {
                return Err(Problem::Missing(name).into());
            };
            if !matches!(shape[..], [count, 2] if count * 2 == flat.len()) {
                return Err(Problem::Shape { name, found: shape, expected: vec![flat.len() / 2, 2] }.into());
            }
            // A negative number becomes one that is outside every group, and is refused for that.
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

    /// The values of the listed pairs in a matrix, which is how version 1 stored them.
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
