//! Three processes of the service in front of one stand-in, which share a real store: what they share,
//! and that nothing gets worse when the store is slow, wrong or gone.

mod changes;
mod failover;
mod fleet;
mod insider;
mod invalidation;
mod limit;
mod load;
mod outage;
mod privacy;
mod reads;
mod replica;
mod revocation;
mod rotation;
mod settings;
mod soak;
mod start;
mod upgrade;
mod watch;
