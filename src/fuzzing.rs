//! The targets of `fuzz/`. Each is a function of arbitrary bytes that panics if a property of a parser of
//! untrusted input does not hold.
//!
//! Tests run each target on its seeds in `fuzz/corpus/` and on all inputs in `fuzz/crashes/` that ever
//! failed. A property is next to the code that it is about, in a module `fuzzing`.

use crate::{auth, config, events, server, service, shared_cache, users, wire};

/// A name and a property.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 15] = [
    ("admin_get_user", users::admin_get_user),
    ("batch_request", wire::fuzzing::batch_request),
    ("change_message", events::fuzzing::change_message),
    ("get_user_request", wire::fuzzing::get_user_request),
    ("grpc_message", service::grpc_message),
    ("http2_frames", server::http2_frames),
    ("key_set", auth::key_set),
    ("list_users", users::list_users),
    ("reply", wire::fuzzing::reply_to_get_user),
    ("sealed", shared_cache::sealed),
    ("settings_environment", config::fuzzing::settings_environment),
    ("settings_file", config::fuzzing::settings_file),
    ("shared_entry", users::shared_entry),
    ("token", auth::token),
    ("verified_tokens", auth::verified_tokens),
];

/// Runs the target of this name.
///
/// # Panics
///
/// Panics if there is no such target, or if its property does not hold.
#[allow(clippy::panic, reason = "it reports a bug to the fuzzer")]
pub fn run(name: &str, input: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(input),
        None => panic!("there is no target {name}"),
    }
}

#[cfg(test)]
mod tests;
