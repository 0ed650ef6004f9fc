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
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A rank was asked to stop; all have agreed to.
static ASKED: AtomicBool = AtomicBool::new(false);
static AGREED: AtomicBool = AtomicBool::new(false);

/// The number of this rank.
pub fn rank() -> usize {
    world::rank()
}

/// How many ranks there are.
pub fn count() -> usize {
    world::count()
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
    world::start()
}

/// Leaves the other ranks; must be called before the program ends in good order.
pub fn end() {
    world::end();
}

/// Asks all ranks to stop. They agree at their next exchange; alone, at once.
pub fn ask_to_stop() {
    ASKED.store(true, Ordering::SeqCst);
}

/// Whether all ranks have agreed to stop.
pub fn agreed_to_stop() -> bool {
    if count() == 1 { ASKED.load(Ordering::SeqCst) } else { AGREED.load(Ordering::SeqCst) }
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
    decode(&exchange(message)[0])
}

/// Refuses ranks that differ in something, such as settings or versions.
///
/// # Errors
/// [`Error::Ranks`] names the first that differs from the first rank.
pub fn agree(what: &str, own: &str) -> Result<()> {
    if count() == 1 {
        return Ok(());
    }
    let all = exchange(own.as_bytes().to_vec());
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
    let messages = exchange(encode(&told)?);
    let own = own?;
    let mut lists = Vec::with_capacity(count());
    for (rank, message) in messages.iter().enumerate() {
        let list: std::result::Result<Vec<T>, String> = decode(message)?;
        lists.push(list.map_err(|reason| Error::Ranks(format!("on rank {rank}: {reason}")))?.into_iter());
    }
    drop(own);
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

/// The messages of all ranks. Whether somebody was asked to stop travels along.
fn exchange(mut own: Vec<u8>) -> Vec<Vec<u8>> {
    own.push(u8::from(ASKED.load(Ordering::SeqCst)));
    let mut all = world::gather(&own);
    let asked = all.iter_mut().map(|message| message.pop() == Some(1)).fold(false, |any, one| any | one);
    if asked {
        AGREED.store(true, Ordering::SeqCst);
    }
    all
}

#[cfg(not(feature = "mpi"))]
mod world {
    use crate::error::{Error, Result};

    /// Variables by which launchers of MPI tell a process how many there are.
    const LAUNCHED: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"];

    pub(super) fn start() -> Result<()> {
        let several = |name: &&str| std::env::var(name).is_ok_and(|size| size.trim() != "1");
        match LAUNCHED.iter().find(|name| several(name)) {
            Some(name) => Err(Error::Ranks(format!(
                "{name} says that this is one of several processes, but this build cannot talk to them; build it with \
                 --features mpi"
            ))),
            None => Ok(()),
        }
    }

    pub(super) fn end() {}

    pub(super) fn rank() -> usize {
        0
    }

    pub(super) fn count() -> usize {
        1
    }

    pub(super) fn gather(own: &[u8]) -> Vec<Vec<u8>> {
        vec![own.to_vec()]
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

    pub(super) fn rank() -> usize {
        PLACE.get().map_or(0, |place| place.0)
    }

    pub(super) fn count() -> usize {
        PLACE.get().map_or(1, |place| place.1)
    }

    pub(super) fn gather(own: &[u8]) -> Vec<Vec<u8>> {
        let world = SimpleCommunicator::world();
        let mut sizes = vec![0_i32; count()];
        world.all_gather_into(&(own.len() as i32), &mut sizes[..]);
        let starts: Vec<i32> = sizes
            .iter()
            .scan(0, |end, size| {
                *end += size;
                Some(*end - size)
            })
            .collect();
        let mut all = vec![0_u8; sizes.iter().sum::<i32>() as usize];
        {
            let mut parts = PartitionMut::new(&mut all[..], &sizes[..], &starts[..]);
            world.all_gather_varcount_into(own, &mut parts);
        }
        let part = |(start, size): (&i32, &i32)| all[*start as usize..][..*size as usize].to_vec();
        starts.iter().zip(&sizes).map(part).collect()
    }
}
