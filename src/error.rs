//! What can go wrong in the physics, with the numbers that tell why.

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the physics, with the numbers that tell why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A topology that does not describe a network.
    #[error("topology: {0}")]
    Topology(String),
    /// Wells that do not confine their units.
    #[error(
        "group `{group}`: J2 = {j2}, J4 = {j4} does not confine its units: J4 > 0, or J4 = 0 with J2 > 0, is needed"
    )]
    NotConfining {
        /// The group.
        group: String,
        /// Its coefficient of x².
        j2: f64,
        /// Its coefficient of x⁴.
        j4: f64,
    },
    /// Units that are confined one by one but not when coupled.
    #[error(
        "the {units} units with J4 = 0 are not confined together: the smallest eigenvalue of 2 J2 + J over them is \
         {eigenvalue:.4e}, and must be above zero. Use weaker couplings, a larger J2 or J4 > 0"
    )]
    NotJointlyConfining {
        /// The smallest eigenvalue.
        eigenvalue: f64,
        /// How many units have no quartic well.
        units: usize,
    },
    /// A physical constant outside its range.
    #[error("{name} = {}: {expected}", short(*value))]
    Constant {
        /// Which constant.
        name: String,
        /// What it was.
        value: f64,
        /// What it must be.
        expected: &'static str,
    },
    /// A tensor whose shape does not fit the network.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which tensor.
        what: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits.
        expected: Vec<usize>,
    },
    /// An Euler–Maruyama step beyond the stability limit 2/(μλ) of the stiffest mode.
    #[error(
        "time step {dt:e} is unstable: the stiffest mode relaxes at rate {rate:.4e}, so the step must be below {limit:.4e}"
    )]
    StepTooLarge {
        /// The requested step, in units of 1/μ.
        dt: f64,
        /// The largest stable step.
        limit: f64,
        /// The largest relaxation rate.
        rate: f64,
    },
    /// A trajectory diverged.
    #[error(transparent)]
    Diverged(#[from] Box<Divergence>),
    /// Control parameters that do not form a protocol.
    #[error("protocol: {0}")]
    Protocol(String),
    /// A graph of spins that is none, or a temperature that they cannot have.
    #[error("spins: {0}")]
    Spins(SpinProblem),
    /// Linear dynamics that are none.
    #[error("linear dynamics: {0}")]
    Linear(LinearProblem),
    /// A circuit of heat that is none, or a step that it does not allow.
    #[error("heat: {0}")]
    Heat(HeatProblem),
    /// A linear system that could not be solved.
    #[error("exact optimum: {0}")]
    Exact(String),
    /// Couplings that cannot be read, written or used.
    #[error("couplings: {0}")]
    Couplings(Problem),
    /// A backend this build does not have.
    #[error(
        "backend `{backend}` is not built in; build with it: cargo run --release --features {backend} -- --backend {backend}{needs}"
    )]
    NotBuiltIn {
        /// Its name, which is also the name of its Cargo feature.
        backend: &'static str,
        /// What its build needs besides.
        needs: &'static str,
    },
    /// A number beyond the devices of a backend.
    #[error(
        "backend `{backend}` has no device {number}: it found {found}, numbered from 0 (--list-backends names them)"
    )]
    NoDevice {
        /// Its name.
        backend: &'static str,
        /// The number that was asked for.
        number: usize,
        /// How many devices it found.
        found: usize,
    },
    /// Processes of one run that cannot go on together.
    #[error("ranks: {0}")]
    Ranks(String),
    /// A backend that found no device.
    #[error("backend `{backend}` found no adapter ({reason}); {advice}")]
    NoAdapter {
        /// Its name.
        backend: &'static str,
        /// What the driver said.
        reason: String,
        /// What to type.
        advice: &'static str,
    },
}

/// The message of the error includes the problem, so the problem is not reported as a source as well.
impl From<SpinProblem> for Error {
    fn from(problem: SpinProblem) -> Self {
        Self::Spins(problem)
    }
}

/// The message of the error includes the problem, so the problem is not reported as a source as well.
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Couplings(problem)
    }
}

/// The message of the error includes the problem, so the problem is not reported as a source as well.
impl From<LinearProblem> for Error {
    fn from(problem: LinearProblem) -> Self {
        Self::Linear(problem)
    }
}

/// The message of the error includes the problem, so the problem is not reported as a source as well.
impl From<HeatProblem> for Error {
    fn from(problem: HeatProblem) -> Self {
        Self::Heat(problem)
    }
}

/// What is wrong with a circuit of heat or with what is asked of it.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeatProblem {
    /// A constant that must be positive and finite (of leaks: not negative).
    #[error("{what} {place} is {value}: it must be positive and finite")]
    NotPositive {
        /// Which.
        what: &'static str,
        /// Of which node or link, from 0.
        place: usize,
        /// The value.
        value: f64,
    },
    /// A list that is too short or too long.
    #[error("{found} {what} for {expected} nodes (at least one)")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many fit.
        expected: usize,
    },
    /// A link to a node that there is not, or to itself.
    #[error("a link from node {} to {}, of {nodes} nodes numbered from 0", ends[0], ends[1])]
    NoNode {
        /// Its ends.
        ends: [usize; 2],
        /// How many nodes there are.
        nodes: usize,
    },
    /// A pair of nodes with two links.
    #[error("nodes {} and {} are linked twice", ends[0], ends[1])]
    Twice {
        /// The nodes.
        ends: [usize; 2],
    },
    /// A node without link and leak.
    #[error("node {node} is joined to nothing: no heat reaches it")]
    Isolated {
        /// Its number, from 0.
        node: usize,
    },
    /// A step that may break the second law.
    #[error(
        "a step of {h:e} may make entropy fall: it must be positive and at most {limit:.4e}, the time in which node {node} could          exchange all its heat"
    )]
    Step {
        /// Its length.
        h: f64,
        /// The longest.
        limit: f64,
        /// The node that sets it.
        node: usize,
    },
    /// A reservoir that is not above absolute zero.
    #[error("reservoir {node} is at the absolute temperature {absolute}: it must be positive and finite")]
    Cold {
        /// Its number, from 0.
        node: usize,
        /// Its temperature.
        absolute: f64,
    },
    /// Exact steps of what is not linear.
    #[error("exact steps are of circuits whose capacities and conductances do not depend on temperature")]
    NotLinear,
}

/// What is wrong with a drift, a force or a noise.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinearProblem {
    /// A matrix that is not square, or does not fit the others.
    #[error("{what} is {rows} by {columns}, and {expected} by {expected} is needed (at least 1 by 1)")]
    Size {
        /// Which.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
        /// How many of each fit.
        expected: usize,
    },
    /// NaN or an infinity.
    #[error("{what} is {value} in row {row}, column {column}, counted from 0")]
    NotFinite {
        /// Which.
        what: &'static str,
        /// Where, counted from 0.
        row: usize,
        /// Where, counted from 0.
        column: usize,
        /// The value.
        value: f64,
    },
    /// A matrix that must be symmetric.
    #[error(
        "{what} must be symmetric, but entries ({row}, {column}) and ({column}, {row}) differ by {difference:e}"
    )]
    NotSymmetric {
        /// Which.
        what: &'static str,
        /// Where, counted from 0.
        row: usize,
        /// Where, counted from 0.
        column: usize,
        /// By how much.
        difference: f64,
    },
    /// A matrix that must not have negative eigenvalues.
    #[error("{what} must be positive semi-definite, but has the eigenvalue {eigenvalue:e}")]
    NotDefinite {
        /// Which.
        what: &'static str,
        /// The eigenvalue.
        eigenvalue: f64,
    },
    /// A drift that does not come to rest.
    #[error("A has an eigenvalue with the real part {rate:e}: all must be positive, or x never settles")]
    Unstable {
        /// The smallest real part.
        rate: f64,
    },
    /// A constant that must be positive.
    #[error("{what} is {value}: it must be positive and finite")]
    NotPositive {
        /// Which.
        what: &'static str,
        /// The value.
        value: f64,
    },
    /// A step of no length.
    #[error("a step of {h}: it must be positive and finite")]
    Step {
        /// Its length.
        h: f64,
    },
    /// An eigenvalue problem without a solution, for numbers that are too large or too small.
    #[error("no eigenvalues of {what} were found: its numbers are too large or too small")]
    NoEigenvalues {
        /// Of which matrix.
        what: &'static str,
    },
    /// A steady state that is too far away.
    #[error("the covariance does not settle: the slowest rate of A is too close to zero")]
    Unsettled,
}

/// What is wrong with a graph of spins or with what is asked of it.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpinProblem {
    /// No spins, or more than can be numbered.
    #[error("{spins} spins; between 1 and 2^32 - 1 are possible")]
    Count {
        /// How many.
        spins: usize,
    },
    /// A pair of a spin that is not there.
    #[error("pair {pair:?} names a spin that is not among the {spins} there are (numbered from 0)")]
    NoSpin {
        /// The pair.
        pair: [usize; 2],
        /// How many spins there are.
        spins: usize,
    },
    /// A spin coupled to itself.
    #[error("spin {spin} is coupled to itself, by {value}")]
    Itself {
        /// The spin.
        spin: usize,
        /// Its coupling.
        value: f64,
    },
    /// A pair that is listed twice.
    #[error("pair {pair:?} is listed twice")]
    Twice {
        /// The pair.
        pair: [usize; 2],
    },
    /// A pair whose two couplings differ.
    #[error("pair {pair:?} has two couplings, {} and {}: couplings must be symmetric", values[0], values[1])]
    Asymmetric {
        /// The pair.
        pair: [usize; 2],
        /// Its couplings.
        values: [f64; 2],
    },
    /// A field that is not finite in single precision.
    #[error("the field of spin {spin} is {value}")]
    Field {
        /// The spin.
        spin: usize,
        /// Its field.
        value: f64,
    },
    /// A coupling that is not finite in single precision.
    #[error("the coupling of pair {pair:?} is {value}")]
    Coupling {
        /// The pair.
        pair: [usize; 2],
        /// Its coupling.
        value: f64,
    },
    /// An inverse temperature that is not positive and finite.
    #[error("inverse temperature {value}: it must be positive and finite")]
    Beta {
        /// What it was.
        value: f64,
    },
    /// Inverse temperatures of a ladder that do not rise.
    #[error(
        "a ladder needs at least two inverse temperatures, each above the one before; number {index} is {value}"
    )]
    Ladder {
        /// The first that does not rise.
        index: usize,
        /// Its value.
        value: f64,
    },
}

/// Where a trajectory diverged: its first value that is not finite.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error(
    "diverged at step {step} (t = {time:.4}): unit {unit} of group `{group}` in trajectory {trajectory} is not \
     finite{}. Use a smaller time step or weaker couplings",
    energy.map_or(String::new(), |energy| format!("; the energy one step before was {energy:.4e}"))
)]
pub struct Divergence {
    /// The step whose result is not finite, from 0.
    pub step: usize,
    /// The time after it.
    pub time: f64,
    /// The trajectory within the batch.
    pub trajectory: usize,
    /// The group of the unit.
    pub group: String,
    /// The unit within its group.
    pub unit: usize,
    /// The energy of that trajectory before the step, if the machine has one.
    pub energy: Option<f64>,
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
        /// What the reader reported.
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
    /// No description of what the numbers mean.
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
    /// A name that occurs twice.
    #[error("`{0}` occurs twice")]
    Duplicate(String),
    /// A part of the described network that is missing.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A part that is not in the description.
    #[error("`{0}` is not part of the described network")]
    Unknown(String),
    /// A tensor of the wrong type.
    #[error("`{name}` holds {found}, expected {expected}")]
    Type {
        /// Which.
        name: String,
        /// Its type.
        found: String,
        /// The type that is read.
        expected: &'static str,
    },
    /// A tensor of the wrong shape.
    #[error("`{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape in the described network.
        expected: Vec<usize>,
    },
    /// An infinity or NaN.
    #[error("`{name}`: value {place} is {value}")]
    NotFinite {
        /// Which tensor.
        name: String,
        /// The index of the value, row-major.
        place: usize,
        /// The value.
        value: f32,
    },
    /// Couplings within a group that are not symmetric.
    #[error("`{0}` couples a group to itself, but is not symmetric with a zero diagonal")]
    Asymmetric(String),
    /// A description of more than a file can hold.
    #[error("{what}: {count} are described, at most {limit} are possible")]
    TooLarge {
        /// Of what.
        what: String,
        /// How many.
        count: u128,
        /// How many are possible.
        limit: u128,
    },
    /// Couplings that a format cannot express, or that cannot be used as intended.
    #[error("{0}")]
    Unsupported(String),
}

/// A number in plain notation, or with an exponent if it is very large or very small.
fn short(value: f64) -> String {
    let plain = value == 0.0 || !value.is_finite() || (1e-6..1e9).contains(&value.abs());
    if plain { value.to_string() } else { format!("{value:e}") }
}
