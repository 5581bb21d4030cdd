//! The settings of the audit trail.

use bytesize::{GIB, KIB, MIB};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;

/// The audit trail: who read what about which user. `[audit]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// Where the records go; default `stdout`.
    pub sink: AuditSink,
    /// The file of the records, created with mode 0600; required where `sink` is `file`.
    pub path: Option<String>,
    /// Whether answers wait for their record, and are withheld if that fails; default `false`.
    pub required: bool,
    /// The file with the key that `sub`s are hashed with, at least 32 bytes without the line end. The
    /// variable `COGNITO_LOOKUP_AUDIT_KEY` may have the key itself instead; default none, and then a
    /// random key that ends with the process.
    pub key_file: Option<String>,
    /// The file with the key of earlier records, which `audit-hash` uses beside the current one. The
    /// variable `COGNITO_LOOKUP_AUDIT_PREVIOUS_KEY` may have the key itself instead; default none.
    pub previous_key_file: Option<String>,
    /// The name of this replica in the records, 1 to 64 characters; default the host name, which is
    /// that of the pod on Kubernetes.
    pub replica: Option<String>,
    /// The most bytes of queued records, for each serving thread; default `4MiB`.
    #[serde(with = "Bounded::<u64, { 512 * KIB }, GIB>")]
    pub max_bytes: u64,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            sink: AuditSink::Stdout,
            path: None,
            required: false,
            key_file: None,
            previous_key_file: None,
            replica: None,
            // Some 12,000 records: one busy thread's for 0.1 s, or those of 1,000 calls/s for 12 s.
            max_bytes: 4 * MIB,
        }
    }
}

/// Where records go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditSink {
    /// Nowhere.
    Off,
    /// To standard output; the log goes to standard error.
    #[default]
    Stdout,
    /// To the file at `path`.
    File,
}
