//! One session of a run: begun or resumed, and, after Ctrl-C, continued by another.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::workbench::progress::{self, Interrupted, interrupted};
use crate::workbench::run::Run;
use crate::workbench::settings::Settings;

/// Where a run is kept.
pub struct Folders<'a> {
    /// The folder to make; the next free one if none.
    pub out: Option<&'a Path>,
    /// The folder of the run to continue.
    pub resume: Option<&'a Path>,
}

/// A run that is being worked on.
pub struct Session {
    /// Its folder.
    pub run: Run,
    /// The command that continues it; none for what cannot be continued.
    command: Option<&'static str>,
    clock: Clock,
}

impl Session {
    /// Begins a run of `command`, or continues one, and prepares an experiment of its settings. What fails in that
    /// leaves no folder.
    ///
    /// # Errors
    /// Those of `settings` and `prepare`, and when the folder cannot be used.
    pub fn open<S: Settings, E>(
        command: &'static str,
        folders: &Folders,
        settings: impl FnOnce() -> Result<S>,
        prepare: impl FnOnce(S) -> Result<E>,
    ) -> Result<(Self, E)> {
        let (run, experiment) = match folders.resume {
            Some(folder) => {
                let run = Run::open(folder)?;
                let settings = S::read(&run.path(Run::SETTINGS))?;
                (run, prepare(settings)?)
            }
            None => {
                let settings = settings()?;
                let text = toml::to_string(&settings)?;
                let experiment = prepare(settings)?;
                let name = command.rsplit(' ').next().unwrap_or(command);
                (Run::begin(name, folders.out, &text)?, experiment)
            }
        };
        let clock = Clock::open(&run);
        Ok((Self { run, command: Some(command), clock }.told(), experiment))
    }

    /// Begins a run without training, which cannot be continued.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn evaluation(name: &str, out: Option<&Path>, settings: &impl Serialize) -> Result<Self> {
        let run = Run::begin(name, out, &toml::to_string(settings)?)?;
        let clock = Clock { before: Duration::ZERO, since: None };
        Ok(Self { run, command: None, clock }.told())
    }

    fn told(self) -> Self {
        println!("run folder: {}", self.run.folder().display());
        self
    }

    /// Whether there is a training, and what follows it can be continued.
    pub fn trains(&self) -> bool {
        self.command.is_some()
    }

    /// What to say after Ctrl-C.
    pub fn last_words(&self) -> Interrupted {
        let folder = self.run.folder().display();
        self.command.map_or_else(Interrupted::stopped, |command| {
            Interrupted(format!("saved; continue with: {command} --resume {folder}"))
        })
    }

    /// Goes on unless Ctrl-C was pressed.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn go_on(&self) -> Result<()> {
        if interrupted() { Err(self.last_words().into()) } else { Ok(()) }
    }

    /// Does work that tells the fraction it has done, which is where Ctrl-C ends the session.
    pub fn shown<T>(&self, name: &str, work: impl FnOnce(&mut dyn FnMut(f64)) -> T) -> T {
        progress::shown(name, self.last_words(), work)
    }

    /// Seconds of training over all sessions, until now or until it ended.
    pub fn seconds(&self) -> f64 {
        self.clock.seconds()
    }

    /// Keeps the seconds for a later session.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save_clock(&self) -> Result<()> {
        self.clock.save(&self.run)
    }

    /// What follows is no part of the training.
    ///
    /// # Errors
    /// As [`save_clock`](Self::save_clock).
    pub fn end_training(&mut self) -> Result<()> {
        self.save_clock()?;
        self.clock = Clock { before: Duration::from_secs_f64(self.seconds()), since: None };
        Ok(())
    }
}

/// Seconds of training over all sessions of a run.
struct Clock {
    before: Duration,
    /// None where it does not run.
    since: Option<Instant>,
}

impl Clock {
    const FILE: &str = "checkpoints/seconds.json";

    /// The clock of a run, with the seconds of earlier sessions.
    fn open(run: &Run) -> Self {
        let seconds = run.read(Self::FILE).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let before = Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default();
        Self { before, since: Some(Instant::now()) }
    }

    fn seconds(&self) -> f64 {
        (self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())).as_secs_f64()
    }

    fn save(&self, run: &Run) -> Result<()> {
        match self.since {
            Some(_) => run.write_json(Self::FILE, &self.seconds()),
            None => Ok(()),
        }
    }
}
