//! What a trajectory tells: how likely it is, how much heat it gives off, and which computer would generate it.
//!
//! | module | what |
//! |---|---|
//! | [`action`] | −ln of the probability of a path, forwards and reversed; its gradient as a local rule |
//! | [`heat`] | heat, work, entropy production, and their ledger |
//! | [`correlation`] | autocorrelation time and effective sample size |
//! | [`exact`] | the couplings of least action, in closed form |

pub mod action;
pub mod correlation;
pub mod exact;
pub mod heat;
