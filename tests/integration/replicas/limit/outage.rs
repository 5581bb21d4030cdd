use std::time::Duration;

use tokio::time::sleep;

use crate::{
    replicas::fleet::Fleet,
    store::{pair::Pair, proxy::Fault, server::wait_for},
};

/// What fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outage {
    /// What one replica sends is held, and arrives late.
    RequestsOf(usize),
    /// What is sent to one replica is held.
    RepliesTo(usize),
    /// Each call takes twice this time.
    Slow(Duration),
    Frozen,
    /// It returns without its data.
    Killed,
    /// Another server takes over, without the last writes.
    FailedOver,
}

impl Outage {
    /// Returns everything that may fail, where a call to the store has this time limit.
    pub(super) fn all(timeout: Duration) -> impl Iterator<Item = Self> {
        let of_replicas = (0..3).flat_map(|n| [Self::RequestsOf(n), Self::RepliesTo(n)]);
        of_replicas.chain([Self::Slow(timeout.mul_f64(0.3)), Self::Frozen, Self::Killed, Self::FailedOver])
    }

    pub(super) fn is_of_one_replica(self) -> bool {
        matches!(self, Self::RequestsOf(_) | Self::RepliesTo(_))
    }

    pub(super) async fn begin(self, pair: &mut Pair, fleet: &Fleet) {
        match self {
            Self::RequestsOf(replica) => fleet.proxies[replica].set(Fault::HoldRequests),
            Self::RepliesTo(replica) => fleet.proxies[replica].set(Fault::HoldReplies),
            Self::Slow(delay) => fleet.fault(Fault::Delay(delay)),
            Self::Frozen => pair.primary.freeze(),
            Self::Killed => pair.primary.kill(),
            Self::FailedOver => {
                let mut replica = pair.replica.client().await;
                wait_for(&mut replica, "INFO replication", "master_link_status:up").await;
                pair.between.set(Fault::Hold);
                sleep(LOST).await;
                pair.primary.kill();
            }
        }
    }

    pub(super) async fn end(self, pair: &mut Pair, fleet: &mut Fleet) {
        match self {
            Self::RequestsOf(replica) | Self::RepliesTo(replica) => fleet.proxies[replica].set(Fault::Pass),
            Self::Slow(_) => fleet.fault(Fault::Pass),
            Self::Frozen => pair.primary.thaw(),
            Self::Killed => pair.primary.restart().await,
            Self::FailedOver => {
                pair.promote().await;
                fleet.lead_to(pair.replica.address);
            }
        }
    }
}

/// The writes that a failover loses.
const LOST: Duration = Duration::from_millis(300);
