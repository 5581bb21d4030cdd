//! The groups of a pool that a user is in.

use std::sync::Arc;

use thiserror::Error;

use super::is_name;
use crate::cache::{allocation, shared_allocation};

/// The names of a user's groups, in Cognito's order: at most 100, of 1 to 128 visible characters
/// each; cheap to clone.
///
/// See the Cognito developer guide, "Quotas in Amazon Cognito", and `GroupNameType` in the API
/// reference. Group names may be sensitive, so its `Debug` shows nothing.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Groups(Arc<Vec<Box<str>>>);

impl Groups {
    /// Returns each name.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// Returns the heap memory of the names, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let names = self.names().map(|name| allocation(name.len())).sum::<usize>();
        shared_allocation(size_of_val(&*self.0)) + allocation(size_of_val(self.0.as_slice())) + names
    }
}

impl TryFrom<Vec<String>> for Groups {
    type Error = InvalidGroups;

    fn try_from(names: Vec<String>) -> Result<Self, InvalidGroups> {
        if names.len() > MAX_GROUPS || !names.iter().all(|name| is_name(name)) {
            return Err(InvalidGroups);
        }
        Ok(Self(Arc::new(names.into_iter().map(String::into_boxed_str).collect())))
    }
}

redacted_debug!(Groups);

/// The error for names that are not those of a user's groups.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("are no groups: at most {MAX_GROUPS} names of 1 to 128 visible characters")]
pub struct InvalidGroups;

const MAX_GROUPS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_names_and_bounded() {
        let groups =
            |names: &[&str]| Groups::try_from(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        for good in
            [&[][..], &["staff"], &["staff", "Ånd", "eu-west-1_A_Google"], &["é".repeat(128).as_str()]]
        {
            assert_eq!(groups(good).unwrap().names().collect::<Vec<_>>(), good);
        }
        assert_eq!(groups(&["g"; 100]).unwrap().names().len(), 100);
        for bad in [&[""][..], &["a b"], &["good", "a\n"], &["x".repeat(129).as_str()], &["g"; 101]] {
            assert_eq!(groups(bad), Err(InvalidGroups), "{bad:?}");
        }
        assert_eq!(Groups::default().names().len(), 0);
    }

    #[test]
    fn nothing_personal_is_shown() {
        let groups = Groups::try_from(vec!["secret-group".to_owned()]).unwrap();
        assert!(!format!("{groups:?}").contains("secret"), "{groups:?}");
    }
}
