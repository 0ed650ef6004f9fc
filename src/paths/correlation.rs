//! How much a correlated series tells: integrated autocorrelation time and effective sample size.
//!
//! ```text
//! τ = ½ + Σ_(t≥1) ρ(t),      var(mean of N) = 2τ σ²/N,      N_eff = N/2τ      (24)
//! ```
//!
//! τ = ½ for independent values. The sum is cut at the first W ≥ c max(τ(W), 1), c = 5, and the standard error of τ is then
//! √(2(2W + 1)/N) τ (A. D. Sokal, in Functional Integration, Springer 1997, section 3; N. Madras and A. D. Sokal, J. Stat.
//! Phys. 50, 109, 1988).

/// Mean, autocorrelation time and what follows from them, of stationary series.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Correlation {
    /// The mean over all series.
    pub mean: f64,
    /// The standard deviation of one value.
    pub sd: f64,
    /// τ, in steps of the series.
    pub tau: f64,
    /// The standard error of τ.
    pub tau_error: f64,
    /// Values in all.
    pub count: usize,
}

/// Autocorrelation times that the window of the sum holds.
const WINDOW: f64 = 5.0;

impl Correlation {
    /// Of one or more independent series of the same quantity, all of one length.
    ///
    /// None if there are fewer than two values, series differ in length, or the window does not close before half a series:
    /// then the series are too short for what they are.
    pub fn of(series: &[Vec<f64>]) -> Option<Self> {
        let count = series.iter().map(Vec::len).sum::<usize>();
        let mean = series.iter().flatten().sum::<f64>() / count as f64;
        Self::about(series, mean, false)
    }

    /// Of independent series with the same fluctuations about means that differ and are not known: the mean is that of all.
    ///
    /// None as for [`of`](Self::of).
    pub fn of_deviations(series: &[Vec<f64>]) -> Option<Self> {
        let means: Vec<f64> =
            series.iter().map(|values| values.iter().sum::<f64>() / values.len() as f64).collect();
        let rest = |(values, mean): (&Vec<f64>, &f64)| values.iter().map(|value| value - mean).collect();
        let deviations: Vec<Vec<f64>> = series.iter().zip(&means).map(rest).collect();
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        Some(Self { mean, ..Self::about(&deviations, 0.0, true)? })
    }

    /// Of series about a mean, or of deviations from their own means.
    ///
    /// Covariances of deviations are too small by the variance of the mean of a series, m = 2τσ²/N, which is added again:
    /// with the covariances c and their sum S over W lags, σ² = c₀ + m and τσ² = ½σ² + S + Wm give
    /// m = (c₀ + 2S)/(N − 2W − 1).
    fn about(series: &[Vec<f64>], mean: f64, own: bool) -> Option<Self> {
        let length = series.first()?.len();
        let count = series.len() * length;
        if length < 2 || series.iter().any(|values| values.len() != length) {
            return None;
        }
        let covariance = |lag: usize| {
            let products = series
                .iter()
                .flat_map(|values| values[lag..].iter().zip(values).map(|(a, b)| (a - mean) * (b - mean)));
            products.sum::<f64>() / (series.len() * (length - lag)) as f64
        };
        let first = covariance(0);
        if first == 0.0 {
            return Some(Self { mean, sd: 0.0, tau: 0.5, tau_error: 0.0, count });
        }
        let mut sum = 0.0;
        for lag in 1..length.div_ceil(2) {
            sum += covariance(lag);
            let lost = if own { (first + 2.0 * sum) / (length - 2 * lag - 1).max(1) as f64 } else { 0.0 };
            let variance = first + lost;
            let tau = 0.5 + (sum + lag as f64 * lost) / variance;
            if lag as f64 >= WINDOW * tau.max(1.0) {
                // Values that take turns: a series tells no more of its mean than that many independent ones.
                let tau = tau.max(0.5 / length as f64);
                let tau_error = (2.0 * (2 * lag + 1) as f64 / count as f64).sqrt() * tau;
                return Some(Self { mean, sd: variance.sqrt(), tau, tau_error, count });
            }
        }
        None
    }

    /// N_eff, the number of independent values that tell as much about the mean.
    pub fn effective(&self) -> f64 {
        self.count as f64 / (2.0 * self.tau)
    }

    /// The standard error of the mean.
    pub fn standard_error(&self) -> f64 {
        self.sd / self.effective().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Key;

    /// x ← a x + √(1 − a²) η has ρ(t) = aᵗ and τ = ½ (1 + a)/(1 − a).
    #[test]
    fn autoregressive_series_have_their_times_and_errors_hold() {
        for (a, seed) in [(0.0, 1), (0.5, 2), (0.9, 3), (-0.3, 4)] {
            let (exact, mut inside, mut means) = (0.5 * (1.0 + a) / (1.0 - a), 0, 0);
            for repetition in 0..100 {
                let series: Vec<Vec<f64>> = (0..4)
                    .map(|number| {
                        let key = Key::new(seed).at(repetition).at(number);
                        let mut x = f64::from(key.fork("start").normals(0, 1, 1)[0]);
                        let next = |&noise: &f32| {
                            x = a * x + (1.0 - a * a).sqrt() * f64::from(noise);
                            x
                        };
                        key.normals(0, 1, 5000).iter().map(next).collect()
                    })
                    .collect();
                let found = Correlation::of(&series).unwrap();
                inside += usize::from((found.tau - exact).abs() < 2.0 * found.tau_error);
                means += usize::from(found.mean.abs() < 2.0 * found.standard_error());
            }
            // Two standard errors hold 95.4 of 100; 82 or fewer would come once in a million. The cut bends τ by e⁻⁵.
            assert!(inside > 82 && means > 82, "a = {a}: {inside} of 100 times, {means} of 100 means");
        }
    }

    /// Short series about means of their own: the time is not too small by what the means take away.
    #[test]
    fn means_that_differ_do_not_shorten_times() {
        for (a, seed) in [(0.0, 5), (0.5, 6), (0.8, 7)] {
            let exact = 0.5 * (1.0 + a) / (1.0 - a);
            let series = |number: u64| -> Vec<f64> {
                let key = Key::new(seed).at(number);
                let mut x = f64::from(key.fork("start").normals(0, 1, 1)[0]);
                let next = |&noise: &f32| {
                    x = a * x + (1.0 - a * a).sqrt() * f64::from(noise);
                    x + number as f64
                };
                key.normals(0, 1, 400).iter().map(next).collect()
            };
            let all: Vec<Vec<f64>> = (0..500).map(series).collect();
            let found = Correlation::of_deviations(&all).unwrap();
            println!("a = {a}: {found:?} instead of {exact}");
            // The cut takes e⁻⁵ of the time away, and five standard errors are exceeded once in a million.
            assert!((found.tau - exact).abs() < 5.0 * found.tau_error + 0.01 * exact, "a = {a}: {found:?}");
        }
    }

    #[test]
    fn series_that_are_too_short_are_refused() {
        let slow = (0..40).map(f64::from).collect();
        assert_eq!(Correlation::of(&[slow]), None);
        assert_eq!(Correlation::of(&[]), None);
        assert_eq!(Correlation::of(&[vec![1.0]]), None);
        assert_eq!(Correlation::of(&[vec![0.0, 1.0], vec![1.0]]), None);
        assert_eq!(Correlation::of(&[vec![3.0; 9]]).unwrap().standard_error(), 0.0);
    }
}
