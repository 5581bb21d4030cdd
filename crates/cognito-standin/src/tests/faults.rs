//! Faults, holds and counts.

use std::{
    io::{self, Read},
    thread,
    time::Duration,
};

use serde_json::json;

use super::{
    super::{Fault, HttpResponse},
    POOL, call, exchange, get, head, ok, refused, send, standin,
};

#[test]
fn a_response_replaces_the_jwks_until_cleared() {
    let standin = standin();
    let path = format!("/{POOL}/.well-known/jwks.json");
    standin
        .replace_jwks(HttpResponse::new(503, "text/plain", "down").header("location", "http://127.0.0.1:1/"));
    assert_eq!(get(&standin, &path), (503, "down".to_owned()));
    standin.clear_faults("jwks");
    assert_eq!(get(&standin, &path).0, 200);
}

#[test]
fn injected_errors_have_cognitos_names() {
    let standin = standin();
    let ada = json!({"Username": "ada"});
    standin.inject("AdminGetUser", Fault::Throttle);
    standin.inject_next("AdminGetUser", 1, Fault::AccessDenied);
    assert_eq!(refused(&standin, "AdminGetUser", ada.clone()).0, "AccessDeniedException");
    let throttled = refused(&standin, "AdminGetUser", ada.clone());
    assert_eq!(throttled, ("TooManyRequestsException".to_owned(), "Rate exceeded".to_owned()));
    standin.inject("AdminGetUser", Fault::ServerError);
    let (status, body) = call(&standin, "AdminGetUser", &ada);
    assert_eq!((status, &body["__type"]), (500, &json!("InternalErrorException")));
    standin.inject("AdminGetUser", Fault::Respond(HttpResponse::new(200, "text/html", "<html>")));
    let response = exchange(standin.address(), &head("AdminGetUser"), "{}").expect("a response");
    assert_eq!(response, (200, "<html>".to_owned()));
    standin.clear_faults("AdminGetUser");
    standin.inject_next("AdminGetUser", 1, Fault::Delay(Duration::from_millis(1)));
    ok(&standin, "AdminGetUser", ada);
    assert_eq!(standin.calls("AdminGetUser"), 5);
}

#[test]
fn a_wrong_user_fault_responds_for_another_user() {
    let standin = standin();
    standin.inject("AdminGetUser", Fault::WrongUser("bob".to_owned()));
    standin.inject("ListUsers", Fault::WrongUser("bob".to_owned()));
    assert_eq!(ok(&standin, "AdminGetUser", json!({"Username": "ada"}))["Username"], "bob");
    let filter = json!({"Filter": "sub = \"x\""});
    assert_eq!(ok(&standin, "ListUsers", filter)["Users"][0]["Username"], "bob");
    assert_eq!(standin.last_input("AdminGetUser").expect("an input")["Username"], "ada");
}

#[test]
fn a_reset_resets_the_connection() {
    let standin = standin();
    standin.inject_next("AdminGetUser", 1, Fault::Reset);
    let error = exchange(standin.address(), &head("AdminGetUser"), "{}").expect_err("no response");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    ok(&standin, "AdminGetUser", json!({"Username": "ada"}));
}

#[tokio::test]
async fn a_hanging_call_ends_when_its_client_disconnects() {
    let standin = standin();
    standin.inject("AdminGetUser", Fault::Hang);
    let stream = send(standin.address(), &head("AdminGetUser"), "{}").expect("a connection");
    standin.wait_for_calls("AdminGetUser", 1).await;
    assert_eq!(standin.in_flight("AdminGetUser"), 1);
    drop(stream);
    standin.wait_until_idle("AdminGetUser").await;
}

#[tokio::test]
async fn an_endless_body_stays_in_flight_until_the_client_disconnects() {
    let standin = standin();
    standin.inject("AdminGetUser", Fault::EndlessBody(Duration::from_millis(1)));
    let mut stream = send(standin.address(), &head("AdminGetUser"), "{}").expect("a connection");
    let mut some = [0; 400];
    stream.read_exact(&mut some).expect("bytes");
    let text = String::from_utf8_lossy(&some);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("\r\n1\r\n \r\n1\r\n "), "{text}");
    assert_eq!(standin.in_flight("AdminGetUser"), 1);
    drop(stream);
    standin.wait_until_idle("AdminGetUser").await;
}

#[tokio::test]
async fn held_calls_wait_for_the_release() {
    let standin = standin();
    let hold = standin.hold("AdminGetUser");
    let address = standin.address();
    let body = json!({"UserPoolId": POOL, "Username": "ada"}).to_string();
    let waiting: Vec<_> = std::iter::repeat_n(body, 2)
        .map(|body| thread::spawn(move || exchange(address, &head("AdminGetUser"), &body)))
        .collect();
    standin.wait_for_calls("AdminGetUser", 2).await;
    assert_eq!(standin.in_flight("AdminGetUser"), 2);
    hold.release();
    for thread in waiting {
        assert_eq!(thread.join().expect("no panic").expect("a response").0, 200);
    }
}
