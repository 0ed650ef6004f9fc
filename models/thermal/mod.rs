//! Networks of heat that compute, and digital twins of real ones.
//!
//! | module | what |
//! |---|---|
//! | [`network`] | a network of heat that reads images |
//! | [`training`] | its training through the unrolled steps |
//! | [`reading`] | accuracies, confusion, and heat drawn |
//! | [`hardware`] | few levels and mismatch of conductances, the price of programming, energy and time |
//! | [`xor`] | points that no linear network tells apart |
//! | [`house`] | networks of rooms and walls |
//! | [`kalman`] | the likelihood of measured temperatures, and what is known after them |
//! | [`made_up`] | a made-up house |
//! | [`twin`] | fits, errors, and comparisons |
//! | [`arx`] | autoregressive forecasts, to compare with |
//! | [`schedule`] | heating that keeps a comfort band |

pub mod arx;
pub mod hardware;
pub mod house;
pub mod kalman;
pub mod made_up;
pub mod network;
pub mod reading;
pub mod schedule;
pub mod training;
pub mod twin;
pub mod xor;
