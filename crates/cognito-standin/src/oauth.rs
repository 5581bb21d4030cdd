//! The client-credentials grant and the discovery document.

use std::collections::HashMap;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    claims::LIFETIME,
    http_response::HttpResponse,
    pool::{MachineClient, Pool},
    state::State,
};

type Form = HashMap<String, String>;

/// Responds to `POST /oauth2/token`: a token, or an error of RFC 6749, section 5.2, with status
/// 400.
pub(super) fn token(state: &State, headers: &HeaderMap, form: &Form) -> HttpResponse {
    match grant(&state.pool, headers, form) {
        Ok((client, scope)) => HttpResponse::json(
            200,
            &json!({
                "access_token": state.machine_token(&client.id, &scope),
                "expires_in": LIFETIME.as_secs(),
                "token_type": "Bearer",
            }),
        ),
        Err(error) => HttpResponse::json(400, &json!({"error": error})),
    }
}

/// The OIDC discovery document.
pub(super) fn discovery(state: &State) -> Value {
    json!({
        "issuer": state.issuer,
        "jwks_uri": state.jwks_url(),
        "token_endpoint": state.token_url(),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    })
}

fn grant<'a>(
    pool: &'a Pool,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(&'a MachineClient, String), &'static str> {
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        Some(_) => return Err("unsupported_grant_type"),
        None => return Err("invalid_request"),
    }
    let (id, secret) = credentials(headers, form)?;
    if pool.web_clients.contains(&id) {
        return Err("unauthorized_client");
    }
    let client = pool.machine_clients.iter().find(|client| client.id == id && client.secret == secret);
    let client = client.ok_or("invalid_client")?;
    Ok((client, scope(client, form.get("scope").map_or("", String::as_str))?))
}

fn credentials(headers: &HeaderMap, form: &Form) -> Result<(String, String), &'static str> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let id = form.get("client_id").ok_or("invalid_request")?;
        return Ok((id.clone(), form.get("client_secret").cloned().unwrap_or_default()));
    };
    let encoded =
        header.to_str().ok().and_then(|text| text.strip_prefix("Basic ")).ok_or("invalid_client")?;
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let (id, secret) = decoded.as_deref().and_then(|text| text.split_once(':')).ok_or("invalid_client")?;
    Ok((id.to_owned(), secret.to_owned()))
}

fn scope(client: &MachineClient, requested: &str) -> Result<String, &'static str> {
    let requested: Vec<&str> = requested.split_ascii_whitespace().collect();
    if requested.is_empty() {
        return Ok(client.scopes.join(" "));
    }
    let allowed = requested.iter().all(|&scope| client.scopes.iter().any(|known| known == scope));
    if allowed { Ok(requested.join(" ")) } else { Err("invalid_scope") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(header: Option<&str>, fields: &[(&str, &str)]) -> Result<String, &'static str> {
        let pool = Pool::sandbox();
        let mut headers = HeaderMap::new();
        if let Some(pair) = header {
            let value = format!("Basic {}", STANDARD.encode(pair)).parse().expect("a header");
            headers.insert(AUTHORIZATION, value);
        }
        let form = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        grant(&pool, &headers, &form).map(|(_, scope)| scope)
    }

    const GRANT: (&str, &str) = ("grant_type", "client_credentials");
    const ID: (&str, &str) = ("client_id", "sandboxmachine000000000001");
    const SECRET: (&str, &str) = ("client_secret", "sandbox-secret-not-a-secret");
    const BASIC: Option<&str> = Some("sandboxmachine000000000001:sandbox-secret-not-a-secret");

    #[test]
    fn a_client_authenticates_by_header_or_form() {
        assert_eq!(requested(BASIC, &[GRANT]).as_deref(), Ok("user-lookup/read"));
        assert_eq!(
            requested(None, &[GRANT, ID, SECRET, ("scope", "user-lookup/read")]).as_deref(),
            Ok("user-lookup/read")
        );
    }

    #[test]
    fn errors_have_oauths_codes() {
        assert_eq!(requested(BASIC, &[]), Err("invalid_request"));
        assert_eq!(requested(BASIC, &[("grant_type", "password")]), Err("unsupported_grant_type"));
        assert_eq!(requested(None, &[GRANT]), Err("invalid_request"));
        assert_eq!(requested(None, &[GRANT, ID]), Err("invalid_client"));
        assert_eq!(requested(Some("sandboxmachine000000000001:wrong"), &[GRANT]), Err("invalid_client"));
        assert_eq!(requested(BASIC, &[GRANT, ("scope", "user-lookup/write")]), Err("invalid_scope"));
        assert_eq!(requested(Some("sandboxwebclient0000000001:"), &[GRANT]), Err("unauthorized_client"));
    }
}
