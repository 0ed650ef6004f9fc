//! Code that the benchmarks share: timings, and running the scripts of other systems.

use std::process::Command;
use std::time::Instant;

/// Number of repetitions of each job.
const REPEATS: usize = 30;

/// Prints the times of the jobs, each also as a multiple of the first, and returns their medians in seconds.
pub fn table<const N: usize>(jobs: [(&str, &mut dyn FnMut()); N]) -> [f64; N] {
    println!("{:20} {:>11} {:>22}   median of {REPEATS}", "", "median", "min to max");
    let mut first = None;
    jobs.map(|(name, job)| {
        let [least, median, most] = times(job);
        let ratio = median / *first.get_or_insert(median);
        let spread = format!("{:.2} to {:.2}", 1e3 * least, 1e3 * most);
        println!("{name:20} {:8.2} ms {spread:>22}   {ratio:5.2} x first", 1e3 * median);
        median
    })
}

/// The minimum, median and maximum time of a job in seconds, after one warm-up run.
fn times(job: &mut dyn FnMut()) -> [f64; 3] {
    job();
    let time = |_| {
        let start = Instant::now();
        job();
        start.elapsed().as_secs_f64()
    };
    let mut times: Vec<f64> = (0..REPEATS).map(time).collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[REPEATS / 2], times[REPEATS - 1]]
}

/// The times in seconds that a script prints as JSON under the given keys; none if what it needs is not available.
#[allow(dead_code)]
pub fn peer<const N: usize>(script: &str, keys: [&str; N]) -> Option<[f64; N]> {
    let python = std::env::var("THERMOGRAD_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = format!("{}/benches/peers/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(script).output().ok().filter(|output| output.status.success())?;
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let values: Option<Vec<f64>> = keys.iter().map(|key| line[*key].as_f64()).collect();
    values?.try_into().ok()
}
