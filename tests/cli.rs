//! The binaries as a user runs them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

fn classify(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_classify"));
    command.args(arguments).env_remove("THERMOGRAD_DATA");
    command
}

/// Small enough for seconds: 800 drawn digits, 8 hidden units.
const QUICK: [&str; 8] = ["--limit", "800", "--hidden", "8", "--epochs", "2", "--trajectories", "2"];

fn ok(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn generate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
    command.args(arguments).env_remove("THERMOGRAD_DATA");
    command
}

fn fails(arguments: &[&str], parts: &[&str]) {
    refused(classify(arguments), arguments, parts);
}

fn refused(mut command: Command, arguments: &[&str], parts: &[&str]) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} did not fail");
    assert!(!text.contains("panicked"), "{text}");
    for part in parts {
        assert!(text.contains(part), "{arguments:?}: `{text}` does not say `{part}`");
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A summary without its training time.
fn results(path: &Path) -> Value {
    let mut summary = json(path);
    summary.as_object_mut().unwrap().remove("train_seconds");
    summary
}

#[test]
fn help_shows_how_to_begin() {
    let text = ok(classify(&["--help"]).output().unwrap());
    for part in ["--dataset", "--resume", "--eval", "--heat-price", "THERMOGRAD_DATA", "Examples:"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn defaults_in_the_help_are_not_empty() {
    let tasks = ["inspect", "convert", "simulate", "perturb", "prune", "quantize", "tune", "diff"];
    let commands = [classify(&["--help"]), generate(&["--help"])];
    let commands = commands.into_iter().chain(tasks.map(|task| couplings(&[task, "--help"])));
    let texts: Vec<String> = commands.map(|mut command| ok(command.output().unwrap())).collect();
    for text in &texts {
        for empty in ["[default: ]", "[default:]", "NaN"] {
            assert!(!text.contains(empty), "{text}");
        }
    }
    assert!(texts[0].contains("[default: "));
}

/// One trajectory has no standard deviation, and an untrained network heats by almost nothing.
#[test]
fn the_report_of_a_brief_run_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let brief = ["--trajectories", "1", "--epochs", "1", "--limit", "200", "--hidden", "4"];
    let text = ok(classify(&brief).arg("--out").arg(&out).output().unwrap());
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("name=\"viewport\"") && report.contains("prefers-color-scheme:dark"));
    // Pictures are base64, which may contain anything.
    let mut parts = report.split("base64,");
    let first = parts.next().unwrap_or_default();
    let words: Vec<&str> = parts.filter_map(|part| part.split_once('"')).map(|(_, rest)| rest).collect();
    for shown in words.into_iter().chain([first, text.as_str()]) {
        for bad in ["NaN", "-0 kT", "-0.0 kT", "-0.000e0"] {
            assert!(!shown.contains(bad), "{bad}: {shown}");
        }
    }
    // The folder of a run is not a file of couplings, but it has one.
    fails(&["--eval", out.to_str().unwrap()], &["is a folder", "couplings.safetensors"]);
    // Other settings than those of the checkpoints.
    let config = std::fs::read_to_string(out.join("config.toml")).unwrap();
    std::fs::write(out.join("config.toml"), config.replace("\nhidden = 4\n", "\nhidden = 5\n")).unwrap();
    fails(&["--resume", out.to_str().unwrap()], &["config.toml: hidden has 5, but this run began with 4"]);
    std::fs::remove_file(out.join("checkpoints/settings.toml.crc")).unwrap();
    fails(&["--resume", out.to_str().unwrap()], &["config.toml no longer matches checkpoints/teacher.bpk"]);
}

#[test]
fn images_that_are_all_equal_are_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("run"));
    small_mnist(&data);
    let file = data.join("train-images-idx3-ubyte");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[16..].fill(0);
    std::fs::write(&file, bytes).unwrap();
    let mut command = classify(&["--dataset", "mnist", "--hidden", "4"]);
    command.arg("--data-dir").arg(&data).arg("--out").arg(&out);
    refused(command, &["blank"], &["all training images are equal"]);
    assert!(!out.exists());
}

#[test]
fn mistakes_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let out = path("out");
    fails(&["--dataset", "mnist", "--out", &out], &["--data-dir DIR", "THERMOGRAD_DATA"]);
    fails(&["--dataset", "mnist", "--data-dir", "/nowhere", "--out", &out], &["/nowhere/train-images"]);
    fails(&["--backend", "tpu"], &["no backend `tpu`", "vulkan, metal, cuda"]);
    fails(&["--device", "1"], &["backend `flex` has no device 1", "--list-backends"]);
    fails(&["--hidden", "0", "--out", &out], &["hidden"]);
    fails(&["--beta", "-1", "--out", &out], &["beta: must be positive"]);
    fails(&["--resume", &path("no run")], &["is not a run folder"]);
    fails(&["--eval", &path("no file")], &["no file"]);
    fails(&["--trainer", "exact", "--epochs", "3", "--out", &out], &["--epochs"]);
    if !thermograd::Backend::Wgpu.is_built_in() {
        fails(&["--backend", "wgpu", "--out", &out], &["not built in", "--features wgpu"]);
    }
    std::fs::write(path("settings.toml"), "hiden = 3\n").unwrap();
    fails(&["--config", &path("settings.toml"), "--out", &out], &["settings.toml", "hiden"]);
    std::fs::write(path("settings.toml"), "hidden = 3\nseed = \"a\"\n").unwrap();
    fails(&["--config", &path("settings.toml"), "--out", &out], &["settings.toml", "seed", "string \"a\""]);
    fails(&["--heat-price", "inf", "--out", &out], &["heat price"]);
    std::fs::write(path("settings.toml"), "kt = -1.0\n").unwrap();
    fails(&["--config", &path("settings.toml"), "--out", &out], &["kT = -1"]);
    std::fs::write(path("broken"), b"not couplings").unwrap();
    fails(&["--eval", &path("broken")], &["broken", "couplings"]);
    // Nothing that failed left a run behind.
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_run_leaves_everything_it_promises_and_its_export_evaluates_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (out, export) = (path("run"), path("taken/away.safetensors"));
    let mut command = classify(&QUICK);
    command
        .args(["--augment", "--heat-price", "1e-5", "--seed", "4"])
        .arg("--out")
        .arg(&out)
        .arg("--export")
        .arg(&export);
    let text = ok(command.output().unwrap());
    assert!(text.contains("one trajectory") && text.contains("report.html"), "{text}");
    for file in [
        "config.toml",
        "metrics.jsonl",
        "run.json",
        "checkpoints/teacher.bpk",
        "checkpoints/exact.safetensors",
        "checkpoints/pathwise.ckpt",
        "couplings.safetensors",
        "couplings.json",
        "summary.json",
        "evaluation.json",
        "report.html",
    ] {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    let summary = json(&out.join("summary.json"));
    let keys: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let mut promised = [
        "dataset",
        "images",
        "trainer",
        "backend",
        "seed",
        "trajectories",
        "top1_single",
        "top1_single_sd",
        "top1_avg",
        "top2_avg",
        "heat_kt",
        "heat_kt_sd",
        "heat_kt_avg",
        "advantage",
        "mac_picojoule",
        "train_seconds",
    ];
    promised.sort_unstable();
    assert_eq!(keys, promised);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in [
        "Learning",
        "Confusion",
        "Output trajectories",
        "Read-out time",
        "Coupling fields",
        "<svg",
        "data:image/png",
    ] {
        assert!(report.contains(part), "the report lacks {part}");
    }
    assert!(
        !report.contains("http://www.w3.org/1999/xlink") && !report.contains("<script src"),
        "not self-contained"
    );

    // The run is not overwritten.
    let mut again = classify(&QUICK);
    let output = again.arg("--out").arg(&out).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not empty"));

    // The export is the run's couplings, and evaluates to the run's numbers.
    let bytes = std::fs::read(&export).unwrap();
    assert_eq!(bytes, std::fs::read(out.join("couplings.safetensors")).unwrap());
    let table = path("taken/away.npz");
    ok(couplings(&["convert"]).arg(&export).arg(&table).output().unwrap());
    for file in [&export, &table] {
        let evaluation = path("evaluation").join(file.extension().unwrap());
        let mut eval = classify(&["--limit", "800", "--trajectories", "2", "--seed", "4", "--eval"]);
        ok(eval.arg(file).arg("--out").arg(&evaluation).output().unwrap());
        let evaluated = json(&evaluation.join("summary.json"));
        for key in ["top1_single", "top1_avg", "top2_avg", "heat_kt", "heat_kt_sd"] {
            assert_eq!(evaluated[key], summary[key], "{key}");
        }
        let config = std::fs::read_to_string(evaluation.join("config.toml")).unwrap();
        assert!(config.contains(file.to_str().unwrap()), "the run does not say what was evaluated");
        // A run without training cannot be resumed.
        fails(&["--resume", evaluation.to_str().unwrap()], &["without training"]);
    }
    let mut other = generate(&["--resume"]);
    other.arg(&out);
    refused(other, &["--resume"], &["is a run of `classify`"]);
}

/// A folder that is not empty is not used for a run, and its files are untouched.
#[test]
fn a_folder_that_is_not_empty_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("mine");
    std::fs::create_dir_all(out.join("checkpoints")).unwrap();
    std::fs::write(out.join("checkpoints/teacher.bpk"), "precious").unwrap();
    fails(&["--limit", "100", "--out", out.to_str().unwrap()], &["is not empty", "another --out"]);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
    fails(&["--resume", out.to_str().unwrap()], &["is not a run folder"]);
    // An empty folder is used, by one process at a time.
    let out = folder.path().join("empty");
    std::fs::create_dir(&out).unwrap();
    ok(classify(&QUICK).arg("--out").arg(&out).output().unwrap());
    let lock = std::fs::File::open(out.join("run.json")).unwrap();
    lock.lock().unwrap();
    fails(&["--resume", out.to_str().unwrap()], &["another process is working"]);
}

/// Four runs begun at the same time without --out make four folders.
#[test]
fn runs_that_begin_at_once_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let begin = |seed: usize| {
        let seed = seed.to_string();
        let mut command =
            classify(&["--limit", "60", "--hidden", "4", "--epochs", "1", "--trajectories", "1"]);
        command.args(["--seed", &seed]).current_dir(folder.path()).stdout(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(begin).collect();
    assert!(children.into_iter().all(|mut child| child.wait().unwrap().success()));
    let seeds: std::collections::BTreeSet<u64> = (1..=4)
        .map(|number| json(&folder.path().join(format!("runs/classify-{number}/summary.json"))))
        .map(|summary| summary["seed"].as_u64().unwrap())
        .collect();
    assert_eq!(seeds.len(), 4);
}

/// A file with a few settings leaves the others at their defaults, within a section too; single settings override it.
#[test]
fn settings_that_are_left_out_are_as_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, out) = (folder.path().join("few.toml"), folder.path().join("run"));
    std::fs::write(&settings, "limit = 100\nhidden = 4\ntrajectories = 1\n[pathwise.recipe]\nepochs = 1\n")
        .unwrap();
    let mut command = classify(&["--set", "pathwise.logit_gain=2", "--set", "teacher.loss=tanh"]);
    ok(command
        .args(["--set", "hidden=5", "--config"])
        .arg(&settings)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap());
    let written: toml::Table =
        toml::from_str(&std::fs::read_to_string(out.join("config.toml")).unwrap()).unwrap();
    let at = |path: &[&str]| {
        let (last, sections) = path.split_last().unwrap();
        sections.iter().fold(&written, |table, name| table[*name].as_table().unwrap())[*last].clone()
    };
    assert_eq!(at(&["hidden"]), 5.into());
    assert_eq!(at(&["pathwise", "recipe", "epochs"]), 1.into());
    assert_eq!(at(&["pathwise", "recipe", "batch"]), 256.into());
    assert_eq!(at(&["pathwise", "logit_gain"]), 2.0.into());
    assert_eq!(at(&["teacher", "loss"]), "tanh".into());
    fails(&["--set", "pathwise.rate=2"], &["--set", "pathwise", "unknown field `rate`"]);
    fails(&["--set", "gain=2"], &["unknown field `gain`", "pathwise.logit_gain"]);
    fails(&["--set", "hidden"], &["--set hidden", "guide.beta=80"]);
    fails(&["--set", "hidden=many"], &["hidden", "many"]);
}

/// Flags that would do nothing are refused.
#[test]
fn flags_that_would_do_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    fails(&["--data-dir", data], &["--data-dir", "strokes", "--dataset mnist"]);
    fails(&["--trainer", "exact", "--augment"], &["--augment", "pathwise"]);
    fails(&["--trainer", "likelihood", "--heat-price", "1e-5"], &["--heat-price", "pathwise"]);
    let nothing = |arguments: &[&str], parts: &[&str]| refused(generate(arguments), arguments, parts);
    nothing(&["--cycles", "3"], &["--cycles", "--trainer batch"]);
    nothing(&["--mode", "diffusion", "--readout", "raw"], &["--readout"]);
    nothing(&["--mode", "diffusion", "--dt", "1e-3"], &["--dt"]);
    nothing(&["--mode", "classes", "--t-f", "2"], &["--t-f"]);
    // A computer that stores images knows no classes, whether it is made or read.
    let (judge, out) = (folder.path().join("judge.bpk"), folder.path().join("run"));
    let small = ["--limit", "100", "--samples", "6", "--hidden", "4", "--t-f", "0.1", "--dt", "0.01"];
    ok(generate(&small).arg("--judge").arg(&judge).arg("--out").arg(&out).output().unwrap());
    let file = out.join("couplings.safetensors");
    nothing(&["--label-strength", "2", "--eval", file.to_str().unwrap()], &["--label-strength"]);
    nothing(&["--mode", "classes", "--eval", file.to_str().unwrap()], &["--mode"]);
    // But it can be run with other steps and for longer.
    let mut command =
        generate(&["--limit", "100", "--samples", "6", "--t-f", "0.2", "--dt", "0.005", "--eval"]);
    let again = folder.path().join("again");
    ok(command.arg(&file).arg("--judge").arg(&judge).arg("--out").arg(&again).output().unwrap());
    let heat = |run: &Path| json(&run.join("summary.json"))["heat_kt"].as_f64().unwrap();
    assert_ne!(heat(&out), heat(&again));
}

/// A data set of 8 × 8 images in the four files of MNIST.
fn small_mnist(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, count) in [("train", 200_u32), ("t10k", 60)] {
        let head = |magic: u32, sizes: &[u32]| -> Vec<u8> {
            std::iter::once(&magic).chain(sizes).flat_map(|number| number.to_be_bytes()).collect()
        };
        let labels = (0..count).map(|k| (k % 10) as u8);
        let pixels = (0..count * 64).map(|k| (k * 37 % 251) as u8);
        let images: Vec<u8> = head(0x803, &[count, 8, 8]).into_iter().chain(pixels).collect();
        let labels: Vec<u8> = head(0x801, &[count]).into_iter().chain(labels).collect();
        std::fs::write(folder.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        std::fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// A run whose data have moved can be resumed with their new folder; data sets in subfolders are found.
#[test]
fn data_are_found_by_their_set_and_where_they_have_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after, out) =
        (folder.path().join("before"), folder.path().join("after"), folder.path().join("run"));
    small_mnist(&before.join("fashion-mnist"));
    let mut command = classify(&["--dataset", "fashion-mnist", "--hidden", "4", "--epochs", "1"]);
    command.args(["--trajectories", "1"]).env("THERMOGRAD_DATA", &before);
    ok(command.arg("--out").arg(&out).output().unwrap());
    assert_eq!(json(&out.join("summary.json"))["dataset"], "fashion-mnist");
    assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains("reads clothes"));
    let whole = results(&out.join("summary.json"));
    std::fs::rename(&before, &after).unwrap();
    fails(&["--resume", out.to_str().unwrap()], &["before"]);
    let mut resumed = classify(&["--resume", out.to_str().unwrap(), "--data-dir"]);
    ok(resumed.arg(&after).output().unwrap());
    assert_eq!(results(&out.join("summary.json")), whole);
}

/// Work that does not fit into memory is refused with a number before any file is written.
#[test]
fn counts_that_no_memory_holds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (out, most) = (folder.path().join("run"), usize::MAX.to_string());
    let limited = |command: fn(&[&str]) -> Command, arguments: &[&str]| {
        let mut command = command(arguments);
        command.args(["--limit", "100", "--out"]).arg(&out);
        refused(command, arguments, &["GiB of memory"]);
    };
    limited(classify, &["--hidden", "1000000"]);
    limited(classify, &["--hidden", &most, "--trainer", "likelihood"]);
    limited(classify, &["--trajectories", &most]);
    limited(generate, &["--hidden", "1000000"]);
    limited(generate, &["--mode", "classes", "--hidden", &most]);
    limited(generate, &["--mode", "diffusion", "--hidden", &most]);
    limited(generate, &["--samples", &most]);
    assert!(!out.exists());
}

/// The reader of the output may stop reading; an output that cannot be written is an error, reported after the work.
#[cfg(unix)]
#[test]
fn an_output_that_nobody_takes_ends_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, out: std::process::Stdio| {
        let mut command = classify(&QUICK);
        let out = command.arg("--out").arg(folder.path().join(name)).stdout(out).output().unwrap();
        assert!(folder.path().join(name).join("report.html").is_file(), "{name}");
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(run("closed", writer.into()).0);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (succeeded, text) = run("full", full.into());
    assert!(!succeeded && text.contains("cannot write to the standard output"), "{text}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let small = ["--limit", "60", "--samples", "6", "--hidden", "4", "--t-f", "0.1", "--dt", "0.01"];
    let mut command = generate(&small);
    command.arg("--judge").arg(folder.path().join("judge.bpk")).arg("--out").arg(folder.path().join("drawn"));
    assert!(command.stdout(writer).output().unwrap().status.success());
    assert!(folder.path().join("drawn/report.html").is_file());
}

/// The same images and recipe share a judge; others get another.
#[test]
fn a_judge_is_kept_for_its_images_and_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |number: usize, arguments: &[&str]| {
        let small = ["--samples", "6", "--hidden", "4", "--t-f", "0.1", "--dt", "0.01"];
        let mut command = generate(&[&small[..], arguments].concat());
        command.env("XDG_CACHE_HOME", folder.path()).arg("--out").arg(folder.path().join(number.to_string()));
        ok(command.output().unwrap());
        std::fs::read_dir(folder.path().join("thermograd")).unwrap().count()
    };
    assert_eq!(draw(0, &["--limit", "60"]), 1);
    assert_eq!(draw(1, &["--limit", "60", "--gain", "1"]), 1);
    assert_eq!(draw(2, &["--limit", "60", "--set", "judge.noise=0.4"]), 2);
    assert_eq!(draw(3, &["--limit", "62"]), 3);
    // As many images, but others.
    assert_eq!(draw(4, &["--limit", "60", "--seed", "7"]), 4);
    // A gain multiplies the couplings of the exact solution, and a gain of 1 leaves them as they are.
    assert_eq!(draw(5, &["--limit", "60", "--gain", "2"]), 4);
    let gain = |number: usize| json(&folder.path().join(format!("{number}/summary.json")))["gain"].clone();
    assert_eq!([0, 1, 5].map(gain), [1.15, 1.0, 2.0].map(Value::from));
    let values = |number: usize| -> Vec<f32> {
        let bytes = std::fs::read(folder.path().join(format!("{number}/couplings.safetensors"))).unwrap();
        let decoded = thermograd::Couplings::decode(&bytes).unwrap();
        decoded.tensors.into_values().flat_map(|(_, values)| values).collect()
    };
    let (plain, double, default) = (values(1), values(5), values(0));
    assert!(plain.iter().any(|value| *value != 0.0));
    assert!(plain.iter().zip(double).all(|(plain, double)| 2.0 * plain == double));
    assert!(
        plain
            .iter()
            .zip(default)
            .all(|(plain, default)| (1.15 * plain - default).abs() <= 1e-6 * default.abs())
    );
    // Another file in its place is refused before there is a run folder.
    let (wrong, out) = (folder.path().join("wrong"), folder.path().join("no run"));
    std::fs::write(&wrong, "not a judge at all").unwrap();
    let mut command = generate(&["--limit", "60", "--samples", "6", "--hidden", "4"]);
    command.arg("--judge").arg(&wrong).arg("--out").arg(&out);
    refused(command, &["--judge"], &["is not a judge of these images"]);
    assert!(!out.exists());
}

#[test]
fn each_trainer_runs_and_a_file_of_settings_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "hidden = 6\nlimit = 400\ntrajectories = 2\nwiring = \"layered\"\n[guide]\nbeta = 80.0\nkt = 1.0\nevery = 5\n").unwrap();
    for trainer in ["likelihood", "exact"] {
        let out = folder.path().join(trainer);
        let mut command = classify(&["--trainer", trainer, "--seed", "9"]);
        ok(command.arg("--config").arg(&settings).arg("--out").arg(&out).output().unwrap());
        let summary = json(&out.join("summary.json"));
        assert_eq!((summary["trainer"].as_str(), summary["seed"].as_u64()), (Some(trainer), Some(9)));
        let description = std::fs::read_to_string(out.join("couplings.json")).unwrap();
        assert!(!description.contains("input-output") && description.contains("\"units\": 6"));
    }
}

/// Ctrl-C in the middle of training saves, and the resumed run gives the same results as an uninterrupted one.
#[cfg(unix)]
#[test]
fn an_interrupted_run_resumes_to_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let arguments = ["--limit", "3000", "--hidden", "8", "--epochs", "8", "--trajectories", "2"];
    ok(classify(&arguments).arg("--out").arg(&whole).output().unwrap());

    let mut child = classify(&arguments).arg("--out").arg(&broken).spawn().unwrap();
    let checkpoint = broken.join("checkpoints/pathwise.ckpt");
    let start = Instant::now();
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "training did not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "it should have been interrupted in training");
    assert!(!broken.join("summary.json").exists());

    let text = ok(classify(&["--threads", "1", "--resume"]).arg(&broken).output().unwrap());
    assert!(text.contains("one trajectory"), "{text}");
    assert_eq!(results(&broken.join("summary.json")), results(&whole.join("summary.json")));
    let couplings = |run: &Path| std::fs::read(run.join("couplings.safetensors")).unwrap();
    assert!(couplings(&broken) == couplings(&whole));
    let lines = |run: &Path| std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(lines(&broken), lines(&whole));

    // A run that stopped after the exact solution was logged but before it was saved.
    std::fs::remove_file(broken.join("checkpoints/exact.safetensors")).unwrap();
    ok(classify(&["--resume"]).arg(&broken).output().unwrap());
    let sorted = |run: &Path| -> Vec<String> {
        let mut lines: Vec<String> = lines(run).lines().map(String::from).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&broken), sorted(&whole));

    // One flipped bit in any checkpoint is detected.
    for file in ["teacher.bpk", "exact.safetensors", "pathwise.ckpt"] {
        let path = broken.join("checkpoints").join(file);
        let good = std::fs::read(&path).unwrap();
        for place in [0, good.len() / 3, good.len() - 5, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 4;
            std::fs::write(&path, bad).unwrap();
            fails(&["--resume", broken.to_str().unwrap()], &[file, "checksum"]);
        }
        std::fs::write(&path, good).unwrap();
    }
}

/// Small enough for seconds: 400 drawn digits, few hidden units, short runs.
const BRIEF: [&str; 4] = ["--limit", "400", "--samples", "20"];

#[test]
fn generate_stores_images_and_reports_them_and_its_export_draws_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (out, judge, export) = (path("run"), path("judge.bpk"), path("export.safetensors"));
    let arguments =
        [&BRIEF[..], &["--hidden", "24", "--digits", "1,7", "--t-f", "0.4", "--seed", "3"]].concat();
    let mut command = generate(&arguments);
    command.arg("--out").arg(&out).arg("--judge").arg(&judge).arg("--export").arg(&export);
    let text = ok(command.output().unwrap());
    assert!(text.contains("20 images") && text.contains("heat of an image"), "{text}");

    let summary = json(&out.join("summary.json"));
    let keys: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let mut promised = [
        "mode",
        "dataset",
        "seed",
        "n",
        "recognised",
        "accuracy",
        "frechet",
        "gain",
        "precision",
        "recall",
        "class_entropy",
        "readout",
        "heat_kt",
        "heat_kt_sd",
        "train_seconds",
    ];
    promised.sort_unstable();
    assert_eq!(keys, promised);
    assert_eq!((summary["mode"].as_str(), summary["n"].as_u64()), (Some("stored"), Some(20)));
    let evaluation = json(&out.join("evaluation.json"));
    for part in ["raw", "force"] {
        assert!(evaluation["generated"][part]["frechet"].is_number(), "{evaluation}");
    }
    for part in ["real images", "class means", "means of two", "uniform noise"] {
        assert!(evaluation["calibration"][part]["recall"].is_number(), "{evaluation}");
    }
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in ["Samples", "Nearest images", "Condensing", "Filmstrips", "Energy", "Coupling fields", "<svg"]
    {
        assert!(report.contains(part), "the report lacks {part}");
    }
    // The animation has more than one frame; an APNG file states their number.
    let picture = std::fs::read(out.join("digits.png")).unwrap();
    assert!(picture.windows(4).any(|word| word == b"acTL"));

    let evaluated = path("evaluated");
    let same = [&BRIEF[..], &["--digits", "1,7", "--seed", "3", "--eval"]].concat();
    let mut command = generate(&same);
    ok(command.arg(&export).arg("--out").arg(&evaluated).arg("--judge").arg(&judge).output().unwrap());
    let again = json(&evaluated.join("summary.json"));
    for key in ["recognised", "accuracy", "frechet", "recall", "heat_kt", "heat_kt_sd"] {
        assert_eq!(again[key], summary[key], "{key}");
    }
}

#[test]
fn generate_draws_classes_with_a_computer_and_with_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let judge = folder.path().join("judge.bpk");
    let run = |name: &str, arguments: &[&str]| {
        let out = folder.path().join(name);
        let mut command = generate(&[&BRIEF[..], arguments].concat());
        ok(command.arg("--out").arg(&out).arg("--judge").arg(&judge).output().unwrap());
        (json(&out.join("summary.json")), out)
    };
    let settings = folder.path().join("settings.toml");
    let text = "accounts = 4\n[noising]\nfield = 2.0\nfade = 0.75\nschedule = { dt = 0.002, steps = 100 }\n";
    std::fs::write(&settings, text).unwrap();
    let config = ["--config", settings.to_str().unwrap(), "--dt", "0.002"];
    let classes = ["--mode", "classes", "--hidden", "16", "--epochs", "2"];
    let (summary, out) = run("classes", &[&classes[..], &config].concat());
    assert_eq!((summary["mode"].as_str(), summary["readout"].as_str()), (Some("classes"), Some("force")));
    assert!(summary["heat_kt"].is_number());
    let export = out.join("couplings.safetensors");
    let seven =
        ["--eval", export.to_str().unwrap(), "--class", "7", "--label-strength", "2.2", "--readout", "raw"];
    let (summary, _) = run("seven", &[&seven[..], &config].concat());
    assert_eq!((summary["mode"].as_str(), summary["readout"].as_str()), (Some("classes"), Some("raw")));
    let fast = ["--eval", export.to_str().unwrap(), "--hidden-units", "adiabatic"];
    let (summary, _) = run("fast", &[&fast[..], &config[..2]].concat());
    assert!(summary["heat_kt"].is_null());
    // Devices that differ, each in its own way, and other strengths of labels in order, once each.
    let scores = |out: &Path| json(&out.join("evaluation.json"))["generated"]["force"]["frechet"].clone();
    let (_, designed) = run("designed", &[&fast[..], &config[..2]].concat());
    for imperfection in ["bits=3", "mismatch=0.3", "range=0.2", "fan-in=20", "temperature=2", "wells=1.5"] {
        let differs = ["--imperfection", imperfection];
        let (_, device) = run(imperfection, &[&fast[..], &config[..2], &differs].concat());
        assert_ne!(scores(&device), scores(&designed), "{imperfection}");
        let again = std::fs::read_to_string(device.join("config.toml")).unwrap();
        assert!(again.contains(&format!("imperfections = [\"{imperfection}\"]")), "{again}");
    }
    let (_, curve) = run("curve", &[&seven[..4], &config, &["--strengths", "2,0.5,2,1.35"]].concat());
    let curve = json(&curve.join("evaluation.json"));
    let strengths = curve["strengths"].as_array().unwrap();
    let values: Vec<f64> = strengths.iter().map(|at| at["strength"].as_f64().unwrap()).collect();
    assert_eq!(values, [0.5, 1.35, 2.0]);
    assert!(strengths.iter().all(|at| at["heat_kt"]["mean"].is_number()));
    // Training on own samples goes on from the same couplings, and changes them.
    let refined =
        ["--set", "refinement.steps=1", "--set", "refinement.batch=20", "--set", "refinement.filters=2"];
    let (_, refined) = run("refined", &[&classes[..], &config, &refined].concat());
    let file = |out: &Path| std::fs::read(out.join("couplings.safetensors")).unwrap();
    assert_ne!(file(&refined), file(&out));
    let (_, control) = run("control", &[&classes[..], &config].concat());
    assert_eq!(file(&control), file(&out));
    let (summary, _) = run("network", &["--mode", "diffusion", "--hidden", "16", "--epochs", "2"]);
    assert_eq!((summary["mode"].as_str(), summary["heat_kt"].is_null()), (Some("diffusion"), true));
}

#[test]
fn what_generate_cannot_do_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let mut command = generate(&[&BRIEF[..], arguments].concat());
        command.arg("--out").arg(folder.path().join(arguments.concat().replace('/', "-")));
        refused(command, arguments, parts);
    };
    refused(&["--digits", "0,12"], &["12", "digits 0 to 9"]);
    refused(&["--digits", "3,3"], &["twice"]);
    refused(&["--images", "400"], &["400 are requested"]);
    refused(&["--class", "4"], &["--class", "no labels", "--mode classes"]);
    refused(&["--label-strength", "2"], &["--label-strength", "no labels"]);
    refused(&["--mode", "classes", "--class", "10"], &["classes are 0 to 9"]);
    refused(&["--mode", "classes", "--digits", "1"], &["--digits", "only with --mode stored"]);
    refused(&["--mode", "classes", "--guidance", "2"], &["--guidance"]);
    refused(&["--dt", "0.9", "--t-f", "1.8"], &["time step", "must be below"]);
    refused(&["--mode", "classes", "--dt", "0.2"], &["time step", "must be below"]);
    refused(&["--gain", "nan"], &["gain", "finite"]);
    refused(&["--mode", "classes", "--imperfection", "bits=4"], &["--imperfection", "only with --eval"]);
    refused(&["--set", "strengths=[1.0]"], &["--strengths", "no labels"]);
    refused(&["--set", "refinement.steps=2"], &["refinement.steps", "only where classes"]);
    refused(&["--mode", "classes", "--strengths", "nan"], &["strengths", "finite"]);
    let eval = ["--eval", "/nowhere", "--imperfection"];
    refused(&[&eval[..], &["bandwidth=1"]].concat(), &["bandwidth", "not simulated"]);
    refused(&[&eval[..], &["bits"]].concat(), &["KNOB=VALUE"]);
    refused(&[&eval[..], &["colour=1"]].concat(), &["colour=1", "are possible"]);
    refused(
        &["--mode", "classes", "--set", "refinement.steps=1", "--set", "refinement.batch=9"],
        &["a batch of 20"],
    );
    refused(
        &["--mode", "classes", "--set", "refinement.steps=1", "--set", "refinement.real=1"],
        &["no image of class"],
    );
    refused(&["--mode", "diffusion", "--export", "x.safetensors"], &["--export", "no couplings"]);
    refused(&["--samples", "3"], &["samples"]);
    refused(&["--t-f", "-1"], &["must be positive"]);
    refused(&["--dataset", "mnist"], &["--data-dir DIR"]);
    refused(&["--eval", "/nowhere/couplings.safetensors"], &["/nowhere/couplings.safetensors"]);
    let text = ok(generate(&["--help"]).output().unwrap());
    for part in ["--digits", "--label-strength", "--readout", "Examples:", "class_entropy"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Ctrl-C in the middle of a descent saves, and the resumed run gives the same results as an uninterrupted one.
#[cfg(unix)]
#[test]
fn an_interrupted_descent_resumes_to_the_same_couplings() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken, judge) =
        (folder.path().join("whole"), folder.path().join("broken"), folder.path().join("judge.bpk"));
    let arguments =
        [&BRIEF[..], &["--hidden", "8", "--trainer", "batch", "--cycles", "6", "--t-f", "0.2"]].concat();
    let start = |out: &Path| {
        let mut command = generate(&arguments);
        command.arg("--out").arg(out).arg("--judge").arg(&judge);
        command
    };
    ok(start(&whole).output().unwrap());
    let mut child = start(&broken).spawn().unwrap();
    let checkpoint = broken.join("checkpoints/descent.ckpt");
    let begun = Instant::now();
    while !checkpoint.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "training did not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130), "it should have been interrupted in training");
    assert!(!broken.join("couplings.safetensors").exists());
    ok(generate(&["--judge", judge.to_str().unwrap(), "--resume"]).arg(&broken).output().unwrap());
    let couplings = |run: &Path| std::fs::read(run.join("couplings.safetensors")).unwrap();
    assert!(couplings(&broken) == couplings(&whole));
    assert_eq!(results(&broken.join("summary.json")), results(&whole.join("summary.json")));
    let lines = |run: &Path| std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(lines(&broken), lines(&whole));
    // A log line without its checkpoint is removed, and a truncated one is written again.
    let ours = lines(&broken);
    let beyond = ours.lines().last().unwrap().replace("\"step\":6", "\"step\":7");
    std::fs::write(broken.join("metrics.jsonl"), format!("{ours}{beyond}\n{{\"stage\":\"desc")).unwrap();
    ok(generate(&["--judge", judge.to_str().unwrap(), "--resume"]).arg(&broken).output().unwrap());
    assert_eq!(lines(&broken), ours);
}

fn couplings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_couplings"));
    command.args(arguments).env_remove("THERMOGRAD_DATA");
    command
}

/// A small trained classifier in a file.
fn trained(folder: &Path) -> std::path::PathBuf {
    let (out, export) = (folder.join("run"), folder.join("couplings.safetensors"));
    let arguments = ["--limit", "800", "--hidden", "8", "--trainer", "exact", "--trajectories", "1"];
    ok(classify(&arguments).arg("--out").arg(&out).arg("--export").arg(&export).output().unwrap());
    export
}

#[test]
fn couplings_are_inspected_converted_compared_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = trained(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, strokes) = (file.to_str().unwrap(), ["--dataset", "strokes", "--limit", "200"]);

    let page = path("page.html");
    let text = ok(couplings(&["inspect", file, "--report", &page]).output().unwrap());
    for part in ["784 units, clamped", "hidden-output", "largest stable step", "images"] {
        assert!(text.contains(part), "{text}");
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("From input to hidden"));
    let described = ok(couplings(&["inspect", file, "--json"]).output().unwrap());
    assert_eq!(serde_json::from_str::<Value>(&described).unwrap()["version"], 3);

    for name in ["c.npz", "c.csv", "c.txt"] {
        ok(couplings(&["convert", file, &path(name)]).output().unwrap());
    }
    for name in ["c.npz", "c.csv"] {
        assert!(ok(couplings(&["diff", file, &path(name)]).output().unwrap()).contains("the same"));
    }
    // The parameter file assumes MNIST's normalisation, but these are drawn digits.
    let output = couplings(&["diff", file, &path("c.txt")]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("normalisation.offset") && !text.contains("J."), "{text}");

    let netlist = path("seven.cir");
    let example = [&["convert", file, &netlist, "--example", "7"][..], &strokes].concat();
    ok(couplings(&example).output().unwrap());
    let netlist = std::fs::read_to_string(netlist).unwrap();
    assert!(netlist.contains("TRNOISE") && netlist.contains("wrdata seven.data"));

    let (ledger, states) = (path("ledger.json"), path("states.csv"));
    let price = ["--mac-joules", "2e-12"];
    let simulate = ["simulate", file, "--trajectories", "2", "--ledger", &ledger, "--states", &states];
    let simulate = [&simulate[..], &price].concat();
    let text = ok(couplings(&[&simulate[..], &strokes].concat()).output().unwrap());
    for part in
        ["one trajectory", "trajectory", "reset", "clamping", "read-out", "digital network", "not counted"]
    {
        assert!(text.contains(part), "{text}");
    }
    let ledger = json(Path::new(&ledger));
    assert_eq!(ledger["lines"].as_array().unwrap().len(), 5);
    // 784 · 8 + 8 · 10 multiply–accumulates at the given price.
    let digital = ledger["digital"]["joules"].as_f64().unwrap();
    assert!((digital / (6352.0 * 2e-12) - 1.0).abs() < 1e-9, "{digital}");
    assert_eq!(std::fs::read_to_string(states).unwrap().lines().count(), 201);

    let clamp = path("clamp.txt");
    std::fs::write(&clamp, "0.5 ".repeat(784)).unwrap();
    let text = ok(couplings(&["simulate", file, "--clamp", &clamp, "--trajectories", "5"]).output().unwrap());
    assert!(text.contains("5 trajectories") && text.contains("hidden"), "{text}");
    let text = ok(couplings(&["simulate", file, "--clamp", &clamp, "--kt", "0"]).output().unwrap());
    assert!(text.contains("units of the couplings") && !text.contains("NaN"), "{text}");
}

/// A computer without couplings that starts from noise stays in equilibrium, so there is nothing to reset. Counted
/// from rest, the reset would be the thermal energy of its 792 units, about 350 kT.
#[test]
fn a_reset_is_counted_from_the_start_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let idle =
        ["--gain", "0", "--samples", "6", "--hidden", "8", "--t-f", "0.1", "--dt", "0.01", "--limit", "100"];
    ok(generate(&idle).args(["--judge", &path("judge.bpk"), "--out", &path("run")]).output().unwrap());
    let file = path("run/couplings.safetensors");
    let arguments = ["simulate", &file, "--trajectories", "50", "--ledger", &path("ledger.json")];
    ok(couplings(&arguments).output().unwrap());
    let reset = json(Path::new(&path("ledger.json")))["measured"]["reset"].as_f64().unwrap();
    // A unit's energy has a variance below ½ (kT)²: 4.9 standard deviations of 50 differences of 792 units.
    assert!(reset.abs() < 4.9 * (2.0 * 0.5 * 792.0 / 50.0_f64).sqrt(), "{reset}");
}

#[test]
fn a_sweep_leaves_a_table_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let file = trained(folder.path());
    for (by, values) in [
        ("mismatch", "0.1,0.5"),
        ("unit-mismatch", "0.1"),
        ("bits", "3"),
        ("bandwidth", "30"),
        ("read-out", "1"),
        ("fan-in", "99"),
    ] {
        let out = folder.path().join(by);
        let mut command = couplings(&["perturb", file.to_str().unwrap(), "--by", by, "--values", values]);
        command.args(["--devices", "2", "--dataset", "strokes", "--limit", "200"]).arg("--out").arg(&out);
        let text = ok(command.output().unwrap());
        assert!(text.contains(by) && text.contains("none"), "{text}");
        let rows = std::fs::read_to_string(out.join("sweep.csv")).unwrap().lines().count();
        assert_eq!(rows, 1 + 2 * values.split(',').count());
        assert!(std::fs::read_to_string(out.join("report.html")).unwrap().contains("<svg"));
    }
}

#[test]
fn couplings_are_pruned_rounded_and_tuned() {
    let folder = tempfile::tempdir().unwrap();
    let file = trained(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let common = ["--dataset", "strokes", "--limit", "800", "--trajectories", "1", "--fine-tune", "1"];
    let run = |task: &str, input: &str, output: &str, flags: &[&str]| {
        let named = [task, input, output, "--run", &path(&format!("run-{output}").replace('/', "-"))];
        ok(couplings(&[&named[..], &common, flags].concat()).output().unwrap())
    };
    let (sparse, few, hardy) = (path("sparse.safetensors"), path("few.npz"), path("hardy.csv"));
    let text = run("prune", file.to_str().unwrap(), &sparse, &["--keep", "0.2"]);
    assert!(text.contains("changed and trained"), "{text}");
    run("quantize", &sparse, &few, &["--bits", "3", "--scale", "block"]);
    run("tune", &sparse, &hardy, &["--mismatch", "0.1", "--augment"]);
    let count = |file: &str| {
        let text = ok(couplings(&["inspect", file]).output().unwrap());
        let line = text.lines().find(|line| line.starts_with("couplings")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().trim_end_matches(',').parse::<usize>().unwrap()
    };
    let whole = count(file.to_str().unwrap());
    let kept = (0.2 * whole as f64).ceil() as usize;
    assert_eq!([&sparse, &few, &hardy].map(|file| count(file)), [kept; 3]);
    // Pruned couplings can be read like any others.
    let mut eval = classify(&["--limit", "200", "--trajectories", "1", "--eval", &sparse]);
    ok(eval.arg("--out").arg(folder.path().join("eval")).output().unwrap());
}

/// Ctrl-C in the middle of fine-tuning saves, and the resumed run gives the same couplings as an uninterrupted one.
#[cfg(unix)]
#[test]
fn interrupted_pruning_and_tuning_resume_to_the_same_couplings() {
    let folder = tempfile::tempdir().unwrap();
    let file = trained(folder.path());
    let path = |name: String| folder.path().join(name).to_str().unwrap().to_owned();
    let common = ["--dataset", "strokes", "--limit", "800", "--trajectories", "1", "--fine-tune", "6"];
    for (task, flags) in [("prune", ["--keep", "0.2"]), ("tune", ["--mismatch", "0.1"])] {
        let begin = |name: &str| {
            let (made, run) = (path(format!("{task}-{name}.safetensors")), path(format!("{task}-{name}")));
            let named = [task, file.to_str().unwrap(), &made, "--run", &run];
            (couplings(&[&named[..], &common, &flags].concat()), made, run)
        };
        let (mut whole, expected, _) = begin("whole");
        ok(whole.output().unwrap());
        let (mut broken, made, run) = begin("broken");
        let mut child = broken.spawn().unwrap();
        let (start, begun) = (Path::new(&run).join("checkpoints/start.safetensors"), Instant::now());
        while !start.exists() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{task} did not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{task} should have been interrupted");
        assert!(!Path::new(&made).exists());
        ok(couplings(&[task, "--resume", &run]).output().unwrap());
        assert!(std::fs::read(&made).unwrap() == std::fs::read(&expected).unwrap(), "{task}");
    }
    // Training that diverges under a large mismatch says that this may be why.
    let wild = path("wild.safetensors".into());
    let tune = ["tune", file.to_str().unwrap(), &wild, "--mismatch", "50", "--run", &path("wild".into())];
    let arguments = [&tune[..], &common].concat();
    refused(couplings(&arguments), &arguments, &["less --mismatch than 50"]);
}

#[test]
fn what_couplings_cannot_do_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let refused = |arguments: &[&str], parts: &[&str]| refused(couplings(arguments), arguments, parts);
    let (graph, out) = (path("graph.gset"), path("out.safetensors"));
    std::fs::write(&graph, "3 2\n1 2 1\n2 3 -1\n").unwrap();
    refused(&["inspect", &path("nothing.npz")], &["cannot read", "nothing.npz"]);
    refused(&["inspect", &path("couplings")], &["known extension", ".npz"]);
    refused(&["convert", &graph, &path("graph.txt")], &["graph.txt", "not a parameter file", "spin"]);
    refused(&["convert", &graph, &path("a.cir"), "--farads", "0"], &["farads", "positive"]);
    refused(&["convert", &graph, &out, "--example", "1", "--dataset", "strokes"], &["netlist"]);
    refused(&["simulate", &graph, "--dataset", "strokes"], &["no input normalisation"]);
    refused(&["perturb", &graph, "--by", "bits"], &["no input normalisation"]);
    refused(&["prune", &graph, &out], &["--dataset strokes"]);
    refused(&["prune", &graph, &out, "--dataset", "strokes", "--keep", "2"], &["keep"]);
    refused(&["quantize", &graph, &path("out.xyz"), "--dataset", "strokes"], &["out.xyz", "known extension"]);
    refused(&["prune"], &["FILE"]);
    refused(&["prune", "--resume", &out, "--keep", "0.1"], &["--keep", "--resume"]);
    refused(&["tune", &graph, &out, "--dataset", "strokes"], &["--fine-tune EPOCHS"]);
    refused(&["simulate", &path("nothing.csv"), "--kt", "0"], &["cannot read"]);
    std::fs::write(path("broken.csv"), "# thermograd {}\n").unwrap();
    refused(&["convert", &path("broken.csv"), &out], &["broken.csv", "no version"]);
    // Nothing was written, and existing files are unchanged.
    assert!(!Path::new(&out).exists() && !Path::new(&path("graph.txt")).exists());
    std::fs::write(&out, "precious").unwrap();
    refused(&["convert", &path("broken.csv"), &out], &["no version"]);
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    let help = ok(couplings(&["--help"]).output().unwrap());
    for part in
        ["inspect", "convert", "simulate", "perturb", "prune", "quantize", "diff", ".qubo", "Examples:"]
    {
        assert!(help.contains(part), "{help}");
    }
}

fn ising(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ising"));
    command.args(arguments).env_remove("THERMOGRAD_DATA");
    command
}

/// An Ising network is trained and read; its couplings are inspected, sampled spin by spin and made imperfect, and are no
/// classifier that follows Langevin dynamics.
#[test]
fn an_ising_network_reads_and_its_couplings_are_spins_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let quick =
        ["--limit", "600", "--epochs", "3", "--sweeps", "20", "--set", "ising.hidden=[{ dense = 32 }]"];
    let text = ok(ising(&quick).args(["--out", &name(&run)]).output().unwrap());
    assert!(text.contains("sweeps averaged") && text.contains("autocorrelation"), "{text}");
    let summary = results(&run.join("summary.json"));
    let keys = "dataset network realisation delta sweeps accuracy accuracy_predicted accuracy_mean_field tau_sweeps \
                flips_per_image";
    for key in keys.split_whitespace() {
        assert!(!summary[key].is_null(), "{key}: {summary}");
    }
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for part in
        ["How many sweeps", "Spins", "What hardware makes of it", "Couplings to the image", "Confusion"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("NaN"));

    let file = name(&run.join("couplings.safetensors"));
    let text = ok(couplings(&["inspect", &file]).output().unwrap());
    assert!(text.contains("20 averaged") && text.contains("output 3.33"), "{text}");
    let data = ["--dataset", "strokes", "--limit", "600"];
    let text = ok(couplings(&["simulate", &file]).args(data).output().unwrap());
    let read = text.lines().find(|line| line.contains("average of 20")).unwrap();
    let read: f64 = read.split_whitespace().nth(3).unwrap().parse().unwrap();
    let accuracy = 100.0 * summary["accuracy"].as_f64().unwrap();
    // The same images, other noise: six standard errors of 600 images.
    assert!((read - accuracy).abs() < 12.0, "{read} instead of {accuracy}");
    let out = name(&folder.path().join("sweep"));
    let sweep = ["perturb", &file, "--by", "temperature", "--values", "1,3", "--devices", "1", "--out", &out];
    let text = ok(couplings(&sweep).args(data).output().unwrap());
    assert!(text.contains("accuracy of 20 sweeps"), "{text}");
    for knob in ["wells", "read-out"] {
        let sweep = ["perturb", &file, "--by", knob, "--values", "2"];
        refused(couplings(&sweep), &sweep, &["spins have no wells"]);
    }
    fails(&["--eval", &file], &["units are spins"]);
    refused(couplings(&["simulate", &file]), &["simulate"], &["units are clamped", "--clamp FILE"]);
    let twice = [&["simulate", &file, "--trajectories", "2"][..], &data].concat();
    refused(couplings(&twice), &twice, &["--trajectories", "every image once"]);

    // One image held, the rest is a spin model with the temperatures beside it.
    let model = name(&folder.path().join("digit.json"));
    let held = ["convert", &file, &model];
    refused(couplings(&held), &held, &["units are clamped", "--example"]);
    let text = ok(couplings(&held).args(data).args(["--example", "3"]).output().unwrap());
    assert!(text.contains("132 free units, 3200 couplings"), "{text}");
    let json = results(Path::new(&model));
    assert_eq!(json["info"]["sampling"]["groups"]["output"]["units"], serde_json::json!([32, 131]));
    // Sampled by Gibbs where the file goes; a format without temperatures refuses it, and so does a circuit.
    let states = name(&folder.path().join("states.csv"));
    let text =
        ok(couplings(&["simulate", &model, "--trajectories", "7", "--states", &states]).output().unwrap());
    assert!(text.contains("7 chains of ") && text.contains("output, class 9"), "{text}");
    let rows = std::fs::read_to_string(&states).unwrap();
    let spins = |row: &str| row.split(',').filter(|s| ["1", "-1"].contains(s)).count();
    assert!(rows.lines().skip(1).map(spins).eq([132; 7]), "{rows}");
    for other in ["digit.qubo", "digit.coo", "digit.cir"] {
        let other = name(&folder.path().join(other));
        refused(couplings(&["convert", &model, &other]), &["convert", &other], &[]);
    }

    // As few sweeps as are needed, on the machine that needs fewer.
    let few = name(&folder.path().join("few"));
    let wanted = [&["--limit", "2000", "--epochs", "20", "--accuracy", "0.15"][..], &quick[6..]].concat();
    let text = ok(ising(&wanted).args(["--out", &few]).output().unwrap());
    assert!(text.contains("machine T: ") && text.contains("machine E: "), "{text}");
    let summary = results(&Path::new(&few).join("summary.json"));
    assert!(summary["sweeps"].as_u64().unwrap() < 100, "{text}");
    let one = name(&folder.path().join("one"));
    let text = ok(ising(&wanted).args(["--realisation", "t", "--out", &one]).output().unwrap());
    assert!(text.contains("machine T: ") && !text.contains("machine E: "), "{text}");
}

#[test]
fn an_interrupted_ising_run_resumes_and_what_is_no_network_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let small = ["--set", "ising.hidden=[{ dense = 64 }]", "--set", "trainer.settling.epochs=2"];
    let quick = [&["--limit", "2000", "--epochs", "8", "--sweeps", "3"][..], &small].concat();
    ok(ising(&quick).arg("--out").arg(&whole).output().unwrap());
    let mut child = ising(&quick).arg("--out").arg(&cut).spawn().unwrap();
    let begun = Instant::now();
    while !cut.join("checkpoints/ising.ckpt").exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    child.wait().unwrap();
    ok(ising(&["--resume"]).arg(&cut).output().unwrap());
    for file in ["metrics.jsonl", "couplings.safetensors", "evaluation.json"] {
        assert!(
            std::fs::read(whole.join(file)).unwrap() == std::fs::read(cut.join(file)).unwrap(),
            "{file} differs"
        );
    }
    let cases: [(&[&str], &str); 6] = [
        (&["--delta", "2"], "delta = 2"),
        (&["--realisation", "e", "--delta", "0"], "delta = 0"),
        (&["--accuracy", "98"], "0.98"),
        (&["--sweeps", "0"], "sweeps"),
        (&["--dataset", "cifar10"], "--data-dir"),
        (&["--delta", "0", "--export", "x.npz"], "symmetric"),
    ];
    for (arguments, part) in cases {
        refused(ising(arguments), arguments, &[part]);
    }
    // A batch of CIFAR-10 that ends too early.
    std::fs::write(folder.path().join("data_batch_1.bin"), [0; 5000]).unwrap();
    let arguments = ["--dataset", "cifar10", "--data-dir", folder.path().to_str().unwrap()];
    refused(ising(&arguments), &arguments, &["data_batch_1.bin", "byte 5000", "30730000"]);
}

/// Four spins in two groups of their own temperatures, at kT = 2: from every format that holds them, `simulate` reads the class means
/// and the energy of the steady state, enumerated as a Markov chain: the hidden spins are drawn, then the outputs.
#[test]
fn spins_of_any_temperature_read_their_steady_state_from_files() {
    use thermograd::{
        Block, Couplings, Description, Format, Group, Sampling, Schedule, SubstrateConfig, Topology,
    };
    let (h, j): ([f64; 4], [f64; 4]) = ([0.5, -1.0, 0.75, 0.25], [1.0, -0.5, -1.5, 0.75]);
    let (kt, betas) = (2.0, [1.0, 2.5]);
    let group = |name: &str| Group::free(name, 2).wells(-2.0, 1.0);
    let topology = Topology {
        groups: vec![group("hidden"), group("output")],
        blocks: vec![Block::full("hidden", "output")],
    };
    let config = SubstrateConfig::new(topology).with_kt(kt);
    let mut description = Description::of(config, Schedule { dt: 1e-3, steps: 10 }, None);
    let names = [("hidden".to_owned(), betas[0]), ("output".to_owned(), betas[1])];
    let (output, classes, burn_in, sweeps) = ("output".into(), 2, 30, 200);
    description.sampling = Some(Sampling { betas: names.into(), output, classes, burn_in, sweeps });
    let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let tensors =
        [("b.hidden", single(&h[..2])), ("b.output", single(&h[2..])), ("J.hidden-output", single(&j))];
    let couplings = Couplings::new(description, tensors).unwrap();

    // The steady state after a sweep.
    let s = |state: usize, i: usize| if state >> i & 1 == 1 { 1.0 } else { -1.0 };
    let field = |state: usize, i: usize| match i {
        0 | 1 => h[i] + j[2 * i] * s(state, 2) + j[2 * i + 1] * s(state, 3),
        _ => h[i] + j[i - 2] * s(state, 0) + j[i] * s(state, 1),
    };
    let drawn = |old: &[f64], group: usize| {
        let mut new = vec![0.0; 16];
        for (state, p) in old.iter().enumerate() {
            for pair in 0..4 {
                let target = state & !(3 << (2 * group)) | pair << (2 * group);
                let up =
                    |i: usize| 1.0 / (1.0 + (2.0 * betas[group] / kt * field(state, i) * s(target, i)).exp());
                new[target] += p * up(2 * group) * up(2 * group + 1);
            }
        }
        new
    };
    let steady = (0..500).fold(vec![1.0 / 16.0; 16], |p, _| drawn(&drawn(&p, 0), 1));
    let mean =
        |of: &dyn Fn(usize) -> f64| steady.iter().enumerate().map(|(state, p)| p * of(state)).sum::<f64>();
    let energy = |state: usize| {
        (0..4).map(|i| h[i] * s(state, i)).sum::<f64>()
            + (0..4).map(|k| j[k] * s(state, k / 2) * s(state, 2 + k % 2)).sum::<f64>()
    };
    let exact = [mean(&|state| s(state, 2)), mean(&|state| s(state, 3)), mean(&energy)];

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("a.csv"), Format::Csv.encode(&couplings).unwrap()).unwrap();
    ok(crate::cli::couplings(&["convert", &at("a.csv"), &at("b.json")]).output().unwrap());
    ok(crate::cli::couplings(&["convert", &at("b.json"), &at("c.npz")]).output().unwrap());
    for file in ["a.csv", "b.json", "c.npz"] {
        let text =
            ok(crate::cli::couplings(&["simulate", &at(file), "--trajectories", "4000"]).output().unwrap());
        let told = |start: &str| -> (f64, f64) {
            let line = text.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
            let rest = line.trim_start()[start.len()..].trim_start();
            let (value, rest) = rest.split_once(" (s.d. ").unwrap();
            (value.parse().unwrap(), rest[..rest.find(')').unwrap()].parse().unwrap())
        };
        for (start, exact) in
            ["output, class 0", "output, class 1", "energy of the spins"].into_iter().zip(exact)
        {
            let (value, sd) = told(start);
            // Nine numbers of 4000 chains; s.d. and values are rounded.
            let allowed = crate::common::deviations(1e-6 / 9.0) * 1.05 * sd / 4000.0_f64.sqrt() + 1e-4;
            println!("{file}: {start} {value} ± {allowed}, exactly {exact}");
            assert!((value - exact).abs() < allowed, "{file}: {start} is {value}, not {exact} ± {allowed}");
        }
    }
    // At one temperature a format without them takes the spins, and says what it loses.
    let mut cool = couplings.clone();
    cool.description.sampling.as_mut().unwrap().betas.values_mut().for_each(|beta| *beta = kt);
    std::fs::write(at("cool.npz"), Format::Npz.encode(&cool).unwrap()).unwrap();
    let text = ok(crate::cli::couplings(&["convert", &at("cool.npz"), &at("cool.qubo")]).output().unwrap());
    assert!(text.contains("sampled by Gibbs"), "{text}");
    refused(
        crate::cli::couplings(&["convert", &at("a.csv"), &at("warm.qubo")]),
        &["convert"],
        &["beta = 0.5"],
    );
}

fn linalg(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_linalg"));
    command.args(arguments);
    command
}

/// Every task of `linalg` reads its files, answers, and leaves its numbers, its summary and its page.
#[test]
fn linear_algebra_answers_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    write("a.mtx", "%%MatrixMarket matrix coordinate real symmetric\n2 2 3\n1 1 2\n2 1 -0.5\n2 2 1\n");
    write("b.csv", "1\n0.5\n");
    write("d.csv", "1,-0.9\n-0.9,1\n");
    write("general.csv", "1,4\n0,1.5\n");
    write("x.csv", "1,0\n1,1\n1,2\n");
    write("y.csv", "0.1,1.1,1.9\n");
    let solution = |bytes: &[u8]| thermograd_datasets::matrices::decode("npy", bytes, 1 << 20).unwrap();
    type Case<'a> = (&'a [&'a str], &'a str, Option<[f64; 2]>);
    let cases: [Case; 8] = [
        // By hand: det = 1.75.
        (&["solve", "a.mtx", "b.csv"], "solution.npy", Some([1.25 / 1.75, 1.5 / 1.75])),
        (&["inverse", "a.mtx"], "inverse.npy", Some([1.0 / 1.75, 0.5 / 1.75])),
        (&["inverse", "a.mtx", "--device", "rlc"], "inverse.npy", Some([1.0 / 1.75, 0.5 / 1.75])),
        (&["logdet", "a.mtx"], "logdet.npy", None),
        (&["expm", "general.csv", "--duration", "0.5"], "exponential.npy", None),
        (&["lyapunov", "general.csv", "d.csv"], "covariance.npy", None),
        (&["regress", "x.csv", "y.csv"], "weights.npy", None),
        (&["gp", "--grid", "50", "--error", "0.2"], "mean.npy", None),
    ];
    for (index, (arguments, file, expected)) in cases.into_iter().enumerate() {
        let out = at(&format!("run{index}"));
        let full: Vec<String> = arguments
            .iter()
            .map(
                |word| if word.contains(".mtx") || word.contains(".csv") { at(word) } else { (*word).into() },
            )
            .collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let text = ok(linalg(&full).args(["--out", &out]).output().unwrap());
        assert!(
            text.contains("asked for") && text.contains("heat") && !text.contains("NaN"),
            "{arguments:?}: {text}"
        );
        let summary = json(&Path::new(&out).join("summary.json"));
        for key in [
            "task",
            "device",
            "dimension",
            "condition",
            "error_promised",
            "error",
            "time_constants",
            "seconds_device",
            "heat_kt",
        ] {
            // A drift under noise of any kind has no heat of programming.
            let unknown = arguments[0] == "lyapunov" && key == "heat_kt";
            assert!(unknown || !summary[key].is_null(), "{arguments:?}: {key}: {summary}");
        }
        let (error, promised) =
            (summary["error"].as_f64().unwrap(), summary["error_promised"].as_f64().unwrap());
        // Errors of five standard errors are of other numbers.
        assert!(error < 5.0 * promised, "{arguments:?}: {error}");
        let page = std::fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
        assert!(page.contains("Error against time") && page.contains("Spectrum") && !page.contains("NaN"));
        let found = solution(&std::fs::read(Path::new(&out).join(file)).unwrap());
        if let Some(expected) = expected {
            assert!(
                found.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.3),
                "{arguments:?}: {found:?}"
            );
        }
    }
    let out = at("samples");
    ok(linalg(&["sample", &at("a.mtx"), "--samples", "50", "--out", &out]).output().unwrap());
    assert_eq!(solution(&std::fs::read(at("samples/samples.npy")).unwrap()).rows, 50);

    let netlist = at("cells.cir");
    ok(linalg(&["inverse", &at("a.mtx"), "--device", "rlc", "--netlist", &netlist, "--out", &at("cells")])
        .output()
        .unwrap());
    assert!(std::fs::read_to_string(&netlist).unwrap().contains("TRNOISE"));

    // The same seed, the same numbers, on one thread and on two.
    let solve = |threads: &str, out: &str| {
        ok(linalg(&["solve", "--random", "8", "--threads", threads, "--out", &at(out)]).output().unwrap());
        std::fs::read(at(&format!("{out}/solution.npy"))).unwrap()
    };
    assert_eq!(solve("1", "one"), solve("2", "two"));
    let sample = |threads: &str, out: &str| {
        let mut command = linalg(&["sample", "--random", "7", "--chains", "37", "--samples", "99"]);
        ok(command.args(["--threads", threads, "--out", &at(out)]).output().unwrap());
        std::fs::read(at(&format!("{out}/samples.npy"))).unwrap()
    };
    assert_eq!(sample("1", "samples one"), sample("3", "samples three"));
}

/// What `linalg` cannot do it says, with the numbers.
#[test]
fn linear_algebra_refuses_what_it_cannot_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    write("wide.csv", "1,2,3\n4,5,6\n");
    write("indefinite.csv", "1,2\n2,1\n");
    write("nan.csv", "1,nan\n2,1\n");
    write("board.toml", "name = \"x\"\ncapacitors = [1e-9]\ndrives = [{ node = 2, ohms = 1.0 }]\n");
    let cases: [(&[&str], &[&str]); 14] = [
        (&["solve", "wide.csv"], &["2 by 3"]),
        (&["inverse", "indefinite.csv"], &["-1"]),
        (&["lyapunov", "indefinite.csv"], &["-1"]),
        (&["solve", "nan.csv"], &["nan.csv", "row 0, column 1"]),
        (&["solve", "none.mtx"], &["none.mtx"]),
        (&["solve", "wide.csv", "--random", "4"], &["--random", "wide.csv"]),
        (&["solve", "--random", "2000000"], &["GiB"]),
        (&["solve", "--random", "8", "--condition", "0.5"], &["condition number of 0.5"]),
        (&["solve", "--random", "8", "--error", "-1"], &["error of -1"]),
        (&["solve", "--random", "8", "--chains", "1", "--time", "50"], &["no interval", "is enough"]),
        (&["solve", "--random", "8", "--device", "rlc"], &["no force"]),
        (&["solve", "--device", "rc-board"], &["its own matrix"]),
        (&["inverse", "--device", "board.toml"], &["node 2 of 1"]),
        (&["inverse", "--device", "other"], &["rc-board"]),
    ];
    for (arguments, parts) in cases {
        let full: Vec<String> = arguments
            .iter()
            .map(|word| {
                if word.contains('.') && !word.starts_with(|c: char| c.is_ascii_digit()) {
                    at(word)
                } else {
                    (*word).into()
                }
            })
            .collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let mut command = linalg(&full);
        command.args(["--out", &at("out")]);
        refused(command, &full, parts);
        let _ = std::fs::remove_dir_all(at("out"));
    }
    let out = at("there");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(at("there/precious"), "precious").unwrap();
    refused(linalg(&["solve", "--out", &out]), &["solve"], &["is not empty"]);
    assert_eq!(std::fs::read(at("there/precious")).unwrap(), b"precious");
    assert!(ok(linalg(&["--help"]).output().unwrap()).contains("Linear algebra by thermal noise"));
}

fn optimize(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_optimize"));
    command.args(arguments);
    command
}

/// `optimize` on every kind of problem: solutions in the problem's own format are worth what is said, on any number of threads.
#[test]
fn hard_problems_of_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    let run = |arguments: &[&str], out: &str| -> serde_json::Value {
        let (_, to) = (std::fs::remove_dir_all(at(out)), at(out));
        let full = [arguments, &["--sweeps", "300", "--runs", "3", "--out", &to]].concat();
        ok(optimize(&full).output().unwrap());
        assert!(
            std::fs::read_to_string(at(&format!("{out}/report.html"))).unwrap().contains("thermal noise")
        );
        serde_json::from_slice(&std::fs::read(at(&format!("{out}/summary.json"))).unwrap()).unwrap()
    };
    let solution = |file: &str| std::fs::read_to_string(at(file)).unwrap();
    let spins =
        |out: &str| -> Vec<i8> { serde_json::from_str(&solution(&format!("{out}/solution.json"))).unwrap() };

    // A square with a diagonal of −2: the best cut has all four sides.
    write("square.txt", "4 5\n1 2 1\n2 3 1\n3 4 1\n4 1 1\n1 3 -2\n".replace("\\\n", "\n").as_str());
    for solver in ["tempering", "annealing", "langevin"] {
        let summary = run(&["maxcut", &at("square.txt"), "--solver", solver, "--optimum", "4"], "cut");
        assert_eq!(
            (&summary["objective"], &summary["successes"], &summary["gap"]),
            (&4.0.into(), &3.into(), &0.0.into()),
            "{solver}"
        );
        let s = spins("cut");
        assert!(s[0] == s[2] && s[1] == s[3] && s[0] != s[1]);
    }
    run(&["maxcut", &at("square.txt"), "--clusters", "--target", "4"], "clusters");

    // The mapped problem, and the same as a binary form: cut = (4 + 1 − 2 − E)/2 … of energy −5.
    let file = at("square.bqm.json");
    run(&["maxcut", &at("square.txt"), "--export", &file], "export");
    let energy = run(&["qubo", &file], "form")["objective"].as_f64().unwrap();
    assert_eq!(0.5 * (2.0 - energy), 4.0);

    let cities = "NAME : ring\nTYPE : TSP\nDIMENSION : 5\nEDGE_WEIGHT_TYPE : EUC_2D\nNODE_COORD_SECTION\n1 0 0\n2 10 0\n3 20 10\n4 10 20\n5 0 20\n";
    write("ring.tsp", cities);
    write("ring.opt.tour", "TOUR_SECTION\n3\n2\n1\n5\n4\n-1\n");
    let summary = run(&["tour", &at("ring.tsp")], "tour");
    assert_eq!((summary["objective"].as_f64(), summary["optimum"].as_f64()), (Some(68.0), Some(68.0)));
    assert!(solution("tour/solution.tour").contains("TOUR_SECTION\n"));
    run(&["tour", &at("ring.tsp"), "--export", &at("ring.qubo")], "qubo");

    write("jobs.txt", "1\n2 3\n1 9 9\n9 1 1\n1 1 1\n1 1 1\n1 2\n");
    let summary = run(&["assign", &at("jobs.txt")], "assign");
    assert_eq!((summary["objective"].as_f64(), summary["feasible"].as_bool()), (Some(3.0), Some(true)));
    assert_eq!(solution("assign/solution.json").trim(), "[1,2,2]");
    let summary = run(&["assign", &at("jobs.txt"), "--maximise"], "most");
    assert_eq!(summary["objective"].as_f64(), Some(19.0));

    write("numbers.txt", "8 7 6 5 4\n");
    let summary = run(&["partition", &at("numbers.txt")], "halves");
    assert_eq!((summary["objective"].as_f64(), summary["differencing"].as_i64()), (Some(0.0), Some(2)));

    // Whole numbers beyond single precision stay what they are, read and written.
    write("wide.qubo", "p qubo 0 2 2 1\n0 0 -67108867\n1 1 -67108869\n0 1 134217729\n");
    let again = at("wide.bqm.json");
    let summary = run(&["qubo", &at("wide.qubo"), "--export", &again], "wide");
    assert_eq!(summary["objective"].as_f64(), Some(-67_108_869.0));
    assert_eq!(run(&["qubo", &again], "wide")["objective"].as_f64(), Some(-67_108_869.0));

    // Three jobs of 2 for two agents of 3: nothing says that none fits but the search.
    write("tight.txt", "1\n2 3\n1 1 1\n1 1 1\n2 2 2\n2 2 2\n3 3\n");
    let full = ["assign", &at("tight.txt"), "--sweeps", "50", "--out", &at("tight")];
    refused(optimize(&full), &full, &["no run kept all constraints", "by 1"]);
    let summary: serde_json::Value = serde_json::from_str(&solution("tight/summary.json")).unwrap();
    assert_eq!((summary["feasible"].as_bool(), summary["violations"][0].as_i64()), (Some(false), Some(1)));
    assert!(summary["flips_accepted"].as_f64().unwrap() < summary["flips"].as_f64().unwrap());
    assert!(summary["flips_accepted"].as_f64().unwrap() > 0.0);

    // The same seed and sweeps, the same answer, on one thread and on two.
    for problem in [
        &["tour"][..],
        &["maxcut"],
        &["qubo", "--coupling-bits", "3"],
        &["assign"],
        &["partition", "--random", "50"],
    ] {
        let with = |threads: &str| {
            let full = [problem, &["--threads", threads]].concat();
            run(&full, "threads")["objectives"].to_string()
        };
        assert_eq!(with("1"), with("2"), "{problem:?}");
    }
}

/// What `optimize` cannot do it says, with the line or the numbers.
#[test]
fn hard_problems_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    write("loop.gset", "3 1\n2 2 1\n");
    write("twice.gset", "3 2\n1 2 1\n2 1 1\n");
    write("xray.tsp", "DIMENSION : 3\nEDGE_WEIGHT_TYPE : XRAY1\n");
    write("full.txt", "1\n1 2\n1 1\n5 5\n9\n");
    write("negative.txt", "1\n1 1\n1\n1\n-9\n");
    write("numbers.txt", "5\n-3\n");
    write("three.tsp", "DIMENSION : 3\nEDGE_WEIGHT_TYPE : EUC_2D\nNODE_COORD_SECTION\n1 0 0\n2 1 0\n3 0 1\n");
    write("three.opt.tour", "TOUR_SECTION\n1\n2\n2\n-1\n");
    let cases: [(&[&str], &[&str]); 20] = [
        (&["maxcut", "loop.gset"], &["loop.gset", "line 2: an edge from node 2 to itself"]),
        (&["maxcut", "twice.gset"], &["line 3", "is there again"]),
        (&["tour", "xray.tsp"], &["line 2", "`XRAY1`"]),
        (&["tour", "three.tsp"], &["three.opt.tour", "line 4: city 2 is visited twice"]),
        (&["assign", "full.txt"], &["no assignment is feasible", "take 10 at least"]),
        (&["assign", "negative.txt"], &["line 5", "-9, below 0"]),
        (&["assign", "--problem", "2"], &["there are 1 to 1"]),
        (&["partition", "numbers.txt"], &["line 2: `-3` is no positive whole number"]),
        (&["partition", "--bits", "60"], &["1 to 50"]),
        (&["assign", "--agents", "0"], &["1 to 1000"]),
        (&["tour", "--penalty", "0"], &["it must be positive"]),
        (&["maxcut", "--optimum", "9", "--within", "2"], &["18 would be better than the optimum 9"]),
        (&["partition", "--export", "out.qubo"], &["squared difference", "below 2^26"]),
        (&["qubo", "none.qubo"], &["none.qubo"]),
        (&["tour", "--random", "2"], &["3 to 5000"]),
        (&["tour", "--solver", "langevin"], &["of spins"]),
        (&["tour", "--coupling-bits", "3"], &["couplings of maxcut and qubo"]),
        (&["tour", "--seconds", "-1"], &["--seconds -1"]),
        (&["tour", "--seconds", "nan"], &["--seconds"]),
        (&["assign", "--export", "out.npz"], &["hardly ever feasible"]),
    ];
    for (arguments, parts) in cases {
        let full: Vec<String> =
            arguments.iter().map(|word| if word.contains('.') { at(word) } else { (*word).into() }).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let mut command = optimize(&full);
        command.args(["--sweeps", "5", "--out", &at("out")]);
        refused(command, &full, parts);
        let _ = std::fs::remove_dir_all(at("out"));
    }
    assert!(ok(optimize(&["--help"]).output().unwrap()).contains("Hard problems solved by thermal noise"));
}

fn thermal(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thermal"));
    command.args(arguments);
    command
}

/// `thermal` reads images, fits a made-up house and a table, and writes what it says it writes.
#[test]
fn networks_of_heat_read_and_houses_get_twins() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let summary = |run: &str| json(&folder.path().join(run).join("summary.json"));
    let read = |out: &str, more: &[&str]| {
        let to = at(out);
        let full = [
            &[
                "read",
                "--limit",
                "1500",
                "--epochs",
                "6",
                "--hidden",
                "24",
                "--set",
                "trainer.recipe.batch=20",
                "--out",
                &to,
            ],
            more,
        ]
        .concat();
        ok(thermal(&full).output().unwrap());
        summary(out)
    };
    let one = read("one", &["--threads", "1", "--export", &at("circuit.cir")]);
    for key in
        ["dataset", "nonlinearity", "hidden", "accuracy", "accuracy_noise", "energy_kt", "train_seconds"]
    {
        assert!(!one[key].is_null(), "{key}");
    }
    assert!(one["accuracy"].as_f64().unwrap() > 0.3, "{}", one["accuracy"]);
    let ledger = |key: &str| one["ledger"][key].as_f64().unwrap();
    let left = ledger("given") - ledger("taken") - ledger("held") - ledger("leaked");
    assert!(left.abs() < 1e-9 && ledger("entropy") > 0.0, "{left}");
    // Shorter steps hardly change what is read.
    assert!((one["accuracy_fine"].as_f64().unwrap() - one["accuracy"].as_f64().unwrap()).abs() < 0.15);
    let two = read("two", &["--threads", "2"]);
    assert_eq!((&one["accuracy_noise"], &one["energy"]), (&two["accuracy_noise"], &two["energy"]));
    assert!(std::fs::read_to_string(at("circuit.cir")).unwrap().contains(".tran"));
    let circuit = std::fs::read(at("one/circuit.safetensors")).unwrap();
    let circuit = thermograd::HeatCircuit::decode(&circuit).unwrap();
    assert_eq!(circuit.nodes().len(), 392 + 24 + 10);
    assert!(std::fs::read_to_string(at("one/report.html")).unwrap().contains("Eight images"));
    read("both", &["--nonlinearity", "both", "--inputs", "pulsed", "--sigma", "0.01"]);

    let twin = |out: &str, more: &[&str]| {
        let to = at(out);
        let full = [&["twin", "--starts", "1", "--out", &to], more].concat();
        let said = ok(thermal(&full).output().unwrap());
        (summary(out), said)
    };
    let (made, _) = twin("made", &["--days", "9", "--horizon", "24"]);
    for key in ["loglik", "parameters", "errors", "rmse_one_step", "rmse_forecast", "rmse_persistence"] {
        assert!(!made[key].is_null(), "{key}");
    }
    assert!(made["rmse_forecast"].as_f64() < made["rmse_persistence"].as_f64());
    assert!(made["settled"].as_bool().unwrap() && made["band_coverage"].as_f64().unwrap() > 0.5);
    assert!(std::fs::read_to_string(at("made/report.html")).unwrap().contains("A schedule"));
    // The written house begins where the fit ended.
    let (again, _) = twin("again", &["--days", "9", "--horizon", "24", "--house", &at("made/twin.toml")]);
    assert!((again["loglik"].as_f64().unwrap() - made["loglik"].as_f64().unwrap()).abs() < 1.0);

    // A table with a gap, a missing measurement and a column of words.
    let mut table = String::from("t;indoors;outdoors;heat;when\n");
    for k in 0..200 {
        let t = 0.5 * f64::from(k) + if k > 90 { 3.0 } else { 0.0 };
        let indoors = if k == 17 { "NA".to_string() } else { format!("{:.3}", 20.0 + (0.4 * t).sin()) };
        table += &format!("{t};{indoors};{:.2};{};now\n", 5.0 + (0.26 * t).cos(), k / 7 % 3);
    }
    std::fs::write(at("table.csv"), &table).unwrap();
    let (fitted, said) = twin(
        "table",
        &["--data", &at("table.csv"), "--house", "2r2c", "--compare", "1r1c", "--horizon", "12"],
    );
    assert!(said.contains("3.50 h are missing after row 91"), "{said}");
    assert_eq!(fitted["measurements"].as_u64(), Some(131));
    assert_eq!(fitted["comparisons"][0]["house"], "1r1c");
}

/// What `thermal` cannot do it says, with the line, the column or the numbers.
#[test]
fn heat_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    let rows = |times: &dyn Fn(usize) -> String| -> String {
        (0..30).map(|k| format!("{},20,5,{}\n", times(k), k % 2)).collect()
    };
    let head = "t,indoors,outdoors,heat\n";
    write("twice.csv", &(head.to_string() + &rows(&|k| (k - k / 9).to_string())));
    write("back.csv", &(head.to_string() + &rows(&|k| (if k == 5 { 1 } else { k }).to_string())));
    write("words.csv", &(head.to_string() + &rows(&|k| format!("day {k}"))));
    write("short.csv", "t,indoors,outdoors,heat\n0,20,5,1\n1,20,5\n");
    write("hole.csv", &(head.to_string() + &rows(&|k| k.to_string()).replace("7,20,5,", "7,20,,")));
    write("seconds.csv", &(head.to_string() + &rows(&|k| (3600 * k).to_string())));
    write("word.csv", &(head.to_string() + &rows(&|k| k.to_string()).replace("5,20,5,", "5,warm,5,")));
    let whole: String =
        (0..60).map(|k| format!("{k},{},5,{}\n", if k < 44 { "" } else { "20" }, k % 2)).collect();
    write("late.csv", &(head.to_string() + &whole));
    let table = |of: &dyn Fn(usize) -> f64| -> String {
        head.to_string() + &(0..60).map(|k| format!("{k},{},5,{}\n", of(k), k % 2)).collect::<String>()
    };
    write("dead.csv", &table(&|k| if k < 40 { 20.0 + (k % 3) as f64 } else { f64::NAN }));
    write("stuck.csv", &table(&|_| 20.5));
    write("kelvin.csv", &table(&|k| 293.0 + (k % 3) as f64));
    write("few.csv", "t,indoors,outdoors,heat\n0,20,5,1\n1,20,5,1\n");
    write(
        "lonely.toml",
        "outdoors = \"outdoors\"\n[[node]]\nname = \"a\"\nobserved = \"indoors\"\ncapacity = 1\n[[link]]\nbetween = [\"a\", \"b\"]\nresistance = 1\n",
    );
    write(
        "cold.toml",
        "outdoors = \"outdoors\"\n[[node]]\nname = \"a\"\nobserved = \"indoors\"\ncapacity = -1\n[[link]]\nbetween = [\"a\", \"outdoors\"]\nresistance = 1\n",
    );
    let good = rows(&|k| k.to_string());
    write("good.csv", &(head.to_string() + &good));
    let cases: [(&[&str], &[&str]); 32] = [
        (
            &["twin", "--data", "dead.csv", "--house", "1r1c", "--horizon", "2"],
            &["`interior` is not measured", "held out"],
        ),
        (
            &["twin", "--data", "stuck.csv", "--house", "1r1c", "--horizon", "2"],
            &["`interior` is 20.5 in all rows"],
        ),
        (
            &["twin", "--data", "kelvin.csv", "--house", "1r1c"],
            &["row 1", "`indoors` is 293", "-100 to 200 °C"],
        ),
        (
            &["twin", "--data", "late.csv", "--house", "1r1c", "--horizon", "2"],
            &["`interior` is measured", "0 times in the rows that are fitted"],
        ),
        (
            &["twin", "--data", "good.csv", "--house", "1r1c", "--heat", "outdoors"],
            &["column `outdoors` is the temperature outdoors and heats `interior`"],
        ),
        (&["twin", "--data", "seconds.csv", "--house", "1r1c"], &["3600 h apart", "times are in h"]),
        (
            &["twin", "--data", "word.csv", "--house", "1r1c"],
            &["`indoors` is not of numbers", "line 7", "warm"],
        ),
        (&["twin", "--days", "4"], &["--horizon 72"]),
        (&["twin", "--clock", "25"], &["--clock 25"]),
        (&["twin", "--most", "1e300"], &["up to 1e6 kW"]),
        (&["twin", "--data", "twice.csv", "--house", "1r1c"], &["row 10", "is there twice"]),
        (&["twin", "--data", "back.csv", "--house", "1r1c"], &["row 6", "comes after a later one"]),
        (&["twin", "--data", "words.csv", "--house", "1r1c"], &["`t` is not of numbers", "line 2", "day 0"]),
        (&["twin", "--data", "short.csv", "--house", "1r1c"], &["line 3: 3 fields"]),
        (&["twin", "--data", "hole.csv", "--house", "1r1c"], &["row 8", "`outdoors` is NaN"]),
        (&["twin", "--data", "few.csv", "--house", "1r1c"], &["2 rows: ten are needed"]),
        (&["twin", "--data", "good.csv"], &["no column `", "there are heat, indoors, outdoors"]),
        (
            &["twin", "--data", "good.csv", "--house", "1r1c", "--time", "hour"],
            &["no column `hour` of times"],
        ),
        (&["twin", "--data", "good.csv", "--house", "1r1c", "--observed", "T"], &["no column `T`"]),
        (&["twin", "--data", "good.csv", "--house", "4r4c"], &["1r1c, 2r2c, 3r3c, rooms"]),
        (&["twin", "--data", "good.csv", "--house", "lonely.toml"], &["lonely.toml", "`b`"]),
        (
            &["twin", "--data", "good.csv", "--house", "cold.toml"],
            &["cold.toml", "capacity of node `a` is -1"],
        ),
        (&["twin", "--data", "good.csv", "--house", "1r1c", "--price", "p"], &["no column `p`"]),
        (&["twin", "--data", "none.csv"], &["none.csv"]),
        (&["twin", "--hold-out", "2"], &["--hold-out 2"]),
        (&["twin", "--horizon", "nan"], &["--horizon NaN"]),
        (&["twin", "--days", "1"], &["3 to 3650"]),
        (&["read", "--sigma", "-1"], &["sigma = -1"]),
        (&["read", "--hidden", "0"], &["hidden"]),
        (&["read", "--set", "thermal.step=0"], &["step = 0"]),
        (&["read", "--set", "thermal.pool=3"], &["pool = 3"]),
        (&["read", "--export", "out.npz"], &[".safetensors or, for SPICE, as .cir"]),
    ];
    for (arguments, parts) in cases {
        let files = [".csv", ".toml", ".npz"];
        let full: Vec<String> = arguments
            .iter()
            .map(|word| if files.iter().any(|end| word.ends_with(end)) { at(word) } else { (*word).into() })
            .collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let mut command = thermal(&full);
        command.args(["--out", &at("out")]);
        refused(command, &full, parts);
        assert!(!folder.path().join("out").exists(), "{full:?}");
    }
    assert!(ok(thermal(&["--help"]).output().unwrap()).contains("Networks of heat that compute"));
}
