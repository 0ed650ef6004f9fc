//! Trained couplings as a self-describing value, which can be saved and used elsewhere.
//!
//! It consists of tensors and a [`Description`] of what they mean, with the energy written out. There is a tensor
//! `J.<from>-<to>` for each block, `b.<group>` for each group with biases, and `d.<group>` where a [`Course`] shifts
//! the wells of a group. A [full](Pattern::Full) block is stored as a matrix (within a group, as the whole symmetric
//! matrix with zeros on its diagonal), and a block of [listed pairs](Pattern::Pairs) as one number per pair.
//! [`formats`](crate::export::formats) holds the file formats.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorCreationOptions, TensorData};

use crate::error::{Error, Problem, Result};
use crate::export::description::{Description, Normalisation, Start};
use crate::network::protocol::{Course, gain_of};
use crate::network::quadratic::{check_confinement, free_pairs};
use crate::network::substrate::Substrate;
use crate::network::topology::{Block, Group, Pattern};
use crate::schedule::Schedule;
use crate::tensors::to_f64;

/// Couplings and biases by name, with their description.
#[derive(Clone, PartialEq, Debug)]
pub struct Couplings {
    /// What the numbers mean.
    pub description: Description,
    /// Shapes and values by name, `J.<from>-<to>`, `b.<group>` and `d.<group>`.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Couplings {
    /// The couplings of a substrate.
    pub fn of(substrate: &Substrate, schedule: Schedule, normalisation: Option<Normalisation>) -> Self {
        let mut tensors = BTreeMap::new();
        let mut put = |name: String, tensor: Tensor<2>, shape: Vec<usize>| {
            let values = to_f64(tensor.inner()).into_iter().map(|value| value as f32);
            tensors.insert(name, (shape, values.collect()));
        };
        for (index, block) in substrate.topology().blocks.iter().enumerate() {
            let (coupling, shape) = match &block.pattern {
                Pattern::Full => {
                    let coupling = substrate.coupling(index);
                    let shape = coupling.dims().to_vec();
                    (coupling, shape)
                }
                Pattern::Pairs(pairs) => (substrate.couplings[index].val(), vec![pairs.len()]),
            };
            put(format!("J.{}", block.name()), coupling, shape);
        }
        for (group, bias) in substrate.config().biased().zip(&substrate.biases) {
            put(format!("b.{}", group.name), bias.val(), vec![group.units]);
        }
        Self { description: Description::of(substrate.config().clone(), schedule, normalisation), tensors }
    }

    /// The couplings of a described network, from the values of its tensors.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn new<'a>(
        description: Description,
        values: impl IntoIterator<Item = (&'a str, Vec<f32>)>,
    ) -> Result<Self> {
        description.validate()?;
        let shapes = description.tensors()?;
        let shaped = |(name, values): (&str, Vec<f32>)| {
            let shape = shapes.get(name).cloned().unwrap_or_else(|| vec![values.len()]);
            (name.to_owned(), (shape, values))
        };
        let couplings = Self { description, tensors: values.into_iter().map(shaped).collect() };
        couplings.validate()?;
        Ok(couplings)
    }

    /// The pairs of a block with their couplings, each once, in the order of [`Topology::pairs`](crate::Topology::pairs).
    ///
    /// # Panics
    /// When these couplings do not have that block.
    pub fn pairs<'a>(&'a self, block: &'a Block) -> impl Iterator<Item = ([usize; 2], f32)> + 'a {
        let (shape, values) = &self.tensors[&format!("J.{}", block.name())];
        let value = move |(index, [i, j]): (usize, [usize; 2])| match block.pattern {
            Pattern::Pairs(_) => ([i, j], values[index]),
            Pattern::Full => ([i, j], values[i * shape[1] + j]),
        };
        self.description.substrate.topology.pairs(block).enumerate().map(value)
    }

    /// The couplings between two groups as a row-major matrix, in whichever order and form they are stored; none if
    /// the groups do not couple.
    ///
    /// # Shapes
    /// `[units of from, units of to]`.
    pub fn dense(&self, from: &str, to: &str) -> Option<Vec<f32>> {
        let topology = &self.description.substrate.topology;
        let (index, forward) = topology.block_between(from, to)?;
        let block = &topology.blocks[index];
        let units = |name: &str| topology.group(name).map(|group| topology.groups[group].units).ok();
        let (rows, columns) = (units(from)?, units(to)?);
        let mut dense = vec![0.0; rows * columns];
        for ([i, j], value) in self.pairs(block) {
            let (row, column) = if forward { (i, j) } else { (j, i) };
            dense[row * columns + column] = value;
            if from == to {
                dense[column * columns + row] = value;
            }
        }
        Some(dense)
    }

    /// The free units alone, while clamped ones are held at values that give them the fields `fields`: these are the
    /// biases.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of fields, and [`Problem::Unsupported`] when control parameters move.
    pub fn held(&self, fields: &[f32]) -> Result<Self> {
        let mut description = self.description.clone();
        if description.course.take().is_some() {
            let reason = "control parameters move in time, and clamped units cannot be replaced by fields";
            return Err(Problem::Unsupported(reason.into()).into());
        }
        description.normalisation = None;
        let topology = &mut description.substrate.topology;
        let free = topology.free_units();
        if fields.len() != free {
            let (found, expected) = (vec![fields.len()], vec![free]);
            return Err(Error::Shape { what: "fields".into(), found, expected });
        }
        topology.groups.retain(|group| !group.clamped);
        topology.groups.iter_mut().for_each(|group| group.bias = true);
        let is_free = |name: &String| topology.groups.iter().any(|group| group.name == *name);
        topology.blocks.retain(|block| is_free(&block.from) && is_free(&block.to));
        let mut values = BTreeMap::new();
        for block in &topology.blocks {
            let name = format!("J.{}", block.name());
            values.insert(name.clone(), self.tensors[&name].1.clone());
        }
        for group in &topology.groups {
            values.insert(format!("b.{}", group.name), fields[topology.columns(&group.name)?].to_vec());
        }
        Self::new(description, values.iter().map(|(name, values)| (&name[..], values.clone())))
    }

    /// Marks the free units as starting from thermal noise.
    pub fn from_noise(mut self) -> Self {
        self.description.start = Start::Noise;
        self
    }

    /// With a course of gains and clamped values.
    pub fn with_course(mut self, mut course: Option<Course>) -> Self {
        if let Some(course) = &mut course {
            let knots = course.times.len();
            let mut keep = |name: String, values: Vec<f32>| {
                self.tensors.insert(name, (vec![knots, values.len() / knots.max(1)], values));
            };
            for (group, values) in &mut course.wells {
                keep(format!("d.{group}"), std::mem::take(values));
            }
            for (group, gains) in course.gains.iter_mut().filter(|(_, gains)| gains.len() != knots) {
                let gains = std::mem::take(gains).into_iter().map(|gain| gain as f32).collect();
                keep(format!("s.{group}"), gains);
            }
        }
        self.description.course = course;
        self
    }

    /// The course of gains, wells and clamped values, if there is one.
    pub fn course(&self) -> Option<Course> {
        let mut course = self.description.course.clone()?;
        for (group, values) in &mut course.wells {
            if let Some((_, found)) = self.tensors.get(&format!("d.{group}")) {
                values.clone_from(found);
            }
        }
        for (group, gains) in course.gains.iter_mut().filter(|(_, gains)| gains.is_empty()) {
            if let Some((_, found)) = self.tensors.get(&format!("s.{group}")) {
                *gains = found.iter().map(|&gain| f64::from(gain)).collect();
            }
        }
        Some(course)
    }

    /// The substrate with these couplings, on a device.
    ///
    /// # Errors
    /// [`Error::Couplings`] and the errors of
    /// [`SubstrateConfig::init`](crate::SubstrateConfig::init), which can only occur if the value was assembled by
    /// hand.
    pub fn substrate(&self, options: impl Into<TensorCreationOptions>) -> Result<Substrate> {
        self.validate()?;
        let config = &self.description.substrate;
        let mut substrate = config.init(options)?;
        let options = substrate.options();
        let tensor = |name: &str| {
            let (shape, values) = &self.tensors[name];
            let shape = [if shape.len() == 1 { 1 } else { shape[0] }, shape[shape.len() - 1]];
            Tensor::<2>::from_data(TensorData::new(values.clone(), shape), options.clone())
        };
        for (index, block) in config.topology.blocks.iter().enumerate() {
            let stored = tensor(&format!("J.{}", block.name()));
            substrate = match block.pattern {
                Pattern::Full => substrate.with_coupling(index, stored)?,
                Pattern::Pairs(_) => substrate.with_stored(index, stored),
            };
        }
        let bias = config.topology.free().map(|group| match group.bias {
            true => tensor(&format!("b.{}", group.name)),
            false => Tensor::zeros([1, group.units], options.clone()),
        });
        let bias = Tensor::cat(bias.collect(), 1);
        substrate.with_bias(bias)
    }

    /// Refuses units without a quartic well that are not confined together with the softest wells and the largest
    /// gains between two knots.
    fn check_confinement(&self) -> Result<()> {
        let topology = &self.description.substrate.topology;
        let of_block = |block: usize| -> Vec<f32> {
            self.pairs(&topology.blocks[block]).map(|(_, value)| value).collect()
        };
        let Some(course) = self.course() else {
            return check_confinement(topology, None, None, || free_pairs(topology, of_block));
        };
        let (knots, last) = (course.times.len(), course.times.len() - 1);
        for knot in 0..=last {
            let both = knot..=last.min(knot + 1);
            let gain = |group: &Group, unit: usize| {
                let at = |gains: &Vec<f64>, knot| gain_of(gains, knots, knot, unit).abs();
                let of = |gains: &Vec<f64>| both.clone().map(|knot| at(gains, knot)).fold(0.0, f64::max);
                course.gains.get(&group.name).map_or(1.0, of)
            };
            let shift = |group: &Group, unit: usize| {
                let at = |wells: &Vec<f32>, knot: usize| f64::from(wells[knot * group.units + unit]);
                let of =
                    |wells: &Vec<f32>| both.clone().map(|knot| at(wells, knot)).fold(f64::INFINITY, f64::min);
                course.wells.get(&group.name).map_or(0.0, of)
            };
            let (gains, shifts) = (topology.unit_values(gain), topology.unit_values(shift));
            check_confinement(topology, Some(shifts), Some(gains), || free_pairs(topology, of_block))?;
        }
        Ok(())
    }

    /// The number of couplings, each pair once.
    pub fn count(&self) -> usize {
        let topology = &self.description.substrate.topology;
        topology.blocks.iter().map(|block| topology.pair_count(block)).sum()
    }

    /// Checks that every block is present once, has the right shape, is finite and, within a group, symmetric, and
    /// that the units are confined.
    ///
    /// # Errors
    /// [`Error::Couplings`], those of the description, and
    /// [`Error::NotJointlyConfining`].
    pub fn validate(&self) -> Result<()> {
        let description = &self.description;
        description.validate()?;
        if let Some(course) = self.course() {
            course.validate(&description.substrate.topology)?;
        }
        let expected = description.tensors()?;
        if let Some(name) = self.tensors.keys().find(|name| !expected.contains_key(*name)) {
            return Err(Problem::Unknown(name.clone()).into());
        }
        let asymmetric = |name: &str, n: usize, values: &[f32]| {
            let within = name.strip_prefix("J.").and_then(|name| name.split_once('-'));
            let differ = |i: usize, j: usize| values[i * n + j] != values[j * n + i];
            within.is_some_and(|(from, to)| from == to)
                && (0..n).any(|i| values[i * n + i] != 0.0 || (0..i).any(|j| differ(i, j)))
        };
        for (name, shape) in expected {
            let Some((found, values)) = self.tensors.get(&name) else {
                return Err(Problem::Missing(name).into());
            };
            if *found != shape || values.len() != shape.iter().product::<usize>() {
                return Err(Problem::Shape { name, found: found.clone(), expected: shape }.into());
            }
            if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                return Err(Problem::NotFinite { name, place, value: values[place] }.into());
            }
            if shape.len() == 2 && asymmetric(&name, shape[0], values) {
                return Err(Problem::Asymmetric(name).into());
            }
        }
        self.check_confinement()
    }
}
