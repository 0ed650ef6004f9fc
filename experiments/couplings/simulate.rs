//! Simulates couplings: accuracy, final states and energy.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use thermograd::hardware::account::reset;
use thermograd::{
    Account, Assumptions, Chains, Couplings, Estimate, Format, Gibbs, Ising, Ledger, Measured, Protocol,
    Sampling, Step, Substrate, run as run_dynamics, to_f64,
};
use thermograd_experiments::report::{counted, percent, spread};
use thermograd_experiments::say;
use thermograd_experiments::workbench::run::load;
use thermograd_experiments::workbench::{Bench, Interrupted, SHARD, afford, run, set, shown};
use thermograd_models::{Classifier, SpinReader};

use crate::arguments::Simulate;
use crate::convert::{clamped, start};

/// Independent trajectories, or chains of spins, by default.
const TRAJECTORIES: usize = 10;

/// `couplings simulate`.
pub fn simulate(task: &Simulate) -> Result<()> {
    ensure!(task.trajectories != Some(0), "trajectories: at least one is needed");
    task.data.check_flags()?;
    let images = task.data.files();
    let inputs = [&task.file].into_iter().chain(&task.clamp).chain(&images);
    run::keep_apart(inputs, task.states.iter().chain(&task.ledger))?;
    task.states.iter().chain(&task.ledger).try_for_each(|file| run::try_place(file))?;
    let assumptions = assumptions(task);
    assumptions.validate()?;
    let mut couplings = load(&task.file)?;
    if let Some(kt) = task.kt {
        let moves = couplings.description.course.as_ref().is_some_and(|course| course.kt.is_some());
        ensure!(!moves, "--kt: the temperature of {} moves in time", task.file.display());
        couplings.description.substrate.kt = kt;
    }
    let cold = couplings.description.substrate.kt == 0.0;
    let priced = task.ledger.is_some() || assumptions != Assumptions::default();
    ensure!(
        !(priced && cold),
        "at kT = 0 there is no ledger, because heat is in units of kT; leave out --ledger and prices"
    );
    let device = task.data.source()?.device()?;
    if let Some(sampling) = &couplings.description.sampling {
        let useless = task.ledger.is_some() || assumptions != Assumptions::default();
        ensure!(!useless, "ledger and prices are of displacements, and these units are spins");
        return match task.data.dataset {
            Some(_) => sample_images(task, &couplings, &device),
            None => sample_freely(task, &couplings, sampling, &device),
        };
    }
    let measured = match task.data.dataset {
        Some(_) => {
            let classifier = Classifier::from_couplings(&couplings, &device)
                .with_context(|| format!("in {}", task.file.display()))?;
            read_images(task, &classifier)?
        }
        None => run_freely(task, &couplings, &couplings.substrate(&device)?)?,
    };
    let Some(measured) = measured else {
        return Ok(());
    };
    let account = Account::new(measured, assumptions)?;
    print(&account);
    if let Some(file) = &task.ledger {
        run::write(file, serde_json::to_string_pretty(&account)?.as_bytes())?;
    }
    Ok(())
}

fn assumptions(task: &Simulate) -> Assumptions {
    let mut assumptions = Assumptions::default();
    set(&mut assumptions.mac_joules, task.mac_joules);
    set(&mut assumptions.conversion_joules, task.conversion_joules);
    set(&mut assumptions.bits, task.conversion_bits);
    set(&mut assumptions.farads, task.farads);
    set(&mut assumptions.kelvin, task.kelvin);
    assumptions
}

/// Refuses more trajectories of these couplings than fit into memory.
fn afford_run(trajectories: usize, couplings: &Couplings) -> Result<()> {
    /// Bytes per unit of a trajectory, for several tensors of states; and bytes per coupling that is stored in a
    /// list.
    const UNIT: u128 = 112;
    const PAIR: u128 = 24;
    let topology = &couplings.description.substrate.topology;
    let sparse = topology.blocks.iter().filter(|block| topology.is_sparse(block));
    let pairs = sparse.map(|block| topology.pair_count(block) as u128).sum::<u128>();
    let units = (topology.free_units() + topology.clamped_units()) as u128;
    let what = format!("{trajectories} trajectories of {units} units");
    afford(&what, (trajectories as u128 + 1).saturating_mul(UNIT * units + PAIR * pairs))
}

/// Accuracy of spins on the test images.
fn sample_images(task: &Simulate, couplings: &Couplings, device: &Device) -> Result<()> {
    ensure!(task.states.is_none(), "--states: images are read by averages, and no states are kept");
    ensure!(
        task.trajectories.is_none(),
        "--trajectories: spins read every image once, by the average of the sweeps that the file asks for"
    );
    let reader = SpinReader::from_couplings(couplings, device)
        .with_context(|| format!("in {}", task.file.display()))?;
    let bench = task.data.named_source()?.open(SHARD, task.data.threads)?;
    let (test, sweeps) = (&bench.data.test, reader.sweeps());
    let reading = shown("test", Interrupted::stopped(), |progress| {
        reader.read(test, sweeps, &[1, 3, 10, 30, 100], bench.shards, bench.key.fork("test"), progress)
    })?;
    say!("{} test images, {} sweeps of burn-in", reading.images, reading.burn_in);
    for (sweeps, accuracy) in &reading.accuracy {
        say!("  average of {sweeps:<8} {}", percent(*accuracy));
    }
    say!("  flips of spins      {:.3e} an image", reading.flips_per_image);
    Ok(())
}

/// Samples spins without images: what the classes of the outputs read, and the energies at the end.
fn sample_freely(task: &Simulate, couplings: &Couplings, sampling: &Sampling, device: &Device) -> Result<()> {
    let substrate = couplings.substrate(device)?;
    let held = match substrate.topology().clamped_units() {
        0 => couplings.clone(),
        _ => {
            let values = clamped(&substrate, task.clamp.as_deref(), 1, 1)?;
            let field: Vec<f32> = to_f64(substrate.field(&values)?).into_iter().map(|h| h as f32).collect();
            couplings.held(&field)?
        }
    };
    let (substrate, chains) = (held.substrate(device)?, task.trajectories.unwrap_or(TRAJECTORIES));
    afford_run(chains, &held)?;
    let (spins, betas) = sampling.spins_of(&substrate)?;
    let key = task.data.source()?.key();
    let gibbs = Gibbs::new(&spins, 1.0, key.fork("sweeps"))?.with_temperatures(&betas)?;
    let (classes, columns) = (sampling.classes, substrate.topology().columns(&sampling.output)?);
    let each = columns.len() / classes;
    let sweeps = sampling.burn_in + sampling.sweeps;
    // The time average of every class in every chain.
    let mut means = vec![vec![0.0; chains]; classes];
    let start = Chains::random(&spins, chains, key.fork("start"));
    let end = shown("run", Interrupted::stopped(), |progress| {
        run_dynamics(&gibbs, start, sweeps, |step| {
            if step.index >= sampling.burn_in {
                for (unit, spin) in columns.clone().enumerate() {
                    let sums = means[unit / each].iter_mut();
                    sums.zip(step.after.of(&spins, spin)).for_each(|(sum, &s)| *sum += f64::from(s));
                }
            }
            progress((step.index + 1) as f64 / sweeps as f64);
        })
    })?;
    means.iter_mut().flatten().for_each(|sum| *sum /= (each * sampling.sweeps) as f64);
    let flips = end.flips() as f64 / chains as f64;
    let states: Vec<f64> = (0..chains).flat_map(|chain| end.chain(&spins, chain)).map(f64::from).collect();
    let (chains, averaged) = (counted(chains, "chain"), counted(sampling.sweeps, "sweep"));
    say!("{chains} of {averaged} after {}", sampling.burn_in);
    say!("  flips of spins        {flips:.3e} a chain");
    for (class, means) in means.iter().enumerate() {
        let mean = Estimate::of(means);
        say!("  {:<20}  {:+.4}{}", format!("{}, class {class}", sampling.output), mean.mean, sd(mean));
    }
    if let Ok(model) = Ising::of(&held) {
        tell_spins(&task.file, &model, &states)?;
    }
    match &task.states {
        Some(file) => write_states(file, &substrate, &states),
        None => Ok(()),
    }
}

/// Prints the accuracy on the test images, and the energy of one inference.
fn read_images(task: &Simulate, classifier: &Classifier) -> Result<Option<Measured>> {
    let bench = task.data.named_source()?.open(SHARD, task.data.threads)?;
    let Bench { data, shards, key, .. } = &bench;
    let (images, trajectories) = (data.test.len(), task.trajectories.unwrap_or(TRAJECTORIES));
    let what = format!("{trajectories} trajectories of each of {images} images");
    afford(&what, (trajectories as u128).saturating_mul(64 * images as u128))?;
    let result = shown("test", Interrupted::stopped(), |progress| {
        classifier.evaluate(&data.test, trajectories, *shards, key.fork("test"), progress)
    })?;
    say!("{} test images, {} each", result.images, counted(result.trajectories, "trajectory"));
    say!("  one trajectory        {}{}", percent(result.top1_single.mean), spread(result.top1_single.sd));
    say!("  average of {:<3}        {}", result.trajectories, percent(result.top1_average));
    say!("  without noise         {}", percent(result.top1_noiseless));
    let (reset, clamped_square, ends) = ends(classifier, &bench)?;
    if let Some(file) = &task.states {
        write_states(file, &classifier.substrate, &ends)?;
    }
    let topology = classifier.substrate.topology();
    Ok((classifier.substrate.kt() > 0.0).then(|| Measured {
        heat: result.heat.mean,
        reset,
        clamped_square,
        clamped: topology.clamped_units(),
        read: classifier.outputs().len(),
        macs: Some(classifier.digital_macs()),
    }))
}

/// From one trajectory of each image: the mean energy gained by the wells in kT, the mean ΣX², and the final states.
fn ends(classifier: &Classifier, bench: &Bench) -> Result<(f64, f64, Vec<f64>)> {
    let (substrate, test) = (&classifier.substrate, &bench.data.test);
    let shards = bench.shards.map(test.len(), |range| -> Result<_> {
        let indices: Vec<usize> = range.clone().collect();
        let (field, x0) = classifier.prepare(test, &indices)?;
        let key = bench.key.fork("ends").skip(range.start as u64);
        let x = substrate.carry(x0.clone(), field, classifier.schedule, key)?;
        let images = test.clamped(&indices, &classifier.normalisation, None, substrate.options());
        let rows = range.len() as f64;
        Ok((rows * reset(substrate, x0, x.clone()), to_f64(images.square().sum())[0], to_f64(x)))
    });
    let (mut gained, mut square, mut states) = (0.0, 0.0, Vec::new());
    for shard in shards {
        let shard = shard?;
        (gained, square) = (gained + shard.0, square + shard.1);
        states.extend(shard.2);
    }
    let count = test.len() as f64;
    Ok((gained / count, square / count, states))
}

/// Simulates a computer without images.
fn run_freely(task: &Simulate, couplings: &Couplings, substrate: &Substrate) -> Result<Option<Measured>> {
    let rows = task.trajectories.unwrap_or(TRAJECTORIES);
    afford_run(rows, couplings)?;
    let (schedule, key) = (couplings.description.schedule, task.data.source()?.key());
    let course = couplings.course();
    let knots = course.as_ref().map_or(1, |course| course.times.len());
    let held = clamped(substrate, task.clamp.as_deref(), rows, knots)?;
    let protocol = match &course {
        Some(course) => substrate.protocol(course, &held)?,
        None => Protocol::from(substrate.field(&held)?),
    };
    let mut ledger = Ledger::new(substrate, protocol.clone(), schedule.dt);
    let x0 = start(couplings, substrate, rows, key)?;
    let begun = x0.clone();
    let x = shown("run", Interrupted::stopped(), |progress| {
        substrate.simulate(x0, protocol, schedule, key.fork("run"), |step: &Step| {
            ledger.observe(step);
            progress((step.index + 1) as f64 / schedule.steps as f64);
        })
    })?;
    // At kT = 0, energies are in the units of the couplings.
    let moves = course.as_ref().is_some_and(|course| course.kt.is_some());
    let (kt, unit) = match (substrate.kt() > 0.0, moves) {
        (true, false) => (substrate.kt(), "kT"),
        (true, true) => (substrate.kt(), "kT of the substrate"),
        (false, _) => (1.0, "units of the couplings"),
    };
    let scaled = |values: Option<Tensor<1>>| -> Vec<f64> {
        values.map(to_f64).unwrap_or_default().into_iter().map(|value| value / kt).collect()
    };
    let (heat, work) = (Estimate::of(&scaled(ledger.heat())), Estimate::of(&scaled(ledger.work())));
    say!("{rows} trajectories of {} steps of {}", schedule.steps, schedule.dt);
    say!("  heat                  {:.4e} {unit}{}", heat.mean, sd(heat));
    if let Some(course) = &course {
        say!("  work of the protocol  {:.4e} {unit}{}", work.mean, sd(work));
        if course.kt.is_some() {
            let entropy = Estimate::of(&ledger.entropy().map(to_f64).unwrap_or_default());
            say!("  entropy of the bath   {:.4e} k_B{}", entropy.mean, sd(entropy));
        }
    }
    for group in substrate.topology().free() {
        let columns = substrate.topology().columns(&group.name)?;
        let values = Estimate::of(&to_f64(x.clone().slice_dim(1, columns)));
        say!(
            "  {:<20}  mean {:+.4}, s.d. {:.4} over {} units",
            group.name,
            values.mean,
            values.sd,
            group.units
        );
    }
    if let Ok(model) = Ising::of(couplings) {
        tell_spins(&task.file, &model, &to_f64(x.clone()))?;
    }
    if let Some(file) = &task.states {
        write_states(file, substrate, &to_f64(x.clone()))?;
    }
    let clamped_square = held.iter().map(|values| to_f64(values.clone().square().sum())[0]).sum::<f64>();
    let topology = substrate.topology();
    let read = ["output", "visible"].iter().find_map(|name| topology.columns(name).ok());
    Ok((substrate.kt() > 0.0).then(|| Measured {
        heat: heat.mean,
        reset: reset(substrate, begun, x),
        clamped_square: clamped_square / rows as f64 + 0.0, // avoids negative zero
        clamped: topology.clamped_units() / knots,
        read: read.map_or(substrate.free_units(), |columns| columns.len()),
        macs: None,
    }))
}

/// The standard deviation, if there is more than one trajectory.
fn sd(estimate: Estimate) -> String {
    if estimate.sd.is_finite() { format!(" (s.d. {:.1e})", estimate.sd) } else { String::new() }
}

/// Prints the energies of the spins (the signs of the units) in the convention of the file, and the best state.
fn tell_spins(file: &Path, model: &Ising, states: &[f64]) -> Result<()> {
    /// Spins per line.
    const SHOWN: usize = 80;
    let spins = |state: &[f64]| state.iter().map(|&x| if x < 0.0 { -1 } else { 1 }).collect::<Vec<i8>>();
    let units = model.fields.len();
    let energies: Vec<f64> = states.chunks(units).map(|state| model.energy(&spins(state))).collect();
    let all = energies.iter().enumerate();
    let (index, lowest) = all.min_by(|a, b| a.1.total_cmp(b.1)).context("no trajectory")?;
    let short = |value: f64| (value * 1e6).round() / 1e6;
    let mean = Estimate::of(&energies);
    say!("  energy of the spins   {}{}, lowest {}", short(mean.mean), sd(mean), short(*lowest));
    let format = Format::of_name(&file.to_string_lossy())?;
    if matches!(format, Format::Gset | Format::Parameters) {
        let weights = model.couplings.iter().map(|(_, weight)| weight).sum::<f64>();
        say!("  largest cut           {}", short((weights - lowest) / 2.0));
    }
    let [down, up] = if format == Format::Qubo { ['0', '1'] } else { ['-', '+'] };
    let best = spins(&states[index * units..][..units]);
    let text: String = best.iter().take(SHOWN).map(|&spin| if spin > 0 { up } else { down }).collect();
    let more = if units > SHOWN { "… (--states FILE.csv has all)" } else { "" };
    say!("  best state            {text}{more}, trajectory {index}");
    Ok(())
}

/// One row per trajectory, one column per free unit.
fn write_states(file: &Path, substrate: &Substrate, states: &[f64]) -> Result<()> {
    let free = substrate.topology().free();
    let names: Vec<String> =
        free.flat_map(|group| (0..group.units).map(move |unit| format!("{}_{unit}", group.name))).collect();
    let row = |row: &[f64]| row.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    let rows: Vec<String> = states.chunks(names.len()).map(row).collect();
    run::write(file, format!("{}\n{}\n", names.join(","), rows.join("\n")).as_bytes())
}

fn print(account: &Account) {
    say!("\nenergy of one inference {:>12} {:>12}", "kT", "J");
    for line in account.lines.iter().chain(&account.digital) {
        say!("  {:<20} {:>13.3e} {:>12.2e}   {}", line.name, line.kt, line.joules, line.basis);
    }
    if let (Some(thermal), Some(all)) = (account.ratio(2), account.ratio(account.lines.len())) {
        say!("  digital network over trajectory and reset: {thermal:.1e}; over all lines: {all:.1e}");
    }
    say!("  not counted: amplifiers of the couplings, clocks, memory, control");
}
