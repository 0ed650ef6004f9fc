//! A run is a folder; files in it appear whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
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

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
}

impl Run {
    /// The file of settings.
    pub const SETTINGS: &str = "config.toml";

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

    /// A new folder with the text of the settings in it: `out`, or the next free `runs/<experiment>-<number>`. An
    /// `out` that holds a run is refused.
    pub fn begin(experiment: &str, out: Option<&Path>, settings: &str) -> Result<Self> {
        let folder = match out {
            Some(out) => out.to_owned(),
            None => {
                let free = (1..).map(|number| PathBuf::from(format!("runs/{experiment}-{number}")));
                free.into_iter().find(|folder| !folder.exists()).expect("numbers do not end")
            }
        };
        if folder.join(Self::SETTINGS).exists() {
            bail!(
                "{} already holds a run; continue it with --resume {0} or choose another --out",
                folder.display()
            );
        }
        let run = Self { folder };
        run.write(Self::SETTINGS, settings.as_bytes())?;
        Ok(run)
    }

    /// The folder of a run that was begun.
    pub fn open(folder: &Path) -> Result<Self> {
        if !folder.join(Self::SETTINGS).is_file() {
            bail!("{} holds no run: there is no config.toml in it", folder.display());
        }
        Ok(Self { folder: folder.to_owned() })
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

    /// Reads couplings that an earlier session kept; none if there are none.
    pub fn read_couplings(&self, name: &str) -> Result<Option<Couplings>> {
        if !self.has(name) {
            return Ok(None);
        }
        Ok(Some(Couplings::decode(&self.read(name)?).with_context(|| format!("in {name}"))?))
    }

    /// Replaces the lines of JSON of a file.
    pub fn write_json_lines<T: Serialize>(&self, name: &str, values: &[T]) -> Result<()> {
        let lines: Result<Vec<String>, _> = values.iter().map(serde_json::to_string).collect();
        let text: String = lines?.into_iter().map(|line| line + "\n").collect();
        self.write(name, text.as_bytes())
    }
}
