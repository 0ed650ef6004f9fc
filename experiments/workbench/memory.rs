//! Checks what fits into the memory of the machine.

use std::fs;

use anyhow::{Result, ensure};

/// The memory assumed to be free if the system does not report it: 16 GiB.
const UNKNOWN: u128 = 16 << 30;

/// Refuses work that would take more memory than is free.
///
/// # Errors
/// Says how much memory the work needs, and how much is free.
pub fn afford(what: &str, bytes: u128) -> Result<()> {
    let free = free();
    ensure!(
        bytes <= free,
        "{what}: this takes about {} GiB of memory, and {} GiB are free",
        gib(bytes),
        gib(free)
    );
    Ok(())
}

/// A size in GiB with three digits, in plain notation unless it is absurd.
fn gib(bytes: u128) -> String {
    match bytes as f64 / (1_u64 << 30) as f64 {
        gib if gib < 100.0 => format!("{gib:.1}"),
        gib if gib < 1e6 => format!("{gib:.0}"),
        gib => format!("{gib:.2e}"),
    }
}

fn free() -> u128 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u128>().ok());
    kibibytes.map_or(UNKNOWN, |kibibytes| kibibytes << 10)
}
