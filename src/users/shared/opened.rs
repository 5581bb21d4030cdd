//! Opens the events of replicas.

use prost::Message as _;

use super::Shared;
use crate::shared_cache::{Binding, Event, Unreadable, stored};

/// Opens an event.
pub(super) fn read(shared: &Shared, event: &Event) -> Result<stored::Event, Unreadable> {
    let plain = shared.store.open(Binding::Event, &event.sealed)?;
    stored::Event::decode(&*plain).map_err(|_| Unreadable::Format)
}
