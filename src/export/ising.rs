//! Spin models: ±1 spins with fields and couplings.
//!
//! ```text
//! E(s) = Σ_i h_i s_i + Σ_(ij) J_ij s_i s_j + offset,      s_i = ±1      (18)
//! ```
//!
//! Each pair counts once, and positive couplings favour opposite spins: the convention of dimod, and that of V in (1)
//! with x_i = s_i. A thermodynamic computer realises it with [bistable](WELLS) units, whose wells have their minima
//! at ±1; there V equals E up to a constant, and the signs of the units are the spins, as long as noise and couplings
//! leave the units near their minima.

use std::collections::BTreeMap;

use crate::error::{Error, Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::description::Description;
use crate::network::substrate::SubstrateConfig;
use crate::network::topology::{Block, Group, Pattern, Topology};
use crate::schedule::Schedule;

/// J₂ and J₄ of the units of a spin model: x⁴ − 2x², minima of −1 at ±1 and a barrier of 1 between them.
pub const WELLS: (f64, f64) = (-2.0, 1.0);

/// A coupling between two units.
pub type Pair = ([usize; 2], f64);

/// Fields and couplings of ±1 spins.
///
/// ```
/// use thermograd::Ising;
/// let pair = Ising { fields: vec![0.5, 0.0], couplings: vec![([0, 1], -1.0)], offset: 0.0 };
/// assert_eq!(pair.energy(&[-1, -1]), -1.5);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Ising {
    /// h_i.
    pub fields: Vec<f64>,
    /// J_ij of the pairs `[i, j]`.
    pub couplings: Vec<Pair>,
    /// A constant.
    pub offset: f64,
}

impl Ising {
    /// The energy E of spins.
    ///
    /// # Panics
    /// When there are fewer spins than fields.
    pub fn energy(&self, spins: &[i8]) -> f64 {
        let s = |i: usize| f64::from(spins[i]);
        let fields = self.fields.iter().enumerate().map(|(i, h)| h * s(i)).sum::<f64>();
        let pairs = self.couplings.iter().map(|&([i, j], coupling)| coupling * s(i) * s(j)).sum::<f64>();
        fields + pairs + self.offset
    }

    /// The model whose energy is Σ_i a_i z_i + Σ_(ij) Q_ij z_i z_j + offset with z = (1 + s)/2.
    pub fn from_binary(linear: &[f64], quadratic: &[Pair], offset: f64) -> Self {
        let mut fields: Vec<f64> = linear.iter().map(|a| a / 2.0).collect();
        let mut offset = offset + fields.iter().sum::<f64>();
        let mut couplings = Vec::new();
        for &([i, j], q) in quadratic {
            fields[i] += q / 4.0;
            fields[j] += q / 4.0;
            offset += q / 4.0;
            couplings.push(([i, j], q / 4.0));
        }
        Self { fields, couplings, offset }
    }

    /// a, Q and the offset of the same energy over z = (1 + s)/2.
    pub fn to_binary(&self) -> (Vec<f64>, Vec<Pair>, f64) {
        let mut linear: Vec<f64> = self.fields.iter().map(|h| 2.0 * h).collect();
        let mut offset = self.offset - self.fields.iter().sum::<f64>();
        let mut quadratic = Vec::new();
        for &([i, j], coupling) in &self.couplings {
            linear[i] -= 2.0 * coupling;
            linear[j] -= 2.0 * coupling;
            offset += coupling;
            quadratic.push(([i, j], 4.0 * coupling));
        }
        (linear, quadratic, offset)
    }

    /// The spin model of couplings among bistable units with minima at ±1. Couplings of a full block that are zero
    /// are left out.
    ///
    /// # Errors
    /// [`Problem::Unsupported`] when units are clamped, their wells move, or their minima are not at ±1.
    pub fn of(couplings: &Couplings) -> Result<Self> {
        let description = &couplings.description;
        let topology = &description.substrate.topology;
        let refuse = |reason: String| {
            let advice = "files that hold everything are .safetensors, .npz and .csv";
            Err(Problem::Unsupported(format!("not a spin model: {reason}; {advice}")).into())
        };
        if let Some(group) = topology.clamped().next() {
            return refuse(format!("group `{}` is clamped", group.name));
        }
        if description.course.is_some() {
            return refuse("control parameters move in time".into());
        }
        let bistable = |j2: f64, j4: f64| j4 > 0.0 && (j2 + 2.0 * j4).abs() <= 1e-9 * j4;
        let spin =
            |group: &&Group| (0..group.units).all(|unit| bistable(group.j2.at(unit), group.j4.at(unit)));
        if let Some(Group { name, j2, j4, .. }) = topology.groups.iter().find(|group| !spin(group)) {
            return refuse(format!(
                "the wells of group `{name}`, J2 = {j2}, J4 = {j4}, have no minima at ±1"
            ));
        }
        let mut fields = vec![0.0; topology.free_units()];
        for group in topology.groups.iter().filter(|group| group.bias) {
            let (_, values) = &couplings.tensors[&format!("b.{}", group.name)];
            for (unit, value) in topology.columns(&group.name)?.zip(values) {
                fields[unit] = f64::from(*value);
            }
        }
        let mut pairs = Vec::new();
        for block in &topology.blocks {
            let (from, to) = (topology.columns(&block.from)?.start, topology.columns(&block.to)?.start);
            for ([i, j], value) in couplings.pairs(block) {
                if matches!(block.pattern, Pattern::Pairs(_)) || value != 0.0 {
                    pairs.push(([from + i, to + j], f64::from(value)));
                }
            }
        }
        Ok(Self { fields, couplings: pairs, offset: description.offset })
    }

    /// The model as couplings of one group `spin`, in single precision; the couplings of repeated pairs are summed.
    ///
    /// # Errors
    /// [`Problem::NotFinite`] when a number overflows single precision, [`Problem::Unknown`] for a pair of units that there are
    /// not, and those of [`Description::validate`].
    pub fn couplings(&self) -> Result<Couplings> {
        self.couplings_in(&[("spin", self.fields.len())])
    }

    /// The same in groups that follow each other, by name and number of units.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not hold all units, [`Problem::Unknown`] for a pair of units that there are not, and those of [`couplings`](Self::couplings).
    pub fn couplings_in(&self, groups: &[(&str, usize)]) -> Result<Couplings> {
        let held: usize = groups.iter().map(|(_, units)| units).sum();
        if held != self.fields.len() {
            let (found, expected) = (vec![held], vec![self.fields.len()]);
            return Err(Error::Shape { what: "groups".into(), found, expected });
        }
        let strange = |&&([i, j], _): &&Pair| i == j || i.max(j) >= held;
        if let Some(([i, j], _)) = self.couplings.iter().find(strange) {
            return Err(Problem::Unknown(format!("the pair of units {i} and {j} of {held}")).into());
        }
        // The number of the group of every unit, and its place there.
        let places: Vec<(usize, usize)> = groups
            .iter()
            .enumerate()
            .flat_map(|(group, &(_, units))| (0..units).map(move |unit| (group, unit)))
            .collect();
        let mut blocks: BTreeMap<[usize; 2], BTreeMap<[usize; 2], f64>> = BTreeMap::new();
        for &([i, j], coupling) in &self.couplings {
            let [(from, i), (to, j)] = [places[i.min(j)], places[i.max(j)]];
            *blocks.entry([from, to]).or_default().entry([i, j]).or_default() += coupling;
        }
        if let &[(_, _)] = groups {
            blocks.entry([0, 0]).or_default();
        }
        let (j2, j4) = WELLS;
        let (mut topology, mut tensors) = (Topology { groups: Vec::new(), blocks: Vec::new() }, Vec::new());
        let mut fields = &self.fields[..];
        for &(name, units) in groups {
            let (own, others) = fields.split_at(units);
            topology.groups.push(Group::free(name, units).wells(j2, j4));
            tensors.push((format!("b.{name}"), own.iter().map(|&field| field as f32).collect()));
            fields = others;
        }
        for ([from, to], pairs) in blocks {
            let (from, to) = (groups[from].0.to_owned(), groups[to].0.to_owned());
            let values: Vec<f32> = pairs.values().map(|&value| value as f32).collect();
            tensors.push((format!("J.{from}-{to}"), values));
            topology.blocks.push(Block { from, to, pattern: Pattern::Pairs(pairs.into_keys().collect()) });
        }
        let config = SubstrateConfig::new(topology);
        let mut description = Description::of(config, Schedule { dt: 1e-3, steps: 10_000 }, None);
        description.offset = self.offset;
        Couplings::new(
            description,
            tensors.iter().map(|(name, values): &(_, Vec<f32>)| (name.as_str(), values.clone())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every energy of four spins, over ±1 and over 0 and 1.
    #[test]
    fn binary_and_spin_energies_agree() {
        let linear = [0.5, -1.0, 0.0, 2.25];
        let quadratic = [([0, 1], 1.5), ([2, 0], -0.75), ([1, 3], 4.0)];
        let model = Ising::from_binary(&linear, &quadratic, 0.125);
        for state in 0..16 {
            let z = |i: usize| f64::from(state >> i & 1);
            let spins: Vec<i8> = (0..4).map(|i| if state >> i & 1 == 1 { 1 } else { -1 }).collect();
            let own = linear.iter().enumerate().map(|(i, a)| a * z(i)).sum::<f64>();
            let energy = own + quadratic.iter().map(|&([i, j], q)| q * z(i) * z(j)).sum::<f64>() + 0.125;
            assert_eq!(model.energy(&spins), energy);
        }
        assert_eq!(model.to_binary(), (linear.to_vec(), quadratic.to_vec(), 0.125));
    }

    #[test]
    fn a_spin_model_comes_back_from_its_computer() {
        let model = Ising {
            fields: vec![0.5, 0.0, -2.0],
            couplings: vec![([0, 2], -1.0), ([1, 2], 0.25)],
            offset: 3.0,
        };
        assert_eq!(Ising::of(&model.couplings().unwrap()).unwrap(), model);
        for pair in [[0, 9], [1, 1]] {
            let strange = Ising { couplings: vec![(pair, 1.0)], ..model.clone() };
            assert!(strange.couplings().unwrap_err().to_string().contains("of 3"), "{pair:?}");
        }
    }
}
