//! Integration tests, one binary.
//!
//! | file | what belongs in it |
//! |---|---|
//! | pinned | literal values of seeded output, which refactoring must not change |
//! | physics | identities that hold to rounding: force and energy, first law, Crooks, the exact optimum, refusals |
//! | statistics | averages compared with closed forms and quadrature, with thresholds derived from the sample size |
//! | dynamics | the one loop: changing temperatures, units that all differ, user-defined machines |
//! | linear | linear dynamics compared with exact transitions and covariances |
//! | spins | Gibbs sampling and parallel tempering compared with enumeration and Onsager |
//! | protocols | moving control parameters: first law, detailed balance, Jarzynski, the reversed likelihood |
//! | generators | small generators: the local rule, the exact solution, drawing, refused requests |
//! | gradients | gradients by autodiff, local rule, adjoint and finite differences compared |
//! | devices | the same key gives the same numbers on every backend that is built in |
//! | learning | small seeded training runs: learning, resuming, independence of the number of threads |
//! | files | data files and native couplings, valid and broken |
//! | formats | couplings in every format: round trips, files of other programs, broken files |
//! | algebra | linear algebra by fluctuations: errors, intervals, other machines, boards |
//! | circuits | netlists run by ngspice, compared with the integrator of this crate |
//! | hardware | each imperfection, pruning, and training for hardware |
//! | cli | the binaries as a user runs them |
//! | abuse | misuse of the programs: malicious files, outputs that are inputs, useless flags |
//! | takeaway | exported couplings used by NumPy and C |
//! | ising | Ising networks: layers, both machines, training, read-out, export |
//! | optimize | hard problems: kernels against enumeration, solutions against exact solvers |
//! | mpi | runs on several processes, in a build with the feature `mpi` |
//! | layers | which crate and module may depend on which |

mod abuse;
mod algebra;
mod circuits;
mod cli;
mod common;
mod devices;
mod dynamics;
mod files;
mod formats;
mod generators;
mod gradients;
mod hardware;
mod ising;
mod layers;
mod learning;
mod linear;
#[cfg(feature = "mpi")]
mod mpi;
mod optimize;
mod physics;
mod pinned;
mod protocols;
mod spins;
mod statistics;
mod takeaway;
mod thermal;
