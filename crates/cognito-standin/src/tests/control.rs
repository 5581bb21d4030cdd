//! The endpoints below `/sandbox`.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    super::{Keys, Placement, Pool, StandIn, User},
    exchange, get, ok, refused, standin,
};

fn request(standin: &StandIn, line: &str, body: &str) -> (u16, Value) {
    let (status, body) = exchange(standin.address(), &format!("{line} HTTP/1.1"), body).expect("a response");
    (status, serde_json::from_str(&body).expect("JSON"))
}

fn claims(token: &Value) -> Value {
    let part = token.as_str().expect("a token").split('.').nth(1).expect("claims").to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

#[test]
fn a_fault_is_set_and_cleared_over_http() {
    let standin = standin();
    let ada = json!({"Username": "ada"});
    let path = "/eu-west-1_Sandbox01/.well-known/jwks.json";
    assert_eq!(request(&standin, "PUT /sandbox/fault/throttle", ""), (200, json!({"fault": "throttle"})));
    assert_eq!(refused(&standin, "AdminGetUser", ada.clone()).0, "TooManyRequestsException");
    assert_eq!(request(&standin, "PUT /sandbox/fault/no-keys", "").0, 200);
    ok(&standin, "AdminGetUser", ada);
    assert_eq!(get(&standin, path).0, 503);
    let (status, body) = request(&standin, "PUT /sandbox/fault/flood", "");
    assert_eq!(status, 404);
    assert!(body["error"].as_str().expect("text").contains("expected throttle, outage"), "{body}");
    assert_eq!(request(&standin, "GET /sandbox/fault", "").1, json!({"fault": "no-keys"}));
    assert_eq!(request(&standin, "DELETE /sandbox/fault", ""), (200, json!({"fault": null})));
    assert_eq!(get(&standin, path).0, 200);
}

#[test]
fn tokens_are_minted_with_what_was_asked_for() {
    let standin = standin();
    let mint = |body: Value| request(&standin, "POST /sandbox/token", &body.to_string());
    let minted = |body: Value| claims(&mint(body).1["access_token"]);
    let ada = minted(json!({"user": "ada", "scope": "openid a/read", "groups": ["x", "y"]}));
    assert_eq!(
        (&ada["username"], &ada["scope"], &ada["cognito:groups"]),
        (&json!("ada"), &json!("openid a/read"), &json!(["x", "y"]))
    );
    let grace = minted(json!({"user": "900913e0-5a4d-4b0c-8000-000000000002"}));
    assert_eq!(grace["username"], "Google_1034567890");
    let expired = minted(json!({"user": "ada", "expired": true}));
    assert_eq!(expired["exp"].as_u64(), expired["iat"].as_u64().map(|issued| issued + 3600));
    assert!(expired["exp"].as_u64() < ada["iat"].as_u64().map(|now| now - 3000));
    let machine = minted(json!({"user": "sandboxmachine000000000001"}));
    assert_eq!((&machine["scope"], &machine["username"]), (&json!("user-lookup/read"), &Value::Null));
    assert_eq!(minted(json!({"user": "ada", "id": true}))["token_use"], "id");
    assert_eq!(mint(json!({"user": "nobody"})).0, 404);
    assert_eq!(mint(json!({"user": "ada", "expires": true})).0, 400);
}

#[test]
fn the_document_has_what_a_test_needs() {
    let standin = standin();
    standin.announce("replicas", json!([{"grpc": "127.0.0.1:1"}]));
    let (_, document) = request(&standin, "GET /sandbox", "");
    let ada = &document["users"]["ada"];
    assert_eq!(
        (&ada["password"], &ada["status"], &ada["enabled"]),
        (&json!("Ada-Sandbox-1"), &json!("CONFIRMED"), &json!(true))
    );
    assert_eq!(claims(&ada["access_token"])["sub"], ada["sub"]);
    let machine = &document["machine_clients"][0];
    assert_eq!(claims(&machine["access_token"])["client_id"], machine["client_id"]);
    assert_eq!(document["cognito"]["endpoint_url"], standin.endpoint_url());
    assert_eq!(document["replicas"][0]["grpc"], "127.0.0.1:1");
    assert_eq!(document["fault"], Value::Null);
}

#[test]
fn a_reset_brings_back_the_users_and_asks_the_service_to_forget() {
    let standin = standin();
    let unconnected = request(&standin, "DELETE /sandbox/cache", "");
    assert_eq!(unconnected, (503, json!({"error": "no service is connected to this stand-in"})));
    let mut clearings = standin.clearings();
    standin.delete_user("ada").expect("ada");
    standin.put_user(User {
        sub: "eve-sub".to_owned(),
        username: "eve".to_owned(),
        ..Pool::sandbox().users[0].clone()
    });
    request(&standin, "PUT /sandbox/fault/throttle", "");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| request(&standin, "POST /sandbox/reset", ""));
        let clearing = clearings.blocking_recv().expect("a request");
        let of_the_start = Pool::sandbox().users.into_iter().map(|user| user.sub);
        let known: BTreeSet<_> = of_the_start.chain(["eve-sub".to_owned()]).collect();
        assert_eq!(clearing.subs, known, "also one that the reset removes");
        clearing.done(Ok(()));
        assert_eq!(asked.join().expect("no panic"), (200, json!({})));
    });
    ok(&standin, "AdminGetUser", json!({"Username": "ada"}));
    assert_eq!(request(&standin, "GET /sandbox/fault", "").1, json!({"fault": null}));
}

#[test]
fn tokens_name_the_url_by_which_others_reach_it() {
    let url = "http://sandbox:9229";
    let placement =
        Placement { address: ([0, 0, 0, 0], 0).into(), allow_remote: true, url: Some(url.to_owned()) };
    let keys = Keys::shared().expect("keys");
    let standin = StandIn::start_in(Pool::sandbox(), &placement, keys).expect("a stand-in");
    assert!(standin.endpoint_url().starts_with("http://127.0.0.1:"));
    let (_, document) = request(&standin, "GET /sandbox", "");
    assert_eq!(document["cognito"]["endpoint_url"], url);
    assert_eq!(
        claims(&document["users"]["ada"]["access_token"])["iss"],
        format!("{url}/eu-west-1_Sandbox01")
    );
    assert_eq!(get(&standin, "/eu-west-1_Sandbox01/.well-known/jwks.json").0, 200);
}
