//! Parallel tempering: replicas of the same landscape at several temperatures, which they exchange.
//!
//! ```text
//! P(exchange of neighbouring β, β′) = min(1, exp((β − β′)(E − E′)))      (25)
//! ```
//!
//! (K. Hukushima and K. Nemoto, J. Phys. Soc. Jpn. 65, 1604, 1996). After every sweep even and odd pairs of neighbours are
//! tried in turn, which carries replicas along the ladder faster than pairs at random (S. Syed, A. Bouchard-Côté,
//! G. Deligiannidis and A. Doucet, J. R. Stat. Soc. B 84, 321, 2022). Exchanged are the temperatures, so that a replica
//! stays where it is in memory.

use rand::RngExt;

use crate::dynamics::gibbs::{Chains, check_beta};
use crate::dynamics::landscape::Landscape;
use crate::dynamics::run::{Dynamics, Place, run};
use crate::error::{Result, SpinProblem};
use crate::noise::Key;

/// Inverse temperatures, rising.
#[derive(Clone, PartialEq, Debug)]
pub struct Ladder(Vec<f64>);

impl Ladder {
    /// A ladder of these inverse temperatures.
    ///
    /// # Errors
    /// [`Error::Spins`](crate::Error::Spins) unless there are two or more, positive, finite and rising.
    pub fn new(betas: Vec<f64>) -> Result<Self> {
        betas.iter().try_for_each(|&beta| check_beta(beta))?;
        let falls = betas.array_windows().position(|[a, b]| a >= b).map(|index| index + 1);
        match falls.or((betas.len() < 2).then_some(betas.len())) {
            None => Ok(Self(betas)),
            Some(index) => {
                Err(SpinProblem::Ladder { index, value: betas.get(index).copied().unwrap_or(f64::NAN) }
                    .into())
            }
        }
    }

    /// `rungs` inverse temperatures from `least` to `most` with equal ratios.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn geometric(least: f64, most: f64, rungs: usize) -> Result<Self> {
        let ratio = (most / least).powf(1.0 / (rungs.max(2) - 1) as f64);
        let mut betas: Vec<f64> = (0..rungs).map(|rung| least * ratio.powi(rung as i32)).collect();
        if let Some(last) = betas.last_mut() {
            *last = most;
        }
        Self::new(betas)
    }

    /// The inverse temperatures.
    pub fn betas(&self) -> &[f64] {
        &self.0
    }

    /// The ladder with the same ends and number of rungs on which exchanges between all neighbours are accepted equally
    /// often, as far as `acceptance`, measured on this one, tells: the rejections that one meets from the first rung up
    /// to β are taken as piecewise linear in β, and cut into equal parts (Syed et al. 2022, section 5).
    pub fn respaced(&self, acceptance: &[f64]) -> Self {
        let Self(betas) = self;
        let mut barrier = vec![0.0];
        for accepted in acceptance {
            // A floor keeps rungs apart where nothing is ever rejected.
            barrier.push(barrier.last().expect("it begins with 0") + (1.0 - accepted).max(1e-3));
        }
        let (whole, parts) = (barrier[barrier.len() - 1], betas.len() - 1);
        let at = |height: f64| {
            let k = barrier.partition_point(|&below| below <= height).clamp(1, parts);
            let fraction = (height - barrier[k - 1]) / (barrier[k] - barrier[k - 1]);
            betas[k - 1] + fraction * (betas[k] - betas[k - 1])
        };
        let mut respaced: Vec<f64> = (0..=parts).map(|rung| at(whole * rung as f64 / parts as f64)).collect();
        (respaced[0], respaced[parts]) = (betas[0], betas[parts]);
        Self(respaced)
    }

    /// The ladder after `rounds` of measuring exchanges for `sweeps` sweeps and [respacing](Self::respaced).
    ///
    /// # Errors
    /// None: the signature is that of [`run`].
    pub fn adapted<L: Landscape>(
        mut self,
        landscape: &L,
        rounds: usize,
        sweeps: usize,
        key: Key,
    ) -> Result<Self> {
        for round in 0..rounds {
            let key = key.fork("ladder").at(round as u64);
            let tempering = Tempering::new(landscape, self.clone(), 1, key);
            let warm = run(&tempering, tempering.start(key.fork("start")), sweeps / 4, |_| {})?;
            let tempering = Tempering::new(landscape, self.clone(), 1, key.fork("measured"));
            self = self.respaced(&run(&tempering, warm.uncounted(), sweeps, |_| {})?.acceptance());
        }
        Ok(self)
    }
}

/// Replicas on a ladder, for as many ladders as are run side by side.
#[derive(Clone, PartialEq, Debug)]
pub struct Replicas<C = Chains> {
    /// The states: chain k · rungs + r is replica r of ladder k.
    pub chains: C,
    /// The energy of each chain.
    pub energies: Vec<f64>,
    /// The rung that each chain is on.
    pub rungs: Vec<usize>,
    /// The chain that is on each rung of each ladder.
    at: Vec<usize>,
    /// Which end each chain has seen last.
    seen: Vec<End>,
    /// Exchanges tried and accepted between each rung and the next.
    tried: Vec<u64>,
    accepted: Vec<u64>,
    trips: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Neither,
    Hot,
    /// The coldest, and the hottest before it.
    Cold,
}

impl<C> Replicas<C> {
    /// The chain that is on a rung of a ladder.
    pub fn on(&self, ladder: usize, rung: usize) -> usize {
        self.at[ladder * (self.tried.len() + 1) + rung]
    }

    /// How often an exchange between each rung and the next was accepted; 1 where none was tried.
    pub fn acceptance(&self) -> Vec<f64> {
        let part =
            |(&accepted, &tried): (&u64, &u64)| if tried == 0 { 1.0 } else { accepted as f64 / tried as f64 };
        self.accepted.iter().zip(&self.tried).map(part).collect()
    }

    /// How often a replica went from the hottest rung to the coldest and back.
    pub fn round_trips(&self) -> u64 {
        self.trips
    }

    /// The same with no exchange counted yet.
    #[must_use]
    pub fn uncounted(self) -> Self {
        let none = vec![0; self.tried.len()];
        Self { tried: none.clone(), accepted: none, ..self }
    }
}

/// Parallel tempering of a landscape: a step is a sweep of all replicas, and a round of exchanges.
///
/// ```
/// use thermograd::{Key, Ladder, Spins, Tempering, run};
/// let torus = Spins::grid(8, 8, true, -1.0)?;
/// let tempering = Tempering::new(&torus, Ladder::geometric(0.1, 1.0, 8)?, 1, Key::new(1));
/// let end = run(&tempering, tempering.start(Key::new(2)), 200, |_| {})?;
/// assert!(end.energies[end.on(0, 7)] < -100.0); // 128 at least
/// # Ok::<(), thermograd::Error>(())
/// ```
#[derive(Debug)]
pub struct Tempering<'a, L> {
    landscape: &'a L,
    ladder: Ladder,
    ladders: usize,
    clusters: bool,
    key: Key,
    first: usize,
}

/// Sweeps after which energies are computed anew, so that what was rounded does not add up.
const AFRESH: usize = 1024;

impl<'a, L: Landscape> Tempering<'a, L> {
    /// Replicas of `landscape` on `ladders` independent copies of a ladder.
    pub fn new(landscape: &'a L, ladder: Ladder, ladders: usize, key: Key) -> Self {
        Self { landscape, ladder, ladders, clusters: false, key, first: 0 }
    }

    /// With a move of two replicas of each temperature after every sweep, of ladders 0 and 1, 2 and 3 and so on
    /// ([`Landscape::isoenergetic`]).
    #[must_use]
    pub fn with_clusters(self) -> Self {
        Self { clusters: true, ..self }
    }

    /// The same on another ladder of as many rungs, whose first step has this number: for a run that goes on.
    #[must_use]
    pub fn going_on(self, ladder: Ladder, first: usize) -> Self {
        Self { ladder, first, ..self }
    }

    /// The ladder.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Replicas that start at random, in order along the ladder.
    pub fn start(&self, key: Key) -> Replicas<L::Chains> {
        let rungs = self.ladder.0.len();
        let chains = self.landscape.random(rungs * self.ladders, key);
        let energies = self.landscape.energies(&chains);
        let of: Vec<usize> = (0..rungs * self.ladders).map(|chain| chain % rungs).collect();
        let seen = of.iter().map(|&rung| if rung == 0 { End::Hot } else { End::Neither }).collect();
        let (tried, accepted) = (vec![0; rungs - 1], vec![0; rungs - 1]);
        Replicas {
            chains,
            energies,
            rungs: of,
            at: (0..rungs * self.ladders).collect(),
            seen,
            tried,
            accepted,
            trips: 0,
        }
    }

    /// Moves of the replicas of one rung in pairs of ladders.
    fn pair(&self, index: usize, r: &mut Replicas<L::Chains>) {
        let rungs = self.ladder.0.len();
        for ladder in (1..self.ladders).step_by(2) {
            let mut rng = self.key.fork("cluster").row(ladder as u64).at(index as u64).rng();
            for rung in 0..rungs {
                let pair = [r.on(ladder - 1, rung), r.on(ladder, rung)];
                self.landscape.isoenergetic(&mut r.chains, &mut r.energies, pair, &mut rng);
            }
        }
    }

    /// A round of exchanges.
    fn exchange(&self, index: usize, r: &mut Replicas<L::Chains>) {
        let betas = &self.ladder.0;
        let rungs = betas.len();
        for ladder in 0..self.ladders {
            // The words of this ladder and step alone.
            let mut rng = self.key.fork("exchange").row(ladder as u64).at(index as u64).rng();
            for rung in (index % 2..rungs - 1).step_by(2) {
                let place = ladder * rungs + rung;
                let (hot, cold) = (r.at[place], r.at[place + 1]);
                let gain = (betas[rung + 1] - betas[rung]) * (r.energies[cold] - r.energies[hot]);
                r.tried[rung] += 1;
                if rng.random::<f64>() < gain.exp() {
                    r.accepted[rung] += 1;
                    (r.at[place], r.at[place + 1]) = (cold, hot);
                    (r.rungs[hot], r.rungs[cold]) = (rung + 1, rung);
                }
            }
            for chain in ladder * rungs..(ladder + 1) * rungs {
                match (r.rungs[chain], r.seen[chain]) {
                    (0, seen) => {
                        r.trips += u64::from(seen == End::Cold);
                        r.seen[chain] = End::Hot;
                    }
                    (rung, End::Hot) if rung == rungs - 1 => r.seen[chain] = End::Cold,
                    _ => {}
                }
            }
        }
    }
}

impl<L: Landscape> Dynamics for Tempering<'_, L> {
    type State = Replicas<L::Chains>;

    fn step(&self, index: usize, mut replicas: Replicas<L::Chains>) -> Replicas<L::Chains> {
        let index = self.first + index;
        let betas: Vec<f64> = replicas.rungs.iter().map(|&rung| self.ladder.0[rung]).collect();
        replicas.chains =
            self.landscape.sweep(replicas.chains, &mut replicas.energies, &betas, index as u32, self.key);
        if (index + 1).is_multiple_of(AFRESH) {
            replicas.energies = self.landscape.energies(&replicas.chains);
        }
        if self.clusters {
            self.pair(index, &mut replicas);
        }
        self.exchange(index, &mut replicas);
        replicas
    }

    fn diverged(&self, _state: &Replicas<L::Chains>) -> Option<Place> {
        None
    }
}
