use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use cognito_lookup::proto::health::health_check_response::ServingStatus;
use cognito_standin::{Fault, HttpResponse, SigningKey, StandIn};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::Code;

use crate::{
    support::certificates::{Authority, Identity},
    support::forged_tokens::{TokenForger, encoded},
    support::process::pool,
    support::{App, assert_failure, failure, standin},
};

#[tokio::test]
async fn a_faulty_key_server_leaves_the_server_unready_until_it_recovers() {
    // All stand-ins of a process share their keys, so these are valid for each of them.
    let good = standin().jwks();
    let text = |text: &str| HttpResponse::new(200, "application/json", text);
    let redirect =
        |status, to: &str| Fault::Respond(HttpResponse::json(status, &good).header("location", to));
    let padded = |bytes| Fault::Respond(text(&format!("{good}{}", " ".repeat(bytes))));
    let many = |keys: usize| {
        let key = |n| json!({"kty": "RSA", "kid": format!("{n}"), "e": "AQAB", "n": "AQAB"});
        json!({"keys": (0..keys).map(key).chain(good["keys"].as_array().unwrap().iter().cloned()).collect::<Vec<_>>()})
    };
    let canary = standin();
    let canary_url = canary.jwks_url();
    let faults = [
        ("A75 HTML", Fault::Respond(HttpResponse::new(200, "text/html", "<html>")), "Keys"),
        ("A75 an empty body", Fault::Respond(text("")), "Keys"),
        ("A75 an empty object", Fault::Respond(text("{}")), "Keys"),
        ("A75 an array", Fault::Respond(text("[]")), "Keys"),
        ("A75 null", Fault::Respond(text("null")), "Keys"),
        ("A75 keys that are not a list", Fault::Respond(text(r#"{"keys":{}}"#)), "Keys"),
        ("A75 not found", Fault::Respond(HttpResponse::json(404, &good)), "Status"),
        ("A75 a server error", Fault::ServerError, "Status"),
        ("A75 203", Fault::Respond(HttpResponse::json(203, &good)), "Status"),
        ("A76 no keys", Fault::Respond(HttpResponse::json(200, &json!({"keys": []}))), "Keys"),
        ("A77 too long", padded(64 * 1024), "Body"),
        ("A77 much too long", padded(8 << 20), "Body"),
        ("A77 an endless body", Fault::EndlessBody(Duration::from_millis(20)), "Timeout"),
        ("A77 no response", Fault::Hang, "Timeout"),
        (
            "A77 labelled as compressed",
            Fault::Respond(HttpResponse::json(200, &good).header("content-encoding", "gzip")),
            "Ok",
        ),
        ("A77 reset in the body", Fault::ResetInBody(HttpResponse::json(200, &good)), "Body"),
        ("A78 301", redirect(301, &canary_url), "Status"),
        ("A78 302", redirect(302, &canary_url), "Status"),
        ("A78 307", redirect(307, &canary_url), "Status"),
        ("A78 308", redirect(308, &canary_url), "Status"),
        ("A78 to itself", redirect(302, ""), "Status"),
        ("A92 too many", Fault::Respond(HttpResponse::json(200, &many(31))), "Keys"),
    ];
    join_all(faults.into_iter().map(|(case, fault, outcome)| async move {
        let cognito = standin();
        cognito.inject("jwks", fault);
        let app = App::start_unready(cognito, |_| {}).await;
        let series = |outcome: &str| {
            let pool = app.cognito.pool_id();
            format!("cognito_lookup_jwks_fetches_total{{pool=\"{pool}\",outcome=\"{outcome}\"}}")
        };
        app.wait_for_metric(&series(outcome), |fetches| fetches >= 1.0).await;
        // The client requested no compression, so it reads the body as it is.
        if outcome != "Ok" {
            assert_eq!(app.metric(&series("Ok")).await, 0.0, "{case}");
            assert_failure(app.get_by_token(&app.token("ada")).await, Code::Unavailable, "KEYS_UNAVAILABLE");
            app.cognito.clear_faults("jwks");
        }
        app.wait_for_health(ServingStatus::Serving).await;
        assert!(app.get_by_token(&app.token("ada")).await.is_ok(), "{case}");
        assert!(app.metric(&fetched_at(&app)).await > 1.7e9, "{case}");
    }))
    .await;
    assert_eq!(canary.calls("jwks"), 0, "a redirect was followed");
}

#[tokio::test]
async fn an_unusable_key_affects_no_other_key() {
    let cognito = standin();
    let unpublished = TokenForger::with_key(&cognito, SigningKey::Unpublished);
    let edit = |kid: &str, name: &str, value: Value| {
        let mut key = unpublished.jwk(kid);
        key[name] = value;
        key
    };
    let n = unpublished.n.to_bytes_be();
    let bad = [
        edit("A80 AKP", "kty", json!("AKP")),
        edit("A80 OKP", "kty", json!("OKP")),
        edit("A80 nonsense", "kty", json!(7)),
        json!({"kty": "RSA", "kid": "A81 no n", "e": "AQAB"}),
        edit("A81 a padded n", "n", json!(format!("{}==", encoded(&n)))),
        edit("A81 a number", "e", json!(65537)),
        json!("A81 no key"),
        edit("A82 for encryption", "use", json!("enc")),
        edit("A82 operations", "key_ops", json!(["encrypt"])),
        edit("A83 RS512", "alg", json!("RS512")),
        edit("A83 PS256", "alg", json!("PS256")),
        edit("A83 RSA1_5", "alg", json!("RSA1_5")),
        json!({"kty": "oct", "kid": "A84 a secret", "k": "AAAA", "alg": "HS256"}),
        json!({"kty": "EC", "kid": "A85 a curve", "crv": "P-256", "x": "AA", "y": "AA"}),
        unpublished.jwk("A86 two under one name"),
        edit("A86 two under one name", "n", json!(encoded([0x81; 256]))),
        edit("A87 1024 bits", "n", json!(encoded([0x81; 128]))),
        edit("A88 large", "n", json!(encoded(vec![0x81; 2048]))),
        edit("A89 of exponent 1", "e", json!("AQ")),
        edit("A89 of exponent 3", "e", json!("Aw")),
        edit("A89 of exponent 65536", "e", json!("AQAA")),
        edit("A91 zeros before", "n", json!(encoded([&[0][..], &n].concat()))),
        edit("A91 a space", "n", json!(format!(" {}", encoded(&n)))),
        edit("A91 zero", "n", json!("AA")),
    ];
    let mut keys = bad.to_vec();
    // The controls: additional members are allowed, and so is a repeated key.
    keys.push(unpublished.jwk("the control"));
    keys.push(unpublished.jwk("A86 one key twice"));
    keys.push(unpublished.jwk("A86 one key twice"));
    keys.push(edit("A93 with private parts", "d", json!("AAAA")));
    keys.push(edit("A93 with odd certificates", "x5c", json!("a text where a list belongs")));
    keys.push(edit("A93 with an odd thumbprint", "x5t#S256", json!([1])));
    keys.push(json!({"kty": "RSA", "kid": "A83 no alg", "n": encoded(&n), "e": "AQAB"}));
    keys.push(cognito.jwks()["keys"][0].clone());
    let reply = HttpResponse::json(200, &json!({"keys": keys})).header("cache-control", "no-store");
    cognito.replace_jwks(reply.header("expires", "Thu, 01 Jan 1970 00:00:00 GMT"));
    let app = App::start_unready(cognito, |_| {}).await;
    app.wait_for_health(ServingStatus::Serving).await;
    let claims = app.cognito.access_claims("ada").unwrap().to_string();
    let token = |kid: &str| unpublished.token(json!({"alg": "RS256", "kid": kid}).to_string(), &claims);
    for kid in [
        "the control",
        "A86 one key twice",
        "A93 with private parts",
        "A93 with odd certificates",
        "A93 with an odd thumbprint",
        "A83 no alg",
    ] {
        assert!(app.get_by_token(&token(kid)).await.is_ok(), "{kid}");
    }
    for kid in bad.iter().filter_map(|key| key["kid"].as_str()) {
        let failure = failure(&app.get_by_token(&token(kid)).await.expect_err(kid));
        assert_eq!(failure, (Code::Unauthenticated, "TOKEN_INVALID".to_owned()), "{kid}");
        assert!(app.get_by_token(&app.token("ada")).await.is_ok(), "the good token after {kid}");
    }
    // It may be that of a new key, because the fetch at the start is recent.
    assert_failure(app.get_by_token(&token("unknown")).await, Code::Unavailable, "KEYS_UNAVAILABLE");
    assert_eq!((app.cognito.calls("jwks"), app.cognito_lookups()), (1, 1), "A94: cache headers are ignored");
}

#[tokio::test]
async fn an_https_jwks_url_is_not_fetched_in_plaintext() {
    // A79: the stand-in serves plaintext HTTP.
    let cognito = standin();
    let url = cognito.jwks_url().replace("http:", "https:");
    let app = App::start_unready(cognito, |config| config.pools[0].jwks_url = Some(url)).await;
    let series = |outcome: &str| {
        format!(
            "cognito_lookup_jwks_fetches_total{{pool=\"{}\",outcome=\"{outcome}\"}}",
            app.cognito.pool_id()
        )
    };
    app.wait_for_metric(&series("Connection"), |fetches| fetches >= 2.0).await;
    assert_failure(app.get_by_token(&app.token("ada")).await, Code::Unavailable, "KEYS_UNAVAILABLE");
    assert_eq!((app.cognito.calls("jwks"), app.metric(&fetched_at(&app)).await), (0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_the_key_server_is_verified() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (case, identity, fault) in [
        ("the control", ours.server(), None),
        ("A79 another host's", ours.other_server(), Some("not valid for name")),
        ("A79 expired", ours.expired_server(), Some("expired")),
        ("A79 another authority's", theirs.server(), Some("UnknownIssuer")),
        ("A79 a client's", ours.client("localhost"), Some("extended key usage")),
    ] {
        let cognito = standin();
        let port = key_server(&identity, cognito.jwks().to_string()).await;
        let line = first_key_log_line(&cognito, port, &ours).await;
        match fault {
            None => assert_eq!(line["message"], "signing keys fetched", "{case}: {line}"),
            Some(fault) => assert!(line["error"].as_str().unwrap().contains(fault), "{case}: {line}"),
        }
        assert_eq!(cognito.calls("jwks"), 0, "{case}");
    }
}

/// Serves a JWKS over TLS and returns the port.
async fn key_server(identity: &Identity, body: String) -> u16 {
    let acceptor = identity.acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "ends with its test")]
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate aborts the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let length = body.len();
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    port
}

/// Returns the first line that a process logs about its keys. It trusts one authority and fetches
/// from this port.
async fn first_key_log_line(cognito: &StandIn, port: u16, trusted: &Authority) -> Value {
    let folder = TempDir::new().unwrap();
    let (file, roots) = (folder.path().join("settings.toml"), folder.path().join("roots.pem"));
    let url = format!("https://localhost:{port}/");
    std::fs::write(&file, pool(cognito, "name").replace(&cognito.jwks_url(), &url)).unwrap();
    std::fs::write(&roots, &trusted.pem).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"))
        .args(["serve", "--config"])
        .arg(&file)
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")])
        .envs([("COGNITO_LOOKUP_LISTEN", "127.0.0.1:0"), ("COGNITO_LOOKUP_ADMIN_LISTEN", "127.0.0.1:0")])
        .env("SSL_CERT_FILE", &roots)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let errors = BufReader::new(process.stderr.take().unwrap());
    let found = tokio::task::spawn_blocking(move || {
        let lines = errors.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        lines.into_iter().find(|line| line["message"].as_str().unwrap().starts_with("signing keys"))
    });
    let line = found.await.unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    line.expect("the process logs something about its keys")
}

fn fetched_at(app: &App) -> String {
    format!("cognito_lookup_jwks_fetched_timestamp_seconds{{pool=\"{}\"}}", app.cognito.pool_id())
}
