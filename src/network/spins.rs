//! A graph of ±1 spins, coloured so that no two spins of one colour are coupled.
//!
//! ```text
//! E(s) = Σ_i h_i s_i + Σ_(ij) J_ij s_i s_j,      s_i = ±1      (18)
//! ```
//!
//! Each pair counts once, and positive couplings favour opposite spins. Spins of one colour do not see each other, so they
//! can be drawn together; spins that are coupled never can. A graph is only made here, with its colours, so that a
//! simultaneous update of coupled spins, which samples another distribution, cannot be written.

use std::ops::Range;

use crate::error::{Error, Result, SpinProblem};

/// Spins with fields and couplings.
///
/// ```
/// use thermograd::Spins;
/// let ring = Spins::new(&[0.0; 4], &[([0, 1], -1.0), ([1, 2], -1.0), ([2, 3], -1.0), ([3, 0], -1.0)])?;
/// assert_eq!((ring.len(), ring.colours()), (4, 2));
/// # Ok::<(), thermograd::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Spins {
    /// The spin at each place. Spins of one colour lie next to each other.
    order: Vec<u32>,
    /// The place of each spin.
    places: Vec<u32>,
    /// The places of each colour.
    colours: Vec<Range<usize>>,
    /// h by place.
    fields: Vec<f32>,
    /// Where the neighbours of each place begin, and the end.
    starts: Vec<usize>,
    /// The places of neighbours, and J.
    neighbours: Vec<(u32, f32)>,
}

impl Spins {
    /// Spins with fields h, and the couplings J of pairs, each listed once and either way round.
    ///
    /// # Errors
    /// [`Error::Spins`] with a pair that couples a spin to itself, is listed twice or names no spin, and with a number
    /// that is not finite in single precision.
    pub fn new(fields: &[f64], couplings: &[([usize; 2], f64)]) -> Result<Self> {
        let spins = fields.len();
        if spins == 0 || spins > u32::MAX as usize {
            return Err(SpinProblem::Count { spins }.into());
        }
        for (spin, &value) in fields.iter().enumerate() {
            if !(value as f32).is_finite() {
                return Err(SpinProblem::Field { spin, value }.into());
            }
        }
        let mut pairs = Vec::with_capacity(couplings.len());
        for &([i, j], value) in couplings {
            if i >= spins || j >= spins {
                return Err(SpinProblem::NoSpin { pair: [i, j], spins }.into());
            }
            if i == j {
                return Err(SpinProblem::Itself { spin: i, value }.into());
            }
            if !(value as f32).is_finite() {
                return Err(SpinProblem::Coupling { pair: [i, j], value }.into());
            }
            pairs.push([i.min(j), i.max(j)]);
        }
        pairs.sort_unstable();
        if let Some([pair, _]) = pairs.array_windows().find(|[a, b]| a == b) {
            return Err(SpinProblem::Twice { pair: *pair }.into());
        }
        Ok(Self::coloured(fields, couplings))
    }

    /// Spins from a square matrix of couplings, row-major: symmetric, with zeros on its diagonal.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Spins`] with the pair whose two entries differ, and as [`new`](Self::new).
    pub fn dense(fields: &[f64], matrix: &[f64]) -> Result<Self> {
        let spins = fields.len();
        if spins * spins != matrix.len() {
            let (found, expected) = (vec![matrix.len()], vec![spins, spins]);
            return Err(Error::Shape { what: "matrix of couplings".into(), found, expected });
        }
        let mut couplings = Vec::new();
        for i in 0..spins {
            for j in 0..=i {
                let (lower, upper) = (matrix[i * spins + j], matrix[j * spins + i]);
                if lower != upper && !(lower.is_nan() && upper.is_nan()) {
                    return Err(SpinProblem::Asymmetric { pair: [j, i], values: [upper, lower] }.into());
                }
                if lower != 0.0 {
                    couplings.push(([j, i], lower));
                }
            }
        }
        Self::new(fields, &couplings)
    }

    /// A `width` × `height` grid (spin = row · width + column) whose nearest neighbours are coupled by `coupling`, on a torus
    /// if `periodic`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn grid(width: usize, height: usize, periodic: bool, coupling: f64) -> Result<Self> {
        let pairs = crate::network::topology::grid_pairs(width, height, periodic);
        let couplings: Vec<_> = pairs.into_iter().map(|pair| (pair, coupling)).collect();
        Self::new(&vec![0.0; width * height], &couplings)
    }

    /// The graph with its colours.
    fn coloured(fields: &[f64], couplings: &[([usize; 2], f64)]) -> Self {
        let spins = fields.len();
        let graph = Adjacency::new(spins, couplings);
        let colour = graph.bipartition().unwrap_or_else(|| graph.greedy());
        let count = colour.iter().max().map_or(1, |most| most + 1);
        let mut sizes = vec![0; count];
        colour.iter().for_each(|&colour| sizes[colour] += 1);
        let mut colours: Vec<Range<usize>> = Vec::with_capacity(count);
        for size in sizes {
            let start = colours.last().map_or(0, |before| before.end);
            colours.push(start..start + size);
        }
        let mut next: Vec<usize> = colours.iter().map(|places| places.start).collect();
        let (mut order, mut places) = (vec![0; spins], vec![0; spins]);
        for (spin, &colour) in colour.iter().enumerate() {
            (order[next[colour]], places[spin]) = (spin as u32, next[colour] as u32);
            next[colour] += 1;
        }
        let (mut starts, mut neighbours) = (vec![0], Vec::with_capacity(2 * couplings.len()));
        for &spin in &order {
            let of = graph.of(spin as usize).iter();
            neighbours.extend(of.map(|&(other, value)| (places[other as usize], value)));
            starts.push(neighbours.len());
        }
        let fields = order.iter().map(|&spin| fields[spin as usize] as f32).collect();
        Self { order, places, colours, fields, starts, neighbours }
    }

    /// How many spins.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Never: there is at least one spin.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many colours: the spins of one are drawn together.
    pub fn colours(&self) -> usize {
        self.colours.len()
    }

    /// The colour of a spin.
    ///
    /// # Panics
    /// When there is no such spin.
    pub fn colour(&self, spin: usize) -> usize {
        let place = self.place(spin);
        self.colours.iter().position(|places| places.contains(&place)).expect("every place has a colour")
    }

    /// How many pairs are coupled.
    pub fn pairs(&self) -> usize {
        self.neighbours.len() / 2
    }

    /// The place of a spin in memory.
    pub(crate) fn place(&self, spin: usize) -> usize {
        self.places[spin] as usize
    }

    /// The spin at a place.
    pub(crate) fn spin(&self, place: usize) -> usize {
        self.order[place] as usize
    }

    /// The places of each colour.
    pub(crate) fn classes(&self) -> &[Range<usize>] {
        &self.colours
    }

    /// h at a place.
    pub(crate) fn field(&self, place: usize) -> f32 {
        self.fields[place]
    }

    /// The neighbours of a place and their couplings.
    pub(crate) fn neighbours(&self, place: usize) -> &[(u32, f32)] {
        &self.neighbours[self.starts[place]..self.starts[place + 1]]
    }
}

/// The neighbours of every spin.
struct Adjacency {
    starts: Vec<usize>,
    neighbours: Vec<(u32, f32)>,
}

impl Adjacency {
    fn new(spins: usize, couplings: &[([usize; 2], f64)]) -> Self {
        let mut starts = vec![0; spins + 1];
        for ([i, j], _) in couplings {
            starts[i + 1] += 1;
            starts[j + 1] += 1;
        }
        for spin in 0..spins {
            starts[spin + 1] += starts[spin];
        }
        let mut next = starts.clone();
        let mut neighbours = vec![(0, 0.0); 2 * couplings.len()];
        for &([i, j], value) in couplings {
            for (spin, other) in [(i, j), (j, i)] {
                neighbours[next[spin]] = (other as u32, value as f32);
                next[spin] += 1;
            }
        }
        Self { starts, neighbours }
    }

    fn of(&self, spin: usize) -> &[(u32, f32)] {
        &self.neighbours[self.starts[spin]..self.starts[spin + 1]]
    }

    fn spins(&self) -> usize {
        self.starts.len() - 1
    }

    /// Two colours, if two are enough: breadth first from every part of the graph.
    fn bipartition(&self) -> Option<Vec<usize>> {
        let mut colour = vec![usize::MAX; self.spins()];
        let mut queue = std::collections::VecDeque::new();
        for root in 0..self.spins() {
            if colour[root] != usize::MAX {
                continue;
            }
            colour[root] = 0;
            queue.push_back(root);
            while let Some(spin) = queue.pop_front() {
                for &(other, _) in self.of(spin) {
                    let other = other as usize;
                    if colour[other] == usize::MAX {
                        colour[other] = 1 - colour[spin];
                        queue.push_back(other);
                    } else if colour[other] == colour[spin] {
                        return None;
                    }
                }
            }
        }
        Some(colour)
    }

    /// The least colour that no neighbour has, for the spins of most neighbours first (Welsh and Powell, Comput. J. 10,
    /// 85, 1967): at most one colour more than the most neighbours of a spin.
    fn greedy(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.spins()).collect();
        order.sort_by_key(|&spin| std::cmp::Reverse(self.of(spin).len()));
        let mut colour = vec![usize::MAX; self.spins()];
        for spin in order {
            let mut taken = vec![false; self.of(spin).len() + 1];
            for &(other, _) in self.of(spin) {
                if let Some(taken) = taken.get_mut(colour[other as usize]) {
                    *taken = true;
                }
            }
            colour[spin] = taken.iter().position(|taken| !taken).expect("one more colour than neighbours");
        }
        colour
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Key;
    use rand::RngExt;

    /// Random graphs from sparse to complete.
    fn graphs() -> impl Iterator<Item = Spins> {
        (0..40).map(|seed| {
            let mut rng = Key::new(seed).rng();
            let spins = rng.random_range(1..60);
            let density = rng.random_range(0.0..1.0_f64).powi(2);
            let pairs = (0..spins).flat_map(|i| (0..i).map(move |j| [i, j]));
            let couplings: Vec<_> =
                pairs.filter(|_| rng.random_bool(density)).map(|pair| (pair, 0.5)).collect();
            Spins::new(&vec![0.0; spins], &couplings).unwrap()
        })
    }

    #[test]
    fn no_two_coupled_spins_share_a_colour_and_every_spin_has_one() {
        for graph in graphs() {
            let mut spins: Vec<usize> = (0..graph.len()).map(|place| graph.spin(place)).collect();
            spins.sort_unstable();
            assert!(spins.iter().enumerate().all(|(index, &spin)| index == spin));
            assert_eq!(graph.classes().iter().map(Range::len).sum::<usize>(), graph.len());
            let mut most = 0;
            for place in 0..graph.len() {
                most = most.max(graph.neighbours(place).len());
                for &(other, _) in graph.neighbours(place) {
                    assert_ne!(graph.colour(graph.spin(place)), graph.colour(graph.spin(other as usize)));
                }
            }
            assert!(graph.colours() <= most + 1);
        }
    }

    #[test]
    fn grids_and_layers_have_two_colours_and_odd_rings_three() {
        assert_eq!(Spins::grid(6, 4, true, 1.0).unwrap().colours(), 2);
        assert_eq!(Spins::grid(5, 3, false, 1.0).unwrap().colours(), 2);
        let ring: Vec<_> = (0..5).map(|i| ([i, (i + 1) % 5], 1.0)).collect();
        assert_eq!(Spins::new(&[0.0; 5], &ring).unwrap().colours(), 3);
        assert_eq!(Spins::new(&[0.0; 7], &[]).unwrap().colours(), 1);
    }

    #[test]
    fn graphs_that_are_none_are_refused_with_their_numbers() {
        let problem = |fields: &[f64], couplings: &[([usize; 2], f64)]| match Spins::new(fields, couplings) {
            Err(Error::Spins(problem)) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(problem(&[], &[]), SpinProblem::Count { spins: 0 });
        assert_eq!(problem(&[0.0; 2], &[([1, 1], 2.0)]), SpinProblem::Itself { spin: 1, value: 2.0 });
        assert_eq!(problem(&[0.0; 2], &[([0, 5], 2.0)]), SpinProblem::NoSpin { pair: [0, 5], spins: 2 });
        let twice = [([0, 1], 1.0), ([1, 2], 1.0), ([1, 0], 1.0)];
        assert_eq!(problem(&[0.0; 3], &twice), SpinProblem::Twice { pair: [0, 1] });
        assert_eq!(problem(&[0.0, 1e99], &[]), SpinProblem::Field { spin: 1, value: 1e99 });
        assert!(matches!(
            problem(&[0.0; 2], &[([0, 1], f64::NAN)]),
            SpinProblem::Coupling { pair: [0, 1], .. }
        ));
        let asymmetric = Spins::dense(&[0.0; 2], &[0.0, 1.0, 2.0, 0.0]).unwrap_err();
        assert!(matches!(
            asymmetric,
            Error::Spins(SpinProblem::Asymmetric { pair: [0, 1], values: [1.0, 2.0] })
        ));
        assert!(Spins::dense(&[0.0; 2], &[0.0, 1.0, 1.0]).is_err());
        assert_eq!(Spins::dense(&[0.0; 2], &[0.0, 1.0, 1.0, 0.0]).unwrap().pairs(), 1);
    }
}
