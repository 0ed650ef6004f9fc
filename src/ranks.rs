//! Runs on several processes (*ranks*), on one machine or many, by MPI.
//!
//! Every rank runs the same program on the same settings, and so comes to the same numbers. Where work is split into
//! [shards](crate::Shards), a rank does its part of them only; results are exchanged, and are combined by all in the
//! order of the shards. A run therefore gives the same bits on any number of ranks and threads, and what is not split is
//! done by all. Only the first rank writes files and prints.
//!
//! Without the feature `mpi`, or outside `mpirun`, there is one rank. All functions of this module that exchange
//! something must be called by all ranks, in the same order, from the main thread.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A rank was asked to stop; all have agreed to.
static ASKED: AtomicBool = AtomicBool::new(false);
static AGREED: AtomicBool = AtomicBool::new(false);

/// How often something was exchanged.
static EXCHANGES: AtomicU64 = AtomicU64::new(0);

/// The number of this rank; before [`start`], what the launcher says.
pub fn rank() -> usize {
    world::place().map_or_else(|| launched().1, |place| place.0)
}

/// How many ranks there are; one before [`start`].
pub fn count() -> usize {
    world::place().map_or(1, |place| place.1)
}

/// Whether this is the rank that writes and prints.
pub fn is_first() -> bool {
    rank() == 0
}

/// Joins the other ranks, if the program was started as one of several.
///
/// # Errors
/// [`Error::Ranks`] when it was started as one of several, but cannot talk to the others.
pub fn start() -> Result<()> {
    let (several, _) = launched();
    if !several {
        return Ok(());
    }
    world::start()?;
    match count() {
        1 if launched_size() > 1 => Err(Error::Ranks(
            "the launcher has started several processes, but MPI knows of one: is it another MPI?".into(),
        )),
        _ => Ok(()),
    }
}

/// Refuses to be one of several processes, for programs that would do the same in each.
///
/// # Errors
/// [`Error::Ranks`].
pub fn refuse_several() -> Result<()> {
    match launched_size() > 1 || launched().1 > 0 {
        true => Err(Error::Ranks("this program runs as one process; start it without mpirun or srun".into())),
        false => Ok(()),
    }
}

/// Leaves the other ranks; must be called before the program ends in good order.
pub fn end() {
    world::end();
}

/// Ends all ranks, when this one cannot go on.
pub fn abort(status: i32) {
    world::abort(status);
}

/// Variables by which launchers tell a process how many there are, and which it is.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"];
const RANKS: [&str; 4] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"];

fn variable(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.trim().parse().ok()
}

fn launched_size() -> usize {
    SIZES.into_iter().filter_map(variable).max().unwrap_or(1)
}

/// Whether a launcher started this process, perhaps as one of several, and its rank.
fn launched() -> (bool, usize) {
    let rank = RANKS.into_iter().find_map(variable);
    (rank.is_some() || launched_size() > 1, rank.unwrap_or(0))
}

/// Asks all ranks to stop. They agree at their next exchange; alone, at once.
pub fn ask_to_stop() {
    ASKED.store(true, Ordering::SeqCst);
}

/// Whether all ranks stop because one was asked to. Of several ranks, all must ask at the same place.
///
/// # Errors
/// [`Error::Ranks`] when they are not.
pub fn agreed_to_stop() -> Result<bool> {
    if count() == 1 {
        return Ok(ASKED.load(Ordering::SeqCst));
    }
    exchange("whether to stop", Vec::new())?;
    Ok(AGREED.load(Ordering::SeqCst))
}

/// Whether a piece of work, of which there is a list, is done here.
pub fn is_mine(index: usize) -> bool {
    index % count() == rank()
}

/// What the first rank has.
///
/// # Errors
/// Whatever it failed with, and [`Error::Ranks`] when the message cannot be read.
pub fn of_first<T: Serialize + DeserializeOwned>(own: impl FnOnce() -> T) -> Result<T> {
    if count() == 1 {
        return Ok(own());
    }
    let message = if is_first() { encode(&own())? } else { Vec::new() };
    decode(&exchange("what the first has", message)?[0])
}

/// Refuses ranks that differ in something, such as settings or versions.
///
/// # Errors
/// [`Error::Ranks`] names the first that differs from the first rank.
pub fn agree(what: &str, own: &str) -> Result<()> {
    if count() == 1 {
        return Ok(());
    }
    let all = exchange(what, own.as_bytes().to_vec())?;
    match all.iter().position(|other| *other != all[0]) {
        Some(rank) => Err(Error::Ranks(format!("rank {rank} and rank 0 differ in their {what}"))),
        None => Ok(()),
    }
}

/// All results of a list of `total` pieces, of which `own` are those done [here](is_mine), in order.
///
/// # Errors
/// The error of a piece that failed here, or [`Error::Ranks`] with what it said elsewhere.
pub fn collect<T, E>(own: Vec<Result<T, E>>, total: usize) -> Result<Vec<T>, E>
where
    T: Serialize + DeserializeOwned,
    E: From<Error> + Display,
{
    let own: Result<Vec<T>, E> = own.into_iter().collect();
    if count() == 1 {
        return own;
    }
    let told: std::result::Result<&Vec<T>, String> = own.as_ref().map_err(ToString::to_string);
    let messages = exchange("pieces of work", encode(&told)?)?;
    own?;
    let mut lists = Vec::with_capacity(count());
    for (rank, message) in messages.iter().enumerate() {
        let list: std::result::Result<Vec<T>, String> = decode(message)?;
        lists.push(list.map_err(|reason| Error::Ranks(format!("on rank {rank}: {reason}")))?.into_iter());
    }
    let next = |index: usize| lists[index % count()].next();
    let all: Option<Vec<T>> = (0..total).map(next).collect();
    all.ok_or_else(|| Error::Ranks("a rank did not do its part".into()).into())
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|error| Error::Ranks(format!("a message cannot be written: {error}")))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|error| Error::Ranks(format!("a message cannot be read: {error}")))
}

/// The messages of all ranks. What they are about, how many there were before, and whether somebody was asked to stop,
/// travel along, so that ranks at different places of the program find out.
fn exchange(what: &str, mut own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let number = EXCHANGES.fetch_add(1, Ordering::SeqCst);
    let label = format!("{what} ({number})");
    own.extend(label.as_bytes());
    own.extend((label.len() as u32).to_le_bytes());
    own.push(u8::from(ASKED.load(Ordering::SeqCst)));
    let mut all = world::gather(&own)?;
    let mut asked = false;
    for (rank, message) in all.iter_mut().enumerate() {
        asked |= message.pop() == Some(1);
        let length =
            message.split_last_chunk::<4>().map_or(0, |(_, length)| u32::from_le_bytes(*length) as usize);
        let end = message.len().saturating_sub(4 + length);
        let other = String::from_utf8_lossy(&message[end..message.len().saturating_sub(4)]).into_owned();
        if other != label {
            return Err(Error::Ranks(format!(
                "rank {rank} exchanges {other} where rank {} exchanges {label}; they must be started alike",
                self::rank()
            )));
        }
        message.truncate(end);
    }
    if asked {
        AGREED.store(true, Ordering::SeqCst);
    }
    Ok(all)
}

#[cfg(not(feature = "mpi"))]
mod world {
    use crate::error::{Error, Result};

    pub(super) fn start() -> Result<()> {
        match crate::ranks::refuse_several() {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::Ranks(
                "this is one of several processes, but this build cannot talk to the others; build it with --features mpi"
                    .into(),
            )),
        }
    }

    pub(super) fn end() {}

    pub(super) fn abort(_status: i32) {}

    pub(super) fn place() -> Option<(usize, usize)> {
        None
    }

    pub(super) fn gather(own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }
}

#[cfg(feature = "mpi")]
mod world {
    use std::mem::ManuallyDrop;
    use std::sync::OnceLock;

    use mpi::Threading;
    use mpi::datatype::PartitionMut;
    use mpi::topology::SimpleCommunicator;
    use mpi::traits::{Communicator, CommunicatorCollectives};

    use crate::error::{Error, Result};

    static PLACE: OnceLock<(usize, usize)> = OnceLock::new();

    pub(super) fn start() -> Result<()> {
        if PLACE.get().is_some() {
            return Ok(());
        }
        let began = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, _) = began.ok_or_else(|| Error::Ranks("MPI was started twice".into()))?;
        // MPI ends with `end`, not with this value.
        let universe = ManuallyDrop::new(universe);
        let world = universe.world();
        PLACE.get_or_init(|| (world.rank() as usize, world.size() as usize));
        Ok(())
    }

    pub(super) fn end() {
        if PLACE.get().is_some() {
            // SAFETY: MPI was started, by this thread, and is not used afterwards.
            unsafe { mpi::ffi::MPI_Finalize() };
        }
    }

    pub(super) fn abort(status: i32) {
        if PLACE.get().is_some_and(|place| place.1 > 1) {
            SimpleCommunicator::world().abort(status);
        }
    }

    pub(super) fn place() -> Option<(usize, usize)> {
        PLACE.get().copied()
    }

    pub(super) fn gather(own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let world = SimpleCommunicator::world();
        let mut sizes = vec![0_u64; world.size() as usize];
        world.all_gather_into(&(own.len() as u64), &mut sizes[..]);
        // MPI counts in 32 bits. All ranks come to the same conclusion.
        let total: u64 = sizes.iter().sum();
        if i32::try_from(total).is_err() {
            let reason = format!(
                "{total} bytes in one exchange, 2 GiB are possible; use fewer ranks or smaller batches"
            );
            return Err(Error::Ranks(reason));
        }
        let sizes: Vec<i32> = sizes.into_iter().map(|size| size as i32).collect();
        let starts: Vec<i32> = sizes
            .iter()
            .scan(0, |end, size| {
                *end += size;
                Some(*end - size)
            })
            .collect();
        let mut all = vec![0_u8; total as usize];
        {
            let mut parts = PartitionMut::new(&mut all[..], &sizes[..], &starts[..]);
            world.all_gather_varcount_into(own, &mut parts);
        }
        let part = |(start, size): (&i32, &i32)| all[*start as usize..][..*size as usize].to_vec();
        Ok(starts.iter().zip(&sizes).map(part).collect())
    }
}
