//! Numbers divided into two halves of equal sums.
//!
//! The energy is |Σ s_i a_i|. A move changes the side of one number or of two. Perfect partitions, whose halves differ by 0 or 1, are
//! plenty while the numbers have fewer bits than there are numbers, and become rare beyond (S. Mertens, Phys. Rev. Lett. 81, 4281,
//! 1998). Energies have no valleys to follow: differencing (N. Karmarkar and R. M. Karp, 1982) is hard to beat there, and stands
//! beside.

use std::collections::BinaryHeap;

use rand::RngExt;

use crate::error::{Error, Result};
use crate::optimize::moves::Moves;

/// Positive numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Numbers(Vec<i64>);

/// ±1 of every number, and the difference of the sums.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Halves {
    /// By number.
    pub sides: Vec<i8>,
    difference: i64,
}

impl Numbers {
    /// Positive numbers whose sum is below 2⁶².
    ///
    /// # Errors
    /// [`Error::Request`] with the number that is not positive or goes beyond.
    pub fn new(numbers: Vec<i64>) -> Result<Self> {
        let mut sum = 0_i64;
        for (index, &number) in numbers.iter().enumerate() {
            let added = sum.checked_add(number).filter(|&sum| sum < 1 << 62);
            match (number > 0, added) {
                (true, Some(added)) => sum = added,
                (false, _) => {
                    return Err(Error::Request(format!(
                        "number {} is {number}: positive numbers are divided",
                        index + 1
                    )));
                }
                (true, None) => {
                    return Err(Error::Request(format!(
                        "the sum of the first {} numbers is beyond 2^62",
                        index + 1
                    )));
                }
            }
        }
        match numbers.len() {
            0 | 1 => Err(Error::Request("two numbers are needed".into())),
            _ => Ok(Self(numbers)),
        }
    }

    /// The numbers.
    pub fn all(&self) -> &[i64] {
        &self.0
    }

    /// Bits of the largest number.
    pub fn bits(&self) -> u32 {
        64 - self.0.iter().max().map_or(0, |most| most.leading_zeros())
    }

    /// The difference of the sums of two halves.
    ///
    /// # Panics
    /// When there are fewer sides than numbers.
    pub fn difference(&self, sides: &[i8]) -> i64 {
        self.0.iter().enumerate().map(|(i, &number)| number * i64::from(sides[i])).sum::<i64>().abs()
    }

    /// What the differencing of Karmarkar and Karp leaves: the two largest numbers are replaced by their difference until
    /// one is left.
    pub fn differencing(&self) -> i64 {
        let mut heap: BinaryHeap<i64> = self.0.iter().copied().collect();
        while heap.len() > 1 {
            let [a, b] = [heap.pop(), heap.pop()].map(|number| number.expect("two are there"));
            heap.push(a - b);
        }
        heap.pop().unwrap_or(0)
    }

    /// Inverse temperatures: from the largest number down to 2^−N of it, but no further than one, and at least to half of it.
    pub fn betas(&self) -> [f64; 2] {
        let most = *self.0.iter().max().expect("two numbers") as f64;
        let least = (most * 0.5_f64.powi(self.0.len().min(1000) as i32)).max(1.0).min(most / 2.0);
        [1.0 / most, 1.0 / least]
    }
}

impl Moves for Numbers {
    type State = Halves;

    fn random(&self, rng: &mut impl RngExt) -> Halves {
        let sides: Vec<i8> = self.0.iter().map(|_| if rng.random() { 1 } else { -1 }).collect();
        let difference = self.0.iter().zip(&sides).map(|(&number, &side)| number * i64::from(side)).sum();
        Halves { sides, difference }
    }

    fn energy(&self, state: &Halves) -> f64 {
        state.difference.abs() as f64
    }

    fn proposals(&self) -> usize {
        2 * self.0.len()
    }

    fn propose(
        &self,
        state: &mut Halves,
        rng: &mut impl RngExt,
        mut accepts: impl FnMut(f64, f64) -> bool,
    ) -> Option<f64> {
        let n = self.0.len() as u32;
        let (i, j) = (rng.random_range(0..n) as usize, rng.random_range(0..n) as usize);
        let single = rng.random::<bool>();
        if !single && i == j {
            return None;
        }
        let turned = |i: usize| 2 * self.0[i] * i64::from(state.sides[i]);
        let next = state.difference - turned(i) - if single { 0 } else { turned(j) };
        let cost = (next.abs() - state.difference.abs()) as f64;
        if !accepts(cost, rng.random::<f32>().into()) {
            return None;
        }
        state.difference = next;
        state.sides[i] = -state.sides[i];
        if !single {
            state.sides[j] = -state.sides[j];
        }
        Some(cost)
    }
}

#[cfg(test)]
mod tests {
    use thermograd::Key;

    use super::*;

    #[test]
    fn moves_cost_what_they_change_and_differencing_is_that_of_its_inventors() {
        let numbers = Numbers::new(vec![8, 7, 6, 5, 4]).unwrap();
        // 8 − 7 = 1, 6 − 5 = 1, 4 − 1 = 3, 3 − 1 = 2; the best is 0.
        assert_eq!((numbers.differencing(), numbers.bits()), (2, 4));
        let mut rng = Key::new(1).rng();
        let mut state = numbers.random(&mut rng);
        let mut energy = numbers.energy(&state);
        let mut least = energy;
        for _ in 0..5000 {
            energy += numbers.propose(&mut state, &mut rng, |_, u| u < 0.7).unwrap_or(0.0);
            assert_eq!(energy, numbers.difference(&state.sides) as f64);
            least = least.min(energy);
        }
        assert_eq!(least, 0.0);
        for (numbers, part) in [
            (vec![1], "two numbers"),
            (vec![1, 0], "number 2 is 0"),
            (vec![1 << 61, 1 << 61, 1], "the first 2 numbers is beyond"),
        ] {
            let error = Numbers::new(numbers).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
