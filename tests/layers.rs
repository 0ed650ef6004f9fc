//! Which crate may know which: `thermograd` ← `models` ← `experiments` → `datasets`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("experiments has a parent").to_owned()
}

/// The dependencies a manifest lists for its library and binaries.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let value: toml::Table = text.parse().unwrap();
    value["dependencies"].as_table().unwrap().keys().cloned().collect()
}

fn ours(manifest: &str) -> Vec<String> {
    dependencies(manifest).into_iter().filter(|name| name.starts_with("thermograd")).collect()
}

#[test]
fn arrows_point_one_way() {
    assert_eq!(ours("Cargo.toml"), [] as [&str; 0]);
    assert_eq!(ours("models/Cargo.toml"), ["thermograd"]);
    assert_eq!(ours("datasets/Cargo.toml"), [] as [&str; 0]);
    assert_eq!(ours("experiments/Cargo.toml"), ["thermograd", "thermograd-datasets", "thermograd-models"]);
}

#[test]
fn only_experiments_talk_to_people() {
    for manifest in ["Cargo.toml", "models/Cargo.toml", "datasets/Cargo.toml"] {
        let dependencies = dependencies(manifest);
        for name in ["clap", "anyhow", "indicatif", "plotters", "ctrlc"] {
            assert!(!dependencies.contains(name), "{manifest} depends on {name}");
        }
    }
}

/// The sources of a crate with its folders, without the tests at the end of a file.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|path| sources(path.strip_prefix(root()).unwrap().to_str().unwrap()));
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let own = rust.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
        (path, code)
    });
    below.chain(own).collect()
}

#[test]
fn the_physics_and_the_models_open_no_file_print_nothing_and_read_no_clock() {
    let forbidden = [
        "std::fs",
        "File::open",
        "File::create",
        "println!",
        "eprintln!",
        "Instant",
        "SystemTime",
        "Tensor::random",
    ];
    for folder in ["src", "models"] {
        for (path, code) in sources(folder) {
            for word in forbidden {
                assert!(!code.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn no_burn_random_and_no_default_device_anywhere() {
    for folder in ["src", "models", "datasets", "experiments"] {
        for (path, code) in sources(folder) {
            for word in ["Distribution::", "Device::default", "thread_rng", "rand::rng()"] {
                assert!(!code.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}
