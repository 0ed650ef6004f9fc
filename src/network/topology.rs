//! The units and which pairs of them couple: named groups, and blocks of couplings between groups.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};

/// A constant of the units of a group: one for all of them, or one for each.
#[derive(Clone, PartialEq, Debug)]
pub enum PerUnit {
    /// The same for every unit.
    Same(f64),
    /// One value per unit, in order.
    Each(Vec<f64>),
}

impl PerUnit {
    /// The value of one unit.
    ///
    /// # Panics
    /// When the group has no such unit.
    pub fn at(&self, unit: usize) -> f64 {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values[unit],
        }
    }

    /// The value that all units share, if they do.
    pub fn shared(&self) -> Option<f64> {
        match self {
            Self::Same(value) => Some(*value),
            Self::Each(values) => values.first().copied().filter(|first| values.iter().all(|v| v == first)),
        }
    }

    /// Applies a function to every value.
    pub fn map(&self, mut f: impl FnMut(f64) -> f64) -> Self {
        match self {
            Self::Same(value) => Self::Same(f(*value)),
            Self::Each(values) => Self::Each(values.iter().map(|&value| f(value)).collect()),
        }
    }
}

impl From<f64> for PerUnit {
    fn from(value: f64) -> Self {
        Self::Same(value)
    }
}

impl From<Vec<f64>> for PerUnit {
    fn from(values: Vec<f64>) -> Self {
        Self::Each(values)
    }
}

impl PartialEq<f64> for PerUnit {
    fn eq(&self, other: &f64) -> bool {
        self.shared() == Some(*other)
    }
}

impl fmt::Display for PerUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(value) => write!(f, "{value}"),
            Self::Each(values) => {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                write!(f, "{least} to {most} (per unit)")
            }
        }
    }
}

/// Units that share a role and the constants of their wells.
///
/// ```
/// use thermograd::Group;
/// let hidden = Group::free("hidden", 64).wells(-0.5, 1.0).mobility(20.0); // bistable and fast
/// assert!(hidden.bias);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Group {
    /// Its name, unique in the network.
    pub name: String,
    /// How many units it has.
    pub units: usize,
    /// Whether its units are held at given values (inputs) instead of fluctuating.
    pub clamped: bool,
    /// Whether each unit has a trainable bias.
    pub bias: bool,
    /// J₂, the coefficient of x² in the energy of a unit; negative for a bistable one.
    pub j2: PerUnit,
    /// J₄, the coefficient of x⁴.
    pub j4: PerUnit,
    /// μ, the mobility: velocity per force.
    pub mobility: PerUnit,
}

impl Group {
    /// Fluctuating units with biases, J₂ = J₄ = μ = 1.
    pub fn free(name: &str, units: usize) -> Self {
        let one = PerUnit::Same(1.0);
        let (j2, j4, mobility) = (one.clone(), one.clone(), one);
        Self { name: name.into(), units, clamped: false, bias: true, j2, j4, mobility }
    }

    /// Units held at given values. They have no bias, and their own energy is a constant that is left out.
    pub fn clamped(name: &str, units: usize) -> Self {
        Self { clamped: true, bias: false, ..Self::free(name, units) }
    }

    /// With J₂ = `j2` and J₄ = `j4`: a number for all units, or a list with one for each.
    pub fn wells(self, j2: impl Into<PerUnit>, j4: impl Into<PerUnit>) -> Self {
        Self { j2: j2.into(), j4: j4.into(), ..self }
    }

    /// With mobility μ = `mobility`: a number for all units, or a list with one for each.
    pub fn mobility(self, mobility: impl Into<PerUnit>) -> Self {
        Self { mobility: mobility.into(), ..self }
    }

    /// With all biases fixed at zero.
    pub fn unbiased(self) -> Self {
        Self { bias: false, ..self }
    }
}

/// Which pairs of units a block couples.
#[derive(Clone, PartialEq, Debug)]
pub enum Pattern {
    /// Every pair of different units.
    Full,
    /// The listed pairs `[unit of from, unit of to]`, each counted once.
    Pairs(Vec<[usize; 2]>),
}

/// Couplings between two groups, or within one.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// The group of the rows.
    pub from: String,
    /// The group of the columns; the same as `from` for couplings within a group.
    pub to: String,
    /// Which pairs of units couple.
    pub pattern: Pattern,
}

impl Block {
    /// All pairs between `from` and `to`.
    pub fn full(from: &str, to: &str) -> Self {
        Self { from: from.into(), to: to.into(), pattern: Pattern::Full }
    }

    /// The name its couplings carry in errors and files: `from-to`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.from, self.to)
    }
}

/// Groups and blocks: the wiring of a thermodynamic computer.
///
/// The constructors are starting points; the fields are public, and [`validate`](Topology::validate) checks a
/// topology made by hand.
#[derive(Clone, PartialEq, Debug)]
pub struct Topology {
    /// The groups, in the order of the units of a state.
    pub groups: Vec<Group>,
    /// The blocks, at most one per pair of groups.
    pub blocks: Vec<Block>,
}

impl Topology {
    /// Every unit coupled to every other, except that clamped groups are not coupled among themselves.
    pub fn all_to_all(groups: impl Into<Vec<Group>>) -> Self {
        Self::coupling(groups.into(), |_, _| true)
    }

    /// Each group coupled to the next one only.
    pub fn layered(groups: impl Into<Vec<Group>>) -> Self {
        Self::coupling(groups.into(), |a, b| b == a + 1)
    }

    /// Two groups, coupled to each other but not within themselves.
    pub fn bipartite(a: Group, b: Group) -> Self {
        Self::layered([a, b])
    }

    /// One group on a `width` × `height` grid (unit = row · width + column), nearest neighbours coupled.
    pub fn grid(group: Group, width: usize, height: usize, periodic: bool) -> Result<Self> {
        if group.units != width * height {
            return Err(Error::Topology(format!(
                "group `{}` has {} units, a {width} × {height} grid needs {}",
                group.name,
                group.units,
                width * height
            )));
        }
        let block = Block {
            from: group.name.clone(),
            to: group.name.clone(),
            pattern: Pattern::Pairs(grid_pairs(width, height, periodic)),
        };
        Ok(Self { groups: vec![group], blocks: vec![block] })
    }

    fn coupling(groups: Vec<Group>, couples: impl Fn(usize, usize) -> bool) -> Self {
        let mut blocks = Vec::new();
        for (a, from) in groups.iter().enumerate() {
            for (b, to) in groups.iter().enumerate().skip(a) {
                if couples(a, b) && !(from.clamped && to.clamped) && !(a == b && from.units == 1) {
                    blocks.push(Block::full(&from.name, &to.name));
                }
            }
        }
        Self { groups, blocks }
    }

    /// The pairs that a block couples, each once, in row-major order; within a full group, i < j.
    ///
    /// # Panics
    /// When the block names no group.
    pub fn pairs<'a>(&self, block: &'a Block) -> Box<dyn Iterator<Item = [usize; 2]> + 'a> {
        match &block.pattern {
            Pattern::Pairs(pairs) => Box::new(pairs.iter().copied()),
            Pattern::Full => {
                let (rows, columns) = (self.units(&block.from), self.units(&block.to));
                let within = block.from == block.to;
                let first = move |i: usize| if within { i + 1 } else { 0 };
                Box::new((0..rows).flat_map(move |i| (first(i)..columns).map(move |j| [i, j])))
            }
        }
    }

    /// How many pairs a block couples.
    ///
    /// # Panics
    /// When the block names no group.
    pub fn pair_count(&self, block: &Block) -> usize {
        let units = self.units(&block.from);
        match &block.pattern {
            Pattern::Pairs(pairs) => pairs.len(),
            Pattern::Full if block.from == block.to => units * (units - 1) / 2,
            Pattern::Full => units * self.units(&block.to),
        }
    }

    /// Whether a block couples so few of its pairs that they are multiplied one by one; a matrix would spend time and
    /// memory on zeros.
    ///
    /// # Panics
    /// When the block names no group.
    pub fn is_sparse(&self, block: &Block) -> bool {
        const FEW: u128 = 16;
        let (entries, large) = self.matrix(&block.from, &block.to);
        matches!(&block.pattern, Pattern::Pairs(pairs) if large && pairs.len() as u128 * FEW < entries)
    }

    /// The number of entries of a matrix between two groups, and whether that is too many for a matrix that is mostly
    /// zeros.
    fn matrix(&self, from: &str, to: &str) -> (u128, bool) {
        const LARGE: u128 = 1 << 22;
        let entries = self.units(from) as u128 * self.units(to) as u128;
        (entries, entries >= LARGE)
    }

    /// Whether a matrix from a clamped group to all free units would be large and mostly zeros.
    pub(crate) fn is_scattered(&self, from: &str) -> bool {
        let empty = |to: &Group| match self.block_between(from, &to.name) {
            Some((block, _)) => self.is_sparse(&self.blocks[block]),
            None => self.matrix(from, &to.name).1,
        };
        self.free().any(empty)
    }

    /// The size of a group that is known to exist.
    pub(crate) fn units(&self, name: &str) -> usize {
        self.groups[self.group(name).expect("a validated topology")].units
    }

    /// The index of a group.
    pub fn group(&self, name: &str) -> Result<usize> {
        let found = self.groups.iter().position(|g| g.name == name);
        found.ok_or_else(|| {
            let names: Vec<_> = self.groups.iter().map(|g| g.name.as_str()).collect();
            Error::Topology(format!("no group `{name}` among {names:?}"))
        })
    }

    /// The number of free units: the width of a state.
    pub fn free_units(&self) -> usize {
        self.free().map(|group| group.units).sum()
    }

    /// The number of clamped units.
    pub fn clamped_units(&self) -> usize {
        self.clamped().map(|group| group.units).sum()
    }

    /// The block that couples two groups, in either order: its index, and whether it runs from `from` to `to`.
    pub fn block_between(&self, from: &str, to: &str) -> Option<(usize, bool)> {
        let find = |a: &str, b: &str| self.blocks.iter().position(|block| block.from == a && block.to == b);
        find(from, to).map(|index| (index, true)).or_else(|| find(to, from).map(|index| (index, false)))
    }

    /// A constant of every free unit; `value` is given the group and the index within it.
    pub(crate) fn unit_values(&self, constant: impl Fn(&Group, usize) -> f64) -> Vec<f64> {
        let of = |group: &Group| (0..group.units).map(|unit| constant(group, unit)).collect::<Vec<_>>();
        self.free().flat_map(of).collect()
    }

    /// The free groups, in order.
    pub fn free(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| !group.clamped)
    }

    /// The clamped groups, in order.
    pub fn clamped(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.clamped)
    }

    /// The columns of a state that belong to a free group.
    pub fn columns(&self, name: &str) -> Result<Range<usize>> {
        let index = self.group(name)?;
        if self.groups[index].clamped {
            return Err(Error::Topology(format!(
                "group `{name}` is clamped and so is not part of the state"
            )));
        }
        let before = self.groups[..index].iter().filter(|group| !group.clamped);
        let start = before.map(|group| group.units).sum::<usize>();
        Ok(start..start + self.groups[index].units)
    }

    /// Checks that this describes a network that confines its units.
    pub fn validate(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Topology(reason));
        let mut names = BTreeSet::new();
        for group in &self.groups {
            if !names.insert(&group.name) {
                return refuse(format!("two groups are called `{}`", group.name));
            }
            if group.name.is_empty() || group.name.contains(['-', '.']) {
                return refuse(format!(
                    "`{}` cannot name a group: names are not empty and have no `-` or `.`",
                    group.name
                ));
            }
            if group.units == 0 {
                return refuse(format!("group `{}` has no units", group.name));
            }
            check_lengths(group)?;
            if !group.clamped {
                check_constants(group)?;
            }
        }
        if self.free_units() == 0 {
            return refuse("every group is clamped, so nothing can move".into());
        }
        let mut seen = BTreeSet::new();
        for block in &self.blocks {
            let (a, b) = (self.group(&block.from)?, self.group(&block.to)?);
            if !seen.insert((a.min(b), a.max(b))) {
                return refuse(format!("block `{}` is given twice", block.name()));
            }
            let (from, to) = (&self.groups[a], &self.groups[b]);
            if from.clamped && to.clamped {
                return refuse(format!(
                    "block `{}` couples clamped groups, which feel no force",
                    block.name()
                ));
            }
            check_pattern(block, from.units, to.units)?;
        }
        Ok(())
    }
}

/// Checks that a group has constants for all of its units.
fn check_lengths(group: &Group) -> Result<()> {
    for (name, constant) in [("J2", &group.j2), ("J4", &group.j4), ("mobility", &group.mobility)] {
        if let PerUnit::Each(values) = constant
            && values.len() != group.units
        {
            let (count, units) = (values.len(), group.units);
            let reason = format!("group `{}` has {units} units and {count} values of {name}", group.name);
            return Err(Error::Topology(reason));
        }
    }
    Ok(())
}

/// Checks that a group has constants for all of its units, and that each unit is confined by its well.
pub(crate) fn check_constants(group: &Group) -> Result<()> {
    check_lengths(group)?;
    let constants = [&group.j2, &group.j4, &group.mobility];
    let per_unit = constants.into_iter().any(|constant| matches!(constant, PerUnit::Each(_)));
    let units = if per_unit { group.units } else { group.units.min(1) };
    (0..units).try_for_each(|unit| check_unit(group, unit))
}

fn check_unit(group: &Group, unit: usize) -> Result<()> {
    let [j2, j4, mobility] = [&group.j2, &group.j4, &group.mobility].map(|constant| constant.at(unit));
    let confines = j4 > 0.0 || (j4 == 0.0 && j2 > 0.0);
    if !confines || !j2.is_finite() || !j4.is_finite() {
        return Err(Error::NotConfining { group: group.name.clone(), j2, j4 });
    }
    if !(mobility > 0.0 && mobility.is_finite()) {
        return Err(Error::Constant {
            name: format!("mobility of group `{}`", group.name),
            value: mobility,
            expected: "must be positive",
        });
    }
    Ok(())
}

fn check_pattern(block: &Block, from: usize, to: usize) -> Result<()> {
    let Pattern::Pairs(pairs) = &block.pattern else {
        return Ok(());
    };
    let within = block.from == block.to;
    let mut seen = BTreeSet::new();
    for &[i, j] in pairs {
        let problem = if i >= from || j >= to {
            "is outside the groups"
        } else if within && i == j {
            "couples a unit to itself"
        } else if !seen.insert(if within { [i.min(j), i.max(j)] } else { [i, j] }) {
            "is given twice"
        } else {
            continue;
        };
        let name = block.name();
        return Err(Error::Topology(format!("block `{name}`: pair [{i}, {j}] {problem}")));
    }
    Ok(())
}

/// Couples each unit to its right and its lower neighbour.
pub(crate) fn grid_pairs(width: usize, height: usize, periodic: bool) -> Vec<[usize; 2]> {
    let mut pairs = BTreeSet::new();
    for row in 0..height {
        for column in 0..width {
            let here = row * width + column;
            for (r, c) in [(row, column + 1), (row + 1, column)] {
                let there = (r % height) * width + c % width;
                if (periodic || (r < height && c < width)) && here != there {
                    pairs.insert([here.min(there), here.max(there)]);
                }
            }
        }
    }
    pairs.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classifier_has_its_five_blocks() {
        let topology = Topology::all_to_all([
            Group::clamped("input", 784),
            Group::free("hidden", 64),
            Group::free("output", 10),
        ]);
        topology.validate().unwrap();
        let names: Vec<_> = topology.blocks.iter().map(Block::name).collect();
        let expected = ["input-hidden", "input-output", "hidden-hidden", "hidden-output", "output-output"];
        assert_eq!(names, expected);
        assert_eq!(topology.columns("output").unwrap(), 64..74);
        assert!(topology.columns("input").is_err());
    }

    #[test]
    fn grids_count_their_neighbours() {
        assert_eq!(grid_pairs(4, 3, false).len(), 3 * 3 + 2 * 4);
        assert_eq!(grid_pairs(4, 3, true).len(), 2 * 12);
        assert_eq!(grid_pairs(2, 2, true).len(), 4); // wrapping would reach the same neighbour
        assert_eq!(grid_pairs(1, 1, true).len(), 0);
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |topology: &Topology, part: &str| {
            let message = topology.validate().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        let good = Topology::bipartite(Group::clamped("a", 2), Group::free("b", 3));
        good.validate().unwrap();
        let mut bad = good.clone();
        bad.groups[1].name = "a".into();
        refused(&bad, "two groups");
        let mut bad = good.clone();
        bad.blocks.push(Block::full("b", "a"));
        refused(&bad, "given twice");
        let mut bad = good.clone();
        bad.blocks[0].pattern = Pattern::Pairs(vec![[0, 3]]);
        refused(&bad, "outside");
        let mut bad = good.clone();
        bad.blocks[0].to = "c".into();
        refused(&bad, "no group `c`");
        for (j2, j4) in [(-1.0, 0.0), (0.0, 0.0), (1.0, -1e-3), (1.0, f64::NAN)] {
            let mut bad = good.clone();
            bad.groups[1] = Group::free("b", 3).wells(j2, j4);
            refused(&bad, "does not confine");
        }
        let mut bistable = good;
        bistable.groups[1] = Group::free("b", 3).wells(-0.5, 1.0);
        bistable.validate().unwrap();
        // One unit of three is not confined, has no value, or cannot move.
        bistable.groups[1] = Group::free("b", 3).wells(vec![1.0, -0.5, 1.0], vec![0.0, 1.0, 0.0]);
        bistable.validate().unwrap();
        let mut bad = bistable.clone();
        bad.groups[1].j4 = vec![0.0, 0.0, 1.0].into();
        refused(&bad, "J2 = -0.5, J4 = 0 does not confine");
        bad.groups[1].j4 = vec![1.0, 1.0].into();
        refused(&bad, "3 units and 2 values of J4");
        bistable.groups[1].mobility = vec![1.0, 0.0, 2.0].into();
        refused(&bistable, "mobility of group `b`");
    }
}
