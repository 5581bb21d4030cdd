//! The settings of the audit trail, each field with its unit, bounds and default.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{choice, text};

/// The record of who was told what about whom: `[audit]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// Where the records go; default `stdout`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub sink: AuditSink,
    /// The file that records are appended to, made with mode 0600; required where `sink` is `file`.
    #[serde(deserialize_with = "text::optional")]
    pub path: Option<String>,
    /// Whether an answer waits until its record is written, and does not leave if that fails; default `false`.
    #[serde(deserialize_with = "text::boolean")]
    pub required: bool,
    /// The file of the key that `sub`s are hashed with, at least 32 bytes and no line end; default none, and then a
    /// random one that ends with the process.
    #[serde(deserialize_with = "text::optional")]
    pub key_file: Option<String>,
    /// The bytes of records that may wait for the sink, for each serving thread; `512KiB` to `1GiB`, default `4MiB`.
    #[serde(with = "text::SizeText")]
    pub max_bytes: u64,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            sink: AuditSink::Stdout,
            path: None,
            required: false,
            key_file: None,
            // Some 12,000 records: the tenth of a second that one thread fills when it does nothing else, or a stall of
            // 12 s at a thousand calls a second.
            max_bytes: 4 * bytesize::MIB,
        }
    }
}

/// Where records go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditSink {
    /// Nowhere.
    Off,
    /// To standard output, apart from the log.
    #[default]
    Stdout,
    /// To a file.
    File,
}
