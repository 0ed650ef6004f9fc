//! What the numbers of exported couplings mean.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Problem, Result};
use crate::network::protocol::Course;
use crate::network::spins::Spins;
use crate::network::substrate::{Substrate, SubstrateConfig};
use crate::network::topology::Pattern;
use crate::schedule::Schedule;
use crate::tensors::to_f64;

/// The most units that a description may have: more than any network that fits a file, and few enough for index
/// arithmetic.
pub const MOST_UNITS: usize = 1 << 24;

/// The most groups that a description may have.
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

/// The state in which the free units start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// At zero.
    #[default]
    Rest,
    /// In equilibrium, each alone in its well, without couplings, fields and shifts.
    Noise,
}

/// Units that are ±1 spins, and read by the average of Gibbs sampling: see (23) in [`gibbs`](crate::dynamics::gibbs).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// β of every free group, in units of 1/kT. Groups at different temperatures have no joint Boltzmann law.
    pub betas: BTreeMap<String, f64>,
    /// The group that is read.
    pub output: String,
    /// Its classes: units of a class lie next to each other.
    pub classes: usize,
    /// Sweeps that are left out at the beginning.
    pub burn_in: usize,
    /// Sweeps that are averaged.
    pub sweeps: usize,
}

/// Everything needed to use the couplings without this program.
#[derive(Clone, PartialEq, Debug)]
pub struct Description {
    /// Groups with J₂, J₄ and μ, blocks, and kT.
    pub substrate: SubstrateConfig,
    /// Δt and the number of steps until t_f.
    pub schedule: Schedule,
    /// The state in which the free units start.
    pub start: Start,
    /// How inputs are prepared.
    pub normalisation: Option<Normalisation>,
    /// How gains, wells, temperature and clamped values change in time; they are constant if none. The shifts of the
    /// wells are separate tensors, and so are gains of single units, whose lists are empty here.
    pub course: Option<Course>,
    /// A constant added to V, for spin models whose energies are to be compared.
    pub offset: f64,
    /// How units are sampled that are spins; none if they follow the dynamics above.
    pub sampling: Option<Sampling>,
}

impl Sampling {
    /// Which machine it is, in words.
    pub fn realisation(&self) -> &'static str {
        let mut betas = self.betas.values();
        let first = betas.next();
        match betas.all(|beta| Some(beta) == first) {
            true => "one temperature, in equilibrium",
            false => "a temperature for each group, out of equilibrium",
        }
    }

    /// The graph of the free units of a substrate, and β of each.
    ///
    /// # Errors
    /// Those of [`Spins::new`], and [`Error::Topology`](crate::Error::Topology) for a group that the substrate does not have.
    pub fn spins_of(&self, substrate: &Substrate) -> Result<(Spins, Vec<f64>)> {
        let topology = substrate.topology();
        let (fields, mut betas) = (to_f64(substrate.bias()), vec![0.0; topology.free_units()]);
        for (name, beta) in &self.betas {
            // Without noise spins follow the signs of their fields, as they do at a very low temperature.
            betas[topology.columns(name)?].fill(beta / substrate.kt().max(1e-6));
        }
        let mut pairs = Vec::new();
        for (index, block) in topology.blocks.iter().enumerate() {
            if let (Ok(from), Ok(to)) = (topology.columns(&block.from), topology.columns(&block.to)) {
                let values = substrate.pair_couplings(index);
                let of = topology.pairs(block).zip(values);
                // A coupling of nothing is none.
                let there = of.filter(|(_, value)| *value != 0.0);
                pairs.extend(there.map(|([i, j], value)| ([from.start + i, to.start + j], value)));
            }
        }
        Ok((Spins::new(&fields, &pairs)?, betas))
    }

    fn validate(&self, description: &Description) -> Result<()> {
        let refuse = |reason: String| Err(Problem::Description(format!("sampling: {reason}")).into());
        let topology = &description.substrate.topology;
        let free: Vec<&str> = topology.free().map(|group| &group.name[..]).collect();
        if !self.betas.keys().eq(free.iter().copied().collect::<BTreeSet<_>>()) {
            return refuse(format!("the groups {free:?} need a beta each, and no others"));
        }
        if let Some((name, beta)) = self.betas.iter().find(|(_, beta)| !(**beta > 0.0 && beta.is_finite())) {
            return refuse(format!("beta of group `{name}` is {beta}: it must be positive and finite"));
        }
        let output = topology.free().find(|group| group.name == self.output).map_or(0, |group| group.units);
        if self.classes == 0 || output == 0 || output % self.classes != 0 {
            return refuse(format!(
                "{} classes cannot be read from {output} units of `{}`",
                self.classes, self.output
            ));
        }
        if self.sweeps == 0 {
            return refuse("no sweep is read".into());
        }
        // Sweeps are numbered in 32 bits.
        let (sweeps, limit) = (self.burn_in as u128 + self.sweeps as u128, u128::from(u32::MAX));
        if sweeps > limit {
            return Err(Problem::TooLarge { what: "sweeps".into(), count: sweeps, limit }.into());
        }
        Ok(())
    }
}

impl Description {
    /// The description of a computer whose free units start at rest.
    pub fn of(substrate: SubstrateConfig, schedule: Schedule, normalisation: Option<Normalisation>) -> Self {
        Self {
            substrate,
            schedule,
            start: Start::Rest,
            normalisation,
            course: None,
            offset: 0.0,
            sampling: None,
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
        if let Some(sampling) = &self.sampling {
            sampling.validate(self)?;
        }
        if !self.normalisation.is_none_or(sound) || !self.offset.is_finite() {
            let reason = "normalisation and offset must be finite, scale and norm positive";
            return Err(Problem::Description(reason.into()).into());
        }
        Ok(())
    }

    /// The names and shapes of all tensors of the described network.
    ///
    /// # Errors
    /// [`Error::Topology`](crate::Error::Topology) when a block or a course names an unknown group.
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
            for (group, _) in course.gains.iter().filter(|(_, gains)| gains.is_empty()) {
                tensors
                    .insert(format!("s.{group}"), vec![course.times.len(), topology.columns(group)?.len()]);
            }
        }
        Ok(tensors)
    }
}
