//! Converts couplings to another format or to a circuit.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Tensor, TensorData};
use thermograd::units::ROOM_TEMPERATURE;
use thermograd::{Circuit, Couplings, Format, Key, Scales, Start, Substrate, to_f64};
use thermograd_experiments::say;
use thermograd_experiments::workbench::run;
use thermograd_experiments::workbench::run::load;

use crate::arguments::{Convert, numbers};

/// The capacitance of a unit and the duration of a unit of time, by default.
pub const FARADS: f64 = 1e-15;
pub const SECONDS: f64 = 1e-9;

/// `couplings convert`.
pub fn convert(task: &Convert) -> Result<()> {
    let circuit = is_netlist(&task.out);
    let format = if circuit { None } else { Some(Format::of_name(&task.out.to_string_lossy())?) };
    let spins = format.is_some_and(Format::holds_spins_alone);
    task.check_flags(circuit, spins)?;
    let table = circuit.then(|| task.out.with_extension("data"));
    let images = task.data.files();
    let inputs = [&task.file].into_iter().chain(&task.clamp).chain(&images);
    run::keep_apart(inputs, [&task.out].into_iter().chain(&table))?;
    let mut couplings = load(&task.file)?;
    if circuit {
        let text = netlist(task, &couplings).with_context(|| format!("for {}", task.out.display()))?;
        run::write(&task.out, text.as_bytes())?;
    } else {
        if spins && couplings.description.substrate.topology.clamped().next().is_some() {
            couplings = held(task, &couplings)?;
        }
        run::save(&task.out, &couplings)?;
        if spins && format != Some(Format::BqmJson) && couplings.description.sampling.is_some() {
            say!(
                "note: {} does not say that these units are spins sampled by Gibbs, nor which are read: `couplings simulate` takes them \
                 for bistable units; BQM JSON says it",
                task.out.display()
            );
        }
    }
    let units = couplings.description.substrate.topology.free_units();
    say!("{}: {units} free units, {} couplings", task.out.display(), couplings.count());
    Ok(())
}

/// Whether a file name has the extension of a netlist.
fn is_netlist(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("cir"))
}

/// The free units alone, with the fields of an image or of given values as biases.
fn held(task: &Convert, couplings: &Couplings) -> Result<Couplings> {
    if task.example.is_none() && task.clamp.is_none() {
        bail!(
            "units are clamped, and {} holds free spins alone: say at what with --dataset NAME --example N, or --clamp FILE",
            task.out.display()
        );
    }
    let device = task.data.source()?.device()?;
    let field = field(task, couplings, &couplings.substrate(&device)?)?;
    let field: Vec<f32> = to_f64(field).into_iter().map(|h| h as f32).collect();
    Ok(couplings.held(&field)?)
}

/// Biases and the contribution of clamped units, `[1, unit]`.
fn field(task: &Convert, couplings: &Couplings, substrate: &Substrate) -> Result<Tensor<2>> {
    let Some(example) = task.example else {
        return Ok(substrate.field(&clamped(substrate, task.clamp.as_deref(), 1, 1)?)?);
    };
    let normalisation = couplings.description.normalisation.context("the file says nothing about images")?;
    let test = task.data.named_source()?.data()?.test;
    ensure!(example < test.len(), "--example {example}: there are {} test images", test.len());
    let image = test.clamped(&[example], &normalisation, None, substrate.options());
    Ok(substrate.field(&[image])?)
}

/// The netlist of the couplings; the table of results is named after it.
fn netlist(task: &Convert, couplings: &Couplings) -> Result<String> {
    if couplings.description.sampling.is_some() {
        bail!(
            "these units are spins that are sampled by Gibbs, and a circuit has voltages that follow their noise"
        );
    }
    let source = task.data.source()?;
    let device = source.device()?;
    let substrate = couplings.substrate(&device)?;
    let protocol = match couplings.course() {
        Some(course) => {
            ensure!(
                task.example.is_none(),
                "--example: these units are clamped at every knot of a course; give one set of their values with --clamp FILE"
            );
            let held = clamped(&substrate, task.clamp.as_deref(), 1, course.times.len())?;
            substrate.protocol(&course, &held)?
        }
        None => field(task, couplings, &substrate)?.into(),
    };
    let start = start(couplings, &substrate, 1, source.key())?;
    let table = run::table_of(&task.out)?;
    let thermal = Scales::thermal(
        task.farads.unwrap_or(FARADS),
        task.seconds.unwrap_or(SECONDS),
        task.kelvin.unwrap_or(ROOM_TEMPERATURE),
    );
    let circuit = Circuit {
        substrate: &substrate,
        protocol: &protocol,
        start: &to_f64(start),
        schedule: couplings.description.schedule,
        scales: Scales { volts: task.volts.unwrap_or(thermal.volts), ..thermal },
        noise: !task.quiet,
    };
    Ok(circuit.netlist(&table)?)
}

/// The values of the clamped groups from a file, repeated for `rows` trajectories; none if no units are clamped. If a
/// course gives each group one set of units per knot, the file holds one set of values.
pub fn clamped(
    substrate: &Substrate,
    file: Option<&Path>,
    rows: usize,
    knots: usize,
) -> Result<Vec<Tensor<2>>> {
    let topology = substrate.topology();
    let units = topology.clamped_units() / knots;
    let values = match file {
        Some(file) => numbers(file)?,
        None if units == 0 => Vec::new(),
        None => {
            bail!("{units} units are clamped: give their values with --clamp FILE, or images with --dataset")
        }
    };
    ensure!(values.len() == units, "{} clamped values for {units} clamped units", values.len());
    let mut rest = &values[..];
    let groups = topology.clamped().map(|group| {
        let (values, others) = rest.split_at(group.units / knots);
        rest = others;
        let row = TensorData::new(values.to_vec(), [1, values.len()]);
        Tensor::<2>::from_data(row, substrate.options()).repeat_dim(0, rows)
    });
    Ok(groups.collect())
}

/// The initial states of trajectories.
pub fn start(couplings: &Couplings, substrate: &Substrate, rows: usize, key: Key) -> Result<Tensor<2>> {
    match couplings.description.start == Start::Noise && substrate.kt() > 0.0 {
        true => Ok(substrate.uncoupled_equilibrium(rows, key.fork("start"))?),
        false => Ok(Tensor::zeros([rows, substrate.free_units()], substrate.options())),
    }
}
