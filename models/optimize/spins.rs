//! Spin models as landscapes: the temperatures that suit them, and descent.

use std::collections::BTreeMap;

use thermograd::{Ising, Spins};

use crate::error::Result;

/// The root mean square field of a spin among random others, λ = √⟨h² + Σ_j J_ij²⟩; but no more than four times the median of
/// single spins, so that a few strong couplings do not set the temperature of all.
pub fn scale(model: &Ising) -> f64 {
    let mut squares: Vec<f64> = model.fields.iter().map(|h| h * h).collect();
    for ([i, j], coupling) in &model.couplings {
        squares[*i] += coupling * coupling;
        squares[*j] += coupling * coupling;
    }
    typical(
        (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt(),
        squares.into_iter().map(f64::sqrt),
    )
}

/// A mean, but no more than four times the median of what is above zero.
pub(crate) fn typical(mean: f64, all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = all.filter(|size| *size > 0.0).collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).map_or(mean, |median| mean.min(4.0 * median))
}

/// The smallest cost of a flip that is not zero: twice the greatest common divisor of whole numbers, and twice the smallest
/// magnitude of others, but no less than a hundredth of λ.
pub fn step(model: &Ising) -> f64 {
    let all = model.fields.iter().chain(model.couplings.iter().map(|(_, j)| j));
    let sizes: Vec<f64> = all.map(|x| x.abs()).filter(|x| *x > 0.0).collect();
    let least = sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let whole = sizes.iter().all(|x| x.fract() == 0.0 && *x < 1e15);
    let gcd = |a: u64, b: u64| {
        let (mut a, mut b) = (a, b);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let unit = if whole { sizes.iter().fold(0, |all, &x| gcd(all, x as u64)) as f64 } else { least };
    (2.0 * unit).max(0.01 * scale(model))
}

/// Inverse temperatures for parallel tempering: from 1.2/λ to 4 over the smallest cost of a flip.
pub fn tempered(model: &Ising) -> [f64; 2] {
    ends(1.2, 4.0, model)
}

/// Inverse temperatures for annealing: from 0.7/λ to 6 over the smallest cost of a flip.
pub fn annealed(model: &Ising) -> [f64; 2] {
    ends(0.7, 6.0, model)
}

fn ends(hot: f64, cold: f64, model: &Ising) -> [f64; 2] {
    let scale = scale(model);
    if scale == 0.0 {
        return [1.0, 2.0];
    }
    let hot = hot / scale;
    [hot, (cold / step(model)).max(2.0 * hot)]
}

/// The graph of a model. Couplings of repeated pairs are summed, and zeros left out.
///
/// # Errors
/// Those of [`Spins::new`].
pub fn graph(model: &Ising) -> Result<Spins> {
    Ok(Spins::new(&model.fields, &coupled(model))?)
}

/// The pairs that couple, each once, in order.
pub(crate) fn coupled(model: &Ising) -> Vec<([usize; 2], f64)> {
    let mut couplings = BTreeMap::new();
    for &([i, j], value) in &model.couplings {
        *couplings.entry([i.min(j), i.max(j)]).or_insert(0.0) += value;
    }
    couplings.into_iter().filter(|(_, value)| *value != 0.0).collect()
}

/// Flips single spins while that lowers the energy, the one that lowers it most first.
pub fn descend(model: &Ising, spins: &mut [i8]) {
    let mut neighbours = vec![Vec::new(); spins.len()];
    for &([i, j], value) in &model.couplings {
        neighbours[i].push((j, value));
        neighbours[j].push((i, value));
    }
    let s = |spins: &[i8], i: usize| f64::from(spins[i]);
    let field =
        |i: usize| model.fields[i] + neighbours[i].iter().map(|&(j, value)| value * s(spins, j)).sum::<f64>();
    let mut fields: Vec<f64> = (0..spins.len()).map(field).collect();
    loop {
        // What the energy falls by: 2 s x.
        let falls = |i: usize| 2.0 * s(spins, i) * fields[i];
        let Some(best) = (0..spins.len()).max_by(|&a, &b| falls(a).total_cmp(&falls(b))) else { return };
        if falls(best) <= 1e-9 {
            return;
        }
        spins[best] = -spins[best];
        for &(other, value) in &neighbours[best] {
            fields[other] += 2.0 * value * s(spins, best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_steps_and_descent() {
        let model = Ising {
            fields: vec![0.0, 4.0, 0.0],
            couplings: vec![([0, 1], 6.0), ([1, 2], -2.0), ([2, 1], -2.0)],
            offset: 0.0,
        };
        assert_eq!(step(&model), 4.0);
        assert!((scale(&model) - ((16.0 + 2.0 * (36.0 + 4.0 + 4.0)) / 3.0_f64).sqrt()).abs() < 1e-12);
        assert_eq!(graph(&model).unwrap().pairs(), 2);
        let mut spins = [1, 1, 1];
        descend(&model, &mut spins);
        // E = 4 s₁ + 6 s₀ s₁ − 4 s₁ s₂ has its minimum −14 at + − −.
        assert_eq!((spins, model.energy(&spins)), ([1, -1, -1], -14.0));
    }
}
