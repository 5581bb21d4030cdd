//! Generates the server side of `proto/` without protoc, the descriptors for server reflection, and the
//! messages that the shared cache stores.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo passes the output directory to a build script in the environment"
)]

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTO_FILES: [&str; 4] = [
    "grpc/health/v1/health.proto",
    "userlookup/v1/admin_service.proto",
    "userlookup/v1/error_reason.proto",
    "userlookup/v1/user_service.proto",
];

// Never in the descriptors that the server offers.
const STORED_FILES: [&str; 3] = [
    "userlookup/stored/v1/entry.proto",
    "userlookup/stored/v1/event.proto",
    "userlookup/stored/v1/revocation.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(PROTO_FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("userlookup.v1.binpb"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .extern_path(".grpc.health.v1", "::cognito_lookup_client::health")
        .extern_path(".userlookup.v1", "::cognito_lookup_client")
        .compile_fds(descriptors)?;
    // Derived, it would show users in a log line.
    let personal = ["User", "Attribute", "Groups", "Event", "Revocation"];
    tonic_prost_build::configure()
        .skip_debug(personal.map(|name| format!(".userlookup.stored.v1.{name}")))
        .compile_fds(protox::compile(STORED_FILES, ["proto"])?)?;
    Ok(())
}
