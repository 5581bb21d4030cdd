use std::{
    fs,
    path::{Path, PathBuf},
};

// From the top: a module may import from those after it, from itself, and from its own submodules.
const ORDER: [&str; 22] = [
    "main",
    "cli",
    "sandbox",
    "server",
    "service",
    "error",
    "wire",
    "users",
    "policy",
    "audit",
    "auth",
    "query",
    "epochs",
    "freshness",
    "pool",
    "user",
    "attribute",
    "unix_time",
    "cache",
    "telemetry",
    "config",
    "proto",
];

#[test]
fn imports_point_down() {
    let mut arrows = 0;
    for file in rust_files(&root().join("src")) {
        let module = top_module(&file);
        let Some(own) = position(&module) else { continue };
        for imported in imports(&fs::read_to_string(&file).unwrap()) {
            let rank = position(&imported).unwrap_or_else(|| panic!("{imported} is in no order"));
            assert!(rank >= own, "{} imports {imported}", file.display());
            arrows += usize::from(rank > own);
        }
    }
    assert!(arrows > 40, "only {arrows} imports were found: is the reader of this test broken?");
}

#[test]
fn the_order_is_that_of_the_crate_root() {
    let root = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let listed = root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    assert_eq!(listed.collect::<Vec<_>>(), ORDER[1..]);
}

#[test]
fn an_upward_import_is_noticed() {
    let text = "use crate::{\n    policy::Permit, // why\n    service::{call::Call, Service},\n};\nfn f() { crate::cli::run(); }";
    assert_eq!(imports(text), ["policy", "service", "cli"]);
    assert!(position("service") < position("users"));
}

#[test]
fn every_external_crate_of_weight_has_one_owner() {
    let owners: [(&str, &[&str]); 26] = [
        ("arc_swap", &["server/tls"]),
        ("aws_sdk_cognitoidentityprovider", &["users/cognito"]),
        ("aws_config", &["users/cognito"]),
        ("aws_lc_rs", &["audit/key", "auth/verified"]),
        ("clap", &["cli"]),
        ("clap_complete", &["cli/pages"]),
        ("clap_mangen", &["cli/pages"]),
        // A server of its own, a client of one probe, and a client of the key servers.
        ("hyper", &["server", "cli/healthcheck"]),
        ("hyper_util", &["server", "cli/healthcheck", "auth/keys/fetch"]),
        ("jsonwebtoken", &["auth"]),
        ("opentelemetry", &["telemetry/traces"]),
        ("opentelemetry_otlp", &["telemetry/traces"]),
        ("opentelemetry_sdk", &["telemetry/traces"]),
        ("prost_reflect", &["cli/print"]),
        ("prometheus_client", &["telemetry/metrics"]),
        ("moka", &["cache"]),
        ("rustls", &["server/tls", "auth/certificate", "auth/keys/fetch"]),
        ("schemars", &["config"]),
        ("sd_notify", &["server/running"]),
        ("strsim", &["config/builder"]),
        ("tikv_jemallocator", &["main", "users/cache/tests/memory"]),
        ("tokio_rustls", &["server/tls"]),
        ("tonic_prost", &[]),
        ("toml", &["config"]),
        ("tracing_opentelemetry", &["telemetry"]),
        ("x509_cert", &["server/tls/validity"]),
    ];
    let sources = root().join("src");
    for file in rust_files(&sources) {
        let name = file.strip_prefix(&sources).unwrap().with_extension("").display().to_string();
        if name.starts_with("sandbox") {
            continue;
        }
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
    assert_eq!(names, ["cognito-standin"]);
}

#[test]
fn every_test_file_is_declared() {
    let folder = root().join("tests/integration");
    let main = fs::read_to_string(folder.join("main.rs")).unwrap();
    for file in rust_files(&folder) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "{name}.rs is never run");
    }
}

/// The modules that a file imports by `use crate::…` or names as `crate::…`.
fn imports(text: &str) -> Vec<String> {
    let text: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (at, prefix) in text.match_indices("crate::") {
        let rest = &text[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_level(group)),
            None => found.push(word(rest)),
        }
    }
    found
}

/// The first word of each item of a braced group, not looking into inner groups.
fn first_level(group: &str) -> Vec<String> {
    let (mut depth, mut items, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    items.push(item);
    items.iter().map(|item| word(item.trim())).filter(|name| !name.is_empty()).collect()
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

fn position(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

fn top_module(file: &Path) -> String {
    let within = file.strip_prefix(root().join("src")).unwrap();
    let first = within.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
