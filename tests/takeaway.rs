//! Couplings used by other programs: the NumPy script and the C program of `examples/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::Device;
use thermograd::{Format, Hardware, Key, Shards, SubstrateConfig};
use thermograd_models::{
    Classifier, ClassifierConfig, Examples, Guide, Lesson, TeacherConfig, exact, ranking,
};

use crate::common::{Reader, has, reader, tails, taught};

const DIGITS: usize = 20;

/// The published computer, trained on drawn digits in closed form.
fn published() -> Classifier {
    let train = reader().train.first(2000);
    let (normalisation, device) = (train.normalisation(), Device::flex());
    let shards = Shards { size: 64, threads: 2 };
    let mut config = TeacherConfig::default();
    (config.recipe.epochs, config.recipe.learning_rate) = (8, 2e-3);
    let teacher = taught(&train, 64, config, shards, Key::new(230));
    let untrained = ClassifierConfig::new(784, 64, 10).init(normalisation, &device).unwrap();
    let lesson = Lesson { teacher: &teacher, guide: Guide { beta: 100.0, ..Guide::default() } };
    let solved =
        exact(&untrained, lesson, &train, Default::default(), shards, Key::new(231), |_| {}).unwrap();
    untrained.with_substrate(solved)
}

/// The classifier at another temperature, in files of `folder`, and images in the format of MNIST.
fn export(published: &Classifier, kt: f64, images: &Examples, folder: &Path) -> Classifier {
    let config = SubstrateConfig { kt, ..published.substrate.config().clone() };
    let classifier = published.with_substrate(published.substrate.clone().with_config(config).unwrap());
    // A parameter file holds no temperature; its reader must supply it.
    for (format, name, of) in
        [(Format::Npz, "couplings.npz", &classifier), (Format::Parameters, "couplings.txt", published)]
    {
        std::fs::write(folder.join(name), format.encode(&of.couplings()).unwrap()).unwrap();
    }
    let mut bytes = 0x803_u32.to_be_bytes().to_vec();
    [DIGITS as u32, 28, 28].iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    (0..DIGITS).for_each(|index| bytes.extend(images.pixels(index)));
    std::fs::write(folder.join("images"), bytes).unwrap();
    classifier
}

/// Without noise the results are the same as those of this crate; with noise the accuracy is the same.
fn check(program: impl Fn(&Path, usize, f64) -> Command) {
    let Reader { test, .. } = reader();
    let classifier = published();
    let folder = tempfile::tempdir().unwrap();
    let shards = Shards { size: 64, threads: 2 };
    let read = |kt: f64| -> Vec<usize> {
        let digit = |index: usize| {
            let output = program(folder.path(), index, kt).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.trim()
                .parse()
                .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
        };
        (0..DIGITS).map(digit).collect()
    };
    let cold = export(&classifier, 0.0, test, folder.path());
    let indices: Vec<usize> = (0..DIGITS).collect();
    let (field, x0) = cold.prepare(test, &indices).unwrap();
    let ours = cold.read(&cold.substrate.simulate(x0, field, cold.schedule, Key::new(0), |_| {}).unwrap());
    let ours: Vec<usize> = ours.chunks(10).map(|row| ranking(row)[0]).collect();
    assert_eq!(read(0.0), ours);

    const OURS: usize = 400;
    let warm = export(&classifier, 1.0, test, folder.path());
    let device = Hardware::ideal(warm.substrate.clone());
    let chances: Vec<f64> = indices
        .iter()
        .map(|&index| {
            let same = test.repeated(index, OURS);
            let part = warm.accuracy_on(&device, &same, shards, Key::new(232).at(index as u64)).unwrap();
            // Laplace's rule of succession.
            (part * OURS as f64 + 1.0) / (OURS as f64 + 2.0)
        })
        .collect();
    let right =
        read(1.0).iter().zip(&indices).filter(|(digit, index)| **digit == test.label(**index)).count();
    let (below, above) = tails(&chances, right);
    println!(
        "{right} of {DIGITS} right, {:.2} expected; tails {below:.1e}, {above:.1e}",
        chances.iter().sum::<f64>()
    );
    assert!(below > 5e-7 && above > 5e-7);
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples").join(name)
}

#[test]
fn numpy_reads_a_digit_in_fifteen_lines() {
    let works = |python: &&str| {
        Command::new(python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(works);
    if !has("numpy", python.is_some()) {
        return;
    }
    assert!(std::fs::read_to_string(example("classify.py")).unwrap().lines().count() <= 15);
    check(|folder, index, _| {
        let mut command = Command::new(python.unwrap());
        command.arg(example("classify.py")).args(["couplings.npz", "images", &index.to_string()]);
        command.current_dir(folder);
        command
    });
}

#[test]
fn c_reads_a_digit_in_thirty_lines() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("classify");
    let compiler = Command::new("cc").arg("--version").output().is_ok();
    if !has("cc", compiler) {
        return;
    }
    assert!(std::fs::read_to_string(example("classify.c")).unwrap().lines().count() <= 30);
    let arguments = ["-O2", "-Wall", "-Wextra", "-Werror", "-lm", "-o"];
    let mut compile = Command::new("cc");
    compile.arg(example("classify.c")).args(arguments).arg(&program);
    assert!(compile.status().unwrap().success());
    let normalisation = reader().train.first(2000).normalisation();
    check(|folder, index, kt| {
        let mut command = Command::new(&program);
        let numbers = [normalisation.offset, normalisation.scale, normalisation.norm.unwrap(), kt];
        command
            .args(["couplings.txt", "images", &index.to_string()])
            .args(numbers.map(|number| number.to_string()));
        command.current_dir(folder);
        command
    });
}
