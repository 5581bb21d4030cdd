//! The cache that replicas share, against real servers.

mod link;
mod store;
