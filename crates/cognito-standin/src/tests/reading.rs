//! Reading users, pages and the well-known documents.

use serde_json::{Value, json};

use super::{POOL, get, ok, refused, standin};

#[test]
fn admin_get_user_has_the_shape_of_the_api() {
    let standin = standin();
    let by_name = ok(&standin, "AdminGetUser", json!({"Username": "ada"}));
    let sub = standin.user("ada").expect("ada").sub;
    assert_eq!(by_name, ok(&standin, "AdminGetUser", json!({"Username": sub})));
    assert_eq!(by_name["UserAttributes"][0], json!({"Name": "sub", "Value": sub}));
    assert_eq!((&by_name["Enabled"], &by_name["UserStatus"]), (&json!(true), &json!("CONFIRMED")));
    assert!(by_name["UserCreateDate"].is_f64() && by_name["UserLastModifiedDate"].is_f64());
    assert!(by_name.get("Attributes").is_none() && by_name.get("Groups").is_none());
}

#[test]
fn a_federated_user_is_found_by_username_or_by_list_only() {
    let standin = standin();
    let sub = standin.user("Google_1034567890").expect("a federated user").sub;
    let (kind, message) = refused(&standin, "AdminGetUser", json!({"Username": sub}));
    assert_eq!((kind.as_str(), message.as_str()), ("UserNotFoundException", "User does not exist."));
    let listed = ok(&standin, "ListUsers", json!({"Filter": format!("sub = \"{sub}\"")}));
    assert_eq!(listed["Users"][0]["Username"], "Google_1034567890");
    assert_eq!(listed["Users"][0]["UserStatus"], "EXTERNAL_PROVIDER");
    assert!(listed["Users"][0]["Attributes"].is_array());
    assert_eq!(ok(&standin, "ListUsers", json!({"Filter": "sub = \"nobody\""})), json!({"Users": []}));
}

#[test]
fn lists_come_in_pages() {
    let standin = standin();
    let first = ok(&standin, "ListUsers", json!({"Limit": 2}));
    let token = &first["PaginationToken"];
    let second = ok(&standin, "ListUsers", json!({"Limit": 2, "PaginationToken": token}));
    assert_eq!(
        (first["Users"].as_array().map(Vec::len), second["Users"][0]["Username"].as_str()),
        (Some(2), Some("bob"))
    );
    assert!(second.get("PaginationToken").is_none());
    ok(&standin, "AdminAddUserToGroup", json!({"Username": "ada", "GroupName": "admins"}));
    let first = ok(&standin, "AdminListGroupsForUser", json!({"Username": "ada", "Limit": 1}));
    let next = json!({"Username": "ada", "Limit": 1, "NextToken": first["NextToken"]});
    let second = ok(&standin, "AdminListGroupsForUser", next);
    assert_eq!([&first, &second].map(|page| page["Groups"][0]["GroupName"].clone()), ["engineers", "admins"]);
    assert!(second.get("NextToken").is_none());
}

#[test]
fn invalid_calls_get_the_errors_of_the_api() {
    let standin = standin();
    let kind = |operation: &str, input: Value| refused(&standin, operation, input).0;
    assert_eq!(kind("AdminGetUser", json!({"Username": "nobody"})), "UserNotFoundException");
    assert_eq!(kind("AdminGetUser", json!({})), "InvalidParameterException");
    assert_eq!(kind("ListUsers", json!({"Filter": "sub = x"})), "InvalidParameterException");
    assert_eq!(kind("AdminListDevices", json!({"Username": "ada"})), "UnknownOperationException");
    let other = json!({"Username": "ada", "UserPoolId": "eu-west-1_Other"});
    let (kind, message) = refused(&standin, "AdminGetUser", other);
    assert_eq!(
        (kind.as_str(), message.as_str()),
        ("ResourceNotFoundException", "User pool eu-west-1_Other does not exist.")
    );
}

#[test]
fn the_well_known_documents_agree() {
    let standin = standin();
    let (status, jwks) = get(&standin, &format!("/{POOL}/.well-known/jwks.json"));
    assert_eq!((status, serde_json::from_str::<Value>(&jwks).expect("JSON")), (200, standin.jwks()));
    let (_, discovery) = get(&standin, &format!("/{POOL}/.well-known/openid-configuration"));
    let discovery: Value = serde_json::from_str(&discovery).expect("JSON");
    assert_eq!(
        (discovery["issuer"].as_str(), discovery["jwks_uri"].as_str()),
        (Some(standin.issuer()), Some(standin.jwks_url().as_str()))
    );
    assert_eq!(get(&standin, "/eu-west-1_Other/.well-known/jwks.json").0, 404);
    assert_eq!(standin.calls("jwks"), 1);
}
