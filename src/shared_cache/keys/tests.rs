use std::fs;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::shared_cache::{
    Binding, KeyAge, Sealer, Unreadable,
    fixtures::{index_key, sealer, secret},
};

/// Two key files, of the keys `one` and `two` at first.
struct Files {
    folder: TempDir,
    keys: Arc<ValueKeys>,
}

impl Files {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let paths = vec![folder.path().join("0"), folder.path().join("1")];
        fs::write(&paths[0], secret("one")).unwrap();
        fs::write(&paths[1], secret("two")).unwrap();
        let keys = ValueKeys::read(paths, Some(index_key("index").id())).unwrap();
        Self { folder, keys: Arc::new(keys) }
    }

    fn write(&self, n: usize, content: &str) {
        fs::write(self.folder.path().join(n.to_string()), content).unwrap();
    }

    /// Returns how what was sealed with the key of this name opens.
    fn open(&self, name: &str) -> Result<KeyAge, Unreadable> {
        let sealed = sealer("cl", &[name]).seal(Binding::Event, b"text").unwrap();
        let sealer = Sealer::new("cl".parse().unwrap(), Arc::clone(&self.keys));
        sealer.open(Binding::Event, &sealed).map(|opened| opened.key)
    }

    fn all(&self) -> [Result<KeyAge, Unreadable>; 3] {
        ["one", "two", "three"].map(|name| self.open(name))
    }
}

const CURRENT: Result<KeyAge, Unreadable> = Ok(KeyAge::Current);
const PREVIOUS: Result<KeyAge, Unreadable> = Ok(KeyAge::Previous);
const UNKNOWN: Result<KeyAge, Unreadable> = Err(Unreadable::Key);

#[test]
fn keys_rotate_while_the_server_runs() {
    let files = Files::new();
    let steps = [
        // The new key comes second, then first; then the old one goes.
        (secret("one"), secret("three"), [CURRENT, UNKNOWN, PREVIOUS]),
        (secret("three"), secret("one"), [PREVIOUS, UNKNOWN, CURRENT]),
        (secret("three"), secret("two"), [UNKNOWN, PREVIOUS, CURRENT]),
    ];
    assert_eq!(files.all(), [CURRENT, PREVIOUS, UNKNOWN]);
    for (first, second, expected) in steps {
        let before = files.all();
        files.write(0, &first);
        files.write(1, &second);
        assert_eq!(files.all(), before, "before the reload");
        files.keys.reload();
        assert_eq!(files.all(), expected);
    }
}

#[test]
fn an_invalid_file_leaves_all_previous_keys_in_use() {
    let files = Files::new();
    let table = [
        ("short", "has fewer than 32 bytes"),
        (&secret("one"), "has the key of an earlier file of the list"),
        (&format!("{}\n", secret("one")), "has the key of an earlier file of the list"),
        (&secret("index"), "has the key of shared_cache.index_key_file"),
    ];
    for (content, problem) in table {
        files.write(1, content);
        files.keys.reload();
        assert_eq!(files.all(), [CURRENT, PREVIOUS, UNKNOWN], "{problem}");
        let logged = files.keys.last_problems.lock().unwrap().clone();
        assert!(logged.len() == 1 && logged[0].0 == 1 && logged[0].1.contains(problem), "{logged:?}");
    }
    fs::remove_file(files.folder.path().join("1")).unwrap();
    files.write(0, "short");
    files.keys.reload();
    assert_eq!(files.keys.last_problems.lock().unwrap().len(), 2, "both are reported");
    files.write(0, &secret("two"));
    files.write(1, &secret("three"));
    files.keys.reload();
    assert_eq!(files.all(), [UNKNOWN, CURRENT, PREVIOUS]);
    assert!(files.keys.last_problems.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_found_without_a_signal() {
    let files = Files::new();
    files.write(0, &secret("three"));
    let run = async |time| timeout(time, files.keys.watch()).await.unwrap_err();
    run(CHECK_INTERVAL - Duration::from_millis(1)).await;
    assert_eq!(files.open("three"), UNKNOWN);
    run(CHECK_INTERVAL + Duration::from_millis(1)).await;
    assert_eq!(files.open("three"), CURRENT);
}
