//! Compares two files of couplings.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use thermograd_experiments::report::counted;
use thermograd_experiments::say;
use thermograd_experiments::workbench::output;
use thermograd_experiments::workbench::run::load;

use crate::arguments::Diff;

/// `couplings diff`; ends the program with status 1 if they differ, and with 2 after an error, as diff does.
pub fn diff(task: &Diff) -> Result<()> {
    let same = compare(task).and_then(|same| output::end().map(|()| same));
    match same {
        Ok(true) => Ok(()),
        Ok(false) => std::process::exit(1),
        Err(error) => {
            output::aside(format_args!("error: {error:#}"));
            std::process::exit(2)
        }
    }
}

/// Prints the differences, and returns whether there are none.
fn compare(task: &Diff) -> Result<bool> {
    ensure!(task.tolerance >= 0.0, "--tolerance {}: it must not be negative", task.tolerance);
    let (one, other) = (load(&task.one)?, load(&task.other)?);
    let mut same = true;
    let mut tell = |text: String| {
        say!("{text}");
        same = false;
    };
    let (a, b) = (
        serde_json::from_str(&one.description.to_json())?,
        serde_json::from_str(&other.description.to_json())?,
    );
    describe_differences("", &a, &b, &mut tell);
    let names: BTreeSet<&String> = one.tensors.keys().chain(other.tensors.keys()).collect();
    for name in names {
        match (one.tensors.get(name), other.tensors.get(name)) {
            (Some((a, left)), Some((b, right))) if a == b => {
                let difference = |(a, b): (&f32, &f32)| f64::from(*a) - f64::from(*b);
                let all: Vec<f64> = left.iter().zip(right).map(difference).collect();
                let differ = all.iter().filter(|d| d.abs() > task.tolerance).count();
                let largest = all.iter().fold(0.0_f64, |largest, d| largest.max(d.abs()));
                let square = all.iter().map(|d| d * d).sum::<f64>() / all.len().max(1) as f64;
                if differ > 0 {
                    let rms = square.sqrt();
                    tell(format!(
                        "{name}: {differ} of {} values differ, by {rms:.3e} (rms), {largest:.3e} at most",
                        all.len()
                    ));
                }
            }
            (Some((a, _)), Some((b, _))) => tell(format!("{name}: shape {a:?} and {b:?}")),
            (Some(_), None) => tell(format!("{name}: only in {}", task.one.display())),
            _ => tell(format!("{name}: only in {}", task.other.display())),
        }
    }
    if same {
        say!("the same: {}", counted(one.count(), "coupling"));
    }
    Ok(same)
}

/// Reports the fields in which two descriptions differ.
fn describe_differences(at: &str, a: &Value, b: &Value, tell: &mut impl FnMut(String)) {
    use Value::{Array, Object};
    match (a, b) {
        (Object(left), Object(right)) => {
            let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                let none = Value::Null;
                let (a, b) = (left.get(name).unwrap_or(&none), right.get(name).unwrap_or(&none));
                describe_differences(&format!("{at}.{name}"), a, b, tell);
            }
        }
        (Array(left), Array(right)) if left.len() == right.len() && left.len() < 100 => {
            for (index, (a, b)) in left.iter().zip(right).enumerate() {
                describe_differences(&format!("{at}[{index}]"), a, b, tell);
            }
        }
        _ if a != b => {
            let short = |value: &Value| value.to_string().chars().take(60).collect::<String>();
            tell(format!("description{at}: {} and {}", short(a), short(b)));
        }
        _ => {}
    }
}
