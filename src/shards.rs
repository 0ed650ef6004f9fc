//! Splits a batch over threads in such a way that results do not depend on the number of threads.
//!
//! A batch is cut into shards of a fixed size, whatever the number of threads; threads take the next shard when they
//! are free, and results are combined in the order of the shards. With noise addressed by trajectory
//! ([`Key::skip`](crate::Key::skip)) a run on one thread and a run on many give the same bits.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ranks;

/// How a batch is split.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shards {
    /// Trajectories per shard. Sums over a batch have the same order, hence the same bits, only for equal shard
    /// sizes.
    pub size: usize,
    /// The number of threads; results do not depend on it.
    pub threads: usize,
}

impl Shards {
    /// Shards of `size` on every core of the machine.
    pub fn new(size: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { size, threads }
    }

    /// The whole batch in one piece on the calling thread, for devices that are parallel themselves.
    pub fn whole() -> Self {
        Self { size: usize::MAX, threads: 1 }
    }

    /// The shards of `0..batch`.
    pub fn ranges(&self, batch: usize) -> Vec<Range<usize>> {
        let size = self.size.clamp(1, batch.max(1));
        let starts = (0..batch).step_by(size);
        starts.map(|start| start..(start + size).min(batch)).collect()
    }

    /// Calls `work` on every shard of `0..batch`, and returns the results in order.
    pub fn map<T: Send>(&self, batch: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
        self.over(self.ranges(batch), work)
    }

    /// The same, split over [`ranks`]: every shard is worked on by one of them, and all have the results.
    ///
    /// # Errors
    /// The first error of `work` here, or [`Error::Ranks`] with that of another rank.
    pub fn gather<T, E>(
        &self,
        batch: usize,
        work: impl Fn(Range<usize>) -> std::result::Result<T, E> + Sync,
    ) -> std::result::Result<Vec<T>, E>
    where
        T: Send + Serialize + DeserializeOwned,
        E: Send + From<Error> + Display,
    {
        let ranges = self.ranges(batch);
        let total = ranges.len();
        let mine = ranges.into_iter().enumerate().filter(|(index, _)| ranks::is_mine(*index));
        ranks::collect(self.over(mine.map(|(_, range)| range).collect(), work), total)
    }

    fn over<T: Send>(&self, ranges: Vec<Range<usize>>, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
        let threads = self.threads.clamp(1, ranges.len().max(1));
        if threads == 1 {
            return ranges.into_iter().map(work).collect();
        }
        let next = AtomicUsize::new(0);
        let results: Vec<Mutex<Option<T>>> = ranges.iter().map(|_| Mutex::new(None)).collect();
        let worker = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(range) = ranges.get(index) else {
                    return;
                };
                let result = work(range.clone());
                *results[index].lock().expect("one writer per shard") = Some(result);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(worker);
            }
            worker();
        });
        let result = |cell: Mutex<Option<T>>| cell.into_inner().expect("no writer left");
        results.into_iter().map(|cell| result(cell).expect("every shard was worked on")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_batch_in_order_on_any_number_of_threads() {
        for threads in [1, 2, 5] {
            for size in [1, 3, 100] {
                let pieces = Shards { size, threads }.map(10, |range| range.collect::<Vec<_>>());
                assert_eq!(pieces.concat(), (0..10).collect::<Vec<_>>());
            }
        }
        assert!(Shards::new(4).map(0, |range| range).is_empty());
    }
}
