//! The keys that seal and open what is in the store. They can be replaced while the server runs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, RandomizedNonceKey},
    error::Unspecified,
};
use tokio::time::sleep;
use tracing::{info, warn};

use super::secret::{KeyId, Purpose, Secret};
use crate::key_file::KeyFile;

/// The value keys that were read last: the first one seals, all of them open.
#[derive(Debug)]
pub struct ValueKeys {
    files: Vec<PathBuf>,
    /// The index key's, which no value key may equal.
    index_key: Option<KeyId>,
    current: ArcSwap<KeyRing>,
    /// What was wrong at the last check, so that it is logged once.
    last_problems: Mutex<Vec<Problem>>,
}

/// What is wrong with a key file: the index of the file in the list, and why.
type Problem = (usize, String);

/// The keys of all files, in their order; at least one.
#[derive(Debug)]
pub(super) struct KeyRing(Vec<ValueKey>);

/// The keys of one file.
#[derive(Debug)]
pub(super) struct ValueKey {
    pub(super) id: KeyId,
    pub(super) values: RandomizedNonceKey,
    pub(super) events: RandomizedNonceKey,
    pub(super) revocations: RandomizedNonceKey,
    pub(super) tasks: RandomizedNonceKey,
    pub(super) resume_tokens: RandomizedNonceKey,
}

impl ValueKeys {
    /// Reads the keys. Fails with everything that is wrong, each with the index of its file.
    pub(super) fn read(files: Vec<PathBuf>, index_key: Option<KeyId>) -> Result<Self, Vec<Problem>> {
        let current = ArcSwap::from_pointee(KeyRing::read(&files, index_key)?);
        Ok(Self { files, index_key, current, last_problems: Mutex::default() })
    }

    /// Returns one random key that no file can replace.
    pub(super) fn random() -> Result<Self, Unspecified> {
        Ok(Self::fixed(KeyRing(vec![ValueKey::derived(&Secret::random()?)?])))
    }

    /// Returns keys that no file can replace.
    pub(super) fn fixed(ring: KeyRing) -> Self {
        let current = ArcSwap::from_pointee(ring);
        Self { files: Vec::new(), index_key: None, current, last_problems: Mutex::default() }
    }

    pub(super) fn load(&self) -> Guard<Arc<KeyRing>> {
        self.current.load()
    }

    /// Reads the files, and uses their keys if they changed. If a file is invalid, all previous keys
    /// stay in use, and each change is logged once.
    pub fn reload(&self) {
        let mut last_problems = self.last_problems.lock().unwrap_or_else(PoisonError::into_inner);
        let [first, second] = [(); 2].map(|()| KeyRing::read(&self.files, self.index_key));
        // If they are being replaced, the next check decides: a file may be written in part.
        match (first, second) {
            (Ok(first), Ok(second)) if first.ids().eq(second.ids()) => {
                last_problems.clear();
                self.replace(second);
            }
            (Err(first), Err(second)) if first == second => {
                if *last_problems != second {
                    warn_of(&second);
                }
                *last_problems = second;
            }
            _ => {}
        }
    }

    fn replace(&self, ring: KeyRing) {
        if !self.load().ids().eq(ring.ids()) {
            let keys = ring.0.len();
            self.current.store(Arc::new(ring));
            info!(keys, "the value keys of the shared cache were reloaded");
        }
    }

    /// Reloads changed files every 10 s; never returns.
    pub async fn watch(&self) {
        loop {
            sleep(CHECK_INTERVAL).await;
            self.reload();
        }
    }
}

impl KeyRing {
    fn read(files: &[PathBuf], index_key: Option<KeyId>) -> Result<Self, Vec<Problem>> {
        let (mut keys, mut problems) = (Vec::<ValueKey>::new(), Vec::new());
        for (n, path) in files.iter().enumerate() {
            match ValueKey::read(path) {
                Ok(key) if Some(key.id) == index_key => problems.push((n, IS_INDEX_KEY.to_owned())),
                Ok(key) if keys.iter().any(|other| other.id == key.id) => {
                    problems.push((n, TWICE.to_owned()))
                }
                Ok(key) => keys.push(key),
                Err(problem) => problems.push((n, problem)),
            }
        }
        if problems.is_empty() { Ok(Self(keys)) } else { Err(problems) }
    }

    /// Derives the keys of these files.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn of(files: impl Iterator<Item = KeyFile>) -> Result<Self, Unspecified> {
        files.map(|file| ValueKey::of(&file)).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the key that seals; none only if there is no key.
    pub(super) fn current(&self) -> Option<&ValueKey> {
        self.0.first()
    }

    /// Returns the key with this id, and whether it is the one that seals.
    pub(super) fn find(&self, id: KeyId) -> Option<(&ValueKey, bool)> {
        let (n, key) = self.0.iter().enumerate().find(|(_, key)| key.id == id)?;
        Some((key, n == 0))
    }

    fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id)
    }
}

impl ValueKey {
    fn read(path: &Path) -> Result<Self, String> {
        let file = KeyFile::read(path)?;
        Self::of(&file).map_err(|Unspecified| format!("{}: no key can be derived from it", path.display()))
    }

    fn of(file: &KeyFile) -> Result<Self, Unspecified> {
        Self::derived(&Secret::of(file))
    }

    fn derived(secret: &Secret) -> Result<Self, Unspecified> {
        let key = |purpose| RandomizedNonceKey::new(&AES_256_GCM_SIV, &*secret.derive(purpose)?);
        Ok(Self {
            id: secret.id()?,
            values: key(Purpose::Values)?,
            events: key(Purpose::Events)?,
            revocations: key(Purpose::Revocations)?,
            tasks: key(Purpose::Tasks)?,
            resume_tokens: key(Purpose::ResumeTokens)?,
        })
    }
}

fn warn_of(problems: &[Problem]) {
    for (n, problem) in problems {
        let key = format!("shared_cache.value_key_files[{n}]");
        warn!(key, problem, "the new value keys are invalid; the previous ones stay in use");
    }
}

const IS_INDEX_KEY: &str = "has the key of shared_cache.index_key_file; use another one";
const TWICE: &str = "has the key of an earlier file of the list; use another one";
// As tls.check_every by default. Rotation does not depend on it: every key opens before it seals.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
