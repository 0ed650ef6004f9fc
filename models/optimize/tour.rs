//! Shortest closed tours.
//!
//! The state is the tour itself, and moves keep it one:
//!
//! - *2-opt* (G. A. Croes, Oper. Res. 6, 791, 1958): two edges of the cycle are taken out, and the part between is turned round. Pairs
//!   of edges are drawn, of which there are as many in every tour, the one that closes it included.
//! - *or-opt* (I. Or, 1976): one to three cities in a row go to an edge elsewhere, as they are or turned round.

use rand::RngExt;
use thermograd::Ising;
use thermograd::export::ising::Pair;

use crate::error::{Error, Result};
use crate::optimize::moves::Moves;
use crate::optimize::spins::typical;

/// Cities and their distances.
#[derive(Clone, PartialEq, Debug)]
pub struct Tours {
    count: usize,
    /// `[city, city]`.
    distances: Vec<f64>,
}

impl Tours {
    /// Tours of at least three cities, of symmetric distances `[city, city]`.
    ///
    /// # Errors
    /// [`Error::Request`] when they are fewer, or the matrix is not square.
    pub fn new(distances: &[i64]) -> Result<Self> {
        let count = distances.len().isqrt();
        if count < 3 || count * count != distances.len() {
            return Err(Error::Request(format!("{} distances: three cities are needed", distances.len())));
        }
        Ok(Self { count, distances: distances.iter().map(|&d| d as f64).collect() })
    }

    /// Cities.
    pub fn count(&self) -> usize {
        self.count
    }

    fn d(&self, a: u32, b: u32) -> f64 {
        self.distances[a as usize * self.count + b as usize]
    }

    /// The mean distance of a city from its nearest neighbour that is elsewhere, or 1 if all are in one place; but no more than four
    /// times the median.
    pub fn nearest(&self) -> f64 {
        let nearest = |city: usize| {
            let row = &self.distances[city * self.count..][..self.count];
            row.iter().copied().filter(|&d| d > 0.0).fold(f64::INFINITY, f64::min)
        };
        let all: Vec<f64> = (0..self.count).map(nearest).filter(|d| d.is_finite()).collect();
        if all.is_empty() {
            return 1.0;
        }
        typical(all.iter().sum::<f64>() / all.len() as f64, all.into_iter())
    }

    /// Inverse temperatures: from 0.8 of the mean distance of nearest neighbours to a tenth of that.
    pub fn betas(&self) -> [f64; 2] {
        let unit = 0.8 * self.nearest();
        [1.0 / unit, 10.0 / unit]
    }

    /// The part of a tour after `from` up to and with `to`, turned round; or the rest, if that is shorter.
    fn turn(order: &mut [u32], from: usize, to: usize) {
        let n = order.len();
        let inner = (to + n - from) % n;
        let (mut a, mut b, length) =
            if 2 * inner <= n { ((from + 1) % n, to, inner) } else { ((to + 1) % n, from, n - inner) };
        for _ in 0..length / 2 {
            order.swap(a, b);
            a = if a + 1 == n { 0 } else { a + 1 };
            b = if b == 0 { n - 1 } else { b - 1 };
        }
    }

    /// 2-opt of the edges after two positions.
    fn two_opt(
        &self,
        order: &mut [u32],
        rng: &mut impl RngExt,
        mut accepts: impl FnMut(f64, f64) -> bool,
    ) -> Option<f64> {
        let n = order.len();
        let i = rng.random_range(0..n as u32) as usize;
        let j = (i + 1 + rng.random_range(0..n as u32 - 1) as usize) % n;
        let after = |i: usize| if i + 1 == n { order[0] } else { order[i + 1] };
        let (a, b, c, d) = (order[i], after(i), order[j], after(j));
        let cost = self.d(a, c) + self.d(b, d) - self.d(a, b) - self.d(c, d);
        if b == c || d == a || !accepts(cost, rng.random::<f32>().into()) {
            return None;
        }
        Self::turn(order, i, j);
        Some(cost)
    }

    /// Or-opt of up to three cities: how many, and whether they are turned round, is told by random bits.
    fn or_opt(
        &self,
        order: &mut [u32],
        bits: u32,
        rng: &mut impl RngExt,
        mut accepts: impl FnMut(f64, f64) -> bool,
    ) -> Option<f64> {
        let n = order.len();
        // Of 30 bits: as good as even among three.
        let length = 1 + (bits >> 1) as usize % 3.min(n - 2);
        let start = rng.random_range(0..n as u32) as usize;
        let rest = n - length;
        // Between two of the rest that follow each other; where the cities come from is left out.
        let gap = rng.random_range(0..rest as u32 - 1) as usize;
        let turned = length > 1 && bits & 1 == 1;
        let at = |offset: usize| order[(start + offset) % n];
        let (before, first, last, after) = (at(n - 1), at(0), at(length - 1), at(length));
        let (x, y) = (at(length + gap), at(length + gap + 1));
        let (left, right) = if turned { (last, first) } else { (first, last) };
        let cost = self.d(before, after) + self.d(x, left) + self.d(right, y)
            - self.d(before, first)
            - self.d(last, after)
            - self.d(x, y);
        if !accepts(cost, rng.random::<f32>().into()) {
            return None;
        }
        let mut moved = [0; 3];
        (0..length).for_each(|k| moved[k] = at(k));
        let moved = &mut moved[..length];
        if turned {
            moved.reverse();
        }
        if 2 * (gap + 1) <= rest {
            // What was behind the cities comes forward.
            for k in 0..=gap {
                order[(start + k) % n] = order[(start + length + k) % n];
            }
            moved.iter().enumerate().for_each(|(k, &city)| order[(start + gap + 1 + k) % n] = city);
        } else {
            // What was before them goes back.
            let others = rest - gap - 1;
            for k in 1..=others {
                order[(start + length + n - k) % n] = order[(start + n - k) % n];
            }
            let place = start + n - others;
            moved.iter().enumerate().for_each(|(k, &city)| order[(place + k) % n] = city);
        }
        Some(cost)
    }

    /// A binary model whose lowest states are the shortest tours: z of every city but the last at every time but the last,
    ///
    /// ```text
    /// E = A Σ_v (1 − Σ_t z_vt)² + A Σ_t (1 − Σ_v z_vt)² + Σ_t Σ_uv d_uv z_ut z_v(t+1) + what the last city adds
    /// ```
    ///
    /// (A. Lucas, Front. Phys. 2, 5, 2014). It is for machines that take nothing else: beyond ten cities its states are hardly ever
    /// tours. `penalty` is A over the longest distance; from ½ to 1 tours appear and get longer.
    ///
    /// # Errors
    /// [`Error::Request`] for more than 60 cities and a penalty that is not positive.
    pub fn ising(&self, penalty: f64) -> Result<Ising> {
        let n = self.count - 1;
        if n >= 60 || !(penalty > 0.0 && penalty.is_finite()) {
            return Err(Error::Request(format!(
                "{} cities at a penalty of {penalty}: up to 60 and a positive penalty are possible",
                n + 1
            )));
        }
        let a = penalty * self.distances.iter().copied().fold(0.0, f64::max).max(1.0);
        let z = |city: usize, time: usize| city * n + time;
        let mut linear = vec![-2.0 * a; n * n];
        let mut quadratic: Vec<Pair> = Vec::new();
        for v in 0..n {
            for t in 0..n {
                for other in t + 1..n {
                    quadratic.push(([z(v, t), z(v, other)], 2.0 * a));
                    quadratic.push(([z(t, v), z(other, v)], 2.0 * a));
                }
            }
            linear[z(v, 0)] += self.d(n as u32, v as u32);
            linear[z(v, n - 1)] += self.d(n as u32, v as u32);
            for u in (0..n).filter(|&u| u != v) {
                for t in 0..n - 1 {
                    quadratic.push(([z(u, t), z(v, t + 1)], self.d(u as u32, v as u32)));
                }
            }
        }
        Ok(Ising::from_binary(&linear, &quadratic, 2.0 * a * n as f64))
    }

    /// The tour of a state of [`ising`](Self::ising), if it is one.
    pub fn of_spins(&self, spins: &[i8]) -> Option<Vec<usize>> {
        let n = self.count - 1;
        let mut tour = vec![n];
        for t in 0..n {
            let mut there = (0..n).filter(|&v| spins[v * n + t] > 0);
            let city = there.next()?;
            if there.next().is_some() || tour.contains(&city) {
                return None;
            }
            tour.push(city);
        }
        Some(tour)
    }
}

impl Moves for Tours {
    type State = Vec<u32>;

    /// From a random city to the nearest that is left, again and again: of many cities a shuffled tour takes long to untangle.
    fn random(&self, rng: &mut impl RngExt) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.count as u32).collect();
        let first = rng.random_range(0..order.len());
        order.swap(0, first);
        for k in 1..order.len() {
            let here = order[k - 1];
            let nearest =
                (k..order.len()).min_by(|&a, &b| self.d(here, order[a]).total_cmp(&self.d(here, order[b])));
            order.swap(k, nearest.unwrap_or(k));
        }
        order
    }

    fn energy(&self, order: &Vec<u32>) -> f64 {
        let next = order.iter().skip(1).chain(order.first());
        order.iter().zip(next).map(|(&a, &b)| self.d(a, b)).sum()
    }

    fn proposals(&self) -> usize {
        2 * self.count
    }

    fn propose(
        &self,
        order: &mut Vec<u32>,
        rng: &mut impl RngExt,
        accepts: impl FnMut(f64, f64) -> bool,
    ) -> Option<f64> {
        let bits: u32 = rng.random();
        if bits & 1 == 1 {
            self.two_opt(order, rng, accepts)
        } else {
            self.or_opt(order, bits >> 1, rng, accepts)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use thermograd::Key;

    use super::*;

    fn cities(count: usize, key: Key) -> Tours {
        let mut rng = key.rng();
        let places: Vec<[f64; 2]> = (0..count).map(|_| [rng.random(), rng.random()]).collect();
        let distance = |i: usize, j: usize| {
            let [dx, dy] = [0, 1].map(|k| places[i][k] - places[j][k]);
            (1000.0 * dx.hypot(dy)).round() as i64
        };
        let all: Vec<i64> =
            (0..count).flat_map(|i| (0..count).map(move |j| (i, j))).map(|(i, j)| distance(i, j)).collect();
        Tours::new(&all).unwrap()
    }

    /// Costs are what energies change by, and tours stay tours.
    #[test]
    fn moves_cost_what_they_change_and_keep_tours() {
        for count in [3, 4, 5, 6, 7, 12] {
            let tours = cities(count, Key::new(count as u64));
            let mut rng = Key::new(1).rng();
            let mut order = tours.random(&mut rng);
            let mut energy = tours.energy(&order);
            for _ in 0..20_000 {
                if let Some(cost) = tours.propose(&mut order, &mut rng, |_, u| u < 0.7) {
                    energy += cost;
                    assert!((tours.energy(&order) - energy).abs() < 1e-6, "{count}: {order:?}");
                }
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count as u32).collect::<Vec<_>>());
        }
    }

    /// A tour without its beginning and direction.
    fn cycle(order: &[u32]) -> Vec<u32> {
        let n = order.len();
        let zero = order.iter().position(|&city| city == 0).unwrap();
        let forward: Vec<u32> = (0..n).map(|k| order[(zero + k) % n]).collect();
        let back: Vec<u32> = (0..n).map(|k| order[(zero + n - k) % n]).collect();
        forward.min(back)
    }

    /// Every move is as likely as its reverse: of all twelve cycles of five cities the counts of moves a → b and b → a agree within
    /// derived errors, and so do visits.
    #[test]
    fn moves_are_as_likely_as_their_reverses() {
        let tours = cities(5, Key::new(3));
        for kind in 0..2 {
            let mut rng = Key::new(40 + kind).rng();
            let mut counts: BTreeMap<(Vec<u32>, Vec<u32>), f64> = BTreeMap::new();
            let mut order = tours.random(&mut rng);
            for _ in 0..400_000 {
                let before = cycle(&order);
                let all = |_: f64, _: f64| true;
                let made = match kind {
                    0 => tours.two_opt(&mut order, &mut rng, all),
                    _ => {
                        let bits = rng.random::<u32>() >> 1;
                        tours.or_opt(&mut order, bits, &mut rng, all)
                    }
                };
                if made.is_some() {
                    *counts.entry((before, cycle(&order))).or_default() += 1.0;
                }
            }
            let mut pairs = 0;
            for ((a, b), &there) in counts.iter().filter(|((a, b), _)| a < b) {
                let back = counts.get(&(b.clone(), a.clone())).copied().unwrap_or(0.0);
                // 66 pairs of two kinds: one in a million for any of them is 5.9 standard errors.
                assert!(
                    (there - back).abs() < 5.9 * (there + back).sqrt(),
                    "{kind}: {a:?} {b:?}: {there}, {back}"
                );
                pairs += 1;
            }
            // Each of twelve cycles has five 2-opt neighbours.
            assert!(pairs >= 30, "{pairs}");
        }
    }

    /// The lowest of all states of the binary model of four cities is the shortest tour, and its energy the length.
    #[test]
    fn the_binary_model_has_tours_as_its_lowest_states() {
        let tours = cities(4, Key::new(9));
        let model = tours.ising(1.0).unwrap();
        let mut best = (f64::INFINITY, Vec::new());
        for state in 0..1 << 9 {
            let spins: Vec<i8> = (0..9).map(|k| if state >> k & 1 == 1 { 1 } else { -1 }).collect();
            let energy = model.energy(&spins);
            if let Some(tour) = tours.of_spins(&spins) {
                let order: Vec<u32> = tour.iter().map(|&city| city as u32).collect();
                assert!((tours.energy(&order) - energy).abs() < 1e-6);
            }
            if energy < best.0 {
                best = (energy, spins);
            }
        }
        let shortest = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2]].map(|order| tours.energy(&order.to_vec()));
        assert!((best.0 - shortest.into_iter().fold(f64::INFINITY, f64::min)).abs() < 1e-6);
        assert!(tours.of_spins(&best.1).is_some());
    }
}
