//! Integration tests, one binary.
//!
//! | file | what belongs in it |
//! |---|---|
//! | pinned | literal values of seeded output, which must not change while code moves |
//! | physics | identities that hold to rounding: force and energy, first law, Crooks, the exact optimum, refusals |
//! | statistics | averages against closed forms and quadrature, at thresholds derived from the sample size |
//! | dynamics | the one loop: temperatures that move, units that all differ, machines of a user's own |
//! | spins | Gibbs sampling and parallel tempering against enumeration and Onsager |
//! | protocols | control parameters that move: first law, detailed balance, Jarzynski, the likelihood of the way back |
//! | generators | small generators: the local rule, the exact solution, what they draw and refuse |
//! | gradients | autodiff, local rule, adjoint and finite differences against each other |
//! | devices | the same key gives the same numbers on every backend that is built in |
//! | learning | small seeded trainings: they learn, they resume, threads do not show |
//! | files | data files and native couplings, whole and broken |
//! | formats | couplings in every format: there and back, as others write them, and broken |
//! | circuits | netlists run by ngspice against our own integrator |
//! | hardware | imperfections one by one, pruning, and training that knows of them |
//! | cli | the binaries as a user runs them |
//! | abuse | the programs in hostile hands: files that lie, outputs that are inputs, flags that mean nothing |
//! | takeaway | exported couplings in the hands of NumPy and C |
//! | layers | which crate may know which |

mod abuse;
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
mod layers;
mod learning;
mod physics;
mod pinned;
mod protocols;
mod spins;
mod statistics;
mod takeaway;
