//! What the benches share: medians, and the scripts of other systems.

use std::process::Command;
use std::time::Instant;

/// Median seconds of a job after one run to warm up.
pub fn median(repeats: usize, mut job: impl FnMut()) -> f64 {
    job();
    let time = |_| {
        let start = Instant::now();
        job();
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (0..repeats).map(time).collect();
    times.sort_by(f64::total_cmp);
    times[repeats / 2]
}

/// The seconds that a script prints as JSON under some keys, if there is a JAX to run it.
pub fn jax<const N: usize>(script: &str, keys: [&str; N]) -> Option<[f64; N]> {
    let python = std::env::var("THERMOGRAD_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = format!("{}/benches/peers/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(script).output().ok().filter(|output| output.status.success())?;
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let values: Option<Vec<f64>> = keys.iter().map(|key| line[*key].as_f64()).collect();
    values?.try_into().ok()
}
