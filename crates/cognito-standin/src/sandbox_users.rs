//! The sandbox's own people. Their `sub`s never change, so examples that name them stay true.

use std::collections::BTreeMap;

use serde_json::json;

use super::user::User;

/// A local user, a federated one and a disabled one.
pub(super) fn sandbox_users() -> Vec<User> {
    vec![ada(), federated(), bob()]
}

fn ada() -> User {
    User {
        sub: "ada00000-5a4d-4b0c-8000-000000000001".to_owned(),
        attributes: attributes(&[
            ("name", "Ada Lovelace"),
            ("given_name", "Ada"),
            ("family_name", "Lovelace"),
            ("email", "ada@example.com"),
            ("email_verified", "true"),
            ("locale", "en-GB"),
            ("custom:plan", "gold"),
        ]),
        groups: vec!["engineers".to_owned()],
        ..User::local("ada", "Ada-Sandbox-1")
    }
}

fn federated() -> User {
    let identity = json!([{
        "userId": "1034567890", "providerName": "Google", "providerType": "Google", "issuer": null,
        "primary": "true", "dateCreated": "1700000000000",
    }]);
    User {
        sub: "900913e0-5a4d-4b0c-8000-000000000002".to_owned(),
        attributes: attributes(&[
            ("name", "Grace Hopper"),
            ("email", "grace@example.com"),
            ("email_verified", "true"),
            ("custom:plan", "silver"),
            ("identities", &identity.to_string()),
        ]),
        groups: vec!["eu-west-1_Sandbox01_Google".to_owned()],
        ..User::federated("Google_1034567890")
    }
}

fn bob() -> User {
    User {
        sub: "b0b00000-5a4d-4b0c-8000-000000000003".to_owned(),
        attributes: attributes(&[
            ("name", "Bob Disabled"),
            ("email", "bob@example.com"),
            ("email_verified", "false"),
        ]),
        enabled: false,
        ..User::local("bob", "Bob-Sandbox-1")
    }
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::user::Status, *};

    #[test]
    fn there_is_one_of_each_kind() {
        let [ada, grace, bob] = sandbox_users().try_into().expect("three people");
        assert_eq!((ada.status, ada.enabled), (Status::Confirmed, true));
        assert_eq!((grace.status, grace.enabled), (Status::ExternalProvider, true));
        assert_eq!((bob.status, bob.enabled), (Status::Confirmed, false));
        assert!(
            grace.attribute("identities").is_some_and(|text| text.contains(r#""providerName":"Google""#))
        );
    }
}
