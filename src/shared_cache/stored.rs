//! What is stored in the shared cache: the messages of `proto/userlookup/stored/v1/`, which are
//! internal to this service. Their `Debug` shows no user.
#![expect(clippy::doc_markdown, reason = "generated")]

tonic::include_proto!("userlookup.stored.v1");

redacted_debug!(User, Attribute, Groups, Event, Revocation);

impl std::fmt::Debug for revocation::Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(redacted)")
    }
}

/// The version of this reader. It understands an [`Entry`] whose `min_reader` is at most this.
pub const READER: u32 = 1;

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn nothing_personal_is_shown() {
        let secret = || "secret".to_owned();
        let attributes = vec![Attribute { name: secret(), value: secret() }];
        let contents = [
            entry::Content::User(User { username: secret(), attributes, ..User::default() }),
            entry::Content::Groups(Groups { names: vec![secret()], user_enabled: true }),
        ];
        for content in contents {
            let shown = format!("{:?}", Entry { content: Some(content), ..Entry::default() });
            assert!(!shown.contains("secret"), "{shown}");
        }
        let event = Event { pool: secret(), sub: secret(), ..Event::default() };
        assert!(!format!("{event:?}").contains("secret"), "{event:?}");
        let tokens = Some(revocation::Tokens::Sub(secret()));
        let revocation = Revocation { tokens, ..Revocation::default() };
        assert!(!format!("{revocation:?}").contains("secret"), "{revocation:?}");
    }

    /// An entry of a later version, with fields, a status and a method that this one does not know.
    #[test]
    fn what_a_later_version_adds_is_ignored() {
        // Fields 1, 3 (status 99), 4 and 127 of the user, and fields 1 and 127 of the entry.
        let user = [&b"\x0a\x03ada"[..], b"\x18\x63", b"\x20\x01", b"\xfa\x07\x03new"].concat();
        let entry = [b"\x08\x01", &[0x22, user.len() as u8][..], &user, b"\xf8\x07\x07"].concat();
        let entry = Entry::decode(&entry[..]).unwrap();
        let Some(entry::Content::User(user)) = entry.content else { panic!("{entry:?}") };
        assert_eq!((&*user.username, user.status, user.enabled), ("ada", 99, true));
        assert_eq!((entry.min_reader, UserStatus::try_from(user.status).is_err()), (READER, true));
    }
}
