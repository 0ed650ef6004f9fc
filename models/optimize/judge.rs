//! How long it takes to find a solution with 99 % probability.
//!
//! ```text
//! TTS = t max(1, ln 0.01/ln(1 − p))      (44)
//! ```
//!
//! of runs of length t that each succeed with probability p (T. F. Rønnow et al., Science 345, 420, 2014). From k successes in n runs,
//! p is k/n, and the interval that of Jeffreys: quantiles of Beta(k + ½, n − k + ½).

use serde::Serialize;
use statrs::distribution::{Beta, ContinuousCDF};

/// Seconds to a solution.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct TimeToSolution {
    /// At p = k/n; none without a success.
    pub seconds: Option<f64>,
    /// At the upper end of an interval of 95 % of p.
    pub least: f64,
    /// At its lower end; none without a success.
    pub most: Option<f64>,
}

/// (44) of `successes` in `runs` of `seconds` each; none without a run.
pub fn time_to_solution(seconds: f64, successes: usize, runs: usize) -> Option<TimeToSolution> {
    if runs == 0 || successes > runs {
        return None;
    }
    let (k, n) = (successes as f64, runs as f64);
    let at = |p: f64| match p {
        p if p >= 1.0 => seconds,
        p => seconds * (0.01_f64.ln() / (-p).ln_1p()).max(1.0),
    };
    let beta = Beta::new(k + 0.5, n - k + 0.5).ok()?;
    let some = successes > 0;
    Some(TimeToSolution {
        seconds: some.then(|| at(k / n)),
        least: at(beta.inverse_cdf(0.975)),
        most: some.then(|| at(beta.inverse_cdf(0.025))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_a_solution() {
        let half = time_to_solution(2.0, 5, 10).unwrap();
        // ln 0.01/ln 0.5 = 6.644.
        assert!((half.seconds.unwrap() - 13.288).abs() < 1e-3, "{half:?}");
        // Quantiles of Beta(5.5, 5.5): 0.2235 and 0.7765.
        assert!((half.least - 2.0 * 4.60517 / 1.4983).abs() < 0.01, "{half:?}");
        assert!((half.most.unwrap() - 2.0 * 4.60517 / 0.25296).abs() < 0.1, "{half:?}");
        let (all, none) = (time_to_solution(2.0, 10, 10).unwrap(), time_to_solution(2.0, 0, 10).unwrap());
        assert_eq!((all.seconds, all.least), (Some(2.0), 2.0));
        assert!(none.seconds.is_none() && none.most.is_none() && none.least > 30.0, "{none:?}");
        assert!(time_to_solution(1.0, 0, 0).is_none());
    }
}
