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
/// Begins an epoch of the rate limit, where one must begin.
pub static SYNC: Script = Script {
    name: "sync",
    source: concat!(
        include_str!("scripts/rate_limit/clock.lua"),
        include_str!("scripts/rate_limit/sync.lua")
    ),
};
/// Grants a call to Cognito.
pub static TAKE: Script = Script {
    name: "take",
    source: concat!(
        include_str!("scripts/rate_limit/clock.lua"),
        include_str!("scripts/rate_limit/limits.lua"),
        include_str!("scripts/rate_limit/take.lua")
    ),
};
/// Ends a call to Cognito.
pub static END: Script = Script {
    name: "end",
    source: concat!(include_str!("scripts/rate_limit/clock.lua"), include_str!("scripts/rate_limit/end.lua")),
};
/// Tells all replicas what one has learned from Cognito.
pub static TUNE: Script = Script { name: "tune", source: include_str!("scripts/rate_limit/tune.lua") };

/// All scripts.
pub static ALL: [&Script; 11] =
    [&LOOK, &RENEW, &PUT, &RELEASE, &INVALIDATE, &PUBLISH, &POSITION, &SYNC, &TAKE, &END, &TUNE];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_is_short_and_names_its_version_and_keys() {
        for script in ALL {
            // After the parts that it has in common with others.
            let version = if ["invalidate", "publish"].contains(&script.name) { 2 } else { 1 };
            let begins = format!("-- {}, version {version}: ", script.name);
            let own = script.source.lines().skip_while(|line| !line.starts_with(&begins));
            assert!((1..40).contains(&own.count()), "{}", script.name);
            assert!(script.source.lines().any(|line| line.starts_with("-- KEYS: ")), "{}", script.name);
            // `tostring` keeps 14 digits of a number, a time has 16.
            assert!(!script.source.contains("tostring"), "{}", script.name);
        }
    }
}
