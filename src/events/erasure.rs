//! The erasure of a user whose deletion a message reports.

use std::time::SystemTime;

use uuid::Uuid;

use super::change::Change;
use crate::{
    audit::Recorder,
    changes,
    pool::PoolId,
    proto::EraseUserResponse,
    query::Target,
    user::Sub,
    users::{Invalidated, Invalidation, InvalidationFailure, Users},
};

/// Erases a user as `EraseUser` does, with the same audit record: its method is the name of the event,
/// and it has no caller. Returns whether that is complete; otherwise it may be repeated. Cancel safe in
/// that sense.
pub(super) async fn erase(
    users: &Users,
    audit: &Recorder,
    change: &Change,
    pool: &PoolId,
    sub: &Sub,
    told: changes::Change,
) -> bool {
    let id = Uuid::now_v7().to_string();
    let record = audit.open(change.event, &id, true);
    record.set_target(&Target { sub: sub.clone(), pool: Some(pool.clone()) });
    let erased = users.invalidate_for(pool, sub, Invalidation::Erase, told).await;
    let outcome = match &erased {
        Ok(erased) => {
            record.set_erasure(&receipt(&id, *erased));
            Ok(())
        }
        Err(InvalidationFailure::SharedCache { here, .. }) => {
            // The record says what was erased here all the same.
            record.set_erasure(&receipt(&id, *here));
            Err("SHARED_CACHE_UNAVAILABLE")
        }
        Err(InvalidationFailure::Panicked) => Err("INTERNAL"),
    };
    let is_recorded = record.close_written(outcome).await;
    erased.is_ok() && is_recorded
}

fn receipt(id: &str, erased: Invalidated) -> EraseUserResponse {
    let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    EraseUserResponse {
        receipt_id: id.to_owned(),
        erased_at: Some(SystemTime::now().into()),
        entries: erased.entry.into(),
        absences: erased.absence.into(),
        verdicts: number(erased.tokens),
        fetches: number(erased.fetches),
        reached_all_replicas: erased.reached_all_replicas,
    }
}
