//! Generates the messages and clients from `proto/` without protoc.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo passes the output directory to a build script in the environment"
)]

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 4] = [
    "grpc/health/v1/health.proto",
    "userlookup/v1/admin_service.proto",
    "userlookup/v1/error_reason.proto",
    "userlookup/v1/user_service.proto",
];

// `lib.rs` implements Debug for these: a derived one would print tokens, subs and attribute values.
const PERSONAL: [&str; 10] = [
    "BatchGetUsersRequest",
    "EraseUserRequest",
    "ExpireUserRequest",
    "ExplainAccessRequest",
    "GetUserRequest",
    "InspectUserRequest",
    "RevokeTokensRequest",
    "User",
    "UserChange",
    "WatchUsersRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    // The unit tests check PERSONAL against the fields of every message.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("userlookup.v1.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_server(false)
        .btree_map(".")
        .skip_debug(PERSONAL)
        .type_attribute("BatchGetUsersRequest.freshness", "#[derive(Debug)]")
        .type_attribute("GetUserRequest.freshness", "#[derive(Debug)]")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    Ok(())
}
