//! The scripts of the shared cache, run by Valkey and by Redis.

mod behaviour;
pub(crate) mod commands;
mod limit;
mod limit_sequence;
mod model;
mod sequence;
mod tour;
