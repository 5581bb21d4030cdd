//! Whether Cognito accepts a token.

use aws_sdk_cognitoidentityprovider::error::ProvideErrorMetadata as _;
use tracing::{Instrument as _, debug};

use super::{
    super::{
        Failure,
        limiter::{QuotaCategory, Ticket},
    },
    Cognito,
    breaker::Outcome,
    error,
};
use crate::telemetry::{metrics::upstream::CallOutcome, traces};

/// What Cognito says about a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users) enum TokenCheck {
    /// Nothing.
    Failed,
    /// Nothing: it was not asked.
    Refused,
    /// It is revoked, or its user is deleted.
    Revoked,
    /// Nothing: it throttled the call.
    Throttled,
    /// It is accepted.
    Valid,
}

impl Cognito {
    /// Asks about an access token that is valid here and has the scope for this, by `GetUser`. The call of
    /// the ticket must have begun. Takes at most 1 s, and is not retried.
    pub(in crate::users) async fn check_token(&self, token: &str, ticket: &Ticket) -> TokenCheck {
        let Ok(mut breaker) = self.breakers.begin(QuotaCategory::UserReads) else {
            ticket.end(true);
            return TokenCheck::Refused;
        };
        let call = self.metrics.begin_call(OPERATION);
        let span = traces::cognito_span(OPERATION, &self.pool.region);
        let sent = self.client.get_user().access_token(token).send().instrument(span).await;
        let is_answered = error::has_response(&sent);
        ticket.end(is_answered);
        let code = sent.as_ref().err().and_then(|error| error.code());
        let check = match &sent {
            Ok(_) => TokenCheck::Valid,
            // Cognito accepts the token, but not what its user must do first.
            Err(_) if code.is_some_and(|code| ACCEPTANCES.contains(&code)) => TokenCheck::Valid,
            // For whatever reason Cognito accepts the token no more, as it is not expired and has the
            // scope (token revocation, Cognito developer guide).
            Err(_) if code.is_some_and(|code| REFUSALS.contains(&code)) => TokenCheck::Revoked,
            Err(error) if error::failure(error) == Failure::Throttled => TokenCheck::Throttled,
            Err(_) => TokenCheck::Failed,
        };
        let outcome = sent.as_ref().err().map(error::outcome);
        call.end(match check {
            TokenCheck::Revoked | TokenCheck::Valid => CallOutcome::Answered,
            _ => outcome.unwrap_or(CallOutcome::Failed),
        });
        breaker.outcome = match outcome {
            _ if is_answered => Outcome::Answered,
            Some(CallOutcome::TimedOut) => Outcome::TimedOut,
            _ => Outcome::Failed,
        };
        if check == TokenCheck::Throttled {
            self.limiter.throttled(QuotaCategory::UserReads);
        }
        debug!(pool.id = %self.pool.id, ?check, aws.code = code, "a token was checked");
        check
    }
}

/// What this service calls beside the operations that look users up.
pub(in crate::users) const OPERATION: &str = "GetUser";
const ACCEPTANCES: [&str; 2] = ["PasswordResetRequiredException", "UserNotConfirmedException"];
const REFUSALS: [&str; 2] = ["NotAuthorizedException", "UserNotFoundException"];
