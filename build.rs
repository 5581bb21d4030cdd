//! Compiles `proto/` without protoc, and keeps the descriptors for server reflection.
#![expect(clippy::disallowed_methods, reason = "a build script is told by the environment where to write")]

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 4] = [
    "grpc/health/v1/health.proto",
    "userlookup/v1/admin_service.proto",
    "userlookup/v1/error_reason.proto",
    "userlookup/v1/user_service.proto",
];

// Their Debug is written by hand, in `proto`.
const PERSONAL: [&str; 7] = [
    "BatchGetUsersRequest",
    "EraseUserRequest",
    "ExpireUserRequest",
    "ExplainAccessRequest",
    "GetUserRequest",
    "InspectUserRequest",
    "User",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("userlookup.v1.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(PERSONAL)
        .type_attribute("BatchGetUsersRequest.freshness", "#[derive(Debug)]")
        .type_attribute("GetUserRequest.freshness", "#[derive(Debug)]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    Ok(())
}
