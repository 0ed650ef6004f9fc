//! Keys and counter-based normals: every random number is a pure function of where it is used.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
//! '11): ten rounds of a 4 × 32-bit block cipher, keyed by 64 bits. The counter says where the number is used,
//!
//! ```text
//! counter = (unit / 4, step, trajectory mod 2³², trajectory div 2³²)
//! ```
//!
//! so a trajectory has the same noise on every backend, with any number of threads and in any batch. The Box–Muller
//! transform (Ann. Math. Stat. 29, 610, 1958) turns the four words of a block into four normals,
//!
//! ```text
//! η₀ = √(−2 ln u₀) cos 2πu₁,   η₁ = √(−2 ln u₀) sin 2πu₁,
//! ```
//!
//! with logarithm, sine and cosine as polynomials in plain `f32` arithmetic, without fused operations or library
//! calls, hence with the same bits on every processor. Normals are within 4e-7 of the exact transform (relative to
//! the radius √(−2 ln u₀) where that is above one), and |η| < 6.7.

use std::convert::Infallible;

use rand::TryRng;
use serde::{Deserialize, Serialize};

/// Where a random number comes from: 64 bits of Philox key and the index of the first trajectory.
///
/// Keys are values: copy them, [`fork`](Key::fork) them by name, index them with [`at`](Key::at). Using a key twice
/// gives the same numbers twice. Forks keep the position in the batch, so the numbers of a trajectory never depend on
/// how a batch was split. Numbers that the whole batch shares are drawn with the key of the [`batch`](Key::batch).
///
/// ```
/// use thermograd::Key;
/// let key = Key::new(7).fork("training").at(3);
/// let batch = key.normals(0, 4, 2); // step 0, four trajectories of two units
/// assert_eq!(batch[4..], key.skip(2).normals(0, 2, 2)); // the last two trajectories, drawn alone
/// assert_eq!(key.skip(2).fork("start"), key.fork("start").skip(2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    words: [u32; 2],
    trajectory: u64,
}

/// The top bits of the fourth counter word distinguish the four uses of a key; normals have none.
pub(crate) const UNIFORMS: u32 = 0x4000_0000;
const STREAM: u32 = 0x8000_0000;
const FORK: u32 = 0xC000_0000;

impl Key {
    /// The key of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { words: split(seed), trajectory: 0 }
    }

    /// An independent key for the use called `name`, at the same position in the batch.
    pub fn fork(self, name: &str) -> Self {
        // FNV-1a spreads the name over 64 bits; Philox does the mixing.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| {
            (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.derive(hash, FORK)
    }

    /// The `index`-th of a family of independent keys, at the same position in the batch; for example one per epoch,
    /// batch or repetition.
    pub fn at(self, index: u64) -> Self {
        self.derive(index, FORK | 1)
    }

    fn derive(self, value: u64, domain: u32) -> Self {
        let [low, high] = split(value);
        let [a, b, ..] = philox(self.words, [low, high, 0, domain]);
        Self { words: [a, b], ..self }
    }

    /// The key of the whole batch, whatever the position of this one in it; for numbers that all trajectories share.
    pub fn batch(self) -> Self {
        Self { trajectory: 0, ..self }
    }

    /// The key whose trajectory 0 is this key's trajectory `trajectories`; used for a part of a batch.
    pub fn skip(self, trajectories: u64) -> Self {
        Self { trajectory: self.trajectory + trajectories, ..self }
    }

    /// The key of one trajectory, the same however the batch was split.
    pub fn row(self, trajectory: u64) -> Self {
        self.batch().at(self.trajectory + trajectory)
    }

    /// Standard normals of one step.
    ///
    /// # Shapes
    /// Row-major `[trajectory, unit]`, `trajectories · units` values.
    pub fn normals(self, step: u32, trajectories: usize, units: usize) -> Vec<f32> {
        self.draw::<false>(step, trajectories, units)
    }

    /// Uniform numbers of one step in (0, 1), of 24 bits, independent of the normals.
    ///
    /// # Shapes
    /// Row-major `[trajectory, unit]`, `trajectories · units` values.
    pub fn uniforms(self, step: u32, trajectories: usize, units: usize) -> Vec<f32> {
        self.draw::<true>(step, trajectories, units)
    }

    fn draw<const UNIFORM: bool>(self, step: u32, trajectories: usize, units: usize) -> Vec<f32> {
        #[cfg(test)]
        DRAWN.with(|drawn| drawn.set(drawn.get() + 1));
        let blocks = units.div_ceil(4);
        let mut out = Vec::with_capacity(trajectories * units);
        let mut lanes = Lanes::<UNIFORM>::new(self.trajectory, step, blocks as u32);
        let mut block = 0; // the first block of its row that is not written yet
        while out.len() < trajectories * units {
            lanes.fill(self.words);
            let mut normals = &lanes.value[..];
            while !normals.is_empty() && out.len() < trajectories * units {
                let taken = (normals.len() / 4).min(blocks - block);
                let width = (4 * taken).min(units - 4 * block);
                out.extend_from_slice(&normals[..width]);
                normals = &normals[4 * taken..];
                block = (block + taken) % blocks;
            }
        }
        out
    }

    /// What the words of a step depend on: the cipher's key and the first trajectory.
    pub(crate) fn parts(self) -> ([u32; 2], u64) {
        (self.words, self.trajectory)
    }

    /// A sequential generator for distributions and shuffles of the `rand` crates, shared by the whole batch.
    pub fn rng(self) -> Stream {
        Stream { key: self.words, block: 0, words: [0; 4 * AHEAD], used: 0, filled: 0 }
    }

    /// A random order of `0..n` (Fisher and Yates).
    pub fn permutation(self, n: usize) -> Vec<usize> {
        use rand::seq::SliceRandom;
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut self.rng());
        order
    }
}

#[cfg(test)]
thread_local! {
    /// How often numbers were drawn on this thread.
    pub(crate) static DRAWN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

const fn split(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Blocks computed at once, enough to fill the widest vector registers.
const LANES: usize = 128;

/// A structure of arrays, so that the compiler turns each loop over lanes into vector instructions.
struct Lanes<const UNIFORM: bool> {
    /// The counters of the next numbers, running through the blocks of one trajectory after the other.
    counter: [[u32; LANES]; 4],
    blocks: u32,
    /// Four normals or uniform numbers per lane, next to each other.
    value: [f32; 4 * LANES],
}

impl<const UNIFORM: bool> Lanes<UNIFORM> {
    fn new(trajectory: u64, step: u32, blocks: u32) -> Box<Self> {
        let mut counter = [[0; LANES]; 4];
        for lane in 0..LANES {
            let block = lane as u32 % blocks.max(1);
            let [low, high] = split(trajectory + u64::from(lane as u32 / blocks.max(1)));
            let high = high & !STREAM | if UNIFORM { UNIFORMS } else { 0 };
            for (row, word) in counter.iter_mut().zip([block, step, low, high]) {
                row[lane] = word;
            }
        }
        Box::new(Self { counter, blocks, value: [0.0; 4 * LANES] })
    }

    /// Draws the next normals with the widest instructions this processor has. All give the same bits.
    fn fill(&mut self, key: [u32; 2]) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has AVX-512F.
                return unsafe { self.fill_avx512(key) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has AVX2.
                return unsafe { self.fill_avx2(key) };
            }
        }
        self.fill_portable(key);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn fill_avx512(&mut self, key: [u32; 2]) {
        self.fill_portable(key);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn fill_avx2(&mut self, key: [u32; 2]) {
        self.fill_portable(key);
    }

    #[inline(always)]
    fn fill_portable(&mut self, key: [u32; 2]) {
        let mut words = self.counter;
        let [w0, w1, w2, w3] = &mut words;
        for lane in 0..LANES {
            let block = philox(key, [w0[lane], w1[lane], w2[lane], w3[lane]]);
            [w0[lane], w1[lane], w2[lane], w3[lane]] = block;
        }
        for (lane, quad) in self.value.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let words = [w0[lane], w1[lane], w2[lane], w3[lane]];
            if UNIFORM {
                *quad = words.map(uniform);
            } else {
                let [a, b] = box_muller(words[0], words[1]);
                let [c, d] = box_muller(words[2], words[3]);
                *quad = [a, b, c, d];
            }
        }
        self.advance();
    }

    /// Advances every lane by the number of lanes.
    #[inline(always)]
    fn advance(&mut self) {
        let (rows, blocks) = (LANES as u32 / self.blocks, LANES as u32 % self.blocks);
        let [block, _, low, high] = &mut self.counter;
        for lane in 0..LANES {
            let next = block[lane] + blocks;
            let wraps = u32::from(next >= self.blocks);
            block[lane] = next - wraps * self.blocks;
            let moved = low[lane].wrapping_add(rows + wraps);
            high[lane] = high[lane].wrapping_add(u32::from(moved < low[lane])) & !STREAM;
            low[lane] = moved;
        }
    }
}

/// Philox4x32-10: the block cipher itself (Salmon et al. 2011, section 4).
///
/// Written without a loop, so that the compiler vectorises over lanes instead of over rounds.
#[inline(always)]
pub const fn philox(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    macro_rules! round {
        ($c:ident, $n:literal) => {{
            let k0 = key[0].wrapping_add(WEYL[0].wrapping_mul($n));
            let k1 = key[1].wrapping_add(WEYL[1].wrapping_mul($n));
            let [lo0, hi0] = split(MULTIPLIERS[0] as u64 * $c[0] as u64);
            let [lo1, hi1] = split(MULTIPLIERS[1] as u64 * $c[2] as u64);
            [hi1 ^ $c[1] ^ k0, lo1, hi0 ^ $c[3] ^ k1, lo0]
        }};
    }
    let c = round!(counter, 0);
    let c = round!(c, 1);
    let c = round!(c, 2);
    let c = round!(c, 3);
    let c = round!(c, 4);
    let c = round!(c, 5);
    let c = round!(c, 6);
    let c = round!(c, 7);
    let c = round!(c, 8);
    round!(c, 9)
}

/// A number in (0, 1) from the upper 24 bits of a uniform word.
#[inline(always)]
pub(crate) fn uniform(word: u32) -> f32 {
    ((word >> 8) as i32 as f32 + 0.5) * (1.0 / 16_777_216.0)
}

/// Two independent standard normals from two uniform words.
#[inline(always)]
fn box_muller(a: u32, b: u32) -> [f32; 2] {
    // 31 bits, because signed conversion exists everywhere; u in (0, 1].
    let u = (a >> 1) as i32 as f32 * (1.0 / 2_147_483_648.0) + 1.0 / 4_294_967_296.0;
    let radius = (-2.0 * ln(u)).max(0.0).sqrt();
    let (sin, cos) = sin_cos_turns(b);
    [radius * cos, radius * sin]
}

/// ln u for 2⁻³² ≤ u ≤ 1: u = 2ᵉm with m in [√½, √2), and ln m = 2 artanh s with s = (m − 1)/(m + 1).
#[inline(always)]
fn ln(u: f32) -> f32 {
    const SQRT_HALF_BITS: u32 = 0x3F35_04F3;
    let shifted = u.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = (shifted as i32) >> 23;
    let m = f32::from_bits((shifted & 0x007F_FFFF).wrapping_add(SQRT_HALF_BITS));
    let s = (m - 1.0) / (m + 1.0);
    let s2 = s * s;
    let artanh = s + s * s2 * (1.0 / 3.0 + s2 * (1.0 / 5.0 + s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0))));
    exponent as f32 * std::f32::consts::LN_2 + 2.0 * artanh
}

/// sin and cos of `word`/2³² turns: the nearest quarter turn, then Taylor polynomials on |t| ≤ π/4.
#[inline(always)]
fn sin_cos_turns(word: u32) -> (f32, f32) {
    let quarter = word.wrapping_add(0x2000_0000) >> 30;
    let rest = word.wrapping_sub(quarter << 30) as i32;
    let t = rest as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let t2 = t * t;
    let sin = t + t * t2 * (-1.0 / 6.0 + t2 * (1.0 / 120.0 + t2 * (-1.0 / 5040.0 + t2 * (1.0 / 362_880.0))));
    let cos = 1.0 + t2 * (-0.5 + t2 * (1.0 / 24.0 + t2 * (-1.0 / 720.0 + t2 * (1.0 / 40_320.0))));
    // Quarter q turns (sin, cos) into (sin, cos), (cos, −sin), (−sin, −cos), (−cos, sin).
    let swap = 0_u32.wrapping_sub(quarter & 1);
    let (sin, cos) = (sin.to_bits(), cos.to_bits());
    let (sin, cos) = ((sin & !swap) | (cos & swap), (cos & !swap) | (sin & swap));
    let sin_sign = (quarter & 2) << 30;
    let cos_sign = ((quarter + 1) & 2) << 30;
    (f32::from_bits(sin ^ sin_sign), f32::from_bits(cos ^ cos_sign))
}

/// A sequential source of random words, as which the `rand` crates see a [`Key`].
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    block: u64,
    words: [u32; 4 * AHEAD],
    used: usize,
    filled: usize,
}

/// Blocks that a stream computes at once, after the first: many streams are asked for a few words only.
const AHEAD: usize = 16;

impl Stream {
    fn refill(&mut self) {
        if self.block == 0 {
            self.words[..4].copy_from_slice(&philox(self.key, [0, 0, 0, STREAM]));
            (self.block, self.filled) = (1, 4);
        } else {
            self.refill_wide();
            (self.block, self.filled) = (self.block + AHEAD as u64, 4 * AHEAD);
        }
        self.used = 0;
    }

    fn refill_wide(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { self.refill_avx2() };
        }
        self.refill_portable();
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn refill_avx2(&mut self) {
        self.refill_portable();
    }

    #[inline(always)]
    fn refill_portable(&mut self) {
        let [mut w0, mut w1, mut w2, mut w3] = [[0; AHEAD]; 4];
        for lane in 0..AHEAD {
            let [low, high] = split(self.block + lane as u64);
            [w0[lane], w1[lane], w2[lane], w3[lane]] = philox(self.key, [low, high, 0, STREAM]);
        }
        for (lane, words) in self.words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *words = [w0[lane], w1[lane], w2[lane], w3[lane]];
        }
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        if self.used == self.filled {
            self.refill();
        }
        self.used += 1;
        Ok(self.words[self.used - 1])
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = u64::from(self.try_next_u32()?);
        Ok(low | u64::from(self.try_next_u32()?) << 32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for piece in bytes.chunks_mut(4) {
            let word = self.try_next_u32()?.to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with the reference implementation (Random123, kat_vectors).
    #[test]
    fn known_answers() {
        let ones = u32::MAX;
        let vectors = [
            ([0; 2], [0; 4], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([ones; 2], [ones; 4], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (
                [0xa4093822, 0x299f31d0],
                [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
                [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
            ),
        ];
        for (key, counter, answer) in vectors {
            assert_eq!(philox(key, counter), answer);
        }
    }

    /// A stream is the blocks of its counter in turn, computed one or many at once.
    #[test]
    fn streams_are_blocks_in_turn() {
        use rand::Rng;
        let key = Key::new(11);
        let mut stream = key.rng();
        for block in 0..40 {
            for word in philox(key.words, [block, 0, 0, STREAM]) {
                assert_eq!(stream.next_u32(), word, "block {block}");
            }
        }
    }

    #[test]
    fn wide_lanes_give_the_bits_of_narrow_ones() {
        let mut wide = Lanes::<false>::new((1 << 32) - 3, 9, 5);
        for _ in 0..3 {
            let counter = wide.counter;
            wide.fill([3, 4]);
            for (lane, quad) in wide.value.chunks(4).enumerate() {
                let words = philox([3, 4], [0, 1, 2, 3].map(|w| counter[w][lane]));
                let narrow = [box_muller(words[0], words[1]), box_muller(words[2], words[3])].concat();
                assert!(quad.iter().zip(&narrow).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }

    /// The normal of a unit depends only on its step, trajectory and index.
    #[test]
    fn counters_address_step_trajectory_and_unit() {
        let key = Key::new(3).skip((1 << 32) - 2);
        for units in [1, 3, 4, 74, 1000] {
            let all = key.normals(5, 40, units);
            for trajectory in [0, 1, 2, 39] {
                let id = (1 << 32) - 2 + trajectory as u64;
                for unit in [0, units / 2, units - 1] {
                    let [low, high] = split(id);
                    let words = philox(key.words, [unit as u32 / 4, 5, low, high]);
                    let pair = if unit % 4 < 2 { [0, 1] } else { [2, 3] };
                    let expected = box_muller(words[pair[0]], words[pair[1]])[unit % 2];
                    assert_eq!(all[trajectory * units + unit].to_bits(), expected.to_bits());
                }
            }
        }
    }

    #[test]
    fn transform_is_accurate() {
        let mut rng = Key::new(1).rng();
        let mut worst = 0.0_f64;
        let edges = [0, 1, u32::MAX, 1 << 31, 1 << 30, 3 << 30, 0x2000_0000, 0x1FFF_FFFF];
        let random = (0..200_000).map(|_| [rng.try_next_u32().unwrap(), rng.try_next_u32().unwrap()]);
        let edges = edges.into_iter().flat_map(|a| edges.into_iter().map(move |b| [a, b]));
        for [a, b] in random.chain(edges) {
            let u = f64::from(((a >> 1) as f32) / 2_147_483_648.0 + 1.0 / 4_294_967_296.0);
            let angle = std::f64::consts::TAU * f64::from(b) / 4_294_967_296.0;
            let radius = (-2.0 * u.ln()).sqrt();
            let [x, y] = box_muller(a, b).map(f64::from);
            assert!(x.abs() < 6.7 && y.abs() < 6.7);
            // Near u = 1, √(−2 ln u) is ill-conditioned; the radius itself is then below 1e-3.
            worst = worst.max((x - radius * angle.cos()).abs() / radius.max(1.0));
            worst = worst.max((y - radius * angle.sin()).abs() / radius.max(1.0));
        }
        assert!(worst < 4e-7, "worst error {worst:e}");
    }

    #[test]
    fn keys_do_not_collide() {
        let key = Key::new(5);
        let keys = [key, key.fork("a"), key.fork("b"), key.at(0), key.at(1), Key::new(6)];
        let first: std::collections::BTreeSet<u32> =
            keys.iter().map(|k| k.normals(0, 1, 1)[0].to_bits()).collect();
        assert_eq!(first.len(), keys.len());
    }

    #[test]
    fn permutation_is_one() {
        let mut order = Key::new(2).permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
