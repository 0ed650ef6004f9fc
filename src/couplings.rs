//! Trained couplings as a self-describing value: what users take away.
//!
//! The bytes are a safetensors file. Its tensors are `J.<from>-<to>`, one a block, and `b.<group>`, one a group with
//! biases, as little-endian `f32`, and `d.<group>` where a [`Course`] shifts the wells of a group; its metadata entry `thermograd` is the [`Description`] as JSON, with the energy
//! written out. Within a group the whole symmetric matrix is stored, with zeros on the diagonal.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::langevin::{Schedule, to_f64};
use crate::protocol::Course;
use crate::substrate::{Substrate, SubstrateConfig};

/// The version of the format that this code writes, and the newest it reads.
pub const VERSION: u32 = 1;

const ENERGY: &str = "V = sum_i (J2 x_i^2 + J4 x_i^4) + sum_i b_i x_i + sum_(ij) J_ij x_i x_j; force = -dV/dx; each \
                      pair of units is counted once";
const MOVED: &str = "V = sum_i ((J2 + d_i(t)) x_i^2 + J4 x_i^4) + sum_i b_i x_i + sum_c J_ci X_c(t) x_i + sum_(ij) s_i(t) \
                     J_ij s_j(t) x_i x_j; force = -dV/dx; each pair of units is counted once; s (gains) and d are \
                     linear between the knots at course.times, s_i = 1 and d_i = 0 where none is given; clamped unit \
                     k*w + j of a group with w values is held at value j times the weight of knot k, which is 1 at \
                     knot k and falls linearly to 0 at its neighbours";
const STEP: &str = "x_i <- x_i - mu dV/dx_i dt + sqrt(2 mu kT dt) N(0, 1)";

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
            let coupling = substrate.coupling(index);
            let shape = coupling.dims().to_vec();
            put(format!("J.{}", block.name()), coupling, shape);
        }
        for (group, bias) in substrate.config().biased().zip(&substrate.biases) {
            put(format!("b.{}", group.name), bias.val(), vec![group.units]);
        }
        Self {
            description: Description {
                version: VERSION,
                energy: ENERGY.into(),
                dynamics: format!("{STEP}, free units from 0, read at t_f = dt * steps"),
                substrate: substrate.config().clone(),
                schedule,
                normalisation,
                course: None,
            },
            tensors,
        }
    }

    /// Of a computer whose free units start as thermal noise: each in equilibrium in its own well, without couplings,
    /// fields and shifts.
    pub fn from_noise(mut self) -> Self {
        let start = "free units from equilibrium in their wells alone, exp(-(J2 x^2 + J4 x^4)/kT)";
        self.description.dynamics = format!("{STEP}, {start}, read at t_f = dt * steps");
        self
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
    /// [`Error::Couplings`] and the errors of [`SubstrateConfig::init`], when the value was put together by hand.
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
            substrate = substrate.with_coupling(index, tensor(&format!("J.{}", block.name())))?;
        }
        let bias = config.topology.free().map(|group| match group.bias {
            true => tensor(&format!("b.{}", group.name)),
            false => Tensor::zeros([1, group.units], options.clone()),
        });
        let bias = Tensor::cat(bias.collect(), 1);
        substrate.with_bias(bias)
    }

    /// The bytes of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Couplings`] when names, shapes or values are not those of the description.
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.validate()?;
        let bytes: BTreeMap<&str, Vec<u8>> = self
            .tensors
            .iter()
            .map(|(name, (_, values))| (name.as_str(), values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views = self.tensors.iter().map(|(name, (shape, _))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), &bytes[name.as_str()]);
            (name, view.expect("a validated shape"))
        });
        let metadata = HashMap::from([("thermograd".to_string(), self.describe())]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| Error::Couplings(error.to_string()))
    }

    /// Reads the bytes of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Couplings`], saying what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let refuse = |reason: String| Error::Couplings(reason);
        let file = SafeTensors::deserialize(bytes).map_err(|error| refuse(error.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| refuse(error.to_string()))?;
        let metadata = header.metadata().as_ref();
        let text = metadata.and_then(|metadata| metadata.get("thermograd")).ok_or_else(|| {
            refuse("the file has no `thermograd` metadata: it was not written by this program".into())
        })?;
        let version =
            serde_json::from_str::<serde_json::Value>(text).ok().and_then(|v| v["version"].as_u64());
        if version.is_some_and(|version| version > u64::from(VERSION)) {
            return Err(refuse(format!(
                "version {} is newer than {VERSION}, the newest this program reads",
                version.unwrap_or_default()
            )));
        }
        let description: Description =
            serde_json::from_str(text).map_err(|error| refuse(format!("description: {error}")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(refuse(format!("`{name}` holds {:?}, expected F32", view.dtype())));
            }
            let value = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            let values = view.data().chunks_exact(4).map(value).collect();
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        let couplings = Self { description, tensors };
        couplings.validate()?;
        Ok(couplings)
    }

    /// The description as indented JSON.
    pub fn describe(&self) -> String {
        serde_json::to_string_pretty(&self.description).expect("plain data")
    }

    /// Checks that every block is there once, in its shape, finite, and symmetric within a group.
    pub fn validate(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Couplings(reason));
        let topology = &self.description.substrate.topology;
        topology.validate()?;
        let mut expected = BTreeMap::new();
        if let Some(course) = self.course() {
            course.validate(topology)?;
            for group in course.wells.keys() {
                let units = topology.columns(group)?.len();
                expected.insert(format!("d.{group}"), (vec![course.times.len(), units], false));
            }
        }
        for block in &topology.blocks {
            let units = |name: &str| topology.group(name).map(|g| topology.groups[g].units);
            let shape = vec![units(&block.from)?, units(&block.to)?];
            expected.insert(format!("J.{}", block.name()), (shape, block.from == block.to));
        }
        for group in self.description.substrate.biased() {
            expected.insert(format!("b.{}", group.name), (vec![group.units], false));
        }
        if let Some(name) = self.tensors.keys().find(|name| !expected.contains_key(*name)) {
            return refuse(format!("`{name}` is not part of the described network"));
        }
        for (name, (shape, symmetric)) in expected {
            let Some((found, values)) = self.tensors.get(&name) else {
                return refuse(format!("`{name}` is missing"));
            };
            if *found != shape || values.len() != shape.iter().product::<usize>() {
                return refuse(format!("`{name}` has shape {found:?}, expected {shape:?}"));
            }
            if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                return refuse(format!("`{name}`: value {place} is {}", values[place]));
            }
            let n = shape[0];
            let asymmetric = |i: usize, j: usize| values[i * n + j] != values[j * n + i];
            if symmetric && (0..n).any(|i| values[i * n + i] != 0.0 || (0..i).any(|j| asymmetric(i, j))) {
                return refuse(format!(
                    "`{name}` couples a group to itself and is not symmetric with a zero diagonal"
                ));
            }
        }
        Ok(())
    }
}
