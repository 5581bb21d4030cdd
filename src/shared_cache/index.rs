//! The keys of users in the store, which show nothing about them.

use aws_lc_rs::{error::Unspecified, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    namespace::Namespace,
    secret::{KeyId, Purpose, Secret},
};
use crate::{key_file::KeyFile, pool::PoolId, user::Sub};

/// The key that hashes users into keys of the store. Its memory is wiped when it is dropped, and
/// its `Debug` output does not show it.
#[derive(Clone, Debug)]
pub struct IndexKey {
    key: hmac::Key,
    id: KeyId,
}

/// A user's key in the store: `NAMESPACE:1:{HASH}`. The braces make the hash alone decide the slot
/// of a cluster.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct UserKey(String);

impl IndexKey {
    /// Derives the key from the content of a key file.
    pub(super) fn of(file: &KeyFile) -> Result<Self, Unspecified> {
        let secret = Secret::of(file);
        let key = secret.derive(Purpose::Index)?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &*key), id: secret.id()? })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the key of a user of a pool. The hash is the first 16 bytes of an HMAC-SHA-256 of
    /// all three, with zero bytes between them.
    pub fn user(&self, namespace: &Namespace, pool: &PoolId, sub: &Sub) -> UserKey {
        let hash = self.hash(&[namespace.as_str(), pool.as_str(), sub.as_str()]);
        UserKey(format!("{namespace}:1:{{{hash}}}"))
    }

    /// Returns the key of a task that one replica does for all. No pool has such an id.
    pub(super) fn task(&self, namespace: &Namespace, task: &str) -> UserKey {
        let hash = self.hash(&[namespace.as_str(), "task", task]);
        UserKey(format!("{namespace}:1:{{{hash}}}"))
    }

    /// Returns the hash of these parts, which have no zero bytes.
    pub(super) fn hash(&self, parts: &[&str]) -> String {
        let mac = hmac::sign(&self.key, parts.join("\0").as_bytes());
        let hash: Vec<u8> = mac.as_ref().iter().copied().take(HASH_BYTES).collect();
        URL_SAFE_NO_PAD.encode(hash)
    }
}

impl UserKey {
    /// Returns the key as the store has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// Enough to make a collision of two users as unlikely as a guess of an AES-128 key.
const HASH_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::shared_cache::fixtures::key_file;

    #[test]
    fn a_key_of_the_store_depends_on_namespace_pool_user_and_secret() {
        let key = |secret, namespace: &str, pool: &str, sub: &str| {
            let key = IndexKey::of(&key_file(secret)).unwrap();
            let (namespace, pool) = (namespace.parse().unwrap(), pool.parse().unwrap());
            key.user(&namespace, &pool, &sub.parse().unwrap()).as_str().to_owned()
        };
        let keys = [
            key("one", "cl", "eu-west-1_A", "zoe"),
            key("one", "cl", "eu-west-1_Az", "oe"),
            key("one", "cl", "eu-west-1_B", "zoe"),
            key("one", "cl", "eu-west-1_A", "zof"),
            key("one", "cm", "eu-west-1_A", "zoe"),
            key("two", "cl", "eu-west-1_A", "zoe"),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        // Python: hmac.new(KEY, b"cl\0eu-west-1_A\0zoe", "sha256") with the derived key, 16 bytes in base64url.
        assert_eq!(keys[0], "cl:1:{-3IpPjjPR5hr5YrwaHGL-g}");
        for key in &keys {
            let hash = key.split_once(":1:{").unwrap().1.strip_suffix('}').unwrap();
            assert!(hash.len() == 22 && !key.contains("zo") && !key.contains("eu-west-1"), "{key}");
        }
    }
}
