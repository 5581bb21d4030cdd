//! Shared parts of the collectors with per-thread counters. A counter that two threads share would
//! move between the caches of their cores with every call.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

/// Adds up one counter over all threads.
pub(super) fn sum<C>(threads: &[Arc<C>], counter: impl Fn(&C) -> Option<&AtomicU64>) -> u64 {
    threads.iter().filter_map(|counters| Some(counter(counters)?.load(Relaxed))).sum()
}

pub(super) fn encode_counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    series: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in series {
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}
