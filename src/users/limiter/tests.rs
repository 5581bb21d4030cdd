//! The limiter's decisions, on a clock of their own.

mod begin;
mod bench;
mod bounds;
mod fairness;
