use std::time::Duration;

use tokio::time::sleep;

use crate::support::{ADA, App, canary, config, http_get, http_get_with, process::Process, standin};

const PARTS: [&str; 11] = [
    "Process",
    "Readiness",
    "Signing keys",
    "Callers",
    "Cache",
    "Rate limit of calls to Cognito",
    "Cognito",
    "Shared cache",
    "Change events",
    "Revocations",
    "Certificates",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_process_shows_its_state_and_nothing_personal() {
    let cognito = standin();
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"0s\"");
    process.client(&["get", "--sub", ADA]).unwrap();
    process.client(&["get", "--sub", "nobody"]).unwrap_err();
    let (head, page) = http_get_with(process.admin, "/statusz", "").await;
    canary::page(&page);
    for header in ["content-type: text/html; charset=utf-8", "content-security-policy: default-src 'none'"] {
        assert!(head.contains(header), "{head}");
    }
    let titles: Vec<_> = page.split("<h2>").skip(1).map(|part| part.split('<').next().unwrap()).collect();
    assert_eq!(titles, PARTS);
    let pool = cognito.pool_id();
    for expected in [
        concat!("<td>version</td><td>", env!("CARGO_PKG_VERSION"), "</td>").to_owned(),
        ">ready</p>".to_owned(),
        format!("<td>pool {pool}</td><td>ok</td>"),
        "<td>sidecar</td><td>1</td><td>1</td><td>1</td>".to_owned(),
        "<td>users</td><td>1, ".to_owned(),
        "<td>absences</td><td>1, ".to_owned(),
        "<td>calls: Answered</td>".to_owned(),
        "<td>shared_cache</td><td>not configured</td>".to_owned(),
    ] {
        assert!(page.contains(&expected), "{expected} is not in\n{page}");
    }
    for personal in [ADA, "Ada", "Lovelace", "nobody", "<script", "javascript", "http:"] {
        assert!(!page.contains(personal), "{personal} is in\n{page}");
    }
    process.signal("TERM");
    assert_eq!(process.wait(), Some(0));
}

#[tokio::test]
async fn what_is_missing_is_named_until_it_is_there() {
    let cognito = standin();
    let mut settings = config(&cognito);
    // No server answers there.
    settings.pools[0].jwks_url = Some("http://127.0.0.1:1/keys".into());
    let pool = cognito.pool_id().to_owned();
    let app = App::start_unready(cognito, |config| *config = settings).await;
    let missing = format!("[-] pool {pool}: its signing keys were not fetched yet\n");
    let text = loop {
        let (status, text) = http_get(app.admin, "/readyz?verbose").await;
        assert_eq!(status, 503);
        // The credentials take a moment.
        if text.contains(&missing) {
            break text;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert!(text.contains("[+] audit: ok\n") && text.ends_with("not ready\n"), "{text}");
    assert_eq!(http_get(app.admin, "/readyz").await, (503, "not ready\n".to_owned()));
    let page = http_get(app.admin, "/statusz").await.1;
    assert!(
        page.contains(">not ready</p>") && page.contains("its signing keys were not fetched yet"),
        "{page}"
    );

    let ready = App::start().await;
    let (status, text) = http_get(ready.admin, "/readyz?verbose").await;
    assert!(status == 200 && text.ends_with("ready\n") && !text.contains("[-]"), "{text}");
}
