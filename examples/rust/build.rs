//! Makes the client from `proto/`, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../../proto");
    let descriptors = protox::compile(["userlookup/v1/user_service.proto"], ["../../proto"])?;
    let client = tonic_prost_build::configure().build_server(false);
    client.extern_path(".google.rpc", "::tonic_types::pb").compile_fds(descriptors)?;
    Ok(())
}
