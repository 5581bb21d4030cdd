//! How a test observes and disturbs the events of changes.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    StandIn,
    event_delivery::EventDelivery,
    events::{self, Occurrence},
    lock::lock,
};

impl StandIn {
    /// The URL of the queue that gets the event of every change made through the API, for
    /// `ReceiveMessage` at [`endpoint_url`](Self::endpoint_url).
    ///
    /// A change by [`update_user`](Self::update_user), [`put_user`](Self::put_user) or
    /// [`delete_user`](Self::delete_user) has no event.
    pub fn queue_url(&self) -> String {
        self.state.queue_url()
    }

    /// Delivers the events from now on like this.
    pub fn set_event_delivery(&self, delivery: EventDelivery) {
        *lock(&self.state.event_delivery) = delivery;
    }

    /// Delivers the events from now on to the queue of `other`, so that two pools share one queue.
    pub fn deliver_events_to(&self, other: &Self) {
        *lock(&self.state.event_queue) = Arc::clone(&other.state.queue);
    }

    /// Sends a message with any text to the queue.
    pub fn send_message(&self, body: impl Into<String>) {
        self.state.queue.send(body.into(), Duration::ZERO);
    }

    /// Returns how many messages of the queue nobody has deleted.
    pub fn messages(&self) -> usize {
        self.state.queue.len()
    }

    /// Returns the EventBridge event of a successful call of `operation` now, about the user with
    /// this `sub`, to edit and [send](Self::send_message). The operation can be one that the
    /// stand-in does not emulate.
    pub fn event(&self, operation: &str, sub: &str) -> Value {
        events::event(
            &self.state,
            &Occurrence { operation, input: &self.sample_input(operation), sub: Some(sub), error: None },
        )
    }

    /// Signs a user out everywhere, as `AdminUserGlobalSignOut` does, without an event.
    pub fn sign_out(&self, username: &str) {
        self.state.directory().sessions.revoke_all(username);
    }

    /// Revokes the access tokens with this `origin_jti`, as `RevokeToken` does, without an event.
    pub fn revoke_family(&self, origin_jti: &str) {
        self.state.directory().sessions.revoke_family(origin_jti);
    }

    /// Adds an [`event`](Self::event) to CloudTrail only, as if the queue had lost it.
    pub fn add_to_trail(&self, event: &Value) {
        lock(&self.state.trail).add(event["detail"].clone());
    }

    fn sample_input(&self, operation: &str) -> Value {
        let (pool, group) = (self.pool_id(), "engineers");
        let challenge = "NEW_PASSWORD_REQUIRED";
        match operation {
            "RespondToAuthChallenge" => json!({"ClientId": "", "ChallengeName": challenge}),
            "AdminRespondToAuthChallenge" => json!({"UserPoolId": pool, "ChallengeName": challenge}),
            "DeleteGroup" => json!({"UserPoolId": pool, "GroupName": group}),
            _ if operation.starts_with("Admin") => {
                json!({"UserPoolId": pool, "Username": "", "GroupName": group})
            }
            _ => json!({"AccessToken": ""}),
        }
    }
}
