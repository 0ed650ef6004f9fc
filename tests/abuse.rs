//! The programs in hostile hands: files that lie, outputs that are inputs, flags that mean nothing. A mistake is told
//! in one line, ends soon, takes little memory, and leaves what was there as it was.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use thermograd::Normalisation;
use thermograd_experiments::workbench::Run;
use thermograd_experiments::workbench::run;
use thermograd_models::ClassifierConfig;

fn couplings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_couplings"));
    command.args(arguments).env_remove("THERMOGRAD_DATA");
    command
}

fn ok(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What a command that fails without a panic says of it.
fn told(arguments: &[&str]) -> String {
    let output = couplings(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some_and(|code| code != 0), "{arguments:?} did not fail: {output:?}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn refused(arguments: &[&str], part: &str) {
    let text = told(arguments);
    assert!(text.contains(part), "{arguments:?}: `{text}` does not say `{part}`");
}

/// A folder, and paths in it.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
        self.at(name)
    }

    /// A small classifier of drawn digits.
    fn classifier(&self, name: &str) -> String {
        self.put(name, small_classifier().encode().unwrap())
    }
}

fn small_classifier() -> thermograd::Couplings {
    let normalisation = Normalisation { offset: 0.1, scale: 0.3, norm: None };
    ClassifierConfig::new(784, 4, 10).init(normalisation, &Device::flex()).unwrap().couplings()
}

const TRIANGLE: &str = "3 3\n1 2 1\n2 3 1\n1 3 1\n";

#[test]
fn an_output_that_is_an_input_is_refused_and_nothing_is_lost() {
    let bench = Bench::new();
    let (graph, file) = (bench.put("a.gset", TRIANGLE), bench.classifier("c.safetensors"));
    std::fs::hard_link(&graph, bench.at("hard.gset")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("a.gset", bench.at("soft.gset")).unwrap();
    let roundabout = bench.at("../x").replace("../x", "./a.gset");
    let mut all = vec![graph.clone(), bench.at("hard.gset"), roundabout];
    all.extend(cfg!(unix).then(|| bench.at("soft.gset")));
    for same in &all {
        refused(&["inspect", &graph, "--report", same], "would be overwritten");
        refused(&["simulate", &graph, "--states", same], "would be overwritten");
        refused(&["simulate", &graph, "--ledger", same], "would be overwritten");
        refused(&["convert", &graph, same], "would be overwritten");
    }
    let new = bench.at("new");
    refused(&["simulate", &graph, "--states", &new, "--ledger", &new], "are one file");
    refused(&["simulate", &graph, "--states", &new, "--ledger", &bench.at("./new")], "are one file");
    assert!(!Path::new(&new).exists());
    let run = bench.at("run");
    for task in [
        &["prune", "--keep", "0.5"][..],
        &["quantize", "--bits", "3"],
        &["tune", "--fine-tune", "1", "--dataset", "strokes"],
    ] {
        let (name, rest) = task.split_first().unwrap();
        let mut arguments = vec![*name, &file, &file, "--run", &run, "--dataset", "strokes"];
        arguments.extend(rest.iter().filter(|word| !["--dataset", "strokes"].contains(word)));
        refused(&arguments, "would be overwritten");
    }
    assert!(!Path::new(&run).exists());
    let values = bench.put("values.data", "1 2 3");
    refused(&["convert", &graph, &bench.at("values.cir"), "--clamp", &values], "would be overwritten");
    assert_eq!(std::fs::read_to_string(&graph).unwrap(), TRIANGLE);
    assert_eq!(std::fs::read(&file).unwrap(), small_classifier().encode().unwrap());
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_links_are_written_through_and_files_keep_their_mode() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    let bench = Bench::new();
    let graph = bench.put("a.gset", TRIANGLE);
    let text = ok(couplings(&["inspect", &graph, "--report", "/dev/stdout"]).output().unwrap());
    assert!(text.contains("<html") || text.contains("<!DOCTYPE"), "{text}");
    ok(couplings(&["inspect", &graph, "--report", "/dev/null"]).output().unwrap());
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    // Where the standard output is a file, that file.
    let printed = std::fs::File::create(bench.at("printed")).unwrap();
    let mut command = couplings(&["inspect", &graph, "--report", "/dev/stdout"]);
    assert!(command.stdout(printed).status().unwrap().success());
    let text = std::fs::read_to_string(bench.at("printed")).unwrap();
    assert!(text.contains("group spin") && text.contains("</html>"), "{text}");

    let pipe = bench.at("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = Command::new("cat").arg(&pipe).stdout(std::process::Stdio::piped()).spawn().unwrap();
    ok(couplings(&["simulate", &graph, "--trajectories", "2", "--states", &pipe]).output().unwrap());
    assert!(ok(reader.wait_with_output().unwrap()).starts_with("spin_0,spin_1,spin_2\n"));
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());

    let (link, target) = (bench.at("link.csv"), bench.put("target.csv", "old"));
    symlink("target.csv", &link).unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
    ok(couplings(&["convert", &graph, &link]).output().unwrap());
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::read_to_string(&target).unwrap().starts_with("# thermograd"));
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&target), 0o600);
    let nowhere = bench.at("dangling.csv");
    symlink("made.csv", &nowhere).unwrap();
    ok(couplings(&["convert", &graph, &nowhere]).output().unwrap());
    assert!(Path::new(&bench.at("made.csv")).is_file());

    let convert = format!("umask 027; exec {} convert a.gset new.csv", env!("CARGO_BIN_EXE_couplings"));
    let mut shell = Command::new("sh");
    assert!(shell.args(["-c", &convert]).current_dir(bench.0.path()).status().unwrap().success());
    assert_eq!(mode(&bench.at("new.csv")), 0o640);
}

#[test]
fn an_export_goes_by_its_extension_and_spares_what_is_no_description() {
    let bench = Bench::new();
    let made = small_classifier();
    let run = Run::begin("test", Some(&PathBuf::from(bench.at("run"))), "").unwrap();
    let export = |name: &str| run.export(&made, Some(Path::new(&bench.at(name))));
    for name in ["x.npz", "x.csv", "x.safetensors", "x.npz"] {
        export(name).unwrap();
        let text = ok(couplings(&["inspect", &bench.at(name)]).output().unwrap());
        assert!(text.contains("group hidden"), "{text}");
        let description = std::fs::read_to_string(bench.at("x.json")).unwrap();
        assert!(description.contains("substrate"), "{description}");
    }
    let precious = bench.put("keep.json", "{\"precious\": true}");
    for (name, part) in [
        ("keep.safetensors", "no description"),
        ("y.json", "spin models alone"),
        ("y.zip", "no extension of couplings"),
        ("y", "no extension of couplings"),
    ] {
        let early = run::check_export(Path::new(&bench.at(name))).unwrap_err();
        for error in [early, export(name).unwrap_err()] {
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "{\"precious\": true}");
}

#[test]
fn what_a_killed_session_left_half_written_is_swept_away() {
    let bench = Bench::new();
    let folder = PathBuf::from(bench.at("run"));
    let run = Run::begin("test", Some(&folder), "").unwrap();
    run.write("checkpoints/fit.ckpt", b"whole").unwrap();
    let left = [folder.join(".writing-a1b2c3"), folder.join("checkpoints/.writing-d4e5f6")];
    left.iter().for_each(|file| std::fs::write(file, b"half").unwrap());
    let run = Run::open(run.folder()).unwrap();
    assert!(left.iter().all(|file| !file.exists()));
    assert_eq!(run.read("checkpoints/fit.ckpt").unwrap(), b"whole");
}

/// The most memory that a command took, in MiB, watched while it runs.
#[cfg(target_os = "linux")]
fn mebibytes(mut command: Command) -> f64 {
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut most = 0.0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
        most = peak.map_or(most, |peak| f64::max(most, peak / 1024.0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return most;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// 20,000 spins on a torus: as a matrix, 1.6 GB in single precision.
#[cfg(target_os = "linux")]
#[test]
fn large_sparse_graphs_stay_small() {
    let (bench, side) = (Bench::new(), 141);
    let spins = side * side;
    let right = |i: usize| i / side * side + (i + 1) % side;
    let edges = (0..spins).flat_map(|i| [(i, right(i)), (i, (i + side) % spins)]);
    let edges =
        edges.map(|(i, j)| format!("{} {} {}\n", i + 1, j + 1, if (i + j) % 3 == 0 { -1 } else { 1 }));
    let graph = bench.put("torus.gset", format!("{spins} {}\n{}", 2 * spins, edges.collect::<String>()));
    let mut short = thermograd::Format::Gset.decode(&std::fs::read(&graph).unwrap()).unwrap();
    short.description.schedule.steps = 20;
    let short = bench.put("short.safetensors", short.encode().unwrap());
    let (table, circuit, page) = (bench.at("torus.csv"), bench.at("torus.cir"), bench.at("page.html"));
    for arguments in [
        &["inspect", &graph, "--report", &page][..],
        &["convert", &graph, &table],
        &["convert", &graph, &circuit],
        &["inspect", &table],
        &["simulate", &short, "--trajectories", "4"],
    ] {
        let most = mebibytes(couplings(arguments));
        assert!(most < 400.0, "{arguments:?} took {most} MiB");
    }
}
