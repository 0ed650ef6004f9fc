//! Command-line flags that experiments share, and their help.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Parser};
use thermograd::{Backend, Error, ranks};
use toml::Table;

use crate::workbench::data::{Bench, Dataset, Source};
use crate::workbench::output;
use crate::workbench::run::keep_apart;
use crate::workbench::settings::{name, overlay, refuse_useless, set, single, table};

/// Which images, and where to compute.
#[derive(Args, Debug)]
#[command(next_help_heading = "Images and device")]
pub struct DataFlags {
    /// Images to work on.
    #[arg(long, value_enum)]
    pub dataset: Option<Dataset>,
    /// Folder with the files of the data set (plain or .gz for IDX), or with a subfolder `mnist`, `fashion-mnist` or
    /// `cifar10` that has them [env: THERMOGRAD_DATA].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Use the first N images of each split only, for a quick try.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Seed of everything random.
    #[arg(long)]
    seed: Option<u64>,
    /// Where to compute: flex, ndarray, wgpu, vulkan, metal or cuda.
    #[arg(long)]
    backend: Option<Backend>,
    /// The number of the device, where the backend has several.
    #[arg(long, value_name = "N")]
    device: Option<usize>,
    /// Say which backends are built in, what each finds on this machine and how to get the others.
    #[arg(long)]
    list_backends: bool,
    /// Threads on CPU backends; results do not depend on their number.
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
}

/// Reads a number of threads.
fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one is needed".into()),
        Ok(threads) => Ok(threads),
        Err(error) => Err(error.to_string()),
    }
}

/// Where a run is kept.
#[derive(Args, Debug)]
#[command(next_help_heading = "Run")]
pub struct RunFlags {
    /// File of settings, such as the config.toml of a run; flags override it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A single setting of config.toml, for example guide.beta=80; may be repeated, and overrides the file.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Run folder to make.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in this folder.
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// Also write the trained couplings here.
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
}

impl RunFlags {
    /// Refuses an export into the run folder itself, and outputs, these and `others`, that would overwrite the file of
    /// settings or each other.
    pub fn check<'a>(&'a self, others: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
        keep_apart(&self.config, self.export.iter().chain(others))?;
        let (Some(out), Some(export)) = (&self.out, &self.export) else { return Ok(()) };
        let inside = std::path::absolute(export)?.starts_with(std::path::absolute(out)?);
        ensure!(!inside, "--export: {} gets the couplings anyway, as couplings.safetensors", out.display());
        Ok(())
    }

    /// Where these settings come from, for error messages.
    pub fn named(&self) -> String {
        self.config.as_ref().map_or("in --set".into(), |file| format!("in {}", file.display()))
    }

    /// The settings of the file, overridden by single settings.
    pub fn layers(&self) -> Result<Table> {
        let mut layers = self.config.as_deref().map_or_else(|| Ok(Table::new()), table)?;
        for text in &self.set {
            overlay(&mut layers, single(text)?);
        }
        Ok(layers)
    }
}

/// The environment variable for the data folder, used if there is no flag.
const DATA: &str = "THERMOGRAD_DATA";

impl DataFlags {
    /// Applies the flags to settings.
    pub fn set(&self, source: &mut Source) -> Result<()> {
        set(&mut source.dataset, self.dataset);
        let seed = |seed| i64::try_from(seed).is_ok(); // the range of integers in TOML
        ensure!(self.seed.is_none_or(seed), "--seed: at most {} is possible", i64::MAX);
        set(&mut source.seed, self.seed);
        set(&mut source.backend, self.backend);
        set(&mut source.device, self.device);
        source.limit = self.limit.or(source.limit);
        let reads = source.dataset.reads_files();
        ensure!(
            reads || self.data_dir.is_none(),
            "--data-dir would do nothing here: {} are generated and read no files; add --dataset mnist",
            name(&source.dataset)
        );
        self.locate(source)?;
        if reads && source.data_dir.is_none() {
            source.data_dir = std::env::var_os(DATA).map(std::path::absolute).transpose()?;
        }
        Ok(())
    }

    /// Applies the data folder and the device only, which may be others than when a run began.
    fn locate(&self, source: &mut Source) -> Result<()> {
        set(&mut source.device, self.device);
        if let Some(folder) = &self.data_dir {
            source.data_dir = Some(std::path::absolute(folder)?);
        }
        Ok(())
    }

    /// Opens images, device and key of the settings, with the number of threads from the flags; see [`Source::open`].
    pub fn open(&self, source: &Source, shard: usize) -> Result<Bench> {
        let mut source = source.clone();
        self.locate(&mut source)?;
        source.open(shard, self.threads)
    }

    /// Which flags were given.
    pub fn given(&self) -> [(&'static str, bool); 7] {
        [
            ("--dataset", self.dataset.is_some()),
            ("--data-dir", self.data_dir.is_some()),
            ("--limit", self.limit.is_some()),
            ("--seed", self.seed.is_some()),
            ("--backend", self.backend.is_some()),
            ("--device", self.device.is_some()),
            ("--threads", self.threads.is_some()),
        ]
    }

    /// Refuses flags that would do nothing in a command that reads images only if asked to.
    pub fn check_flags(&self) -> Result<()> {
        let (named, why) = (self.dataset.is_some(), "no images are read; add --dataset");
        refuse_useless([
            ("--data-dir", self.data_dir.is_some(), named, why),
            ("--limit", self.limit.is_some(), named, why),
        ])?;
        self.source().map(drop)
    }

    /// The defaults with the flags applied, for commands without settings.
    pub fn source(&self) -> Result<Source> {
        let mut source = Source::default();
        self.set(&mut source)?;
        Ok(source)
    }

    /// The same for commands that need a data set.
    pub fn named_source(&self) -> Result<Source> {
        self.dataset
            .context("a data set is needed: add --dataset strokes, or --dataset mnist --data-dir DIR")?;
        ensure!(self.limit.is_none_or(|limit| limit >= 2), "limit: at least two images are needed");
        self.source()
    }

    /// The files that images are read from.
    pub fn files(&self) -> Vec<PathBuf> {
        match self.source() {
            Ok(source) if source.dataset.reads_files() => {
                source.folder().map_or(Vec::new(), |folder| source.dataset.files(&folder))
            }
            _ => Vec::new(),
        }
    }

    /// The defaults shown in the help, if `source` holds the defaults.
    pub fn defaults(source: &Source) -> Vec<(&'static str, String)> {
        vec![
            ("limit", source.limit.map_or("all".into(), |limit| limit.to_string())),
            ("seed", source.seed.to_string()),
            ("backend", source.backend.to_string()),
            ("device", source.device.to_string()),
            ("threads", "all cores".into()),
        ]
    }
}

/// Adds defaults to the help of a command.
///
/// # Panics
/// When it has no such flag.
pub fn with_defaults(command: Command, defaults: Vec<(&'static str, String)>) -> Command {
    defaults.into_iter().fold(command, |command, (flag, default)| {
        command.mut_arg(flag, |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [default: {default}]"))
        })
    })
}

/// Parses the command line; --help and invalid arguments end the program.
pub fn parse<A: Parser>(mut command: Command) -> A {
    // Like --help, this needs nothing else that a command requires.
    if std::env::args_os().skip(1).any(|arg| arg == "--list-backends") {
        output::line(format_args!("{}", list_backends()));
        std::process::exit(0);
    }
    let matches = command.get_matches_mut();
    refuse_beside_resume(&mut command, &matches);
    let arguments = A::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    // Only now: --help and invalid arguments end every process by itself.
    if let Err(error) = ranks::start() {
        output::complain(format_args!("error: {error}"));
        std::process::exit(1);
    }
    arguments
}

/// A line for every device of every backend, and for every backend that has none what is missing.
fn list_backends() -> String {
    let lines = Backend::ALL.into_iter().flat_map(|backend| match backend.names() {
        Ok(names) => {
            let line = |(number, name)| format!("{:8} device {number}: {name}", backend.name());
            names.into_iter().enumerate().map(line).collect()
        }
        Err(Error::NotBuiltIn { needs, .. }) => {
            vec![format!("{:8} not built in: add --features {backend} to cargo{needs}", backend.name())]
        }
        Err(error) => vec![format!("{:8} {error}", backend.name())],
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a flag is on the command line.
fn given(matches: &ArgMatches, id: &str) -> bool {
    let known = matches.ids().any(|other| other == id);
    known && matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Refuses flags next to `--resume` that would change the settings of the run.
fn refuse_beside_resume(command: &mut Command, matches: &ArgMatches) {
    const ALLOWED: [&str; 6] = ["resume", "threads", "judge", "export", "data_dir", "device"];
    if let Some((name, matches)) = matches.subcommand() {
        let command = command.find_subcommand_mut(name).expect("it was matched");
        return refuse_beside_resume(command, matches);
    }
    let given = |id: &str| given(matches, id);
    let other = command.get_arguments().find(|arg| {
        let id = arg.get_id().as_str();
        !ALLOWED.contains(&id) && given(id)
    });
    if let Some(other) = other.filter(|_| given("resume")) {
        let text =
            format!("`{other}` cannot be used with `--resume`: a run keeps the settings it began with");
        command.error(ErrorKind::ArgumentConflict, text).exit();
    }
}
