//! Real servers of the shared cache for tests, Valkey and Redis, and a proxy with faults.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod pair;
pub(crate) mod proxy;
pub(crate) mod sentinel;
pub(crate) mod server;
mod tests;
