//! Misuse of the programs: malicious files, outputs that are inputs, useless flags. A mistake is reported in one
//! line, quickly and without much memory, and leaves existing files unchanged.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use thermograd::{Couplings, Description, Format, Group, Normalisation, Schedule, SubstrateConfig, Topology};
use thermograd_experiments::workbench::Run;
use thermograd_experiments::workbench::run::{self, Identity};
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

/// The error message of a command that must fail without a panic.
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

fn small_classifier() -> Couplings {
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
    refused(&["simulate", &graph, "--states", &new, "--ledger", &new], "are the same file");
    refused(&["simulate", &graph, "--states", &new, "--ledger", &bench.at("./new")], "are the same file");
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
    // A file that is in the way of one of the run's own.
    std::fs::create_dir(bench.at("here")).unwrap();
    let (there, table) = (bench.classifier("here/couplings.safetensors"), bench.at("here/sweep.csv"));
    std::fs::write(&table, Format::Csv.encode(&small_classifier()).unwrap()).unwrap();
    let strokes = ["--dataset", "strokes", "--limit", "20"];
    let prune = ["prune", &there, &bench.at("o.npz"), "--run", &bench.at("here")];
    refused(&[&prune, &strokes[..]].concat(), "is not empty");
    let perturb =
        ["perturb", &table, "--by", "bits", "--values", "3", "--devices", "1", "--out", &bench.at("here")];
    refused(&[&perturb, &strokes[..]].concat(), "would be overwritten");
    assert_eq!(std::fs::read(&there).unwrap(), small_classifier().encode().unwrap());
    let images = bench.0.path().join("t10k-images-idx3-ubyte");
    std::fs::write(&images, "precious").unwrap();
    let mnist = ["--dataset", "mnist", "--data-dir", bench.0.path().to_str().unwrap()];
    let states = ["simulate", &file, "--states", images.to_str().unwrap()];
    refused(&[&states[..], &mnist].concat(), "would be overwritten");
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
    // If the standard output is a file, that file.
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

fn test() -> Identity {
    Identity { command: "test".into(), continues: true }
}

#[test]
fn an_export_goes_by_its_extension_and_spares_what_is_no_description() {
    let bench = Bench::new();
    let made = small_classifier();
    let run = Run::begin(test(), Some(&PathBuf::from(bench.at("run"))), "").unwrap();
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
        ("keep.safetensors", "not a description"),
        ("y.json", "spin models only"),
        ("y.zip", "does not end in a known extension"),
        ("y", "does not end in a known extension"),
    ] {
        let early = run::check_export(Path::new(&bench.at(name)), true).unwrap_err();
        for error in [early, export(name).unwrap_err()] {
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
    assert_eq!(std::fs::read_to_string(precious).unwrap(), "{\"precious\": true}");
    // One format is for classifiers.
    let text = bench.at("parameters.txt");
    run::check_export(Path::new(&text), true).unwrap();
    let refused = run::check_export(Path::new(&text), false).unwrap_err();
    assert!(refused.to_string().contains("published classifier only"), "{refused}");
}

#[test]
fn what_a_killed_session_left_half_written_is_swept_away() {
    let bench = Bench::new();
    let folder = PathBuf::from(bench.at("run"));
    let run = Run::begin(test(), Some(&folder), "").unwrap();
    run.write("checkpoints/fit.ckpt", b"whole").unwrap();
    let left = [folder.join(".writing-a1b2c3"), folder.join("checkpoints/.writing-d4e5f6")];
    left.iter().for_each(|file| std::fs::write(file, b"half").unwrap());
    drop(run);
    // A child that another test has just forked holds the lock until it becomes its program.
    let rest = || std::thread::sleep(std::time::Duration::from_millis(20));
    let opened = || Run::open("test", &folder).inspect_err(|_| rest());
    let run = (0..200).find_map(|_| opened().ok()).unwrap();
    assert!(left.iter().all(|file| !file.exists()));
    assert_eq!(run.read("checkpoints/fit.ckpt").unwrap(), b"whole");
}

/// The peak memory of a command that succeeds in MiB.
#[cfg(target_os = "linux")]
fn mebibytes(command: Command) -> f64 {
    let (most, status) = peak(command);
    assert!(status.success());
    most
}

/// The peak memory of a command in MiB, polled while it runs, and its exit status.
#[cfg(target_os = "linux")]
fn peak(mut command: Command) -> (f64, std::process::ExitStatus) {
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut most = 0.0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<f64>().ok());
        most = peak.map_or(most, |peak| f64::max(most, peak / 1024.0));
        if let Some(status) = child.try_wait().unwrap() {
            return (most, status);
        }
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
}

/// A small file that unpacks to 400 MB is refused before it is unpacked.
#[cfg(target_os = "linux")]
#[test]
fn files_that_unpack_to_a_multiple_of_their_size_take_no_memory() {
    use std::io::{Read, Write};
    let bench = Bench::new();
    const LARGE: u64 = 400_000_000;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let fast = zip::write::SimpleFileOptions::default().compression_level(Some(1));
    archive.start_file("J.a-b.npy", fast).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(LARGE), &mut archive).unwrap();
    let bomb = bench.put("bomb.npz", archive.finish().unwrap().into_inner());
    let head: Vec<u8> =
        [0x803, 500_000, 28, 28].iter().flat_map(|number: &u32| number.to_be_bytes()).collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&head).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(LARGE), &mut packed).unwrap();
    std::fs::create_dir(bench.at("mnist")).unwrap();
    bench.put("mnist/train-images-idx3-ubyte.gz", packed.finish().unwrap());
    let (file, data) = (bench.classifier("c.safetensors"), bench.at("mnist"));
    let idle = mebibytes(couplings(&["inspect", &file]));
    for arguments in
        [&["inspect", &bomb][..], &["simulate", &file, "--dataset", "mnist", "--data-dir", &data]]
    {
        let (most, status) = peak(couplings(arguments));
        assert!(!status.success(), "{arguments:?} did not fail");
        assert!(most < idle + 64.0, "{arguments:?} took {most} MiB, next to {idle}");
    }
    refused(&["inspect", &bomb], "unpacked from an npz file of this size");
    refused(&["simulate", &file, "--dataset", "mnist", "--data-dir", &data], "in a file of this size");
}

#[test]
fn a_count_that_a_file_is_too_small_for_is_told_with_its_size() {
    let bench = Bench::new();
    let graph = bench.put("a.gset", "16777216 0\n");
    refused(&["inspect", &graph], "units in a file of 11 bytes: 16777216 are described");
}

/// A sweep with one value for which the time step is too large, or that makes no sense, does not begin.
#[test]
fn a_sweep_that_could_not_end_does_not_begin() {
    let bench = Bench::new();
    let (file, out) = (bench.classifier("c.safetensors"), bench.at("sweep"));
    for (by, values, parts) in [
        ("wells", "1,2,1e9", &["at wells 1000000000", "time step"][..]),
        ("temperature", "1,-1", &["temperature", "-1"]),
        ("mismatch", "-1", &["mismatch", "-1"]),
    ] {
        let sweep = ["perturb", &file, "--by", by, "--values", values, "--devices", "2", "--out", &out];
        let text = told(&[&sweep[..], &["--dataset", "strokes", "--limit", "20"]].concat());
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    assert!(!Path::new(&out).exists());
    refused(&["simulate", &file, "--kt", "-1"], "kT = -1");
    refused(&["simulate", &file, "--dataset", "strokes", "--threads", "0"], "at least one is needed");
}

/// A reader that takes one line, or none, is no error.
#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let file = bench.classifier("c.safetensors");
    for arguments in [&["inspect", &file][..], &["inspect", &file, "--json"], &["diff", &file, &file]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = couplings(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    let pipeline = format!(
        "{{ {} inspect c.safetensors; echo $? >status; }} | head -1",
        env!("CARGO_BIN_EXE_couplings")
    );
    let mut shell = Command::new("sh");
    let text = ok(shell.args(["-c", &pipeline]).current_dir(bench.0.path()).output().unwrap());
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(std::fs::read_to_string(bench.at("status")).unwrap().trim(), "0");
}

/// 20,000 spins on a torus, which as a matrix would take 1.6 GB in single precision.
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
    let mut short = Format::Gset.decode(&std::fs::read(&graph).unwrap()).unwrap();
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

#[test]
fn what_no_machine_can_hold_is_refused_with_its_size() {
    let bench = Bench::new();
    let (graph, file) = (bench.put("a.gset", TRIANGLE), bench.classifier("c.safetensors"));
    let huge = u64::MAX.to_string();
    refused(&["simulate", &graph, "--trajectories", &huge], "GiB of memory");
    let images = ["--dataset", "strokes", "--limit", "20"];
    let with = |first: &[&str]| -> String { told(&[first, &images].concat()) };
    for first in [
        &["simulate", &file, "--trajectories", &huge][..],
        &["perturb", &file, "--by", "bits", "--devices", &huge, "--out", &bench.at("p")],
        &["prune", &file, &bench.at("o.npz"), "--trajectories", &huge, "--run", &bench.at("r")],
    ] {
        let text = with(first);
        assert!(text.contains("GiB of memory"), "{text}");
    }
    let epochs = ["tune", &file, &bench.at("o.npz"), "--fine-tune", &huge, "--run", &bench.at("r")];
    assert!(with(&epochs).contains("epochs"));
    for (flag, value, part) in [
        ("--mismatch", "nan", "mismatch = NaN"),
        ("--learning-rate", "inf", "the learning rate must be positive, not inf"),
        ("--limit", "1", "at least two images"),
    ] {
        let tune = ["tune", &file, &bench.at("o.npz"), "--fine-tune", "1", "--run", &bench.at("r")];
        refused(&[&tune[..], &["--dataset", "strokes", flag, value]].concat(), part);
    }
    assert!(!Path::new(&bench.at("r")).exists() && !Path::new(&bench.at("p")).exists());
    let threads = ["simulate", &file, "--trajectories", "1", "--threads", "4611686018427387904"];
    ok(couplings(&[&threads[..], &images].concat()).output().unwrap());

    // Uncoupled groups with so many units that a matrix between them would not fit into memory, or that not even the
    // units fit.
    let groups = |units: usize| {
        let groups =
            vec![Group::clamped("input", 2), Group::clamped("idle", units), Group::free("unit", units)];
        let topology = Topology { groups, blocks: vec![] };
        let description =
            Description::of(SubstrateConfig::new(topology), Schedule { dt: 1e-3, steps: 2 }, None);
        let biases = [("b.unit", vec![0.5; units])];
        Couplings::new(description, biases).unwrap().encode().unwrap()
    };
    let wide = bench.put("wide.safetensors", groups(100_000));
    let values = bench.put("values", "1 ".repeat(100_002));
    ok(couplings(&["simulate", &wide, "--clamp", &values, "--trajectories", "1"]).output().unwrap());
    let promised = bench.put("promised.gset", format!("{} 0\n{}", 1 << 23, " ".repeat(1 << 23)));
    refused(&["simulate", &promised, "--trajectories", "1000"], "GiB of memory");
}

#[test]
fn prices_and_tolerances_that_mean_nothing_are_refused() {
    let bench = Bench::new();
    let graph = bench.put("a.gset", TRIANGLE);
    for bits in ["0", "33", "4000000000"] {
        refused(&["simulate", &graph, "--conversion-bits", bits], "must be from 1 to 32");
    }
    refused(&["simulate", &graph, "--kt", "0", "--ledger", &bench.at("l")], "no ledger");
    let other = bench.put("b.gset", TRIANGLE.replace("1 3 1", "1 3 2"));
    let diff = |arguments: &[&str]| {
        couplings(&[&["diff"], arguments].concat()).output().unwrap().status.code().unwrap()
    };
    assert_eq!(diff(&[&graph, &graph]), 0);
    assert_eq!(diff(&[&graph, &other]), 1);
    assert_eq!(diff(&[&graph, &other, "--tolerance", "1"]), 0);
    assert_eq!(diff(&[&graph, &bench.at("none.gset")]), 2);
    for tolerance in ["nan", "-1"] {
        assert_eq!(diff(&[&graph, &other, &format!("--tolerance={tolerance}")]), 2);
    }
}

#[test]
fn flags_that_do_nothing_are_refused() {
    let bench = Bench::new();
    let (graph, file) = (bench.put("a.gset", TRIANGLE), bench.classifier("c.safetensors"));
    let (table, circuit, new) = (bench.at("a.csv"), bench.at("a.cir"), bench.at("new.npz"));
    let values = bench.put("values", "1 2 3");
    let idle = |arguments: &[&str], flag: &str| {
        let text = told(arguments);
        assert!(text.contains(&format!("--{flag} would do nothing here")), "{arguments:?}: {text}");
    };
    for (flag, value) in
        [("clamp", Some(&values[..])), ("quiet", None), ("volts", Some("1")), ("farads", Some("1"))]
            .into_iter()
            .chain([
                ("seconds", Some("1")),
                ("kelvin", Some("1")),
                ("dataset", Some("strokes")),
                ("seed", Some("1")),
            ])
    {
        let flagged = format!("--{flag}");
        let arguments: Vec<&str> = ["convert", &graph, &table, &flagged].into_iter().chain(value).collect();
        idle(&arguments, flag);
    }
    idle(&["convert", &file, &circuit, "--dataset", "strokes"], "dataset");
    let both = ["convert", &file, &circuit, "--dataset", "strokes", "--example", "0", "--clamp", &values];
    refused(&both, "cannot be used with");
    refused(&["simulate", &file, "--clamp", &values, "--dataset", "strokes"], "cannot be used with");
    let strokes = ["--dataset", "strokes"];
    for (flag, value) in [("mismatch", Some("0.1")), ("augment", None), ("learning-rate", Some("1"))] {
        let flagged = format!("--{flag}");
        for none in [&["--fine-tune", "0"][..], &[]] {
            let prune = ["prune", &file, &new, &flagged];
            idle(&[&prune[..], value.as_slice(), none, &strokes].concat(), flag);
        }
    }
    idle(&[&["perturb", &file, "--by", "mismatch", "--scale", "block"], &strokes[..]].concat(), "scale");
    idle(&["simulate", &graph, "--data-dir", "/nowhere"], "data-dir");
    idle(&[&["simulate", &file, "--data-dir", "/nowhere"], &strokes[..]].concat(), "data-dir");
    // An environment variable applies to all commands and does not count as a flag.
    let mut command = couplings(&["simulate", &graph, "--trajectories", "2", "--mac-joules", "1e-13"]);
    ok(command.env("THERMOGRAD_DATA", "/nowhere").output().unwrap());
    assert!(!Path::new(&new).exists() && !Path::new(&table).exists());
}

#[test]
fn a_spin_model_tells_energy_cut_and_its_best_state() {
    let bench = Bench::new();
    let run = |name: &str, text: &str| {
        let file = bench.put(name, text);
        ok(couplings(&["simulate", &file, "--kt", "0.05", "--trajectories", "20"]).output().unwrap())
    };
    // Strong weights, so that every unit is pulled into a well: two of three edges are cut, at E = 3 - 2 · 6.
    let text = run("a.gset", "3 3\n1 2 3\n2 3 3\n1 3 3\n");
    for part in ["lowest -3", "largest cut           6", "best state            "] {
        assert!(text.contains(part), "{text}");
    }
    // E = -4 z0 - 4 z1 + 9 z0 z1 is lowest if exactly one of them is set.
    let text = run("a.qubo", "p qubo 0 2 2 1\n0 0 -4\n1 1 -4\n0 1 9\n");
    assert!(text.contains("lowest -4") && !text.contains("cut"), "{text}");
    assert!(text.contains("best state            01") || text.contains("best state            10"), "{text}");
}

#[test]
fn a_mistake_is_told_once_with_the_name_of_its_file() {
    let bench = Bench::new();
    let (graph, file) = (bench.put("a.gset", TRIANGLE), bench.classifier("c.safetensors"));
    let strokes = ["--dataset", "strokes", "--limit", "20"];
    let pictures = bench.0.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    std::fs::write(pictures.join("train-images-idx3-ubyte"), b"nothing").unwrap();
    for (arguments, named) in [
        (vec!["convert", &file, &bench.at("x.json")], "x.json"),
        (vec!["convert", &file, &bench.at("x.gset")], "x.gset"),
        (vec!["convert", &graph, &bench.at("x.txt")], "x.txt"),
        (vec!["inspect", &bench.put("bad.csv", "nonsense")], "bad.csv"),
        (vec!["inspect", &bench.put("bad.npz", "nonsense")], "bad.npz"),
        (vec!["inspect", &bench.put("bad.safetensors", "nonsense")], "bad.safetensors"),
        (vec!["inspect", &bench.put("bad.gset", "3 1\n1 2 x\n")], "bad.gset"),
        (vec!["inspect", &bench.put("bad.bqm", "{}")], "bad.bqm"),
        (vec!["inspect", &bench.at("missing.npz")], "missing.npz"),
        (vec!["inspect", &bench.at("plain")], "plain"),
        (vec!["inspect", &graph, "--report", &bench.at("a.gset/page")], "a.gset/page"),
        (vec!["simulate", &graph, "--clamp", &bench.put("words", "one two")], "words"),
        ([&["simulate", &graph], &strokes[..]].concat(), "a.gset"),
        ([&["perturb", &graph, "--by", "bits", "--out", &bench.at("p")], &strokes[..]].concat(), "a.gset"),
        (
            vec!["simulate", &file, "--dataset", "mnist", "--data-dir", pictures.to_str().unwrap()],
            "train-images",
        ),
    ] {
        let text = told(&arguments);
        assert_eq!(text.trim().lines().count(), 1, "{text}");
        assert_eq!(text.matches(named).count(), 1, "{arguments:?}: `{text}` does not say `{named}` once");
        let parts: Vec<&str> = text.trim().split(": ").collect();
        let repeated = parts.iter().enumerate().any(|(index, part)| parts[..index].contains(part));
        assert!(!repeated, "{text}");
    }
    assert!(!Path::new(&bench.at("p")).exists());
}

/// If there is nothing to save, Ctrl-C and SIGTERM end the program at once.
#[cfg(unix)]
#[test]
fn a_signal_ends_what_has_nothing_to_save() {
    use std::os::unix::process::ExitStatusExt;
    let bench = Bench::new();
    let ring: String = (0..2000).map(|i| format!("{} {} 1\n", i + 1, (i + 1) % 2000 + 1)).collect();
    let graph = bench.put("ring.gset", format!("2000 2000\n{ring}"));
    let pipe = bench.at("pipe.gset");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let table = bench.at("out.csv");
    for signal in ["INT", "TERM"] {
        // Two commands that wait for a file, and one that computes for minutes.
        for arguments in [
            &["inspect", &pipe][..],
            &["convert", &pipe, &table],
            &["simulate", &graph, "--trajectories", "100"],
        ] {
            let mut command = couplings(arguments);
            let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(child.try_wait().unwrap().is_none(), "{arguments:?} ended by itself");
            let kill = format!("-{signal}");
            assert!(Command::new("kill").args([&kill, &child.id().to_string()]).status().unwrap().success());
            let asked = std::time::Instant::now();
            let status = child.wait().unwrap();
            assert!(asked.elapsed().as_secs_f64() < 2.0, "{arguments:?} took {:?}", asked.elapsed());
            assert!(status.signal().is_some(), "{arguments:?}: {status}");
        }
    }
    assert!(!Path::new(&table).exists());
}
