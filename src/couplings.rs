//! Trained couplings as a self-describing value: what users take away.
//!
//! Its tensors are `J.<from>-<to>`, one a block, and `b.<group>`, one a group with biases, and `d.<group>` where a
//! [`Course`] shifts the wells of a group; its [`Description`] says what they mean, with the energy written out. A
//! [full](Pattern::Full) block is a matrix, and within a group the whole symmetric matrix with zeros on its diagonal;
//! of a block of [listed pairs](Pattern::Pairs) it is one number a pair. The files it comes in are
//! [`formats`](crate::formats).

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::langevin::{Schedule, to_f64};
use crate::protocol::Course;
use crate::substrate::{Substrate, SubstrateConfig};
use crate::topology::{Block, Pattern};

/// The version of the description that this code writes, and the newest it reads. Version 1 stored listed pairs as a
/// matrix; it is still read.
pub const VERSION: u32 = 2;

/// Units that a description may promise: more than any network that fits a file, few enough to count with.
pub const MOST_UNITS: usize = 1 << 24;

const ENERGY: &str = "V = sum_i (J2 x_i^2 + J4 x_i^4) + sum_i b_i x_i + sum_(ij) J_ij x_i x_j; force = -dV/dx; each \
                      pair of units is counted once";
const MOVED: &str = "V = sum_i ((J2 + d_i(t)) x_i^2 + J4 x_i^4) + sum_i b_i x_i + sum_c J_ci X_c(t) x_i + sum_(ij) s_i(t) \
                     J_ij s_j(t) x_i x_j; force = -dV/dx; each pair of units is counted once; s (gains) and d are \
                     linear between the knots at course.times, s_i = 1 and d_i = 0 where none is given; clamped unit \
                     k*w + j of a group with w values is held at value j times the weight of knot k, which is 1 at \
                     knot k and falls linearly to 0 at its neighbours";
const FROM_NOISE: &str = "free units from equilibrium in their wells alone, exp(-(J2 x^2 + J4 x^4)/kT)";
const STEP: &str = "x_i <- x_i - mu dV/dx_i dt + sqrt(2 mu kT dt) N(0, 1)";

/// Groups that a description may promise.
const MOST_GROUPS: usize = 1 << 10;

/// How an image becomes clamped values: (p/255 − offset)/scale, then scaled to the L2 norm `norm`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Subtracted from pixels in [0, 1].
    pub offset: f64,
    /// What the difference is divided by.
    pub scale: f64,
    /// The L2 norm given to every image, if any.
    pub norm: Option<f64>,
}

/// Everything needed to use the couplings without this program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The version of the format.
    pub version: u32,
    /// The energy and its counting of pairs, in words.
    pub energy: String,
    /// The dynamics, in words.
    pub dynamics: String,
    /// Groups with J₂, J₄ and μ, blocks, and kT.
    pub substrate: SubstrateConfig,
    /// Δt and the number of steps until t_f.
    pub schedule: Schedule,
    /// How inputs are prepared.
    pub normalisation: Option<Normalisation>,
    /// How gains and clamped values move in time; not at all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<Course>,
    /// A constant added to V, for spin models whose energies are to be compared; 0 if absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// What is wrong with a file or a value of couplings.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Bytes that are not of the format.
    #[error("not {format}: {reason}")]
    Container {
        /// The format.
        format: &'static str,
        /// What its reader says.
        reason: String,
    },
    /// A line of a text file.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing that says what the numbers mean.
    #[error("{0}")]
    NoDescription(&'static str),
    /// A description that cannot be read.
    #[error("description: {0}")]
    Description(String),
    /// A description newer than this program.
    #[error("version {found} is newer than {newest}, the newest this program reads")]
    Version {
        /// Its version.
        found: u64,
        /// The newest known one.
        newest: u32,
    },
    /// The same name twice.
    #[error("`{0}` is there twice")]
    Duplicate(String),
    /// A part of the described network that is not there.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A part that the description does not know.
    #[error("`{0}` is not part of the described network")]
    Unknown(String),
    /// A tensor of another type.
    #[error("`{name}` holds {found}, expected {expected}")]
    Type {
        /// Which.
        name: String,
        /// Its type.
        found: String,
        /// The type that is read.
        expected: &'static str,
    },
    /// A tensor of another shape.
    #[error("`{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// That of the described network.
        expected: Vec<usize>,
    },
    /// An infinity or NaN.
    #[error("`{name}`: value {place} is {value}")]
    NotFinite {
        /// Which tensor.
        name: String,
        /// The place of the value, row-major.
        place: usize,
        /// The value.
        value: f32,
    },
    /// Couplings within a group that are not symmetric.
    #[error("`{0}` couples a group to itself and is not symmetric with a zero diagonal")]
    Asymmetric(String),
    /// A promise of more than a file can hold.
    #[error("{what}: {count} are described, at most {limit} can be")]
    TooLarge {
        /// Of what.
        what: String,
        /// How many.
        count: u128,
        /// How many there can be.
        limit: u128,
    },
    /// Couplings that a format has no words for, or that are not what they are used as.
    #[error("{0}")]
    Unsupported(String),
}
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

    /// Couplings of a described network from the values of its tensors.
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
    /// When the block is none of these couplings.
    pub fn pairs<'a>(&'a self, block: &'a Block) -> impl Iterator<Item = ([usize; 2], f32)> + 'a {
        let (shape, values) = &self.tensors[&format!("J.{}", block.name())];
        let value = move |(place, [i, j]): (usize, [usize; 2])| match block.pattern {
            Pattern::Pairs(_) => ([i, j], values[place]),
            Pattern::Full => ([i, j], values[i * shape[1] + j]),
        };
        self.description.substrate.topology.pairs(block).enumerate().map(value)
    }

    /// The couplings between two groups as a matrix, row-major, whichever way round and however they are stored; none
    /// if the groups do not couple.
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

    /// Of a computer whose free units start as thermal noise: each in equilibrium in its own well, without couplings,
    /// fields and shifts.
    pub fn from_noise(mut self) -> Self {
        self.description.dynamics = format!("{STEP}, {FROM_NOISE}, read at t_f = dt * steps");
        self
    }

    /// Whether the free units start as thermal noise, rather than at rest.
    pub fn starts_from_noise(&self) -> bool {
        self.description.dynamics.contains(FROM_NOISE)
    }

    /// With a course of gains and clamped values.
    pub fn with_course(mut self, mut course: Option<Course>) -> Self {
        if let Some(course) = &mut course {
            let knots = course.times.len();
            for (group, values) in &mut course.wells {
                let shape = vec![knots, values.len() / knots.max(1)];
                self.tensors.insert(format!("d.{group}"), (shape, std::mem::take(values)));
            }
            self.description.energy = MOVED.into();
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
        Some(course)
    }

    /// The substrate with these couplings, on a device.
    ///
    /// # Errors
    /// [`Error::Couplings`](crate::Error::Couplings) and the errors of [`SubstrateConfig::init`], when the value was put together by hand.
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

    /// The description as indented JSON. Pairs are left to the tensors.
    pub fn describe(&self) -> String {
        serde_json::to_string_pretty(&self.outline()).expect("plain data")
    }

    /// The description with its lists of pairs left out.
    pub(crate) fn outline(&self) -> Description {
        let mut description = self.description.clone();
        for block in &mut description.substrate.topology.blocks {
            if let Pattern::Pairs(pairs) = &mut block.pattern {
                pairs.clear();
            }
        }
        description
    }

    /// The number of couplings, each pair once.
    pub fn count(&self) -> usize {
        let topology = &self.description.substrate.topology;
        topology.blocks.iter().map(|block| topology.pair_count(block)).sum()
    }

    /// Checks that every block is there once, in its shape, finite, and symmetric within a group.
    ///
    /// # Errors
    /// [`Error::Couplings`](crate::Error::Couplings), and those of the description.
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
        Ok(())
    }
}

impl Description {
    /// The description of a computer whose free units start at rest.
    pub fn of(substrate: SubstrateConfig, schedule: Schedule, normalisation: Option<Normalisation>) -> Self {
        Self {
            version: VERSION,
            energy: ENERGY.into(),
            dynamics: format!("{STEP}, free units from 0, read at t_f = dt * steps"),
            substrate,
            schedule,
            normalisation,
            course: None,
            offset: 0.0,
        }
    }

    /// Checks groups, blocks, constants, schedule and normalisation.
    ///
    /// # Errors
    /// Those of [`SubstrateConfig::validate`] and [`Schedule::new`], and
    /// [`Error::Couplings`](crate::Error::Couplings).
    pub fn validate(&self) -> Result<()> {
        let groups = &self.substrate.topology.groups;
        let units = groups.iter().map(|group| group.units as u128).sum::<u128>();
        for (what, count, limit) in
            [("units", units, MOST_UNITS), ("groups", groups.len() as u128, MOST_GROUPS)]
        {
            let limit = limit as u128;
            if count > limit {
                return Err(Problem::TooLarge { what: what.into(), count, limit }.into());
            }
        }
        self.substrate.validate()?;
        Schedule::new(self.schedule.dt, self.schedule.duration())?;
        let sound = |n: Normalisation| {
            let norm = n.norm.unwrap_or(1.0);
            n.offset.is_finite() && n.scale > 0.0 && n.scale.is_finite() && norm > 0.0 && norm.is_finite()
        };
        if !self.normalisation.is_none_or(sound) || !self.offset.is_finite() {
            let reason = "normalisation and offset must be finite, scale and norm positive";
            return Err(Problem::Description(reason.into()).into());
        }
        Ok(())
    }

    /// The names and shapes of all tensors of the described network.
    ///
    /// # Errors
    /// [`Error::Topology`](crate::Error::Topology) when a block or a course names no group.
    pub fn tensors(&self) -> Result<BTreeMap<String, Vec<usize>>> {
        let topology = &self.substrate.topology;
        let units = |name: &str| topology.group(name).map(|group| topology.groups[group].units);
        let mut tensors = BTreeMap::new();
        for block in &topology.blocks {
            let shape = match &block.pattern {
                Pattern::Full => vec![units(&block.from)?, units(&block.to)?],
                Pattern::Pairs(pairs) => vec![pairs.len()],
            };
            tensors.insert(format!("J.{}", block.name()), shape);
        }
        for group in self.substrate.biased() {
            tensors.insert(format!("b.{}", group.name), vec![group.units]);
        }
        if let Some(course) = &self.course {
            for group in course.wells.keys() {
                tensors
                    .insert(format!("d.{group}"), vec![course.times.len(), topology.columns(group)?.len()]);
            }
        }
        Ok(tensors)
    }
}
