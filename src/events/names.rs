//! The operations of Amazon Cognito that change what the service caches, or which tokens are valid.

use super::change::ChangeKind::{
    self, Attributes, Created, Credentials, Disabled, Enabled, Erased, Groups, SignedOut, Status,
    TokenRevoked,
};

/// Returns the operation of this name, and what it changes.
pub(super) fn find(name: &str) -> Option<(&'static str, ChangeKind)> {
    EVENTS.into_iter().find(|(known, _)| *known == name)
}

/// Returns whether an operation is one of those that answer a challenge, of which only that for the
/// first password changes the user.
pub(super) fn answers_challenge(name: &str) -> bool {
    name.ends_with("RespondToAuthChallenge")
}

/// The operation that changes the groups of many users and names none of them.
pub(super) const DELETE_GROUP: &str = "DeleteGroup";

pub(super) const EVENTS: [(&str, ChangeKind); 27] = [
    ("UpdateUserAttributes", Attributes),
    ("AdminUpdateUserAttributes", Attributes),
    ("DeleteUserAttributes", Attributes),
    ("AdminDeleteUserAttributes", Attributes),
    ("VerifyUserAttribute", Attributes),
    ("AdminLinkProviderForUser", Attributes),
    ("AdminDisableProviderForUser", Attributes),
    ("SignUp", Created),
    ("AdminCreateUser", Created),
    ("ConfirmSignUp", Status),
    ("AdminConfirmSignUp", Status),
    ("RespondToAuthChallenge", Status),
    ("AdminRespondToAuthChallenge", Status),
    ("ChangePassword", Credentials),
    ("ConfirmForgotPassword", Credentials),
    ("AdminSetUserPassword", Credentials),
    ("AdminResetUserPassword", Credentials),
    ("AdminEnableUser", Enabled),
    ("AdminDisableUser", Disabled),
    ("DeleteUser", Erased),
    ("AdminDeleteUser", Erased),
    ("AdminAddUserToGroup", Groups),
    ("AdminRemoveUserFromGroup", Groups),
    (DELETE_GROUP, Groups),
    ("GlobalSignOut", SignedOut),
    ("AdminUserGlobalSignOut", SignedOut),
    ("RevokeToken", TokenRevoked),
];
