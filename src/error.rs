//! What can go wrong in the physics, with the numbers that tell why.

/// The result of everything fallible in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the physics, with the numbers that tell why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A topology that describes no network.
    #[error("topology: {0}")]
    Topology(String),
    /// On-site wells that let a unit run away.
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
    /// Units whose wells hold each alone and not together.
    #[error(
        "the {units} units with J4 = 0 do not hold together: the smallest eigenvalue of 2 J2 + J over them is \
         {eigenvalue:.4e}, and must be above zero. Weaker couplings, a larger J2 or J4 > 0 is needed"
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
        /// The step asked for, in units of 1/μ.
        dt: f64,
        /// The largest stable step.
        limit: f64,
        /// The largest relaxation rate.
        rate: f64,
    },
    /// A trajectory left the finite numbers.
    #[error(transparent)]
    Diverged(#[from] Box<Divergence>),
    /// Control parameters that make no course in time.
    #[error("protocol: {0}")]
    Protocol(String),
    /// A graph of spins that is none, or a temperature that they cannot have.
    #[error("spins: {0}")]
    Spins(SpinProblem),
    /// A linear system that could not be solved.
    #[error("exact optimum: {0}")]
    Exact(String),
    /// A file of couplings that cannot be read.
    #[error("couplings: {0}")]
    Couplings(Problem),
    /// A backend this build does not have.
    #[error(
        "backend `{backend}` is not built in; build with it: cargo run --release --features {backend} -- --backend {backend}"
    )]
    NotBuiltIn {
        /// Its name, which is also the name of its Cargo feature.
        backend: &'static str,
    },
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

/// The problem is in the words of the error, and so no source beside it.
impl From<SpinProblem> for Error {
    fn from(problem: SpinProblem) -> Self {
        Self::Spins(problem)
    }
}

/// The problem is in the words of the error, and so no source beside it.
impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Couplings(problem)
    }
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

/// Where and how a trajectory left the finite numbers.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error(
    "diverged at step {step} (t = {time:.4}): unit {unit} of group `{group}` in trajectory {trajectory} left the \
     finite numbers{}. A smaller time step or weaker couplings are needed",
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

/// A number as people write it: very large and very small ones with an exponent.
fn short(value: f64) -> String {
    let plain = value == 0.0 || !value.is_finite() || (1e-6..1e9).contains(&value.abs());
    if plain { value.to_string() } else { format!("{value:e}") }
}
