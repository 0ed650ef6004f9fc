//! Gibbs sampling: every spin in turn is drawn from its equilibrium under the fields of the others.
//!
//! ```text
//! P(s_i = +1 | the rest) = 1/(1 + exp(2β x_i)),      x_i = h_i + Σ_j J_ij s_j      (23)
//! ```
//!
//! (S. Geman and D. Geman, IEEE Trans. Pattern Anal. 6, 721, 1984; Glauber's heat bath, J. Math. Phys. 4, 294, 1963). A
//! step is a sweep: each colour once, all spins of a colour together, which is the same as one after the other, since they
//! do not see each other. The order of the colours is fixed, so detailed balance holds for a colour and not for a sweep;
//! exp(−βE) is stationary under both.
//!
//! A spin is +1 if u (1 + exp(2β x)) < 1 for a uniform u of 24 bits, so probabilities are exact to 6e-8. The exponential
//! is plain single precision arithmetic, and u a function of key, sweep, chain and spin: the same bits on every processor.

use crate::dynamics::run::{Dynamics, Place};
use crate::error::{Error, Result, SpinProblem};
use crate::network::spins::Spins;
use crate::noise::{Key, UNIFORMS, philox, uniform};

/// Independent chains of the same spins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chains {
    /// ±1, `[place, chain]`.
    values: Vec<i8>,
    count: usize,
    flips: u64,
}

impl Chains {
    /// Chains that start as fair coins.
    pub fn random(spins: &Spins, count: usize, key: Key) -> Self {
        let mut values = vec![0; spins.len() * count];
        for chain in 0..count {
            let mut rng = key.row(chain as u64).rng();
            for spin in 0..spins.len() {
                use rand::RngExt;
                values[spins.place(spin) * count + chain] = if rng.random_bool(0.5) { 1 } else { -1 };
            }
        }
        Self { values, count, flips: 0 }
    }

    /// Chains that start as `state`, ±1 by spin.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has another number of spins.
    pub fn alike(spins: &Spins, count: usize, state: &[i8]) -> Result<Self> {
        if state.len() != spins.len() {
            let (found, expected) = (vec![state.len()], vec![spins.len()]);
            return Err(Error::Shape { what: "state of spins".into(), found, expected });
        }
        let sign = |place| if state[spins.spin(place)] < 0 { -1 } else { 1 };
        let values = (0..spins.len()).flat_map(|place| std::iter::repeat_n(sign(place), count)).collect();
        Ok(Self { values, count, flips: 0 })
    }

    /// How many chains.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How often a spin has changed its sign, in all chains and sweeps.
    pub fn flips(&self) -> u64 {
        self.flips
    }

    /// ±1 of one spin in every chain.
    pub fn of(&self, spins: &Spins, spin: usize) -> &[i8] {
        &self.values[spins.place(spin) * self.count..][..self.count]
    }

    /// ±1 of every spin in one chain.
    pub fn chain(&self, spins: &Spins, chain: usize) -> Vec<i8> {
        (0..spins.len()).map(|spin| self.of(spins, spin)[chain]).collect()
    }

    /// ±1 of a place in every chain.
    pub(crate) fn at(&self, place: usize) -> &[i8] {
        &self.values[place * self.count..][..self.count]
    }

    /// Changes the sign at a place of one chain.
    pub(crate) fn flip(&mut self, place: usize, chain: usize) {
        let value = &mut self.values[place * self.count + chain];
        *value = -*value;
    }
}

impl Spins {
    /// E of every chain.
    pub fn energies(&self, chains: &Chains) -> Vec<f64> {
        let mut energies = vec![0.0; chains.count];
        let mut local = vec![0.0_f32; chains.count];
        for place in 0..self.len() {
            local.fill(2.0 * self.field(place));
            for &(other, coupling) in self.neighbours(place) {
                for (local, &s) in local.iter_mut().zip(chains.at(other as usize)) {
                    *local += coupling * f32::from(s);
                }
            }
            // Every pair is met twice.
            for ((energy, local), &s) in energies.iter_mut().zip(&local).zip(chains.at(place)) {
                *energy += 0.5 * f64::from(s) * f64::from(*local);
            }
        }
        energies
    }

    /// The sum of all spins of every chain.
    pub fn magnetisations(&self, chains: &Chains) -> Vec<i64> {
        let mut sums = vec![0; chains.count];
        for place in 0..self.len() {
            sums.iter_mut().zip(chains.at(place)).for_each(|(sum, &s)| *sum += i64::from(s));
        }
        sums
    }
}

/// Gibbs sampling of a graph of spins, at one inverse temperature.
///
/// ```
/// use thermograd::{Chains, Gibbs, Key, Spins, run};
/// let pair = Spins::new(&[0.0; 2], &[([0, 1], -0.5)])?;
/// let gibbs = Gibbs::new(&pair, 1.0, Key::new(1))?;
/// let (mut equal, mut seen) = (0, 0);
/// run(&gibbs, Chains::random(&pair, 1000, Key::new(2)), 100, |step| {
///     let (a, b) = (step.after.of(&pair, 0), step.after.of(&pair, 1));
///     equal += a.iter().zip(b).filter(|(a, b)| a == b).count();
///     seen += 1000;
/// })?;
/// let exact = 1.0 / (1.0 + (-1.0_f64).exp()); // 0.731
/// assert!((equal as f64 / seen as f64 - exact).abs() < 0.02);
/// # Ok::<(), thermograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gibbs<'a> {
    spins: &'a Spins,
    /// 2β.
    twice_beta: f32,
    /// Fields of single chains, `[place, chain]`, in the place of h.
    fields: Option<Vec<f32>>,
    /// What β of each place is multiplied by.
    factors: Option<Vec<f32>>,
    key: Key,
}

/// How a spin is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// (23).
    HeatBath,
    /// (41).
    Metropolis,
}

/// What a sweep needs to know of the spins.
#[derive(Clone, Copy)]
pub(crate) struct Bath<'a> {
    rule: Rule,
    spins: &'a Spins,
    fields: Option<&'a [f32]>,
    factors: Option<&'a [f32]>,
}

impl<'a> Bath<'a> {
    /// The same temperature and fields for all chains and spins, and the heat bath.
    pub(crate) fn of(spins: &'a Spins) -> Self {
        Self { rule: Rule::HeatBath, spins, fields: None, factors: None }
    }

    /// The same by the rule of Metropolis.
    pub(crate) fn metropolis(spins: &'a Spins) -> Self {
        Self { rule: Rule::Metropolis, ..Self::of(spins) }
    }
}

impl<'a> Gibbs<'a> {
    /// Sweeps of `spins` at the inverse temperature `beta`.
    ///
    /// # Errors
    /// [`Error::Spins`] when β is not positive and finite.
    pub fn new(spins: &'a Spins, beta: f64, key: Key) -> Result<Self> {
        check_beta(beta)?;
        Ok(Self { spins, twice_beta: 2.0 * beta as f32, fields: None, factors: None, key })
    }

    /// With fields h of their own for the chains, in place of those of the graph: clamped inputs, for instance.
    ///
    /// # Shapes
    /// Row-major `[spin, chain]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when they are not so many for every spin, [`Error::Spins`] when one is not finite.
    pub fn with_fields(self, chains: usize, fields: &[f32]) -> Result<Self> {
        let spins = self.spins;
        if fields.len() != spins.len() * chains {
            let (found, expected) = (vec![fields.len()], vec![spins.len(), chains]);
            return Err(Error::Shape { what: "fields of chains".into(), found, expected });
        }
        if let Some((index, &field)) = fields.iter().enumerate().find(|(_, field)| !field.is_finite()) {
            return Err(SpinProblem::Field { spin: index / chains, value: f64::from(field) }.into());
        }
        let of = |place| &fields[spins.spin(place) * chains..][..chains];
        let fields = (0..spins.len()).flat_map(of).copied().collect();
        Ok(Self { fields: Some(fields), ..self })
    }

    /// With a temperature of its own for every spin: β is multiplied by `factors`. Spins at different temperatures have no
    /// equilibrium; they come to a steady state.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one a spin, [`Error::Spins`] when one is not positive and finite.
    pub fn with_temperatures(self, factors: &[f64]) -> Result<Self> {
        if factors.len() != self.spins.len() {
            let (found, expected) = (vec![factors.len()], vec![self.spins.len()]);
            return Err(Error::Shape { what: "temperatures of spins".into(), found, expected });
        }
        factors.iter().try_for_each(|&factor| check_beta(factor))?;
        let of = |place| factors[self.spins.spin(place)] as f32;
        Ok(Self { factors: Some((0..factors.len()).map(of).collect()), ..self })
    }
}

/// Refuses an inverse temperature that is none.
pub(crate) fn check_beta(value: f64) -> Result<()> {
    let sound = value > 0.0 && (2.0 * value as f32).is_finite();
    if sound { Ok(()) } else { Err(SpinProblem::Beta { value }.into()) }
}

impl Dynamics for Gibbs<'_> {
    type State = Chains;

    fn step(&self, index: usize, chains: Chains) -> Chains {
        let betas = vec![self.twice_beta; chains.count];
        let (fields, factors) = (self.fields.as_deref(), self.factors.as_deref());
        let bath = Bath { fields, factors, ..Bath::of(self.spins) };
        sweep(bath, chains, &betas, None, index as u32, self.key)
    }

    fn diverged(&self, _state: &Chains) -> Option<Place> {
        None
    }

    fn fits(&self, start: &Chains) -> Result<()> {
        let expected = self.fields.as_ref().map_or(self.spins.len() * start.count, Vec::len);
        if start.values.len() == self.spins.len() * start.count && start.values.len() == expected {
            return Ok(());
        }
        let (found, expected) = (vec![start.values.len(), start.count], vec![expected]);
        Err(Error::Shape { what: "chains of spins".into(), found, expected })
    }
}

/// One sweep; 2β is given for every chain, and its energy, which follows the flips.
pub(crate) fn sweep(
    bath: Bath,
    mut chains: Chains,
    twice_betas: &[f32],
    mut energies: Option<&mut [f64]>,
    index: u32,
    key: Key,
) -> Chains {
    // Tiles of several quads and several chains: as many lanes as possible, of as equal a size as possible.
    let parts = chains.count.div_ceil(LANES).max(1);
    let width = chains.count.div_ceil(parts).max(1);
    let mut tile = Tile::new(key, index, width);
    let mut block = 0;
    for colour in bath.spins.classes() {
        let quads = colour.len().div_ceil(4);
        for quad in (0..quads).step_by(tile.quads) {
            for chain in (0..chains.count).step_by(width) {
                tile.block = block + quad as u32;
                tile.place = colour.start + 4 * quad;
                tile.end = colour.end.min(tile.place + 4 * tile.quads);
                (tile.chain, tile.width) = (chain, width.min(chains.count - chain));
                tile.draw(bath, &mut chains, twice_betas);
                if let Some(energies) = &mut energies {
                    let energies = &mut energies[chain..][..tile.width];
                    energies
                        .iter_mut()
                        .zip(&tile.gains)
                        .for_each(|(energy, gain)| *energy += f64::from(*gain));
                }
            }
        }
        block += quads as u32;
    }
    chains
}

/// Updates worked on at once: long enough for the widest vector registers.
const LANES: usize = 128;

/// Spins of one colour in a few chains: quads of neighbouring places, one word of a Philox block for each place.
struct Tile {
    key: [u32; 2],
    first: u64,
    sweep: u32,
    /// Quads in a tile.
    quads: usize,
    /// The number of the first quad, counted over all colours.
    block: u32,
    /// Its first place, and the end of the places.
    place: usize,
    end: usize,
    /// The first chain, and how many.
    chain: usize,
    width: usize,
    words: [[u32; LANES]; 4],
    x: [[f32; LANES]; 4],
    /// What the energy of each chain has gained.
    gains: [f32; LANES],
}

impl Tile {
    fn new(key: Key, sweep: u32, width: usize) -> Box<Self> {
        let (key, first) = key.parts();
        let (words, x) = ([[0; LANES]; 4], [[0.0; LANES]; 4]);
        let quads = LANES / width;
        let gains = [0.0; LANES];
        Box::new(Self {
            key,
            first,
            sweep,
            quads,
            block: 0,
            place: 0,
            end: 0,
            chain: 0,
            width,
            words,
            x,
            gains,
        })
    }

    /// Draws the spins of the tile with the widest instructions this processor has. All give the same bits.
    fn draw(&mut self, bath: Bath, chains: &mut Chains, betas: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                // SAFETY: the processor has AVX-512F and BW.
                return unsafe { self.draw_avx512(bath, chains, betas) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2.
                return unsafe { self.draw_avx2(bath, chains, betas) };
            }
        }
        self.draw_portable(bath, chains, betas);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn draw_avx512(&mut self, bath: Bath, chains: &mut Chains, betas: &[f32]) {
        self.draw_portable(bath, chains, betas);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn draw_avx2(&mut self, bath: Bath, chains: &mut Chains, betas: &[f32]) {
        self.draw_portable(bath, chains, betas);
    }

    #[inline(always)]
    fn draw_portable(&mut self, bath: Bath, chains: &mut Chains, betas: &[f32]) {
        self.fill_words();
        for place in self.place..self.end {
            self.field(bath, chains, place);
        }
        let (width, count) = (self.width, chains.count);
        let gains = &mut self.gains[..width];
        gains.fill(0.0);
        for (index, place) in (self.place..self.end).enumerate() {
            let (word, lanes) = (index % 4, index / 4 * width..(index / 4 + 1) * width);
            let (words, x) = (&self.words[word][lanes.clone()], &self.x[word][lanes]);
            let values = &mut chains.values[place * count + self.chain..][..width];
            let betas = &betas[self.chain..][..width];
            let (factor, mut flips) = (bath.factors.map_or(1.0, |factors| factors[place]), 0);
            let lanes = values.iter_mut().zip(words).zip(x).zip(betas).zip(gains.iter_mut());
            for ((((value, &word), &x), &twice_beta), gain) in lanes {
                let (u, s) = (uniform(word), *value);
                let drawn = match bath.rule {
                    Rule::HeatBath => {
                        let up = u * (1.0 + exp(factor * twice_beta * x)) < 1.0;
                        if up { 1 } else { -1 }
                    }
                    Rule::Metropolis => {
                        let flips = u < exp(factor * twice_beta * x * f32::from(s));
                        if flips { -s } else { s }
                    }
                };
                flips += u32::from(s != drawn);
                *gain += x * f32::from(drawn - s);
                *value = drawn;
            }
            chains.flips += u64::from(flips);
        }
    }

    #[inline(always)]
    fn fill_words(&mut self) {
        let (mut blocks, mut low, mut high) = ([0; LANES], [0; LANES], [0; LANES]);
        let lanes = self.width * (self.end - self.place).div_ceil(4);
        for (quad, lanes) in (0..lanes).step_by(self.width).enumerate() {
            for lane in 0..self.width {
                let chain = self.first + (self.chain + lane) as u64;
                blocks[lanes + lane] = self.block + quad as u32;
                (low[lanes + lane], high[lanes + lane]) = (chain as u32, (chain >> 32) as u32 | UNIFORMS);
            }
        }
        let [w0, w1, w2, w3] = &mut self.words;
        for lane in 0..LANES {
            [w0[lane], w1[lane], w2[lane], w3[lane]] =
                philox(self.key, [blocks[lane], self.sweep, low[lane], high[lane]]);
        }
    }

    /// x of (23) at a place.
    #[inline(always)]
    fn field(&mut self, Bath { spins, fields, .. }: Bath, chains: &Chains, place: usize) {
        let index = place - self.place;
        let x = &mut self.x[index % 4][index / 4 * self.width..][..self.width];
        let (count, chain) = (chains.count, self.chain);
        if let [x] = x {
            let h = fields.map_or_else(|| spins.field(place), |fields| fields[place * count + chain]);
            let s = |other: u32| f32::from(chains.values[other as usize * count + chain]);
            *x = spins.neighbours(place).iter().fold(h, |x, &(other, coupling)| x + coupling * s(other));
            return;
        }
        match fields {
            None => x.fill(spins.field(place)),
            Some(fields) => x.copy_from_slice(&fields[place * count + chain..][..x.len()]),
        }
        for &(other, coupling) in spins.neighbours(place) {
            let s = &chains.values[other as usize * count + chain..][..x.len()];
            x.iter_mut().zip(s).for_each(|(x, &s)| *x += coupling * f32::from(s));
        }
    }
}

/// eʸ to 3e-7, with |y| held below 87: 2ⁿ times a polynomial of the rest.
#[inline(always)]
fn exp(y: f32) -> f32 {
    const NEAREST: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to an integer, in the low bits
    let y = y.clamp(-87.0, 87.0);
    let shifted = y * std::f32::consts::LOG2_E + NEAREST;
    let n = shifted - NEAREST;
    let scale = f32::from_bits((shifted.to_bits().wrapping_sub(NEAREST.to_bits()).wrapping_add(127)) << 23);
    // n ln 2 in two parts, of which the first is exact.
    let r = (y - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let terms = 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))));
    scale * (1.0 + r + r * r * terms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::run::run;

    #[test]
    fn the_exponential_is_accurate() {
        let worst = (-8700..=8700).map(|k| {
            let y = k as f32 / 100.0;
            (f64::from(exp(y)) / f64::from(y).exp() - 1.0).abs()
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 3e-7, "{worst:e}");
        assert!(exp(1e30) > 1e37 && exp(-1e30) < 1e-37 && exp(f32::INFINITY).is_finite());
    }

    /// A chain has the same spins alone, among others, in a tile or across several.
    #[test]
    fn a_chain_does_not_depend_on_the_others() {
        let spins = Spins::grid(5, 7, true, -0.3).unwrap();
        let key = Key::new(4);
        let run_of = |first: u64, count: usize| {
            let gibbs = Gibbs::new(&spins, 1.0, key.skip(first)).unwrap();
            run(&gibbs, Chains::random(&spins, count, key.fork("start").skip(first)), 20, |_| {}).unwrap()
        };
        let all = run_of(0, 300);
        for chain in [0, 1, 127, 128, 299] {
            let alone = run_of(chain, 1);
            assert_eq!(alone.chain(&spins, 0), all.chain(&spins, chain as usize));
        }
        assert_eq!(run_of(100, 50).chain(&spins, 49), all.chain(&spins, 149));
    }

    /// The widest instructions give the bits of plain ones.
    #[test]
    fn wide_and_narrow_instructions_agree() {
        let spins = Spins::grid(6, 6, true, 0.4).unwrap();
        let key = Key::new(5);
        let start = Chains::random(&spins, 32, key.fork("start"));
        let wide = sweep(Bath::of(&spins), start.clone(), &[1.0; 32], None, 3, key);
        let (mut narrow, mut block) = (start, 0);
        for colour in spins.classes() {
            let mut tile = Tile::new(key, 3, 32);
            for quad in 0..colour.len().div_ceil(4) {
                (tile.block, tile.place) = (block + quad as u32, colour.start + 4 * quad);
                tile.end = colour.end.min(tile.place + 4);
                tile.draw_portable(Bath::of(&spins), &mut narrow, &[1.0; 32]);
            }
            block += colour.len().div_ceil(4) as u32;
        }
        assert_eq!(wide, narrow);
    }

    #[test]
    fn energies_and_flips_are_those_of_the_definition() {
        let couplings = [([0, 1], 0.5), ([1, 2], -1.0), ([0, 3], 2.0)];
        let spins = Spins::new(&[0.25, 0.0, -1.0, 0.5], &couplings).unwrap();
        let chains = Chains::alike(&spins, 2, &[1, -1, -1, 1]).unwrap();
        let expected = 0.25 + 1.0 + 0.5 - 0.5 - 1.0 + 2.0;
        assert_eq!(spins.energies(&chains), [expected; 2]);
        assert_eq!(spins.magnetisations(&chains), [0; 2]);
        let after = sweep(Bath::of(&spins), chains.clone(), &[2.0; 2], None, 0, Key::new(1));
        let changed = (0..4).flat_map(|s| chains.of(&spins, s).iter().zip(after.of(&spins, s)));
        assert_eq!(after.flips(), changed.filter(|(a, b)| a != b).count() as u64);
    }
}
