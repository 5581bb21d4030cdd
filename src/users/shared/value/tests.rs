use super::*;
use crate::{
    clock::BootTime,
    shared_cache::{
        fixtures::{index_key, sealer},
        model::ModelStore,
    },
    telemetry::metrics::Metrics,
    users::{
        cache::EntryKind::{self, Groups as OfGroups, Profile},
        fixtures::test_user,
    },
};

#[tokio::test]
async fn every_content_comes_back() {
    let store = store("value");
    let attributes: BTreeMap<_, _> = [("email", "ada@example.com"), ("custom:empty", "")]
        .map(|(name, value)| (name.parse().unwrap(), value.to_owned().into()))
        .into();
    let user = User {
        attributes: Attributes::from(attributes),
        enabled: false,
        created_at: from_micros(-1),
        updated_at: from_micros(1_764_432_000_123_456),
        ..test_user("ada")
    };
    let statuses = STATUSES.map(|(status, _)| status).into_iter().chain([UserStatus::Unrecognised]);
    for status in statuses {
        let user = User { status, ..user.clone() };
        let Content::Present(found) = round_trip(&store, Profile, Content::Present(user.clone().into()))
        else {
            panic!("{status:?}")
        };
        assert_eq!(*found, user);
    }
    let plain = test_user("ada");
    let Content::Present(found) = round_trip(&store, Profile, Content::Present(plain.clone().into())) else {
        panic!()
    };
    assert_eq!(*found, plain);
    for method in [LookupMethod::BySub, LookupMethod::ByUsername] {
        let Content::Absent(found) = round_trip(&store, Profile, Content::Absent(method)) else { panic!() };
        assert_eq!(found, method);
    }
    for (names, enabled) in [(&[][..], true), (&["b", "a"], false)] {
        let groups = groups(names);
        let Content::Groups(found, found_enabled) =
            round_trip(&store, OfGroups, Content::Groups(groups.clone(), enabled))
        else {
            panic!()
        };
        assert_eq!((found, found_enabled), (groups, enabled));
    }
}

#[tokio::test]
async fn an_entry_is_as_old_as_the_older_clock_says() {
    let (store, sent) = (store("value"), TimePoint::now());
    let seconds = |count: i64| Duration::from_secs(count.unsigned_abs());
    // The age by the store's clock and by those of the replicas, in seconds, and the age of the entry.
    let table = [
        ("all agree", 10, 10, 10),
        ("the reader's clock is behind", 10, -100, 10),
        ("within the tolerance", 10, 20, 10),
        ("the store's clock stands still", 10, 30, 20),
        ("the store says that it is new", 0, 3_600, 3_590),
        ("a new primary's clock is behind", -5, 3, 0),
    ];
    for (case, by_store, by_system, expected) in table {
        let since = ServerTime::from_micros(1_000_000_000);
        let now = ServerTime::from_micros(1_000_000_000_u64.saturating_add_signed(by_store * 1_000_000));
        let system = match by_system >= 0 {
            true => sent.system - seconds(by_system),
            false => sent.system + seconds(by_system),
        };
        let began = TimePoint { system, boot: BootTime::default() };
        let entry = CacheEntry { since, ..CacheEntry::new(Content::Absent(LookupMethod::BySub), began) };
        let sealed = seal(&store, &key(Profile), &entry).unwrap();
        let opened = open(&store, &key(Profile), &sealed, sent, now).unwrap();
        let age = sent.boot - opened.began.boot;
        // The system time is stored in milliseconds.
        assert!(age.abs_diff(seconds(expected)) <= Duration::from_millis(1), "{case}: {age:?}");
        assert_eq!((opened.since, opened.checked, opened.origin), (since, sent.boot, Source::SharedCache));
    }
}

#[tokio::test]
async fn what_is_no_valid_entry_is_not_used() {
    let store = store("value");
    let attribute = |name: &str| stored::Attribute { name: name.to_owned(), value: String::new() };
    let user = |change: fn(&mut stored::User)| {
        let mut user = stored::User { username: "ada".to_owned(), ..stored::User::default() };
        change(&mut user);
        Some(entry::Content::User(user))
    };
    let groups = |names: &[&str]| {
        let names = names.iter().map(ToString::to_string).collect();
        Some(entry::Content::Groups(stored::Groups { names, user_enabled: true }))
    };
    let absent = |method: i32| Some(entry::Content::Absent(stored::Absent { method }));
    let message = |content| stored::Entry { min_reader: 1, began_wall_ms: 1, since_us: 1, content };
    let mut with_attribute = stored::User { username: "ada".to_owned(), ..stored::User::default() };
    with_attribute.attributes = vec![attribute("")];
    let table = [
        ("a user", Profile, message(user(|_| {})), None),
        (
            "a later reader's",
            Profile,
            stored::Entry { min_reader: 2, ..message(user(|_| {})) },
            Some(OpenError::TooNew),
        ),
        ("no content", Profile, message(None), Some(OpenError::Invalid)),
        ("no username", Profile, message(user(|user| user.username.clear())), Some(OpenError::Invalid)),
        ("no name", Profile, message(Some(entry::Content::User(with_attribute))), Some(OpenError::Invalid)),
        ("no method", Profile, message(absent(0)), Some(OpenError::Invalid)),
        ("a later method", Profile, message(absent(9)), Some(OpenError::Invalid)),
        (
            "before the store's time",
            Profile,
            stored::Entry { since_us: -1, ..message(absent(1)) },
            Some(OpenError::Invalid),
        ),
        ("groups as a user", Profile, message(groups(&[])), Some(OpenError::Invalid)),
        ("a user as groups", OfGroups, message(user(|_| {})), Some(OpenError::Invalid)),
        ("an absence as groups", OfGroups, message(absent(1)), Some(OpenError::Invalid)),
        ("groups", OfGroups, message(groups(&["a"])), None),
    ];
    for (case, kind, message, expected) in table {
        let sealed = store.seal(binding(&key(kind)), &message.encode_to_vec()).unwrap();
        let opened = open(&store, &key(kind), &sealed, TimePoint::now(), ServerTime::from_micros(2));
        assert_eq!(opened.err(), expected, "{case}");
    }
    let sealed = store.seal(binding(&key(Profile)), b"\xff").unwrap();
    assert_eq!(opened(&store, Profile, &sealed).err(), Some(OpenError::Invalid));
    let counted = |reason| store.metrics().unreadable.get(reason).get();
    assert_eq!(counted(UnreadableReason::TooNew), 1);
}

#[tokio::test]
async fn only_its_user_its_kind_and_its_key_open_an_entry() {
    let ours = store("value");
    let entry = CacheEntry::new(Content::Absent(LookupMethod::BySub), TimePoint::now());
    let sealed = seal(&ours, &key(Profile), &entry).unwrap();
    assert!(opened(&ours, Profile, &sealed).is_ok());
    assert_eq!(opened(&ours, OfGroups, &sealed).err(), Some(OpenError::Invalid));
    assert_eq!(opened(&store("other"), Profile, &sealed).err(), Some(OpenError::UnknownKey));
    let others = [
        Key { sub: "bob".parse().unwrap(), ..key(Profile) },
        Key { pool: "eu-west-1_B".parse().unwrap(), ..key(Profile) },
    ];
    for other in others {
        let opened = open(&ours, &other, &sealed, TimePoint::now(), ServerTime::ZERO);
        assert_eq!(opened.err(), Some(OpenError::Invalid));
    }
    let counted = |reason| ours.metrics().unreadable.get(reason).get();
    assert_eq!(counted(UnreadableReason::Binding), 3);
}

#[tokio::test]
async fn what_is_too_large_or_from_before_1970_is_not_shared() {
    let store = store("value");
    let user = |bytes: usize| {
        let attributes: BTreeMap<_, _> = [("custom:bio".parse().unwrap(), "x".repeat(bytes).into())].into();
        Content::Present(User { attributes: Attributes::from(attributes), ..test_user("ada") }.into())
    };
    let sealed = |content, began| seal(&store, &key(Profile), &CacheEntry::new(content, began));
    let now = TimePoint::now();
    let before = TimePoint { system: SystemTime::UNIX_EPOCH - Duration::from_secs(1), ..now };
    assert!(sealed(user(2_048), now).is_some());
    assert!(sealed(user(crate::shared_cache::MAX_PLAIN_BYTES), now).is_none());
    assert!(sealed(user(1), before).is_none());
}

fn store(value_key: &str) -> SharedCache {
    let (link, namespace) = (Arc::new(ModelStore::new().link()), "cl".parse().unwrap());
    let metrics = Metrics::new().shared_entries;
    let keys = (namespace, index_key("index"), sealer("cl", &[value_key]));
    SharedCache::new(link, keys, None, metrics)
}

fn key(kind: EntryKind) -> Key {
    Key { pool: "eu-west-1_A".parse().unwrap(), sub: "ada".parse().unwrap(), kind }
}

fn groups(names: &[&str]) -> Groups {
    Groups::try_from(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

fn round_trip(store: &SharedCache, kind: EntryKind, content: Content) -> Content {
    let entry = CacheEntry::new(content, TimePoint::now());
    let sealed = seal(store, &key(kind), &entry).unwrap();
    opened(store, kind, &sealed).unwrap().content
}

fn opened(store: &SharedCache, kind: EntryKind, sealed: &[u8]) -> Result<CacheEntry, OpenError> {
    open(store, &key(kind), sealed, TimePoint::now(), ServerTime::ZERO)
}
