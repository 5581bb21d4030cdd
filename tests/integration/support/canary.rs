//! Collects the output of all tests, so that one test can search it for personal data.
//!
//! The users of the stand-in and their tokens are the canaries. The collected output is the trace
//! log of servers in this process, through the filter of production, and the logs and audit records
//! of the binary's processes. It includes every status that a test examines, and every page of
//! metrics. `tests/run unit` searches it last.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    process::Stdio,
    sync::LazyLock,
};

use cognito_lookup::{config::LogLevel, telemetry};
use cognito_standin::Pool;
use tonic::Status;
use tracing::{Subscriber, info, trace_span};
use tracing_subscriber::fmt::{self, format::FmtSpan};

use crate::support::ADA;

/// Returns the file for the audit records of every server.
pub(crate) fn audit() -> String {
    LazyLock::force(&CAPTURE);
    file("audit").display().to_string()
}

/// Returns the same file, as the standard output of a process.
pub(crate) fn stdout() -> Stdio {
    open("audit").into()
}

/// Collects a log line of a process.
pub(crate) fn log(line: &str) {
    append("log", line);
}

/// Collects a page of the admin port.
pub(crate) fn page(text: &str) {
    append("page", text);
}

/// Collects a status with its details and metadata.
pub(crate) fn status(status: &Status) {
    append("status", &describe(status));
}

/// Makes the signature of a token a canary.
pub(crate) fn token(token: &str) {
    let signature = token.rsplit('.').next().filter(|part| part.len() == SIGNATURE_CHARACTERS);
    if let Some(signature) = signature {
        append("tokens", signature);
    }
}

#[test]
#[ignore = "looks at what the other tests have left: tests/run unit"]
fn no_test_output_has_personal_data() {
    let signatures: BTreeSet<_> = read("tokens").lines().map(ToOwned::to_owned).collect();
    assert!(signatures.len() > 50, "the tokens are marked: {}", signatures.len());
    let canaries = Canaries { users: users(), signatures };
    for (kind, least, usual) in [
        ("log", 1_000, "\"level\":\"DEBUG\""),
        ("status", 100, "PermissionDenied"),
        ("page", 100, "cognito_lookup_"),
        ("audit", 1_000, "\"outcome\":\"released\""),
    ] {
        let text = read(kind);
        let lines = text.lines().count();
        assert!(lines >= least && text.contains(usual), "{kind} holds {lines} lines: was anything kept?");
        let found = found(&text, &canaries);
        assert!(found.is_empty(), "{kind} holds {}: {:#?}", found.len(), &found[..found.len().min(5)]);
    }
}

#[test]
fn a_canary_is_found_in_every_kind_of_output() {
    let signature = "s".repeat(SIGNATURE_CHARACTERS);
    let token = format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.{signature}");
    let canaries = Canaries { users: users(), signatures: [signature.clone()].into() };
    let folder = tempfile::tempdir().unwrap();
    let texts = [ADA, "Ada Lovelace", "bob@example.com", &token, &signature, &signature[..24]];
    for (n, canary) in texts.into_iter().enumerate() {
        let path = folder.path().join(n.to_string());
        tracing::subscriber::with_default(subscriber(File::create(&path).unwrap()), || {
            trace_span!(target: "cognito_lookup::canary", "span", canary).in_scope(|| {});
            info!(target: "cognito_lookup::canary", "{canary}");
            // Other crates log warnings only, at every level of ours.
            info!(target: "h2", "{canary}");
        });
        let text = fs::read_to_string(path).unwrap();
        let lines: BTreeSet<_> = found(&text, &canaries).into_iter().map(|(_, line)| line).collect();
        assert!(lines.len() >= 2 && !text.contains("\"h2\""), "{canary}: {text}");
        let mut status = Status::with_details(tonic::Code::Internal, "text", canary.to_owned().into());
        assert!(!found(&describe(&status), &canaries).is_empty(), "{canary} in the details");
        status = Status::internal(canary);
        assert!(!found(&describe(&status), &canaries).is_empty(), "{canary} in the message");
        status = Status::internal("text");
        status.metadata_mut().insert("x-describe", canary.parse().unwrap());
        assert!(!found(&describe(&status), &canaries).is_empty(), "{canary} in the metadata");
    }
    assert_eq!(found("nothing of anybody", &canaries), []);
}

static CAPTURE: LazyLock<()> = LazyLock::new(|| {
    // Fails if a test runner in this process has set one.
    drop(tracing::subscriber::set_global_default(subscriber(open("log"))));
});

fn subscriber(writer: File) -> impl Subscriber + Send + Sync {
    let spans = FmtSpan::FULL;
    let filter = telemetry::filter(LogLevel::Trace);
    fmt::Subscriber::builder()
        .json()
        .with_span_events(spans)
        .with_env_filter(filter)
        .with_writer(std::sync::Mutex::new(writer))
        .finish()
}

/// The texts that must appear nowhere.
struct Canaries {
    users: BTreeSet<String>,
    signatures: BTreeSet<String>,
}

/// Returns the `sub`s of the users, and their unique names and attribute values of 8 bytes or more.
fn users() -> BTreeSet<String> {
    let users = Pool::sandbox().users;
    let values = users.iter().flat_map(|person| person.attributes.values().chain([&person.username]));
    let values = values.filter(|value| value.len() >= 8).cloned();
    // Every JSON object starts with this in base64url, and so does each part of a token but its
    // signature.
    values.chain(users.iter().map(|person| person.sub.clone())).chain(["eyJ".to_owned()]).collect()
}

/// Returns each line that has a canary, or the start of a signature, with that canary.
fn found<'t>(text: &'t str, canaries: &Canaries) -> Vec<(String, &'t str)> {
    let of_users = |line: &str| canaries.users.iter().find(|canary| line.contains(*canary)).cloned();
    let is_code = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let of_tokens = |line: &str| {
        let words = line.split(|c| !is_code(c)).filter(|word| word.len() >= SHORTEST_BEGINNING);
        words.map(ToOwned::to_owned).find(|word| canaries.begins(word))
    };
    let within = |line: &'t str| Some((of_users(line).or_else(|| of_tokens(line))?, line));
    // Pages repeat their lines many times.
    let lines: HashSet<_> = text.lines().collect();
    lines.into_iter().filter_map(within).collect()
}

impl Canaries {
    fn begins(&self, word: &str) -> bool {
        let at = word.get(..SIGNATURE_CHARACTERS).unwrap_or(word).to_owned();
        self.signatures.range(at.clone()..).next().is_some_and(|signature| signature.starts_with(&at))
    }
}

fn describe(status: &Status) -> String {
    let details = String::from_utf8_lossy(status.details()).into_owned();
    format!("{status:?} {:?} {details:?}", status.metadata())
}

fn append(kind: &str, text: &str) {
    LazyLock::force(&CAPTURE);
    open(kind).write_all(format!("{}\n", text.trim_end()).as_bytes()).unwrap();
}

fn read(kind: &str) -> String {
    fs::read_to_string(file(kind)).unwrap_or_default()
}

fn open(kind: &str) -> File {
    let path = file(kind);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

fn file(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("canary").join(kind)
}

// The length of an RS256 signature by a key of 2,048 bits, in base64url.
const SIGNATURE_CHARACTERS: usize = 342;
// Long enough not to appear elsewhere by chance.
const SHORTEST_BEGINNING: usize = 20;
