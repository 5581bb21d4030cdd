//! `Users` under load and in outages, on a paused clock: "at once" is then exactly no time.

mod caller_limits;
mod change;
mod cost;
mod groups;
mod herd;
mod admin;
mod lab;
mod load;
mod outage;
mod replica_changes;
mod replica_events;
mod replica_faults;
mod replica_groups;
mod replica_tasks;
mod replica_trace;
mod replica_revocations;
mod replicas;
