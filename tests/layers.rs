//! Which crate may depend on which (`thermograd` ← `models` ← `experiments` → `datasets`), and which module of `src/`
//! on which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("experiments has a parent").to_owned()
}

/// The dependencies that a manifest lists for its library and binaries.
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

/// The sources of a crate and its folders, without tests at the end of a file and without files of tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|path| sources(path.strip_prefix(root()).unwrap().to_str().unwrap()));
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let own = rust.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let tests = ["#[cfg(test)]\nmod tests", "#![cfg(test)]"];
        let end = tests.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
        let code = text[..end].to_owned();
        let after = text[end..].split_once("\n}\n").map_or("", |(_, after)| after);
        assert!(text[end..].starts_with("#!") || after.is_empty(), "{}: tests end a file", path.display());
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

/// The modules of a crate by path, and the modules that each of them names in `use` lines and in code.
struct Arrows(BTreeMap<String, BTreeSet<String>>);

impl Arrows {
    fn of(folder: &str) -> Self {
        let root = root().join(folder);
        let module = |path: &Path| {
            let path = path.strip_prefix(&root).unwrap().with_extension("");
            path.to_str().unwrap().trim_end_matches("/mod").replace('/', "::")
        };
        let files: BTreeMap<String, String> = sources(folder)
            .into_iter()
            .map(|(path, code)| (module(&path), code))
            .filter(|(module, _)| module != "lib")
            .collect();
        let arrows = |(module, code): (&String, &String)| {
            let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let code = code.join("\n");
            for hidden in ["super::", "crate as", "extern crate", "include!", "#[path"] {
                assert!(!code.contains(hidden), "{module}: `{hidden}` hides what is named; say `crate::…`");
            }
            let named = paths(&code).into_iter().map(|path| {
                let known = |end: usize| path.get(..end).map(|start| start.join("::"));
                let found = (1..=path.len()).rev().filter_map(known).find(|start| files.contains_key(start));
                found.unwrap_or_else(|| {
                    panic!("{module} names crate::{}, which is no module", path.join("::"))
                })
            });
            // The module of a folder may name the modules in it.
            let below = files.keys().filter(|other| other.starts_with(&format!("{module}::"))).cloned();
            (module.clone(), named.filter(|other| other != module).chain(below).collect())
        };
        Self(files.iter().map(arrows).collect())
    }

    /// A cycle of modules that name each other, if there is one.
    fn circle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        self.0.keys().find_map(|start| self.follow(&mut vec![start.clone()], &mut done))
    }

    fn follow(&self, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        let last = path.last().expect("a start").clone();
        if done.contains(&last) {
            return None;
        }
        for next in &self.0[&last] {
            if path.contains(next) {
                return Some([&path[..], std::slice::from_ref(next)].concat());
            }
            path.push(next.clone());
            let found = self.follow(path, done);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        done.insert(last);
        None
    }
}

/// All paths after `crate::`, with lists in braces expanded.
fn paths(code: &str) -> Vec<Vec<String>> {
    let starts = code.match_indices("crate::").filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    });
    starts.flat_map(|(at, word)| expand(&code[at + word.len()..]).0).collect()
}

/// The paths at the beginning of `text`, and their length.
fn expand(text: &str) -> (Vec<Vec<String>>, usize) {
    if text.starts_with('*') {
        return (vec![vec![]], 1);
    }
    let name = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if !name.is_empty() {
        let Some(rest) = text[name.len()..].strip_prefix("::") else {
            // A name may be renamed: `Step as S`.
            let renamed = text[name.len()..]
                .strip_prefix(" as ")
                .map_or(0, |rest| 4 + rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').count());
            return (vec![vec![name.clone()]], name.len() + renamed);
        };
        let (below, used) = expand(rest);
        let below = below.into_iter().map(|path| [vec![name.clone()], path].concat()).collect();
        return (below, name.len() + 2 + used);
    }
    if !text.starts_with('{') {
        return (vec![vec![]], 0); // a generic argument or a macro: the path ends here
    }
    let (mut all, mut at) = (Vec::new(), 1);
    while !text[at..].starts_with('}') {
        let skipped = text[at..].chars().take_while(|c| c.is_whitespace() || *c == ',').count();
        let follows = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
        assert!(skipped > 0 || text[at..].starts_with(follows), "cannot read `{}`", &text[..at + 1]);
        at += skipped;
        if text[at..].starts_with('}') {
            break;
        }
        let (paths, used) = expand(&text[at..]);
        all.extend(paths);
        at += used;
    }
    (all, at + 1)
}

#[test]
fn paths_are_read_whole() {
    let code = "use crate::a::{b, c::{d, E}};\nlet x = crate::f::g::<u8>(1); mycrate::h::i();\n\
                use crate::{j::*, k::L as M, n::o}; $crate::p::q!()";
    let found: Vec<String> = paths(code).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a::b", "a::c::d", "a::c::E", "f::g", "j", "k::L", "n::o", "p::q"]);
}

/// hardware → {dynamics, export} → network → ground, and paths → dynamics.
#[test]
fn rooms_of_the_physics_know_only_what_they_stand_on() {
    let room = |module: &str| match module.split("::").next().expect("a name") {
        room @ ("network" | "dynamics" | "paths" | "hardware" | "export") => room.to_owned(),
        _ => "ground".to_owned(),
    };
    let allowed = |from: &str| -> &[&str] {
        match from {
            "ground" => &["ground"],
            "network" => &["ground", "network"],
            "dynamics" => &["ground", "network", "dynamics"],
            "export" => &["ground", "network", "export"],
            "paths" => &["ground", "network", "dynamics", "paths"],
            _ => &["ground", "network", "dynamics", "export", "hardware"],
        }
    };
    let arrows = Arrows::of("src");
    assert!(arrows.0["paths::action"].contains("dynamics::run"), "arrows are not seen: {:?}", arrows.0);
    for (module, named) in &arrows.0 {
        for other in named {
            let (from, to) = (room(module), room(other));
            assert!(allowed(&from).contains(&to.as_str()), "{module} ({from}) must not know {other} ({to})");
        }
    }
}

#[test]
fn no_modules_know_each_other_in_a_circle() {
    for folder in ["src", "models"] {
        assert_eq!(Arrows::of(folder).circle(), None, "a circle in {folder}/");
    }
    let circle = [("a", "b"), ("b", "c"), ("c", "b")].map(|(a, b)| (a.into(), BTreeSet::from([b.into()])));
    assert_eq!(Arrows(circle.into()).circle().unwrap().join(" "), "a b c b");
}
