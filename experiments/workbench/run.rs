//! A run is a folder; files in it appear whole or not at all.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thermograd::Couplings;

/// Writes a file next to its place and renames it there: no reader, and no crash, ever sees half of it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let named = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(named)?;
    let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder).with_context(named)?;
    file.write_all(bytes).with_context(named)?;
    file.as_file().sync_all().with_context(named)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).with_context(named)?;
    }
    file.persist(path).with_context(named)?;
    Ok(())
}

/// Reads a file, or says which one is missing.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Which command began a run, and whether it can be continued.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The command, as it is typed.
    pub command: String,
    /// Whether there is a training to continue.
    pub continues: bool,
}

impl Identity {
    /// The name of its folders.
    fn name(&self) -> String {
        self.command.trim_start_matches("couplings ").replace(" --", "-")
    }
}

/// Makes the next free `runs/<name>-<number>`.
fn next_free(name: String) -> Result<PathBuf> {
    fs::create_dir_all("runs").context("cannot make the folder runs")?;
    for number in 1_u64.. {
        let folder = PathBuf::from(format!("runs/{name}-{number}"));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => {
                return made
                    .map(|()| folder.clone())
                    .with_context(|| format!("cannot make {}", folder.display()));
            }
        }
    }
    unreachable!("numbers do not end")
}

/// The folder of one run, in which one process is at work at a time.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
    _lock: Arc<fs::File>,
}

impl Run {
    /// The file of settings.
    pub const SETTINGS: &str = "config.toml";

    /// The file that says what run it is.
    const IDENTITY: &str = "run.json";

    /// Writes trained couplings with their description, here and to `also`.
    pub fn export(&self, couplings: &Couplings, also: Option<&Path>) -> Result<()> {
        let bytes = couplings.encode()?;
        let here = self.path("couplings.safetensors");
        for path in [Some(here.as_path()), also].into_iter().flatten() {
            write(path, &bytes)?;
            write(&path.with_extension("json"), couplings.describe().as_bytes())?;
        }
        Ok(())
    }

    /// Refuses a place for a new run that is taken.
    pub fn check_free(out: &Path) -> Result<()> {
        let taken = || {
            format!(
                "{} is not empty; choose another --out, or, if it is a run, continue it with --resume {0}",
                out.display()
            )
        };
        match fs::read_dir(out) {
            Ok(mut entries) => ensure!(entries.next().is_none(), taken()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", out.display())),
        }
        Ok(())
    }

    /// A new folder with the text of the settings in it: `out`, which must be free, or the next free
    /// `runs/<name>-<number>`.
    pub fn begin(identity: Identity, out: Option<&Path>, settings: &str) -> Result<Self> {
        let folder = match out {
            Some(out) => {
                fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
                Self::check_free(out)?;
                out.to_owned()
            }
            None => next_free(identity.name())?,
        };
        // Of two processes that found the same empty folder one makes this file.
        let path = folder.join(Self::IDENTITY);
        let made = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut lock = made.with_context(|| format!("cannot make {}", path.display()))?;
        lock.write_all((serde_json::to_string(&identity)? + "\n").as_bytes())?;
        let run = Self::locked(folder, lock)?;
        run.write(Self::SETTINGS, settings.as_bytes())?;
        Ok(run)
    }

    /// The folder of a run that `command` began.
    pub fn open(command: &str, folder: &Path) -> Result<Self> {
        let shown = folder.display();
        ensure!(
            folder.join(Self::SETTINGS).is_file() && folder.join(Self::IDENTITY).is_file(),
            "{shown} holds no run: there is no {} or no {} in it",
            Self::SETTINGS,
            Self::IDENTITY
        );
        let path = folder.join(Self::IDENTITY);
        let identity: Identity =
            serde_json::from_slice(&read(&path)?).with_context(|| format!("in {}", path.display()))?;
        ensure!(identity.continues, "{shown} is a run without training: there is nothing to continue");
        ensure!(
            identity.command == command,
            "{shown} is a run of `{}`, not of `{command}`",
            identity.command
        );
        let lock = fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Self::locked(folder.to_owned(), lock)
    }

    fn locked(folder: PathBuf, lock: fs::File) -> Result<Self> {
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                bail!("another process is at work in {}", folder.display())
            }
            // Where a file system knows no locks there is none.
            Err(fs::TryLockError::Error(_)) | Ok(()) => Ok(Self { folder, _lock: Arc::new(lock) }),
        }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Writes a file, whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write(&self.path(name), bytes)
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        read(&self.path(name))
    }

    /// Writes a value as indented JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Appends one line of JSON.
    pub fn append_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.path(name);
        let open = fs::OpenOptions::new().create(true).append(true).open(&path);
        let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
        let line = format!("{}\n", serde_json::to_string(value)?);
        file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The lines of JSON of a file, none if there is no such file. A broken last line (a crash) is left out.
    pub fn read_json_lines<T: DeserializeOwned>(&self, name: &str) -> Vec<T> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Writes a file for a later session, with a checksum.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let sum = crc32fast::hash(bytes).to_le_bytes();
        self.write(&format!("checkpoints/{name}"), &[bytes, &sum].concat())
    }

    /// What an earlier session kept; none if there is none.
    pub fn kept(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let name = format!("checkpoints/{name}");
        if !self.has(&name) {
            return Ok(None);
        }
        let mut bytes = self.read(&name)?;
        let sum =
            bytes.split_last_chunk::<4>().map(|(bytes, sum)| *sum == crc32fast::hash(bytes).to_le_bytes());
        ensure!(
            sum == Some(true),
            "{} is damaged: its checksum is not that of its contents; delete it, and what it holds is made again",
            self.path(&name).display()
        );
        bytes.truncate(bytes.len() - 4);
        Ok(Some(bytes))
    }

    /// Couplings that an earlier session kept; none if there are none.
    pub fn kept_couplings(&self, name: &str) -> Result<Option<Couplings>> {
        let couplings = self.kept(name)?.map(|bytes| Couplings::decode(&bytes)).transpose();
        couplings.with_context(|| format!("in checkpoints/{name}"))
    }

    /// Replaces the lines of JSON of a file.
    pub fn write_json_lines<T: Serialize>(&self, name: &str, values: &[T]) -> Result<()> {
        let lines: Result<Vec<String>, _> = values.iter().map(serde_json::to_string).collect();
        let text: String = lines?.into_iter().map(|line| line + "\n").collect();
        self.write(name, text.as_bytes())
    }
}
