//! The user that a call is about, for its CloudTrail event.

use serde_json::Value;

use super::{super::state::State, access_token, member};

/// Returns the `sub` of the user that an input names by its access token or username.
///
/// CloudTrail has none for `RevokeToken`: its input has neither.
pub(super) fn subject(state: &State, input: &Value) -> Option<String> {
    if input.get("AccessToken").is_some() {
        return access_token::verify(state, input).ok().map(|claims| claims.sub);
    }
    let responses = input.get("ChallengeResponses").unwrap_or(&Value::Null);
    let username: String = member(input, "Username").or_else(|_| member(responses, "USERNAME")).ok()?;
    state.directory().find(&username).ok().map(|user| user.sub.clone())
}
