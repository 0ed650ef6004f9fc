//! The description as files hold it. These types are separate from those of the network, so that the latter can
//! change without changing the files.
//!
//! | version | difference |
//! |---|---|
//! | 1 | listed pairs were stored as a matrix, and the pairs listed in the description |
//! | 2 | only the sentence on the dynamics said whether units start from noise; no course of kT, one constant per group |
//! | 3 | written where units follow Langevin dynamics |
//! | 4 | written where units are spins: it says how they are sampled |
//! | 5 | written where units of a group have gains of their own: they are tensors |
//!
//! Every version is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Problem, Result};
use crate::export::couplings::Couplings;
use crate::export::description::{Description, Normalisation, Sampling, Start};
use crate::export::text::json;
use crate::network::protocol::Course;
use crate::network::substrate::SubstrateConfig;
use crate::network::topology::{Block, Group, Pattern, PerUnit, Topology};
use crate::schedule::Schedule;

/// The newest version of the description that this code writes and reads.
pub const VERSION: u32 = 5;

/// The newest version that knew no gains of single units.
const NO_UNIT_GAINS: u32 = 4;

/// The newest version that knew no spins.
pub const NO_SPINS: u32 = 3;

/// The version that stored listed pairs as a matrix.
pub(crate) const MATRICES: u32 = 1;

/// The newest version that said how units start only in a sentence.
const SENTENCES: u32 = 2;

const ENERGY: &str = "V = sum_i (J2 x_i^2 + J4 x_i^4) + sum_i b_i x_i + sum_(ij) J_ij x_i x_j; force = -dV/dx; each \
                      pair of units is counted once";
const MOVED: &str = "V = sum_i ((J2 + d_i(t)) x_i^2 + J4 x_i^4) + sum_i b_i x_i + sum_c J_ci X_c(t) x_i + sum_(ij) s_i(t) \
                     J_ij s_j(t) x_i x_j; force = -dV/dx; each pair of units is counted once; s (gains), d and kT are \
                     linear between the knots at course.times, s_i = 1, d_i = 0 and kT = substrate.kt where none is \
                     given, and for noise at the start; clamped unit k*w + j of a group with w values is held at value j times the weight of knot k, \
                     which is 1 at knot k and falls linearly to 0 at its neighbours";
const STEP: &str = "x_i <- x_i - mu dV/dx_i dt + sqrt(2 mu kT dt) N(0, 1)";
const SPINS: &str = "E = sum_i b_i s_i + sum_(ij) J_ij s_i s_j over spins s = -1, +1, clamped ones at the values of the \
                     input; each pair is counted once; the wells of the substrate, with minima at -1 and +1, are for \
                     devices that have displacements in the place of spins";
const SWEEPS: &str = "s_i <- +1 with probability 1/(1 + exp(2 beta x_i)), else -1, where x_i = b_i + sum_j J_ij s_j and \
                      beta is that of its group in sampling.betas, over substrate.kt; coupled spins never together; from fair coins; \
                      sampling.burn_in sweeps, then sampling.sweeps sweeps whose outputs are added; the answer is the \
                      class with the largest sum over its units";
const FROM_REST: &str = "free units from 0";
const FROM_NOISE: &str = "free units from equilibrium in their wells alone, exp(-(J2 x^2 + J4 x^4)/kT)";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptionFile {
    version: u32,
    energy: String,
    dynamics: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<StartFile>,
    substrate: SubstrateFile,
    schedule: ScheduleFile,
    normalisation: Option<Normalisation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    course: Option<CourseFile>,
    #[serde(default, skip_serializing_if = "is_zero")]
    offset: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sampling: Option<Sampling>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StartFile {
    Rest,
    Noise,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubstrateFile {
    topology: TopologyFile,
    kt: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopologyFile {
    groups: Vec<GroupFile>,
    blocks: Vec<BlockFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupFile {
    name: String,
    units: usize,
    clamped: bool,
    bias: bool,
    j2: Constant,
    j4: Constant,
    mobility: Constant,
}

/// A number for all units of a group, or a list with one for each.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "J2, J4 and mobility are each a number, or a list with one for each unit")]
enum Constant {
    Same(f64),
    Each(Vec<f64>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockFile {
    from: String,
    to: String,
    pattern: PatternFile,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PatternFile {
    Full,
    Pairs(Vec<[usize; 2]>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleFile {
    dt: f64,
    steps: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CourseFile {
    times: Vec<f64>,
    /// One for each knot; none if the values are the tensor `s.<group>`.
    gains: BTreeMap<String, Vec<f64>>,
    /// The groups whose wells move; the values are the tensors `d.<group>`.
    wells: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kt: Option<Vec<f64>>,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Description {
    /// As JSON on one line.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&write(self, true)).expect("plain data")
    }

    /// The same without the lists of pairs, which files store as tensors.
    pub(crate) fn outline(&self) -> String {
        serde_json::to_string(&write(self, false)).expect("plain data")
    }

    /// Reads a description of any version, and returns its version as well.
    ///
    /// # Errors
    /// [`Problem::Description`], [`Problem::Duplicate`] and [`Problem::Version`].
    pub(crate) fn from_json(text: &str) -> Result<(Self, u32)> {
        let value: serde_json::Value = json(text)?;
        let version = match value.get("version").and_then(serde_json::Value::as_u64) {
            None => return Err(Problem::Description("there is no version".into()).into()),
            Some(found) if found == 0 || found > u64::from(VERSION) => {
                return Err(Problem::Version { found, newest: VERSION }.into());
            }
            Some(found) => found as u32,
        };
        let file = serde_json::from_value(value).map_err(|error| Problem::Description(error.to_string()))?;
        Ok((read(file)?, version))
    }
}

impl Couplings {
    /// The description as indented JSON, without the lists of pairs.
    pub fn describe(&self) -> String {
        serde_json::to_string_pretty(&write(&self.description, false)).expect("plain data")
    }
}

fn write(description: &Description, pairs: bool) -> DescriptionFile {
    let Description { substrate, schedule, start, normalisation, course, offset, sampling } = description;
    let (start, from) = match start {
        Start::Rest => (StartFile::Rest, FROM_REST),
        Start::Noise => (StartFile::Noise, FROM_NOISE),
    };
    let block = |block: &Block| BlockFile {
        from: block.from.clone(),
        to: block.to.clone(),
        pattern: match &block.pattern {
            Pattern::Full => PatternFile::Full,
            Pattern::Pairs(list) => PatternFile::Pairs(if pairs { list.clone() } else { Vec::new() }),
        },
    };
    DescriptionFile {
        version: if course.as_ref().is_some_and(|course| course.gains.values().any(Vec::is_empty)) {
            VERSION
        } else if sampling.is_some() {
            NO_UNIT_GAINS
        } else {
            NO_SPINS
        },
        energy: if sampling.is_some() {
            SPINS
        } else if course.is_some() {
            MOVED
        } else {
            ENERGY
        }
        .into(),
        dynamics: match sampling {
            Some(_) => SWEEPS.into(),
            None => format!("{STEP}, {from}, read at t_f = dt * steps"),
        },
        start: Some(start),
        substrate: SubstrateFile {
            topology: TopologyFile {
                groups: substrate.topology.groups.iter().map(group_file).collect(),
                blocks: substrate.topology.blocks.iter().map(block).collect(),
            },
            kt: substrate.kt,
        },
        schedule: ScheduleFile { dt: schedule.dt, steps: schedule.steps },
        normalisation: *normalisation,
        course: course.as_ref().map(|Course { times, gains, wells, kt }| CourseFile {
            times: times.clone(),
            gains: gains.clone(),
            wells: wells.keys().cloned().collect(),
            kt: kt.clone(),
        }),
        offset: *offset,
        sampling: sampling.clone(),
    }
}

fn group_file(group: &Group) -> GroupFile {
    let Group { name, units, clamped, bias, j2, j4, mobility } = group.clone();
    let [j2, j4, mobility] = [j2, j4, mobility].map(|constant| match constant {
        PerUnit::Same(value) => Constant::Same(value),
        PerUnit::Each(values) => Constant::Each(values),
    });
    GroupFile { name, units, clamped, bias, j2, j4, mobility }
}

fn read(file: DescriptionFile) -> Result<Description> {
    if file.sampling.is_some() && file.version <= NO_SPINS {
        let reason = format!("version {} knows no `sampling`; {NO_UNIT_GAINS} does", file.version);
        return Err(Problem::Description(reason).into());
    }
    if let Some(CourseFile { times, gains, .. }) = &file.course {
        let unit_gains = |gains: &Vec<f64>| gains.is_empty() && !times.is_empty();
        if file.version <= NO_UNIT_GAINS && gains.values().any(unit_gains) {
            let reason = format!("version {} knows no gains of single units; {VERSION} does", file.version);
            return Err(Problem::Description(reason).into());
        }
        if let Some((name, gains)) = gains.iter().find(|(_, gains)| ![0, times.len()].contains(&gains.len()))
        {
            let reason = format!("{} gains of `{name}` for {} knots", gains.len(), times.len());
            return Err(Problem::Description(reason).into());
        }
    }
    let start = match file.start {
        Some(StartFile::Rest) => Start::Rest,
        Some(StartFile::Noise) => Start::Noise,
        None if file.version > SENTENCES => {
            return Err(Problem::Description("missing field `start`".into()).into());
        }
        None if file.dynamics.contains(FROM_NOISE) => Start::Noise,
        None => Start::Rest,
    };
    let group = |GroupFile { name, units, clamped, bias, j2, j4, mobility }| {
        let [j2, j4, mobility] = [j2, j4, mobility].map(|constant| match constant {
            Constant::Same(value) => PerUnit::Same(value),
            Constant::Each(values) => PerUnit::Each(values),
        });
        Group { name, units, clamped, bias, j2, j4, mobility }
    };
    let block = |BlockFile { from, to, pattern }| Block {
        from,
        to,
        pattern: match pattern {
            PatternFile::Full => Pattern::Full,
            PatternFile::Pairs(list) => Pattern::Pairs(list),
        },
    };
    let TopologyFile { groups, blocks } = file.substrate.topology;
    let topology = Topology {
        groups: groups.into_iter().map(group).collect(),
        blocks: blocks.into_iter().map(block).collect(),
    };
    Ok(Description {
        substrate: SubstrateConfig { topology, kt: file.substrate.kt },
        schedule: Schedule { dt: file.schedule.dt, steps: file.schedule.steps },
        start,
        normalisation: file.normalisation,
        course: file.course.map(|CourseFile { times, gains, wells, kt }| Course {
            times,
            gains,
            wells: wells.into_iter().map(|name| (name, Vec::new())).collect(),
            kt,
        }),
        offset: file.offset,
        sampling: file.sampling,
    })
}
