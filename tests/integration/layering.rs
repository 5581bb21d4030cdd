use std::{fs, path::Path};

use crate::support::source_tree::{Edge, Module, SourceTree, rust_files};

#[test]
fn imports_point_down_the_list_of_modules_in_lib_rs() {
    let order = order();
    let rank = |module: &Module| {
        let top = module.first()?;
        Some(order.iter().position(|name| name == top).unwrap_or_else(|| panic!("{top} is not in lib.rs")))
    };
    let mut count = 0;
    for (from, to) in SourceTree::read(&root().join("src")).imports() {
        // The crate root has no items of its own, and imports nothing.
        let (Some(above), Some(below)) = (rank(&from), rank(&to)) else { continue };
        assert!(above <= below, "{} imports {}", from.join("/"), to.join("/"));
        count += usize::from(above < below);
    }
    assert!(count > 40, "only {count} imports were found: does this test still read them?");
}

#[test]
fn an_upward_import_is_found() {
    let text = r#"
        use crate::{
            policy::Permit, // crate::audit
            service::{call::{Call, Other}, Service as Aliased},
        };
        fn f() { crate::cli::run("crate::error", '"'); }
    "#;
    let names = ["users", "policy", "service", "service/call", "cli", "audit", "error"];
    let tree = tree(&names.map(|name| (name, if name == "users" { text } else { "" })));
    assert_eq!(
        shown(tree.imports()),
        ["users -> cli", "users -> policy", "users -> service", "users -> service/call"]
    );
}

#[test]
fn no_files_of_a_module_import_each_other_in_a_circle() {
    let crates = ["src", "crates/client/src", "crates/cognito-standin/src", "tests/integration"];
    for sources in crates.into_iter().chain(["benches/hit", "benches/serve", "benches/users"]) {
        let circles = shown(SourceTree::read(&root().join(sources)).circles());
        assert!(circles.is_empty(), "{sources} has circles: {circles:#?}");
    }
}

#[test]
fn a_circle_of_files_is_found() {
    let parent = (
        "users",
        "mod flight; mod store; mod entry; pub(crate) use self::{flight::Flight, store::{self, Store as Put}};",
    );
    let line = [
        parent,
        ("users/flight", "use super::store::Store; use crate::users::entry::Entry;"),
        ("users/store", "fn put() -> super::entry::Entry {}"),
        ("users/entry", "use crate::config::Ttl; use super::Users;"),
        ("config", "pub struct Ttl;"),
    ];
    assert_eq!(shown(tree(&line).circles()), [""; 0]);
    let tests = [
        ("users/entry", "#[cfg(test)]\nmod tests;"),
        ("users/entry/tests", "use crate::users::flight::Flight;"),
        ("users/flight", "#[cfg(any(test, feature = \"fuzzing\"))]\nmod fuzzing;"),
        ("users/flight/fuzzing", "use crate::users::Users;"),
        ("users/store", "#[cfg(test)]\nmod tests {\n    use super::super::flight::Flight; }"),
    ];
    assert_eq!(shown(tree(&line.into_iter().chain(tests).collect::<Vec<_>>()).circles()), [""; 0]);
    for (case, file, import) in [
        ("by its path", "users/entry", "use crate::users::flight::Flight;"),
        ("from a file below", "users/entry/age", "use super::super::flight::{Flight};"),
        ("by what the parent imports", "users/entry", "use super::Flight;"),
        ("by another name", "users/entry", "use crate::users::Put;"),
        ("where it is used", "users/store", "fn f() { super::flight::join() }"),
    ] {
        let files = line.into_iter().chain([(file, import)]).collect::<Vec<_>>();
        assert!(!tree(&files).circles().is_empty(), "{case}");
    }
}

#[test]
fn every_large_external_crate_has_one_owner() {
    let owners: [(&str, &[&str]); 34] = [
        ("arc_swap", &["server/tls", "shared_cache/keys", "audit", "service/live", "users"]),
        ("aws_sdk_cognitoidentityprovider", &["users/cognito", "pool/partition"]),
        (
            "aws_config",
            &["users/cognito", "shared_cache/iam", "aws_credentials", "events/queue", "events/trail"],
        ),
        ("aws_credential_types", &["aws_credentials", "shared_cache/iam"]),
        ("aws_sigv4", &["shared_cache/iam"]),
        (
            "aws_smithy_runtime_api",
            &["outgoing/aws", "outgoing/aws_error", "users/cognito/fixtures", "events/queue/fixtures"],
        ),
        ("aws_sdk_cloudtrail", &["events/trail"]),
        ("aws_sdk_sqs", &["events/queue"]),
        (
            "aws_lc_rs",
            &[
                "audit/key",
                "auth/revocations/family",
                "auth/verified",
                "changes",
                "policy/permit",
                "sandbox/shared_cache",
                "shared_cache",
            ],
        ),
        ("clap", &["cli", "sandbox"]),
        ("clap_complete", &["cli/pages"]),
        ("clap_mangen", &["cli/pages"]),
        // A server, a client of the control port, and one for all outgoing connections.
        ("hyper", &["server", "sandbox/control", "outgoing"]),
        ("hyper_rustls", &["outgoing"]),
        ("hyper_util", &["server", "sandbox/control", "outgoing"]),
        ("jsonwebtoken", &["auth"]),
        ("opentelemetry", &["telemetry/traces"]),
        ("opentelemetry_otlp", &["telemetry/traces"]),
        ("opentelemetry_sdk", &["telemetry/traces"]),
        ("prost_reflect", &["cli/print", "wire/fuzzing"]),
        ("prometheus_client", &["telemetry/metrics"]),
        ("moka", &["cache"]),
        ("redis", &["shared_cache/link"]),
        ("rustls", &["server/tls", "auth/certificate", "outgoing", "shared_cache/link", "shared_cache/tls"]),
        ("rustls_native_certs", &["outgoing/roots"]),
        ("schemars", &["config"]),
        ("sd_notify", &["server/running"]),
        ("strsim", &["config/builder"]),
        ("tikv_jemallocator", &["main", "users/cache/tests/memory"]),
        ("tokio_rustls", &["server/tls", "shared_cache/link"]),
        ("tonic_prost", &[]),
        ("toml", &["config"]),
        ("tracing_opentelemetry", &["telemetry"]),
        ("x509_cert", &["server/tls/validity"]),
    ];
    let sources = root().join("src");
    for file in rust_files(&sources) {
        let name = file.strip_prefix(&sources).unwrap().with_extension("").display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        for (external, owners) in owners {
            let imported =
                text.contains(&format!("use {external}::")) || text.contains(&format!(" {external}::"));
            let owned = owners.iter().any(|owner| name.starts_with(owner));
            assert!(!imported || owned, "{name} imports {external}");
        }
    }
}

#[test]
fn the_sandbox_is_the_only_optional_part() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let optional = manifest.lines().filter(|line| line.contains("optional = true"));
    let names: Vec<_> = optional.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert_eq!(names, ["cognito-standin", "tempfile"]);
}

#[test]
fn every_test_file_is_declared() {
    let folder = root().join("tests/integration");
    for file in rust_files(&folder) {
        let (name, parent) = (file.file_stem().unwrap().to_str().unwrap(), file.parent().unwrap());
        let parent = if parent == folder { folder.join("main.rs") } else { parent.with_extension("rs") };
        let declared = fs::read_to_string(parent).unwrap().contains(&format!("mod {name};"));
        assert!(name == "main" || declared, "{} is never compiled", file.display());
    }
}

/// The modules of the service from the top: each may import from those after it.
fn order() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    listed.map(ToOwned::to_owned).collect()
}

fn tree(files: &[(&str, &str)]) -> SourceTree {
    let module = |name: &str| name.split('/').map(ToOwned::to_owned).collect();
    SourceTree::parse(files.iter().map(|(name, text)| (module(name), (*text).to_owned())))
}

fn shown(edges: impl IntoIterator<Item = Edge>) -> Vec<String> {
    edges.into_iter().map(|(from, to)| format!("{} -> {}", from.join("/"), to.join("/"))).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
