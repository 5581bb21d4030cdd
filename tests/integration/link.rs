//! The link to the store: how it connects, what it reports, and how it recovers.

mod calls;
mod iam;
mod linked;
mod modes;
mod outage;
mod start;
