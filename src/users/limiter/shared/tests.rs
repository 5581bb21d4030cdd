//! Replicas that share a rate limit, on a model of the store and one paused clock.

mod faults;
mod fleet;
mod health;
