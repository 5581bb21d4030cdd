//! Cognito's quota categories.

/// The quota categories of the calls that this service makes (developer guide, "Quotas in Amazon
/// Cognito").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users) enum QuotaCategory {
    /// `UserResourceRead`: `AdminListGroupsForUser`.
    GroupReads,
    /// `UserList`: `ListUsers`.
    Lists,
    /// `UserRead`: `AdminGetUser`.
    UserReads,
}

impl QuotaCategory {
    pub(in crate::users) const ALL: [Self; 3] = [Self::UserReads, Self::Lists, Self::GroupReads];

    /// Returns the operation of this category that the service calls.
    pub(in crate::users) fn operation(self) -> &'static str {
        match self {
            Self::GroupReads => "AdminListGroupsForUser",
            Self::Lists => "ListUsers",
            Self::UserReads => "AdminGetUser",
        }
    }

    /// Returns Cognito's name of the category.
    pub(in crate::users) fn as_str(self) -> &'static str {
        match self {
            Self::GroupReads => "UserResourceRead",
            Self::Lists => "UserList",
            Self::UserReads => "UserRead",
        }
    }

    /// Returns Cognito's default quota, in calls a second (developer guide, "Quotas in Amazon
    /// Cognito").
    pub(super) fn default_quota(self) -> usize {
        match self {
            Self::GroupReads => 50,
            Self::Lists => 30,
            Self::UserReads => 120,
        }
    }
}
