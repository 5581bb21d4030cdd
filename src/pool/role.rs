//! The IAM role to assume for calls to a pool.

/// A role and the external id that its trust policy requires (IAM user guide, "Access to AWS
/// accounts owned by third parties").
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Role {
    /// The role's ARN.
    pub arn: String,
    /// The external id, if the trust policy requires one.
    pub external_id: Option<String>,
}

impl Role {
    /// Returns the account that the role is in, 12 digits; empty if `arn` is not that of a role.
    pub fn account(&self) -> &str {
        account(&self.arn).unwrap_or_default()
    }

    /// AWS STS API reference, `AssumeRole`, `ExternalId`.
    pub(super) fn is_external_id(id: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@:/_-".contains(&byte);
        (2..=1224).contains(&id.len()) && id.bytes().all(allowed)
    }
}

/// Returns the account in a role's ARN: `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME` (IAM user
/// guide, "IAM identifiers").
fn account(arn: &str) -> Option<&str> {
    let (partition, rest) = arn.strip_prefix("arn:")?.split_once(":iam::")?;
    let (account, role) = rest.split_once(":role/")?;
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let named = !role.is_empty() && arn.len() <= MAX_ARN && role.chars().all(|c| c.is_ascii_graphic());
    let known = partition == "aws" || partition.starts_with("aws-");
    (digits && named && known).then_some(account)
}

const MAX_ARN: usize = 2048;

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use crate::config::{Config, ErrorCollector, PoolSettings};

    #[test]
    fn a_role_is_read_whole_or_its_faults_are_named() {
        let good = "arn:aws:iam::123456789012:role/user-lookup";
        let table: &[(Option<&str>, Option<&str>, &[&str])] = &[
            (None, None, &[]),
            (Some(good), None, &[]),
            (Some("arn:aws-cn:iam::123456789012:role/path/to/lookup"), Some("a:b/c-1"), &[]),
            (Some("arn:aws-us-gov:iam::123456789012:role/lookup"), None, &[]),
            (Some("arn:aws-eusc:iam::123456789012:role/lookup"), None, &[]),
            (Some("arn:aws-iso-b:iam::123456789012:role/lookup"), None, &[]),
            (None, Some("x1"), &["external_id"]),
            (Some(good), Some("x"), &["external_id"]),
            (Some(good), Some("x y"), &["external_id"]),
            (Some(""), None, &["role_arn"]),
            (Some("user-lookup"), None, &["role_arn"]),
            (Some("arn:aws:iam::123456789012:user/ada"), None, &["role_arn"]),
            (Some("arn:aws:iam::12345678901:role/x"), None, &["role_arn"]),
            (Some("arn:aws:iam::123456789012:role/"), None, &["role_arn"]),
            (Some("arn:aws:sts::123456789012:assumed-role/x/y"), None, &["role_arn"]),
            (Some("arn:other:iam::123456789012:role/x"), None, &["role_arn"]),
            (Some("role"), Some(""), &["external_id", "role_arn"]),
        ];
        for (arn, external_id, keys) in table {
            let settings = PoolSettings {
                role_arn: arn.map(Into::into),
                external_id: external_id.map(Into::into),
                ..PoolSettings::default()
            };
            let config = Config::default();
            let mut errors = ErrorCollector::new(&config);
            let role = Reader::new(&settings, "p".into(), &mut errors).role();
            let found = errors
                .finish(Some(role))
                .map_err(|errors| errors.iter().map(|fault| fault.key.replace("p.", "")).collect::<Vec<_>>());
            match found {
                Ok(role) => assert_eq!((role.map(|role| role.arn), keys.len()), (arn.map(Into::into), 0)),
                Err(found) => assert_eq!(found, *keys, "{arn:?} {external_id:?}"),
            }
        }
    }
}
