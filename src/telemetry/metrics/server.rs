//! Metrics of connections, TLS files and audit records.

use std::{sync::atomic::AtomicU64, time::SystemTime};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::{EnumFamily, unix_seconds};

metric_set! {
    /// Metrics of connections, TLS files and audit records; cheap to clone.
    pub struct ServerMetrics {
        /// Open connections by worker.
        connections: Family<[(&'static str, u32); 1], Gauge> = "connections",
        /// Connections refused on arrival, by the limit that was reached.
        pub connections_refused: EnumFamily<ConnectionLimit, Counter> = "connections_refused",
        /// Connections closed by force, by reason.
        pub connections_cut: EnumFamily<CutReason, Counter> = "connections_cut",
        /// Memory that connections have taken of `limits.memory`, in bytes.
        pub connection_memory: Gauge = "connection_memory_bytes",
        /// Connections, requests and responses refused because `limits.memory` is reached.
        pub memory_refusals: Counter = "memory_refusals",
        /// Failures to accept a connection, most often for lack of file descriptors.
        pub accept_failures: Counter = "accept_failures",
        /// Failures to load changed TLS files. The previous ones stay in use.
        pub tls_reload_failures: Counter = "tls_reload_failures",
        /// Audit records dropped because the buffer was full or the sink failed.
        pub audit_records_dropped: Counter = "audit_records_dropped",
        /// Reloads of the pools and callers in the settings, by outcome. After a Refused one the previous
        /// ones stay in use.
        pub settings_reloads: EnumFamily<ReloadOutcome, Counter> = "settings_reloads",
        /// Whether the pools and callers of the settings file are not in use, because they were refused: 1, else
        /// 0.
        pub settings_outdated: Gauge = "settings_outdated",
        /// Whether calls about a user pool can be answered: 1 once its signing keys and the AWS
        /// credentials for it are found, else 0.
        pool_ready: Family<[(&'static str, String); 1], Gauge> = "pool_ready",
        /// Unix time in seconds at which the TLS files in use were loaded; 0 without TLS.
        tls_loaded: Gauge<f64, AtomicU64> = "tls_loaded_timestamp_seconds",
        /// Unix time in seconds at which the server certificate in use expires; 0 without TLS.
        tls_certificate_expiry: Gauge<f64, AtomicU64> = "tls_certificate_expiry_timestamp_seconds",
        /// Unix time in seconds at which the first of the client CAs in use expires; 0 without any.
        tls_client_ca_expiry: Gauge<f64, AtomicU64> = "tls_client_ca_expiry_timestamp_seconds",
    }
}

impl ServerMetrics {
    /// Returns the gauge of the connections of a worker, which are numbered from 0.
    pub fn connections(&self, worker: usize) -> Gauge {
        self.connections.get_or_create_owned(&[("worker", worker.try_into().unwrap_or(u32::MAX))])
    }

    /// Returns the gauge of a pool's readiness.
    pub fn pool_ready(&self, pool: &impl ToString) -> Gauge {
        self.pool_ready.get_or_create_owned(&[("pool", pool.to_string())])
    }

    /// Removes the gauge of a pool that is no longer served.
    pub fn remove_pool(&self, pool: &impl ToString) {
        self.pool_ready.remove(&[("pool", pool.to_string())]);
    }

    /// Records that TLS files were loaded now, with a server certificate that expires at `expiry`, and
    /// client CAs of which the first expires at `client_ca`.
    pub fn tls_loaded(&self, expiry: SystemTime, client_ca: Option<SystemTime>) {
        self.tls_client_ca_expiry.set(client_ca.map_or(0.0, unix_seconds));
        self.tls_loaded.set(unix_seconds(SystemTime::now()));
        self.tls_certificate_expiry.set(unix_seconds(expiry));
    }
}

label! {
    /// A limit on arriving connections.
    pub enum ConnectionLimit = "limit" {
        /// `limits.connections`.
        Connections,
        /// `limits.connections_per_peer`.
        ConnectionsPerPeer,
        /// `limits.memory`.
        Memory,
    }
}

label! {
    /// How a reload of the settings ended.
    pub enum ReloadOutcome = "outcome" {
        /// The pools and callers of the new settings are in use.
        Applied,
        /// The new settings have an error, so nothing of them is used.
        Refused,
        /// The pools and callers are the same.
        Unchanged,
    }
}

label! {
    /// Why a connection was closed by force.
    pub enum CutReason = "reason" {
        /// It was still open at the end of the drain.
        Drain,
        /// It sent too many frames that carry no call.
        Flood,
        /// Its TLS handshake or HTTP/2 preface failed or timed out.
        Handshake,
        /// `limits.memory` was reached, and no caller had been identified on it.
        Memory,
        /// Its client left responses unread.
        Stall,
    }
}
