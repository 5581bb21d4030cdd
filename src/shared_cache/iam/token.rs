//! The token itself: a presigned request (AWS Signature Version 4) without its scheme.
//! <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign as sign_request},
    sign::v4,
};
use zeroize::Zeroizing;

use super::{
    super::{fault::Fault, target::Iam},
    invalid,
};

/// Signs a token that is valid from `now` on, for 15 min.
pub(super) fn sign(
    iam: &Iam,
    region: &str,
    credentials: Credentials,
    now: SystemTime,
) -> Result<Zeroizing<String>, Fault> {
    let kind = if iam.serverless { "&ResourceType=ServerlessCache" } else { "" };
    let url = format!("{SCHEME}{}/?Action=connect&User={}{kind}", iam.cache, iam.user);
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(VALID_FOR);
    let identity = credentials.into();
    let builder = v4::SigningParams::builder().identity(&identity).region(region).name(SERVICE);
    let params = builder.time(now).settings(settings).build().map_err(invalid)?.into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]));
    let (instructions, _) = sign_request(request.map_err(invalid)?, &params).map_err(invalid)?.into_parts();
    let mut request = http::Request::builder().uri(url).body(()).map_err(invalid)?;
    instructions.apply_to_request_http1x(&mut request);
    let signed = request.uri().to_string();
    Ok(Zeroizing::new(signed.strip_prefix(SCHEME).unwrap_or_default().to_owned()))
}

const SCHEME: &str = "http://";
const SERVICE: &str = "elasticache";
/// The longest that ElastiCache accepts.
const VALID_FOR: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn parts(token: &str) -> BTreeSet<&str> {
        token.split(['?', '&']).collect()
    }

    #[test]
    fn a_token_is_the_one_that_botocore_signs() {
        let common = [
            "my-cache/",
            "Action=connect",
            "User=cl-user",
            "X-Amz-Algorithm=AWS4-HMAC-SHA256",
            "X-Amz-Credential=AKIDEXAMPLE%2F20261129%2Feu-west-1%2Felasticache%2Faws4_request",
            "X-Amz-Date=20261129T120000Z",
            "X-Amz-Expires=900",
            "X-Amz-SignedHeaders=host",
        ];
        // botocore 1.43.11: SigV4QueryAuth(credentials, "elasticache", "eu-west-1", expires=900)
        let table: [(bool, Option<&str>, &[&str]); 2] = [
            (
                false,
                None,
                &["X-Amz-Signature=2f9152bbf728521d603733f357272eb054f5cc0fc7857ae75d3e9805c53bf607"],
            ),
            (
                true,
                Some("session/token=="),
                &[
                    "ResourceType=ServerlessCache",
                    "X-Amz-Security-Token=session%2Ftoken%3D%3D",
                    "X-Amz-Signature=7334ee789ad803c992542aad14f1d7979e1c73e474ec1bc426d6df724884dfc6",
                ],
            ),
        ];
        for (serverless, session, own) in table {
            let (cache, user) = ("my-cache".to_owned(), "cl-user".to_owned());
            let iam = Iam { cache, user, serverless, region: None };
            let (id, key) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
            let credentials = Credentials::new(id, key, session.map(ToOwned::to_owned), None, "test");
            // 2026-11-29T12:00:00Z
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_953_600);
            let token = sign(&iam, "eu-west-1", credentials, now).unwrap();
            assert_eq!(parts(&token), common.iter().chain(own).copied().collect(), "{}", *token);
        }
    }

    #[test]
    fn a_name_that_is_not_one_is_a_fault_of_the_settings() {
        let iam = Iam { cache: "a b".to_owned(), user: "u".to_owned(), serverless: false, region: None };
        let credentials = Credentials::new("id", "key", None, None, "test");
        let fault = sign(&iam, "eu-west-1", credentials, SystemTime::UNIX_EPOCH).unwrap_err();
        assert!(fault.cause.starts_with("shared_cache.iam: "), "{fault}");
    }
}
