//! `AssumeRole` of AWS STS, in the query protocol.

use std::collections::HashMap;

use axum::http::{HeaderMap, header::AUTHORIZATION};

use super::{http_response::HttpResponse, pool::Role};

/// Responds to `AssumeRole`: credentials, or the error of STS with status 403.
pub(super) fn assume_role(role: Option<&Role>, form: &HashMap<String, String>) -> HttpResponse {
    let field = |name: &str| form.get(name).map(String::as_str);
    let trusted = role.is_some_and(|role| {
        field("RoleArn") == Some(&role.arn) && field("ExternalId") == role.external_id.as_deref()
    });
    let action = field("Action").filter(|action| match *action {
        "AssumeRole" => true,
        "AssumeRoleWithWebIdentity" => field("WebIdentityToken").is_some(),
        _ => false,
    });
    if let Some(action) = action.filter(|_| trusted && field("RoleSessionName").is_some()) {
        HttpResponse::new(200, XML, granted(action))
    } else {
        HttpResponse::new(403, XML, DENIED)
    }
}

/// Returns whether the credentials of a call are accepted: any credentials for a pool without a
/// role, otherwise only those of the role's session.
pub(super) fn is_authorized(role: Option<&Role>, headers: &HeaderMap) -> bool {
    let signed = || headers.get(AUTHORIZATION)?.to_str().ok()?.split_once("Credential=");
    role.is_none() || signed().is_some_and(|(_, rest)| rest.starts_with(&format!("{ACCESS_KEY}/")))
}

fn granted(action: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>placeholder</SecretAccessKey>\
         <SessionToken>placeholder</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
         </Credentials></{action}Result></{action}Response>"
    )
}

const ACCESS_KEY: &str = "ASIASTANDIN000000001";
const XML: &str = "text/xml";
const DENIED: &str = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                      <Message>not authorized to perform sts:AssumeRole</Message></Error></ErrorResponse>";
