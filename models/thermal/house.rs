//! Rooms and walls as networks of resistances and capacities.
//!
//! ```text
//! C_i dT_i = [Σ_j (T_j − T_i)/R_ij + (T_a − T_i)/R_ia + Φ_i + Σ_k A_ik S_k] dt + C_i σ_i dω_i,      y_i = T_i + s_i e_i      (52)
//! ```
//!
//! Temperatures in °C, times in h, heat Φ in kW, C in kWh/K, R in K/kW; T_a is the temperature outdoors, S a gain such as sun in
//! kW/m² that enters through an area A, σ is in K/√h, and s is the error of a sensor. As in P. Bacher and H. Madsen, Energy and
//! Buildings 43, 1511 (2011).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The surroundings, as links name them.
pub const OUTDOORS: &str = "outdoors";

/// What a house is thought to be made of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct House {
    /// The column of the temperature outdoors.
    pub outdoors: String,
    /// Whether inputs hold from their row to the next. If not, they change steadily, and the mean of both rows is taken.
    #[serde(default)]
    pub held: bool,
    /// Nodes.
    #[serde(rename = "node")]
    pub nodes: Vec<Zone>,
    /// What touches what.
    #[serde(rename = "link")]
    pub links: Vec<Wall>,
}

/// A node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// The column in which its temperature is measured, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Columns of heat that enters here, in kW.
    #[serde(default)]
    pub heat: Vec<String>,
    /// Columns of gains, with a first guess of the area each enters through.
    #[serde(default)]
    pub gain: BTreeMap<String, f64>,
    /// A first guess of C.
    pub capacity: f64,
    /// A first guess of σ.
    #[serde(default = "noise")]
    pub noise: f64,
    /// A first guess of s, if it is observed.
    #[serde(default = "sensor")]
    pub sensor: f64,
}

fn noise() -> f64 {
    0.1
}

fn sensor() -> f64 {
    0.05
}

/// A link between two nodes, or of a node to the outdoors.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wall {
    /// Names of nodes, or `outdoors`.
    pub between: [String; 2],
    /// A first guess of R.
    pub resistance: f64,
}

/// A number that is estimated.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Parameter {
    /// Its name, such as `C room`.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// The first guess.
    pub guess: f64,
    /// Whether its logarithm is estimated, as of all that is positive.
    pub logarithmic: bool,
    /// The standard deviation of its prior about the first guess; of the logarithm, where that is estimated.
    pub prior: f64,
}

/// What is estimated at the most.
pub const MOST_PARAMETERS: usize = 32;

/// The prior of temperatures at the start of nodes that are not observed, about the first temperature that is.
pub const START: f64 = 5.0;

/// The order of the parameters of a house.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub nodes: usize,
    pub links: usize,
    pub gains: usize,
    pub sensors: usize,
}

impl Layout {
    pub fn resistance(&self, link: usize) -> usize {
        self.nodes + link
    }
    pub fn gain(&self, gain: usize) -> usize {
        self.nodes + self.links + gain
    }
    pub fn noise(&self, node: usize) -> usize {
        self.nodes + self.links + self.gains + node
    }
    pub fn sensor(&self, sensor: usize) -> usize {
        2 * self.nodes + self.links + self.gains + sensor
    }
    pub fn start(&self, hidden: usize) -> usize {
        2 * self.nodes + self.links + self.gains + self.sensors + hidden
    }
}

impl House {
    /// Refuses what is no house.
    ///
    /// # Errors
    /// [`Error::Request`] with the name of what is wrong: names that are there twice or not at all, numbers that are not positive,
    /// nodes that nothing joins to the outdoors, no observed node, columns with two parts, more parameters than [`MOST_PARAMETERS`].
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Request(reason));
        let mut names = BTreeSet::from([OUTDOORS]);
        for node in &self.nodes {
            if !names.insert(&node.name) {
                return refuse(format!("node `{}` is there twice", node.name));
            }
            for (what, value) in [("capacity", node.capacity), ("noise", node.noise), ("sensor", node.sensor)]
            {
                if !(value > 0.0 && value.is_finite()) {
                    return refuse(format!("{what} of node `{}` is {value}: it must be positive", node.name));
                }
            }
            if let Some((column, area)) =
                node.gain.iter().find(|(_, area)| !(**area > 0.0 && area.is_finite()))
            {
                return refuse(format!(
                    "gain {column} of node `{}` is {area}: it must be positive",
                    node.name
                ));
            }
        }
        self.check_columns()?;
        let mut seen = BTreeSet::new();
        for Wall { between: [a, b], resistance } in &self.links {
            if let Some(unknown) = [a, b].into_iter().find(|name| !names.contains(name.as_str())) {
                let known: Vec<&str> = names.iter().copied().collect();
                return refuse(format!("a link names `{unknown}`; there are {}", known.join(", ")));
            }
            if a == b || !seen.insert([a.min(b), a.max(b)]) {
                return refuse(format!("the link between `{a}` and `{b}` joins nothing new"));
            }
            if !(*resistance > 0.0 && resistance.is_finite()) {
                return refuse(format!(
                    "the resistance between `{a}` and `{b}` is {resistance}: it must be positive"
                ));
            }
        }
        let mut reached = BTreeSet::from([OUTDOORS]);
        for _ in &self.nodes {
            for Wall { between: [a, b], .. } in &self.links {
                if reached.contains(a.as_str()) || reached.contains(b.as_str()) {
                    reached.extend([a.as_str(), b.as_str()]);
                }
            }
        }
        if let Some(node) = self.nodes.iter().find(|node| !reached.contains(node.name.as_str())) {
            return refuse(format!("no link leads from node `{}` to the outdoors", node.name));
        }
        if self.sensors().is_empty() {
            return refuse("no node is observed".into());
        }
        let count = self.parameters(0.0).len();
        if count > MOST_PARAMETERS || self.nodes.len() > 12 {
            return refuse(format!(
                "{} nodes and {count} parameters: up to 12 and {MOST_PARAMETERS} are possible",
                self.nodes.len()
            ));
        }
        Ok(())
    }

    /// Every column has one part, but for gains, which enter wherever they are named.
    fn check_columns(&self) -> Result<()> {
        let mut parts = BTreeMap::from([(self.outdoors.as_str(), "is the temperature outdoors".to_string())]);
        let nodes = || self.nodes.iter();
        let observed =
            nodes().flat_map(|node| node.observed.iter().map(move |column| (column, "measures", node)));
        let heated = nodes().flat_map(|node| node.heat.iter().map(move |column| (column, "heats", node)));
        for (column, verb, node) in observed.chain(heated) {
            let part = format!("{verb} `{}`", node.name);
            if let Some(other) = parts.insert(column, part.clone()) {
                let divide = match other.starts_with("heats") && part.starts_with("heats") {
                    true => "; power that is shared needs a column for every node",
                    false => "",
                };
                return Err(Error::Request(format!(
                    "column `{column}` {other} and {part}: a column has one part{divide}"
                )));
            }
        }
        for node in nodes() {
            if let Some((column, other)) =
                node.gain.keys().find_map(|column| parts.get_key_value(column.as_str()))
            {
                let reason = format!(
                    "column `{column}` {other} and is a gain of `{}`: a column has one part",
                    node.name
                );
                return Err(Error::Request(reason));
            }
        }
        Ok(())
    }

    /// Numbers of observed nodes.
    pub fn sensors(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].observed.is_some()).collect()
    }

    /// Numbers of nodes that are not.
    pub fn hidden(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].observed.is_none()).collect()
    }

    /// The number of a node.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Columns of inputs: the outdoors first, then heat and gains.
    pub fn inputs(&self) -> Vec<&str> {
        let mut all = vec![self.outdoors.as_str()];
        for node in &self.nodes {
            for column in node.heat.iter().chain(node.gain.keys()) {
                if !all.contains(&column.as_str()) {
                    all.push(column);
                }
            }
        }
        all
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout {
            nodes: self.nodes.len(),
            links: self.links.len(),
            gains: self.nodes.iter().map(|node| node.gain.len()).sum(),
            sensors: self.sensors().len(),
        }
    }

    /// What is estimated, with priors of this width about logarithms.
    pub fn parameters(&self, prior: f64) -> Vec<Parameter> {
        let log = |name: String, unit, guess| Parameter { name, unit, guess, logarithmic: true, prior };
        let mut all = Vec::new();
        all.extend(self.nodes.iter().map(|node| log(format!("C {}", node.name), "kWh/K", node.capacity)));
        let between = |wall: &Wall| format!("R {}–{}", wall.between[0], wall.between[1]);
        all.extend(self.links.iter().map(|wall| log(between(wall), "K/kW", wall.resistance)));
        for node in &self.nodes {
            all.extend(
                node.gain.iter().map(|(column, area)| log(format!("A {} {column}", node.name), "m²", *area)),
            );
        }
        all.extend(self.nodes.iter().map(|node| log(format!("σ {}", node.name), "K/√h", node.noise)));
        let sensors = self.sensors();
        all.extend(
            sensors.iter().map(|&k| log(format!("s {}", self.nodes[k].name), "K", self.nodes[k].sensor)),
        );
        all.extend(self.hidden().into_iter().map(|node| Parameter {
            name: format!("T₀ {}", self.nodes[node].name),
            unit: "K above the first measurement",
            guess: 0.0,
            logarithmic: false,
            prior: START,
        }));
        all
    }

    /// One node that is observed and heated: 1R1C.
    pub fn one(outdoors: &str, observed: &str, heat: &str, sun: Option<&str>) -> Self {
        Self {
            outdoors: outdoors.into(),
            held: false,
            nodes: vec![Zone::new("interior", 2.0).observed(observed).heated(heat).sunny(sun)],
            links: vec![Wall::new("interior", OUTDOORS, 5.0)],
        }
    }

    /// The same behind an envelope: 2R2C.
    pub fn two(outdoors: &str, observed: &str, heat: &str, sun: Option<&str>) -> Self {
        Self {
            outdoors: outdoors.into(),
            held: false,
            nodes: vec![
                Zone::new("interior", 1.0).observed(observed).heated(heat).sunny(sun),
                Zone::new("envelope", 3.0),
            ],
            links: vec![Wall::new("interior", "envelope", 1.0), Wall::new("envelope", OUTDOORS, 5.0)],
        }
    }

    /// The same with a heater that warms up first: 3R3C.
    pub fn three(outdoors: &str, observed: &str, heat: &str, sun: Option<&str>) -> Self {
        Self {
            outdoors: outdoors.into(),
            held: false,
            nodes: vec![
                Zone::new("interior", 1.0).observed(observed).sunny(sun),
                Zone::new("envelope", 3.0),
                Zone::new("heater", 0.1).heated(heat),
            ],
            links: vec![
                Wall::new("interior", "envelope", 1.0),
                Wall::new("envelope", OUTDOORS, 5.0),
                Wall::new("interior", "heater", 1.0),
            ],
        }
    }

    /// Two rooms, their walls, and a floor under both: five nodes, of which the rooms are observed.
    pub fn rooms() -> Self {
        let room = |name: &str, column: &str, heat: &str, sun: f64| {
            let mut room = Zone::new(name, 0.8).observed(column).heated(heat);
            room.gain.insert("sun".into(), sun);
            room
        };
        Self {
            outdoors: "outdoors".into(),
            held: true,
            nodes: vec![
                room("living", "T_living", "P_living", 2.0),
                room("bed", "T_bed", "P_bed", 1.0),
                Zone::new("living wall", 4.0),
                Zone::new("bed wall", 3.0),
                Zone::new("floor", 6.0),
            ],
            links: vec![
                Wall::new("living", "living wall", 2.0),
                Wall::new("living wall", OUTDOORS, 8.0),
                Wall::new("bed", "bed wall", 3.0),
                Wall::new("bed wall", OUTDOORS, 10.0),
                Wall::new("living", "bed", 6.0),
                Wall::new("living", "floor", 4.0),
                Wall::new("bed", "floor", 5.0),
                Wall::new("living", OUTDOORS, 20.0),
                Wall::new("bed", OUTDOORS, 30.0),
            ],
        }
    }
}

impl Zone {
    fn new(name: &str, capacity: f64) -> Self {
        Self {
            name: name.into(),
            observed: None,
            heat: Vec::new(),
            gain: BTreeMap::new(),
            capacity,
            noise: noise(),
            sensor: sensor(),
        }
    }

    fn observed(self, column: &str) -> Self {
        Self { observed: Some(column.into()), ..self }
    }

    fn heated(self, column: &str) -> Self {
        Self { heat: vec![column.into()], ..self }
    }

    fn sunny(mut self, column: Option<&str>) -> Self {
        if let Some(column) = column {
            self.gain.insert(column.into(), 2.0);
        }
        self
    }
}

impl Wall {
    fn new(a: &str, b: &str, resistance: f64) -> Self {
        Self { between: [a.into(), b.into()], resistance }
    }
}

/// Measured temperatures and inputs in time.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    times: Vec<f64>,
    columns: BTreeMap<String, Vec<f64>>,
}

impl Record {
    /// Times in h, and columns of as many numbers; measurements that are missing are NaN.
    ///
    /// # Errors
    /// [`Error::Request`] with the row: times that do not rise, columns of another length, fewer than ten rows.
    pub fn new(times: Vec<f64>, columns: BTreeMap<String, Vec<f64>>) -> Result<Self> {
        let refuse = |reason: String| Err(Error::Request(reason));
        if times.len() < 10 {
            return refuse(format!("{} rows: ten are needed", times.len()));
        }
        if let Some(row) = times.iter().position(|time| !time.is_finite()) {
            return refuse(format!("row {}: the time is {}", row + 1, times[row]));
        }
        if let Some(row) = times.array_windows().position(|[a, b]| b <= a) {
            let (before, after) = (times[row], times[row + 1]);
            let what = if before == after { "is there twice" } else { "comes after a later one" };
            return refuse(format!("row {}: the time {after} {what}: times must rise", row + 2));
        }
        if let Some((name, column)) = columns.iter().find(|(_, column)| column.len() != times.len()) {
            return refuse(format!("column `{name}` has {} of {} rows", column.len(), times.len()));
        }
        Ok(Self { times, columns })
    }

    /// Times in h.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Never: there are ten rows.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// A column.
    ///
    /// # Errors
    /// [`Error::Request`] with the columns that there are.
    pub fn column(&self, name: &str) -> Result<&[f64]> {
        self.columns.get(name).map(Vec::as_slice).ok_or_else(|| {
            let known: Vec<&str> = self.columns.keys().map(String::as_str).collect();
            Error::Request(format!("there is no column `{name}`; there are {}", known.join(", ")))
        })
    }

    /// Some rows.
    ///
    /// # Errors
    /// [`Error::Request`] for fewer than ten.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Result<Self> {
        let columns =
            self.columns.iter().map(|(name, column)| (name.clone(), column[range.clone()].to_vec()));
        Self::new(self.times[range.clone()].to_vec(), columns.collect())
    }

    /// Refuses a record that does not have what a house needs.
    ///
    /// # Errors
    /// [`Error::Request`] with the column, and the row of an input that is missing or of a temperature that is none.
    pub fn check(&self, house: &House) -> Result<()> {
        let observed = house.nodes.iter().filter_map(|node| node.observed.as_deref());
        for name in [house.outdoors.as_str()].into_iter().chain(observed) {
            let column = self.column(name)?;
            let odd = |value: &f64| !value.is_nan() && !(-100.0..=200.0).contains(value);
            if let Some(row) = column.iter().position(odd) {
                return Err(Error::Request(format!(
                    "row {}: `{name}` is {}: temperatures from -100 to 200 °C are possible, and what is missing is left empty",
                    row + 1,
                    column[row]
                )));
            }
        }
        for name in house.inputs() {
            let column = self.column(name)?;
            if let Some(row) = column.iter().position(|value| !value.is_finite()) {
                return Err(Error::Request(format!(
                    "row {}: the input `{name}` is {}, and inputs are needed in every row",
                    row + 1,
                    column[row]
                )));
            }
        }
        for node in &house.nodes {
            let Some(name) = &node.observed else { continue };
            let column = self.column(name)?;
            let measured = column.iter().filter(|value| !value.is_nan()).count();
            if measured < 10 {
                return Err(Error::Request(format!("`{name}` has {measured} measurements: ten are needed")));
            }
        }
        Ok(())
    }

    /// The usual step, in h: the median.
    pub fn usual(&self) -> f64 {
        let mut steps: Vec<f64> = self.times.array_windows().map(|[a, b]| b - a).collect();
        steps.sort_unstable_by(f64::total_cmp);
        steps[steps.len() / 2]
    }

    /// Gaps of more than one and a half times the usual step: the row before, and its length in h.
    pub fn gaps(&self) -> Vec<(usize, f64)> {
        let usual = self.usual();
        let steps = self.times.array_windows().map(|[a, b]| b - a);
        steps.enumerate().filter(|(_, step)| *step > 1.5 * usual).collect()
    }
}
