//! The Lua scripts that the store runs. Each is one atomic step on keys of one slot, and reads no
//! clock but the server's.

use super::call::Script;

/// Reads one kind of a user's hash, and may take the lease of its fetch.
pub static LOOK: Script = Script { name: "look", source: include_str!("scripts/look.lua") };
/// Extends a lease.
pub static RENEW: Script = Script { name: "renew", source: include_str!("scripts/renew.lua") };
/// Stores what was fetched under a lease.
pub static PUT: Script = Script { name: "put", source: include_str!("scripts/put.lua") };
/// Ends a lease without a value.
pub static RELEASE: Script = Script { name: "release", source: include_str!("scripts/release.lua") };
/// Makes what a user's hash has outdated, or removes it.
pub static INVALIDATE: Script = Script { name: "invalidate", source: include_str!("scripts/invalidate.lua") };
/// Appends an event to the stream.
pub static PUBLISH: Script = Script { name: "publish", source: include_str!("scripts/publish.lua") };
/// Returns where the stream of events ends.
pub static POSITION: Script = Script { name: "position", source: include_str!("scripts/position.lua") };

/// All scripts.
pub static ALL: [&Script; 7] = [&LOOK, &RENEW, &PUT, &RELEASE, &INVALIDATE, &PUBLISH, &POSITION];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_is_short_and_names_its_version_and_keys() {
        for script in ALL {
            let lines: Vec<_> = script.source.lines().collect();
            assert!(lines.len() < 40, "{}", script.name);
            assert!(lines[0].starts_with(&format!("-- {}, version 1: ", script.name)), "{}", lines[0]);
            assert!(lines.iter().any(|line| line.starts_with("-- KEYS: ")), "{}", script.name);
            // `tostring` keeps 14 digits of a number, a time has 16.
            assert!(!script.source.contains("tostring"), "{}", script.name);
        }
    }
}
