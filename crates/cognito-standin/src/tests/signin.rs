//! Signing in, client credentials, and the operations that change users.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{WEB, call, exchange, ok, refused, sign_in, standin};

#[test]
fn users_sign_in_and_refresh() {
    let standin = standin();
    let (status, signed_in) = sign_in(&standin, "ada", "Ada-Sandbox-1");
    assert_eq!(status, 200, "{signed_in}");
    let result = &signed_in["AuthenticationResult"];
    assert_eq!((&result["ExpiresIn"], &result["TokenType"]), (&json!(3600), &json!("Bearer")));
    let (status, me) = call(&standin, "GetUser", &json!({"AccessToken": result["AccessToken"]}));
    assert_eq!((status, &me["Username"]), (200, &json!("ada")));
    let refresh = json!({"AuthFlow": "REFRESH_TOKEN_AUTH", "ClientId": WEB,
        "AuthParameters": {"REFRESH_TOKEN": result["RefreshToken"]}});
    let (status, refreshed) = call(&standin, "InitiateAuth", &refresh);
    assert_eq!(status, 200, "{refreshed}");
    assert!(refreshed["AuthenticationResult"].get("RefreshToken").is_none());
    ok(&standin, "AdminDisableUser", json!({"Username": "ada"}));
    ok(&standin, "AdminEnableUser", json!({"Username": "ada"}));
    assert_eq!(call(&standin, "InitiateAuth", &refresh).1["message"], "Invalid Refresh Token");
}

#[test]
fn refused_sign_ins_have_cognitos_messages() {
    let standin = standin();
    let message = |username: &str, password: &str| sign_in(&standin, username, password).1["message"].clone();
    assert_eq!(message("ada", "wrong"), "Incorrect username or password.");
    assert_eq!(message("nobody", "Ada-Sandbox-1"), "Incorrect username or password.");
    assert_eq!(message("Google_1034567890", ""), "Incorrect username or password.");
    assert_eq!(message("bob", "Bob-Sandbox-1"), "User is disabled.");
    let id_token = standin.id_token("ada").expect("ada");
    let machine = standin.machine_token("robot", &["a/read"]);
    for token in [id_token, machine, "x".to_owned()] {
        assert_eq!(
            call(&standin, "GetUser", &json!({"AccessToken": token})).1["message"],
            "Invalid Access Token"
        );
    }
}

#[test]
fn a_temporary_password_leads_to_a_challenge() {
    let standin = standin();
    ok(&standin, "AdminCreateUser", json!({"Username": "eve", "TemporaryPassword": "Eve-1"}));
    assert_eq!(sign_in(&standin, "eve", "Eve-1").1["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    assert_eq!(sign_in(&standin, "eve", "").1["message"], "Incorrect username or password.");
}

#[test]
fn machine_clients_get_tokens() {
    let standin = standin();
    let pair = STANDARD.encode("sandboxmachine000000000001:sandbox-secret-not-a-secret");
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nauthorization: Basic {pair}\r\ncontent-type: application/x-www-form-urlencoded"
    );
    let form = "grant_type=client_credentials&scope=user-lookup%2Fread";
    let (status, body) = exchange(standin.address(), &head, form).expect("a response");
    let response: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (status, &response["token_type"], &response["expires_in"]),
        (200, &json!("Bearer"), &json!(3600))
    );
    assert_eq!(standin.last_input("token").expect("an input")["scope"], "user-lookup/read");
    let (status, body) = exchange(standin.address(), &head, "").expect("a response");
    assert_eq!((status, body.as_str()), (400, r#"{"error":"invalid_request"}"#));
}

#[test]
fn users_are_created_changed_and_deleted() {
    let standin = standin();
    let attributes =
        json!([{"Name": "email", "Value": "eve@example.com"}, {"Name": "custom:plan", "Value": "gold"}]);
    let created = ok(&standin, "AdminCreateUser", json!({"Username": "eve", "UserAttributes": attributes}));
    assert_eq!(created["User"]["UserStatus"], "FORCE_CHANGE_PASSWORD");
    ok(&standin, "AdminSetUserPassword", json!({"Username": "eve", "Password": "Eve-1", "Permanent": true}));
    assert_eq!(sign_in(&standin, "eve", "Eve-1").0, 200);
    let change = json!({"Username": "eve", "UserAttributes": [{"Name": "email", "Value": "e@example.com"}]});
    ok(&standin, "AdminUpdateUserAttributes", change);
    let forget = json!({"Username": "eve", "UserAttributeNames": ["custom:plan"]});
    ok(&standin, "AdminDeleteUserAttributes", forget);
    let eve = standin.user("eve").expect("eve");
    assert_eq!((eve.attribute("email"), eve.attribute("custom:plan")), (Some("e@example.com"), None));
    assert!(eve.modified_at > eve.created_at);
    let sub = json!({"Username": "eve", "UserAttributes": [{"Name": "sub", "Value": "x"}]});
    assert_eq!(refused(&standin, "AdminUpdateUserAttributes", sub).0, "InvalidParameterException");
    assert_eq!(refused(&standin, "AdminCreateUser", json!({"Username": "eve"})).0, "UsernameExistsException");
    ok(&standin, "AdminDeleteUser", json!({"Username": "eve"}));
    assert!(standin.user("eve").is_none());
}
