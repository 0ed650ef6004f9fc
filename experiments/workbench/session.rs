//! One session of a run. A run that is interrupted by Ctrl-C is continued by another session.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use thermograd::ranks;
use toml::Table;

use crate::say;
use crate::workbench::data::Data;
use crate::workbench::progress::{self, Interrupted, catch_interrupts, interrupted};
use crate::workbench::run::{Identity, Run};
use crate::workbench::settings::{Settings, first_difference, version};

/// Refuses ranks that would not do the same.
fn check_ranks(settings: &str) -> Result<()> {
    ranks::agree("version", &version())?;
    // Each may have a GPU of its own.
    let alike = settings.lines().filter(|line| !line.starts_with("device = "));
    ranks::agree("settings", &alike.collect::<Vec<_>>().join("\n"))?;
    Ok(())
}

/// The settings that a run began with.
const BEGUN: &str = "settings.toml.crc";

/// Refuses to continue a run with other settings than it began with: its results would be those of neither.
fn check_settings<S: Settings>(run: &Run, settings: &S) -> Result<()> {
    let Some(begun) = run.kept(BEGUN)? else {
        return run.keep(BEGUN, toml::to_string(settings)?.as_bytes());
    };
    // A setting that the program has gained since has its default.
    let begun: Table = toml::from_str(&String::from_utf8(begun)?)?;
    let begun =
        Table::try_from(S::default().with(&begun).context("in the settings that this run began with")?)?;
    if let Some((name, [began, found])) = first_difference(&begun, &Table::try_from(settings)?) {
        bail!(
            "{}: {name} has {found}, but this run began with {began}; put it back, or begin a new run",
            run.path(Run::SETTINGS).display()
        );
    }
    Ok(())
}

/// A run in progress.
pub struct Session {
    /// Its folder.
    pub run: Run,
    /// The command that continues it; none if it cannot be continued.
    command: Option<&'static str>,
    /// The training time of earlier sessions, and the start of training in this one, if it trains.
    before: Duration,
    since: Option<Instant>,
}

impl Session {
    const SECONDS: &str = "checkpoints/seconds.json";

    /// Begins a run of `command` in the folder `out` or the next free one, or continues the run in the folder
    /// `resume`, and prepares an experiment from its settings. If that fails, no folder is created.
    pub fn open<S: Settings, E>(
        command: &'static str,
        out: &Option<PathBuf>,
        resume: &Option<PathBuf>,
        settings: impl FnOnce() -> Result<S>,
        prepare: impl FnOnce(S) -> Result<E>,
    ) -> Result<(Self, E)> {
        let (run, experiment) = match resume {
            Some(folder) => {
                let run = Run::open(command, folder)?;
                let settings = S::read(&run.path(Run::SETTINGS))?;
                let text = toml::to_string(&settings)?;
                check_ranks(&text)?;
                check_settings(&run, &settings)?;
                (run, prepare(settings)?)
            }
            None => {
                out.as_deref().map_or(Ok(()), Run::check_free)?;
                let settings = settings()?;
                let text = toml::to_string(&settings)?;
                check_ranks(&text)?;
                let experiment = prepare(settings)?;
                let identity = Identity { command: command.into(), continues: true };
                let run = Run::begin(identity, out.as_deref(), &text)?;
                run.keep(BEGUN, text.as_bytes())?;
                (run, experiment)
            }
        };
        let seconds = run.read(Self::SECONDS).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let before = Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default();
        let session = Self { run, command: Some(command), before, since: Some(Instant::now()) };
        Ok((session.told()?, experiment))
    }

    /// Begins a run of `command` without training, which cannot be continued.
    pub fn evaluation(command: &str, out: Option<&Path>, settings: &impl Serialize) -> Result<Self> {
        let identity = Identity { command: command.into(), continues: false };
        let text = toml::to_string(settings)?;
        check_ranks(&text)?;
        let run = Run::begin(identity, out, &text)?;
        Self { run, command: None, before: Duration::ZERO, since: None }.told()
    }

    /// Refuses to continue a run with other images than it began with. A new run saves their fingerprint.
    pub fn check_images(&self, data: &Data) -> Result<()> {
        const FILE: &str = "images.crc";
        let sum = data.fingerprint().to_le_bytes();
        match self.run.kept(FILE)? {
            Some(begun) => {
                ensure!(begun == sum, "the images are not those that this run began with");
                Ok(())
            }
            None => self.run.keep(FILE, &sum),
        }
    }

    /// Catches Ctrl-C and prints the folder; from here on there is something to save.
    fn told(self) -> Result<Self> {
        catch_interrupts()?;
        say!("run folder: {}", self.run.folder().display());
        Ok(self)
    }

    /// Whether the run trains, and so can be continued.
    pub fn trains(&self) -> bool {
        self.command.is_some()
    }

    /// The message after Ctrl-C.
    pub fn last_words(&self) -> Interrupted {
        let folder = self.run.folder().display();
        self.command.map_or_else(Interrupted::stopped, |command| {
            Interrupted(format!("saved; continue with: {} --resume {folder}", command.replace('-', " ")))
        })
    }

    /// Fails with [`Interrupted`] if Ctrl-C was pressed.
    pub fn go_on(&self) -> Result<()> {
        if interrupted() { Err(self.last_words().into()) } else { Ok(()) }
    }

    /// Does work that reports the fraction done; Ctrl-C ends the session at such a report.
    pub fn shown<T>(&self, name: &str, work: impl FnOnce(&mut dyn FnMut(f64)) -> T) -> T {
        progress::shown(name, self.last_words(), work)
    }

    /// Seconds of training over all sessions, up to now or to the end of training.
    pub fn seconds(&self) -> f64 {
        (self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())).as_secs_f64()
    }

    /// Saves the seconds for a later session.
    pub fn save_clock(&self) -> Result<()> {
        match self.since {
            Some(_) => self.run.write_json(Self::SECONDS, &self.seconds()),
            None => Ok(()),
        }
    }

    /// Ends the training time: what follows is not counted.
    pub fn end_training(&mut self) -> Result<()> {
        self.save_clock()?;
        self.before = Duration::from_secs_f64(self.seconds());
        self.since = None;
        Ok(())
    }
}
