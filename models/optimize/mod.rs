//! Hard problems solved by thermal noise: best cuts, binary quadratic forms, shortest tours, assignments and partitions.
//!
//! A problem is a landscape, and three dynamics look for its lowest state: parallel tempering, simulated annealing, and, for
//! spins, bistable units of the substrate that are cooled through their bifurcation. Nothing here opens a file or reads a
//! clock.

pub mod assignment;
pub mod judge;
pub mod langevin;
pub mod moves;
pub mod partition;
pub mod search;
pub mod spins;
pub mod tour;
