//! The shared cache of the sandbox: a store of the developer, with keys of this process.

use std::{
    fs::{OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use aws_lc_rs::rand;
use tempfile::TempDir;

use crate::config::SharedCacheSettings;

/// Random keys in files, which are deleted on drop, and a namespace of its own.
#[derive(Debug)]
pub(super) struct SharedCache {
    url: String,
    namespace: String,
    folder: TempDir,
}

impl SharedCache {
    /// Makes the keys. Nothing of another process, or of an earlier one, can be read with them.
    pub(super) fn new(url: String) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("cognito-lookup-sandbox-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        for name in [INDEX_KEY, VALUE_KEY] {
            write_random_key(&folder.path().join(name))?;
        }
        // The events of two sandboxes on one store must not meet: neither could read the other's.
        let namespace = format!("sandbox-{:08x}", fastrand::u32(..));
        Ok(Self { url, namespace, folder })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn settings(&self, replicas: u16) -> SharedCacheSettings {
        let path = |name| self.folder.path().join(name).display().to_string();
        SharedCacheSettings {
            url: Some(self.url.clone()),
            namespace: self.namespace.clone(),
            index_key_file: Some(path(INDEX_KEY)),
            value_key_files: vec![path(VALUE_KEY)],
            replicas_at_most: replicas.into(),
            ..SharedCacheSettings::default()
        }
    }
}

fn write_random_key(path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    rand::fill(&mut key).map_err(|_| io::Error::other("the system has no random numbers"))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(&key)
}

const INDEX_KEY: &str = "index-key";
const VALUE_KEY: &str = "value-key";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_file::{KeyFile, is_world_readable};

    #[test]
    fn each_process_has_keys_of_its_own_which_end_with_it() {
        let [first, second] = [(); 2].map(|()| SharedCache::new("redis://127.0.0.1".to_owned()).unwrap());
        let [one, two] = [&first, &second].map(|shared| shared.settings(2));
        assert_ne!(one.namespace, two.namespace);
        let files = |settings: &SharedCacheSettings| {
            [settings.index_key_file.clone().unwrap(), settings.value_key_files[0].clone()]
        };
        let paths: Vec<_> = [files(&one), files(&two)].concat();
        let mut keys: Vec<_> =
            paths.iter().map(|path| KeyFile::read(path.as_ref()).unwrap().bytes().to_vec()).collect();
        assert!(!paths.iter().any(|path| is_world_readable(path.as_ref())));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 4, "all keys differ");
        drop((first, second));
        assert!(!paths.iter().any(|path| Path::new(path).exists()));
    }
}
