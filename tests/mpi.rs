//! Runs on several processes give the bits of a run on one, save when one of them is told to stop, and go on with
//! another number of them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A binary on a number of ranks.
fn ranks(count: usize, binary: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    // A test may run as root, on a machine with fewer cores.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.args(["--oversubscribe", "--bind-to", "none", "-n", &count.to_string(), binary]).args(arguments);
    command.env_remove("THERMOGRAD_DATA");
    command
}

fn ok(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What a run is about, without times and names.
fn results(run: &Path) -> Value {
    let text = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.retain(|name, _| !name.contains("seconds"));
    value
}

fn same(a: &Path, b: &Path) {
    assert_eq!(results(a), results(b));
    for file in ["couplings.safetensors", "config.toml"] {
        assert!(
            std::fs::read(a.join(file)).unwrap() == std::fs::read(b.join(file)).unwrap(),
            "{file} differs"
        );
    }
}

#[test]
fn any_number_of_ranks_and_threads_gives_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let classify =
        ["--limit", "900", "--hidden", "8", "--epochs", "2", "--trajectories", "2", "--set", "shard=32"];
    let ising = ["--limit", "300", "--epochs", "1", "--sweeps", "5"];
    for (binary, arguments) in
        [(env!("CARGO_BIN_EXE_classify"), &classify[..]), (env!("CARGO_BIN_EXE_ising"), &ising[..])]
    {
        let name = Path::new(binary).file_stem().unwrap().to_str().unwrap();
        let alone = folder.path().join(format!("{name}-alone"));
        ok(Command::new(binary).args(arguments).arg("--out").arg(&alone).output().unwrap());
        for count in [1, 2, 3] {
            let out = folder.path().join(format!("{name}-{count}"));
            let threads = if count == 2 { "1" } else { "2" };
            let text = ok(ranks(count, binary, arguments)
                .args(["--threads", threads, "--out"])
                .arg(&out)
                .output()
                .unwrap());
            assert_eq!(text.matches("run folder").count(), 1, "{text}");
            same(&alone, &out);
        }
    }
}

#[test]
fn a_signal_on_any_rank_saves_once_and_another_number_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let binary = env!("CARGO_BIN_EXE_classify");
    let arguments = ["--limit", "3000", "--hidden", "8", "--epochs", "8", "--trajectories", "2"];
    ok(Command::new(binary).args(arguments).arg("--out").arg(&whole).output().unwrap());

    let mut job = ranks(2, binary, &arguments);
    let mut job = job.arg("--out").arg(&broken).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let checkpoint = broken.join("checkpoints/pathwise.ckpt");
    let start = Instant::now();
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "training did not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    // The last process that works in this folder is not the first rank.
    let found =
        Command::new("pgrep").args(["-f", &format!("^{binary} .*{}", broken.display())]).output().unwrap();
    let processes = String::from_utf8(found.stdout).unwrap();
    let last = processes.lines().last().expect("a rank");
    assert!(Command::new("kill").args(["-TERM", last]).status().unwrap().success());
    let output = job.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert_eq!(text.matches("saved; continue with").count(), 1, "{text}");
    assert!(!broken.join("summary.json").exists());
    ok(ranks(1, binary, &["--resume"]).arg(&broken).output().unwrap());
    same(&whole, &broken);
}

/// A rank that is killed ends the job, and ranks that differ in their settings refuse to begin.
#[test]
fn what_cannot_go_on_ends_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (binary, out) = (env!("CARGO_BIN_EXE_classify"), folder.path().join("run"));
    let out = out.to_str().unwrap();
    let first = ["--limit", "100", "--seed", "1", "--out", out];
    let mut differing = ranks(1, binary, &first);
    differing.args([":", "-n", "1", binary, "--limit", "100", "--seed", "2", "--out", out]);
    let output = differing.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("rank 1 and rank 0 differ in their settings"),
        "{text}"
    );
    assert!(!Path::new(out).exists());

    let output = ranks(3, binary, &first).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("3 ranks for 2 shards: batches of 256"), "{text}");

    let mut job = ranks(2, binary, &["--limit", "4000", "--seed", "1", "--out", out]).spawn().unwrap();
    let start = Instant::now();
    while !Path::new(out).join("checkpoints").exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "training did not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    let found = Command::new("pgrep").args(["-f", &format!("^{binary} .*{out}")]).output().unwrap();
    let processes = String::from_utf8(found.stdout).unwrap();
    assert!(
        Command::new("kill").args(["-KILL", processes.lines().last().unwrap()]).status().unwrap().success()
    );
    assert!(!job.wait().unwrap().success());
    assert!(!Path::new(out).join("summary.json").exists());
    ok(ranks(1, binary, &["--resume", out]).output().unwrap());
}
