//! Run folders, whose files are written completely or not at all.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thermograd::export::heat::is_heat_circuit;
use thermograd::{Couplings, Format, Ising, ranks};

use crate::workbench::output;

/// The prefix of temporary files.
const WRITING: &str = ".writing-";

/// Writes a file atomically, through a temporary file in the same folder that is renamed, so neither a reader nor a
/// crash ever sees half of it. Pipes and devices are written to directly. For a link, its target is replaced.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if !ranks::is_first() {
        return Ok(());
    }
    let written = if is_stream(path) { pour(path, bytes) } else { replace(&followed(path), bytes) };
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Whether a path is a stream (a pipe or a device) rather than a regular file.
fn is_stream(path: &Path) -> bool {
    const STREAMS: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];
    let special = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    special || STREAMS.iter().any(|stream| path.starts_with(stream))
}

fn pour(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut stream = fs::OpenOptions::new().append(true).open(path)?;
    stream.write_all(bytes)?;
    stream.flush()
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = folder(path);
    if folder.exists() && !folder.is_dir() {
        return Err(std::io::ErrorKind::NotADirectory.into());
    }
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(WRITING);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666)); // less the umask
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    if let Ok(there) = fs::metadata(path) {
        file.as_file().set_permissions(there.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Follows links from a path, whether or not the target exists.
fn followed(path: &Path) -> PathBuf {
    const MOST: usize = 40;
    let next = |path: &PathBuf| fs::read_link(path).ok().map(|target| folder(path).join(target));
    std::iter::successors(Some(path.to_owned()), next).take(MOST).last().expect("the path itself")
}

/// The identity of a file, by which two paths are compared: the inode if the file exists, the resolved path if not.
#[derive(PartialEq)]
enum Place {
    #[cfg(unix)]
    File(u64, u64),
    Path(PathBuf),
}

/// The identity of a file; none for pipes and devices.
fn place(path: &Path) -> Option<Place> {
    if is_stream(path) {
        return None;
    }
    #[cfg(unix)]
    if let Ok(found) = fs::metadata(path) {
        use std::os::unix::fs::MetadataExt;
        return Some(Place::File(found.dev(), found.ino()));
    }
    let path = std::path::absolute(followed(path)).unwrap_or_else(|_| path.to_owned());
    let known = path.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let whole = known.and_then(|(above, known)| Some(known.join(path.strip_prefix(above).ok()?)));
    Some(Place::Path(whole.unwrap_or(path)))
}

/// Refuses outputs that would overwrite an input or each other, by whatever path they are named.
pub fn keep_apart<'a>(
    inputs: impl IntoIterator<Item = &'a PathBuf>,
    outputs: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<()> {
    let (inputs, outputs): (Vec<_>, Vec<_>) = (inputs.into_iter().collect(), outputs.into_iter().collect());
    for (index, output) in outputs.iter().enumerate() {
        let Some(own) = place(output) else {
            continue;
        };
        let same = |other: &&&PathBuf| place(other).is_some_and(|other| other == own);
        if let Some(input) = inputs.iter().find(same) {
            bail!("{} would be overwritten, but it is also read, as {}", output.display(), input.display());
        }
        if let Some(other) = outputs[..index].iter().find(same) {
            bail!(
                "{} and {} are the same file, but two outputs are needed",
                other.display(),
                output.display()
            );
        }
    }
    Ok(())
}

/// Refuses a path that cannot be written to, before there is anything to write.
pub fn try_place(path: &Path) -> Result<()> {
    if is_stream(path) || !ranks::is_first() {
        return Ok(());
    }
    let file = followed(path);
    let named = || format!("cannot write {}", path.display());
    ensure!(!file.is_dir(), "{}: it is a folder", named());
    fs::create_dir_all(folder(&file))
        .and_then(|()| tempfile::tempfile_in(folder(&file)).map(drop))
        .with_context(named)
}

/// Refuses, before training, a file that couplings cannot be exported to. Its extension must be that of a format that
/// holds everything (or the one for parameters, if they are those of a `classifier`), and its description must not overwrite a file that is
/// not a description.
pub fn check_export(path: &Path, classifier: bool) -> Result<()> {
    let format = Format::of_name(&path.to_string_lossy())?;
    ensure!(
        classifier || format != Format::Parameters,
        "{}: this format holds the published classifier only; a .safetensors, .npz or .csv file holds everything",
        path.display()
    );
    ensure!(
        !format.holds_spins_alone(),
        "{}: this format holds spin models only; a .safetensors, .npz or .csv file holds everything",
        path.display()
    );
    try_place(path)?;
    let beside = beside(path);
    if let Ok(there) = fs::read(&beside) {
        let there: Option<serde_json::Value> = serde_json::from_slice(&there).ok();
        let describes = there.is_some_and(|there| there.get("substrate").is_some());
        ensure!(
            describes,
            "{} would be overwritten by the description of the couplings, but is not a description itself; \
             choose another name than {}",
            beside.display(),
            path.display()
        );
    }
    Ok(())
}

/// Encodes couplings in the format of a file's extension.
pub fn encode(path: &Path, couplings: &Couplings) -> Result<Vec<u8>> {
    let format = Format::of_name(&path.to_string_lossy())?;
    format.encode(couplings).with_context(|| format!("for {}", path.display()))
}

/// Writes couplings in the format of a file's extension, and prints a note about anything the format cannot hold.
pub fn save(path: &Path, couplings: &Couplings) -> Result<()> {
    write(path, &encode(path, couplings)?)?;
    let format = Format::of_name(&path.to_string_lossy())?;
    if let (Format::Parameters, Some(n)) = (format, couplings.description.normalisation) {
        let norm = n.norm.map_or(String::new(), |norm| format!(", then to norm {norm}"));
        output::aside(format_args!(
            "note: {} does not say how images are prepared: (p/255 - {})/{}{norm}",
            path.display(),
            n.offset,
            n.scale
        ));
    }
    Ok(())
}

/// Writes a spin model, in double precision where the format holds spins alone.
pub fn save_spins(path: &Path, model: &Ising) -> Result<()> {
    let format = Format::of_name(&path.to_string_lossy())?;
    if !format.holds_spins_alone() {
        return save(path, &model.couplings()?);
    }
    write(path, &format.encode_spins(model).with_context(|| format!("for {}", path.display()))?)
}

/// The file for the description of exported couplings.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("json")
}

/// The name of the table that a netlist writes, which lies beside it.
pub fn table_of(netlist: &Path) -> Result<String> {
    let table = netlist.with_extension("data");
    Ok(table.file_name().context("no file name")?.to_string_lossy().into_owned())
}

/// Reads a file; the error names it.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads couplings of any format.
///
/// # Errors
/// Names the file; for a run folder, also the file in it that is meant.
pub fn load(file: &Path) -> Result<Couplings> {
    let (format, bytes) = format_and_bytes(file)?;
    format.decode(&bytes).with_context(|| format!("in {}", file.display()))
}

/// Reads a spin model, in double precision where the format holds spins alone.
///
/// # Errors
/// As [`load`].
pub fn load_spins(file: &Path) -> Result<Ising> {
    let (format, bytes) = format_and_bytes(file)?;
    format.decode_spins(&bytes).with_context(|| format!("in {}", file.display()))
}

fn format_and_bytes(file: &Path) -> Result<(Format, Vec<u8>)> {
    let inside = file.join("couplings.safetensors");
    ensure!(
        !inside.is_file(),
        "{} is a folder; the couplings in it are {}",
        file.display(),
        inside.display()
    );
    let format = Format::of_name(&file.to_string_lossy())?;
    let bytes = read(file)?;
    ensure!(
        !is_heat_circuit(&bytes),
        "{} is a circuit of heat, as `thermal read` writes them; this program reads couplings of other machines",
        file.display()
    );
    Ok((format, bytes))
}

/// Which command began a run, and whether it can be continued.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The command, as it is typed.
    pub command: String,
    /// Whether there is training to continue.
    pub continues: bool,
}

impl Identity {
    /// The name of its run folders.
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

/// The folder of one run, locked so that only one process works in it at a time.
#[derive(Clone, Debug)]
pub struct Run {
    folder: PathBuf,
    /// Of the first rank.
    _lock: Option<Arc<fs::File>>,
}

impl Run {
    /// The file of settings.
    pub const SETTINGS: &str = "config.toml";

    /// The file with the identity of the run.
    const IDENTITY: &str = "run.json";

    /// Writes trained couplings with their description to the run folder, and also to `also`, in the format of its
    /// extension.
    pub fn export(&self, couplings: &Couplings, also: Option<&Path>) -> Result<()> {
        let here = self.path("couplings.safetensors");
        let export = |path: &Path| -> Result<()> {
            save(path, couplings)?;
            write(&beside(path), couplings.describe().as_bytes())
        };
        export(&here)?;
        let Some(also) = also else {
            return Ok(());
        };
        check_export(also, true)?;
        export(also)
    }

    /// Refuses a folder for a new run that is not empty.
    pub fn check_free(out: &Path) -> Result<()> {
        let taken = || {
            let run = fs::read(out.join(Self::IDENTITY)).ok();
            let run = run.and_then(|bytes| serde_json::from_slice::<Identity>(&bytes).ok());
            let further = run.filter(|run| run.continues).map_or(String::new(), |run| {
                format!(
                    ", or continue that run with: {} --resume {}",
                    run.command.replace('-', " "),
                    out.display()
                )
            });
            format!("{} is not empty; choose another --out{further}", out.display())
        };
        match fs::read_dir(out) {
            Ok(mut entries) => ensure!(entries.next().is_none(), taken()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", out.display())),
        }
        Ok(())
    }

    /// Makes a run folder with the text of the settings in it: `out`, which must be free, or the next free
    /// `runs/<name>-<number>`.
    pub fn begin(identity: Identity, out: Option<&Path>, settings: &str) -> Result<Self> {
        Self::by_first(|| Self::made(identity, out, settings))
    }

    /// The run of the first rank, which alone has the lock; the others learn its folder.
    fn by_first(make: impl FnOnce() -> Result<Self>) -> Result<Self> {
        let mut own = None;
        let told = ranks::of_first(|| match make() {
            Ok(run) => {
                let folder = run.folder.clone();
                own = Some(Ok(run));
                Ok(folder)
            }
            Err(error) => {
                let reason = format!("{error:#}");
                own = Some(Err(error));
                Err(reason)
            }
        })?;
        own.unwrap_or_else(|| told.map(|folder| Self { folder, _lock: None }).map_err(anyhow::Error::msg))
    }

    fn made(identity: Identity, out: Option<&Path>, settings: &str) -> Result<Self> {
        let folder = match out {
            Some(out) => {
                fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
                Self::check_free(out)?;
                out.to_owned()
            }
            None => next_free(identity.name())?,
        };
        // If two processes have found the same empty folder, only one of them can create this file.
        let path = folder.join(Self::IDENTITY);
        let made = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let mut lock = made.with_context(|| format!("cannot make {}", path.display()))?;
        lock.write_all((serde_json::to_string(&identity)? + "\n").as_bytes())?;
        let run = Self::locked(folder, lock)?;
        run.write(Self::SETTINGS, settings.as_bytes())?;
        Ok(run)
    }

    /// Opens the folder of a run that `command` began.
    pub fn open(command: &str, folder: &Path) -> Result<Self> {
        Self::by_first(|| Self::opened(command, folder))
    }

    fn opened(command: &str, folder: &Path) -> Result<Self> {
        let shown = folder.display();
        ensure!(
            folder.join(Self::SETTINGS).is_file() && folder.join(Self::IDENTITY).is_file(),
            "{shown} is not a run folder: it has no {} or no {}",
            Self::SETTINGS,
            Self::IDENTITY
        );
        let path = folder.join(Self::IDENTITY);
        let identity: Identity =
            serde_json::from_slice(&read(&path)?).with_context(|| format!("in {}", path.display()))?;
        ensure!(identity.continues, "{shown} is a run without training, so there is nothing to continue");
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
                bail!("another process is working in {}", folder.display())
            }
            // If the file system does not support locks, there is none.
            Err(fs::TryLockError::Error(_)) | Ok(()) => {
                Ok(Self { folder, _lock: Some(Arc::new(lock)) }.swept())
            }
        }
    }

    /// Removes temporary files that a killed session left behind.
    fn swept(self) -> Self {
        let folders = [self.folder.clone(), self.path("checkpoints")];
        let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        for file in files.filter(|file| file.file_name().to_string_lossy().starts_with(WRITING)) {
            let _ = fs::remove_file(file.path());
        }
        self
    }

    /// The path of the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether a file exists.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Writes a file, completely or not at all.
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
        if !ranks::is_first() {
            return Ok(());
        }
        let path = self.path(name);
        let open = fs::OpenOptions::new().create(true).append(true).open(&path);
        let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
        let line = format!("{}\n", serde_json::to_string(value)?);
        file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the lines of JSON of a file, none if there is no such file. A line broken by a crash ends the list.
    pub fn read_json_lines<T: DeserializeOwned>(&self, name: &str) -> Vec<T> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Writes a checkpoint file for a later session, with a checksum.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let sum = crc32fast::hash(bytes).to_le_bytes();
        self.write(&format!("checkpoints/{name}"), &[bytes, &sum].concat())
    }

    /// Reads a checkpoint file of an earlier session, the same on all ranks; none if there is none.
    pub fn kept(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let told = ranks::of_first(|| self.kept_here(name).map_err(|error| format!("{error:#}")))?;
        told.map_err(anyhow::Error::msg)
    }

    fn kept_here(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let name = format!("checkpoints/{name}");
        if !self.has(&name) {
            return Ok(None);
        }
        let mut bytes = self.read(&name)?;
        let sum =
            bytes.split_last_chunk::<4>().map(|(bytes, sum)| *sum == crc32fast::hash(bytes).to_le_bytes());
        ensure!(
            sum == Some(true),
            "{} is damaged: its checksum does not match; delete it to have its contents computed again",
            self.path(&name).display()
        );
        bytes.truncate(bytes.len() - 4);
        Ok(Some(bytes))
    }

    /// Reads couplings saved by an earlier session; none if there are none.
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
