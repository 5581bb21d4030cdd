//! What is cached of a user.

/// One of the values in a user's hash.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ValueKind {
    /// The user's attributes and state, or that the user does not exist.
    Profile,
    /// The user's groups.
    Groups,
}

impl ValueKind {
    /// Returns the field of the hash, to which the others of this kind add a letter.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Profile => "u",
            Self::Groups => "g",
        }
    }
}
