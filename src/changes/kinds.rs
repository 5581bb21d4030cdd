//! Sets of kinds of change.

use std::ops::BitOr;

use crate::telemetry::metrics::{Label as _, watch::ChangeKind};

/// A set of kinds of change.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ChangeKinds(u16);

impl ChangeKinds {
    /// All kinds, also those of later versions.
    pub const ALL: Self = Self(u16::MAX);

    /// Returns the set of these kinds.
    pub fn of(kinds: impl IntoIterator<Item = ChangeKind>) -> Self {
        kinds.into_iter().fold(Self::default(), |set, kind| set | kind.into())
    }

    /// Returns the set in which the bit `1 << n` stands for the kind with the number n. Of kinds that
    /// this version does not know, it has that of attributes: something changed.
    pub fn from_bits(bits: u32) -> Self {
        let known = Self::of(
            ChangeKind::ALL
                .iter()
                .map(|(kind, _)| *kind)
                .filter(|kind| bits & u32::from(Self::from(*kind).0) != 0),
        );
        if u32::from(known.0) == bits { known } else { known | ChangeKind::Attributes.into() }
    }

    /// Returns the bits of [`from_bits`](Self::from_bits).
    pub fn bits(self) -> u32 {
        self.0.into()
    }

    /// Returns the kinds that are in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns whether there is no kind.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether a kind is in the set.
    pub fn contains(self, kind: ChangeKind) -> bool {
        !self.and(kind.into()).is_empty()
    }

    /// Returns the kinds, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = ChangeKind> {
        ChangeKind::ALL.iter().map(|(kind, _)| *kind).filter(move |kind| self.contains(*kind))
    }
}

impl From<ChangeKind> for ChangeKinds {
    fn from(kind: ChangeKind) -> Self {
        Self(1 << kind.number())
    }
}

impl BitOr for ChangeKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    #[test]
    fn kinds_have_the_numbers_and_names_of_the_contract() {
        for (kind, _) in ChangeKind::ALL {
            let number = i32::try_from(kind.number()).unwrap();
            let name = proto::ChangeKind::try_from(number).unwrap().as_str_name();
            assert_eq!(name, format!("CHANGE_KIND_{}", kind.text()));
        }
        assert!(proto::ChangeKind::try_from(i32::try_from(ChangeKind::ALL.len() + 1).unwrap()).is_err());
    }

    #[test]
    fn a_kind_of_a_later_version_is_some_change() {
        let groups = ChangeKinds::from(ChangeKind::Groups);
        let some = groups | ChangeKind::Attributes.into();
        for (bits, kinds) in [(0, ChangeKinds::default()), (1 << 2, groups), (1 << 2 | 1 << 15, some)] {
            assert_eq!(ChangeKinds::from_bits(bits), kinds, "{bits}");
        }
        let later = ChangeKinds::from_bits(1 << 30);
        assert_eq!(later.iter().collect::<Vec<_>>(), [ChangeKind::Attributes]);
        assert_eq!(ChangeKinds::from_bits(some.bits()), some);
    }
}
