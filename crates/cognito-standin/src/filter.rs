//! The `Filter` of ListUsers: one attribute, `=` or `^=`, and a value in double quotes.

use super::{api_error::ApiError, user::User};

#[derive(Debug, Eq, PartialEq)]
pub(super) struct Filter {
    attribute: String,
    operator: Operator,
    value: String,
}

impl Filter {
    /// Parses `sub = "…"`, `"sub" = "…"` or `sub="…"`. A quote inside the value is escaped as `\"`.
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::InvalidParameter(format!("Error while parsing filter {text}."));
        let (attribute, rest) = name(text.trim()).ok_or_else(invalid)?;
        if !SEARCHABLE.contains(&attribute) {
            return Err(ApiError::InvalidParameter(format!("Invalid search attribute: {attribute}")));
        }
        let (operator, rest) = operator(rest.trim_start()).ok_or_else(invalid)?;
        let value = value(rest.trim_start()).ok_or_else(invalid)?;
        Ok(Self { attribute: attribute.to_owned(), operator, value })
    }

    pub(super) fn matches(&self, user: &User) -> bool {
        let matches = |actual: &str| match self.operator {
            Operator::Equals => actual == self.value,
            Operator::StartsWith => actual.starts_with(&self.value),
        };
        match self.attribute.as_str() {
            "username" => matches(&user.username),
            "cognito:user_status" => {
                serde_json::to_value(user.status).is_ok_and(|s| s.as_str().is_some_and(matches))
            }
            "status" => matches(if user.enabled { "Enabled" } else { "Disabled" }),
            attribute => user.attribute(attribute).is_some_and(matches),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    Equals,
    StartsWith,
}

fn name(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"'),
        None => text.split_at_checked(text.find([' ', '=', '^'])?),
    }
}

fn operator(text: &str) -> Option<(Operator, &str)> {
    match text.strip_prefix("^=") {
        Some(rest) => Some((Operator::StartsWith, rest)),
        None => Some((Operator::Equals, text.strip_prefix('=')?)),
    }
}

fn value(text: &str) -> Option<String> {
    let mut inside = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut value = String::new();
    while let Some(c) = inside.next() {
        match c {
            '\\' => value.push(inside.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            '"' => return None,
            c => value.push(c),
        }
    }
    Some(value)
}

const SEARCHABLE: [&str; 10] = [
    "username",
    "email",
    "phone_number",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "cognito:user_status",
    "status",
    "sub",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Operator, String)> {
        Filter::parse(text).ok().map(|filter| (filter.attribute, filter.operator, filter.value))
    }

    fn some(attribute: &str, operator: Operator, value: &str) -> Option<(String, Operator, String)> {
        Some((attribute.to_owned(), operator, value.to_owned()))
    }

    #[test]
    fn the_forms_that_aws_documents_are_parsed() {
        assert_eq!(parsed(r#"sub = "a-1""#), some("sub", Operator::Equals, "a-1"));
        assert_eq!(parsed(r#""sub" = "a-1""#), some("sub", Operator::Equals, "a-1"));
        assert_eq!(parsed(r#" sub="a-1" "#), some("sub", Operator::Equals, "a-1"));
        assert_eq!(parsed(r#"email ^= "ad""#), some("email", Operator::StartsWith, "ad"));
        assert_eq!(
            parsed(r#"name = "say \"hi\" \\ = x""#),
            some("name", Operator::Equals, r#"say "hi" \ = x"#)
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "sub",
            "sub = a",
            r#"sub "a""#,
            r#"sub = "a"#,
            r#"sub = "a" or sub = "b""#,
            r#"sub = "a\""#,
            r#"sub > "a""#,
            r#"sub = "a\n""#,
            r#"sub = ""#,
            r#"custom:plan = "gold""#,
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn matching_follows_the_operator() {
        let mut user = User::federated("Google_1");
        user.enabled = false;
        user.attributes.insert("email".to_owned(), "eve@example.com".to_owned());
        let matches = |text: &str| Filter::parse(text).expect("a filter").matches(&user);
        assert!(matches(r#"email ^= "eve@""#) && !matches(r#"email = "eve@""#));
        assert!(matches(r#"username = "Google_1""#) && !matches(r#"username = "google_1""#));
        assert!(matches(&format!(r#"sub = "{}""#, user.sub)) && !matches(r#"sub = "other""#));
        assert!(matches(r#"status = "Disabled""#) && matches(r#"cognito:user_status = "EXTERNAL_PROVIDER""#));
        assert!(!matches(r#"phone_number = """#));
    }
}
