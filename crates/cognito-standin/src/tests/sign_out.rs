//! Which tokens live on after a sign-out, a revocation and a change of the user.

use serde_json::{Value, json};

use super::{super::StandIn, POOL, WEB, call, sign_in, standin};

struct Tokens {
    access: Value,
    refresh: Value,
}

fn signed_in(standin: &StandIn) -> Tokens {
    let result = sign_in(standin, "ada", "Ada-Sandbox-1").1["AuthenticationResult"].take();
    Tokens { access: result["AccessToken"].clone(), refresh: result["RefreshToken"].clone() }
}

/// Returns Cognito's objection to an access token, or an empty text.
fn objection(standin: &StandIn, tokens: &Tokens) -> String {
    let (status, output) = call(standin, "GetUser", &json!({"AccessToken": tokens.access}));
    if status == 200 {
        String::new()
    } else {
        format!("{}: {}", output["__type"], output["message"]).replace('"', "")
    }
}

const REVOKED: &str = "NotAuthorizedException: Access Token has been revoked";

#[test]
fn a_sign_out_revokes_the_tokens_of_all_sessions_but_not_of_later_ones() {
    for (operation, admin) in [("GlobalSignOut", false), ("AdminUserGlobalSignOut", true)] {
        let standin = standin();
        let tokens = [signed_in(&standin), signed_in(&standin)];
        let unknown_session = Tokens { access: json!(standin.access_token("ada")), refresh: Value::Null };
        let input = if admin {
            json!({"UserPoolId": POOL, "Username": "ada"})
        } else {
            json!({"AccessToken": tokens[0].access})
        };
        assert_eq!(call(&standin, operation, &input), (200, json!({})));
        for tokens in tokens.iter().chain([&unknown_session]) {
            assert_eq!(objection(&standin, tokens), REVOKED, "{operation}");
        }
        assert_eq!(call(&standin, "GlobalSignOut", &json!({"AccessToken": tokens[1].access})).0, 400);
        assert_eq!(objection(&standin, &signed_in(&standin)), "");
    }
}

#[test]
fn a_revoked_refresh_token_takes_its_family_along() {
    let standin = standin();
    let [one, two] = [signed_in(&standin), signed_in(&standin)];
    assert_eq!(
        call(&standin, "RevokeToken", &json!({"Token": one.refresh, "ClientId": WEB})),
        (200, json!({}))
    );
    assert_eq!((objection(&standin, &one), objection(&standin, &two)), (REVOKED.to_owned(), String::new()));
    assert_eq!(standin.messages(), 1);
}

#[test]
fn a_disabled_users_tokens_stay_revoked_after_enabling() {
    let standin = standin();
    let before = signed_in(&standin);
    let ada = json!({"UserPoolId": POOL, "Username": "ada"});
    call(&standin, "AdminDisableUser", &ada);
    assert_eq!(objection(&standin, &before), "NotAuthorizedException: User is disabled.");
    call(&standin, "AdminEnableUser", &ada);
    assert_eq!(
        (objection(&standin, &before), objection(&standin, &signed_in(&standin))),
        (REVOKED.to_owned(), String::new())
    );
}

#[test]
fn a_user_deletes_itself_and_its_name_gives_no_access_to_the_next_one() {
    let standin = standin();
    let before = signed_in(&standin);
    assert_eq!(call(&standin, "DeleteUser", &json!({"AccessToken": before.access})), (200, json!({})));
    assert_eq!(objection(&standin, &before), "UserNotFoundException: User does not exist.");
    let next = json!({"UserPoolId": POOL, "Username": "ada", "TemporaryPassword": "Ada-2"});
    call(&standin, "AdminCreateUser", &next);
    assert_eq!(objection(&standin, &before), REVOKED);
}
