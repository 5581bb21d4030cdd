//! What each script does, in plain Rust. The integration tests compare it with the scripts, run by
//! real servers, and so include this file too: it imports only from its parent.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{Call, CallError, Event, Reply, StreamPosition, rate_limit::RateStore};

/// The data of a store. Times are in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    items: HashMap<String, Item>,
    writes: u64,
}

/// What one key has.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    value: Value,
    expires: u64,
}

#[derive(Clone, Debug)]
enum Value {
    User(Box<User>),
    Counter(u64),
    Stream(VecDeque<Entry>),
    /// All keys of one rate limit, under that of its state.
    RateLimit(Box<RateStore>),
}

/// The hash of one user.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) invalidated: Option<u64>,
    pub(crate) profile: Kind,
    pub(crate) groups: Kind,
}

/// What the hash of a user has of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kind {
    /// A value, and when its fetch began.
    pub(crate) value: Option<(Vec<u8>, u64)>,
    pub(crate) lease: Option<Lease>,
    /// The token of the lease that failed, and the reason.
    failure: Option<(String, String)>,
}

/// The lease of a fetch.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) token: String,
    pub(crate) until: u64,
    pub(crate) since: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    id: (u64, u64),
    number: u64,
    sealed: Vec<u8>,
}

impl Oracle {
    /// Runs a script at this time of the server.
    pub(crate) fn run(&mut self, now: u64, run: &str, call: &Call) -> Result<Reply, CallError> {
        for key in &call.keys {
            self.items.retain(|name, item| name != key || item.expires > now);
        }
        let (key, args) = (call.keys[0].as_str(), Args(&call.args));
        match call.script.name {
            "look" => Ok(self.look(now, key, &args)),
            "renew" => Ok(self.renew(now, key, &args)),
            "put" => Ok(self.put(now, key, &args)),
            "release" => Ok(self.release(key, &args)),
            "invalidate" => Ok(self.invalidate(now, key, &args)),
            "publish" => Ok(self.publish(now, &call.keys, &args)),
            "position" => Ok(self.position(now, &call.keys, run)),
            "sync" | "take" | "end" | "tune" => self.limit_rate(now, run, call),
            _ => Err(CallError::Script),
        }
    }

    fn limit_rate(&mut self, now: u64, run: &str, call: &Call) -> Result<Reply, CallError> {
        let mut store = match self.item(&call.keys[0]).map(|item| item.value) {
            Some(Value::RateLimit(store)) => store,
            None => Box::default(),
            Some(_) => panic!("{} is no rate limit", call.keys[0]),
        };
        let reply = store.run(now, run, call);
        let item = Item { value: Value::RateLimit(store), expires: now + DAY };
        self.set(call.keys[0].clone(), Some(item));
        reply
    }

    fn look(&mut self, now: u64, key: &str, args: &Args<'_>) -> Reply {
        let mut user = self.user(key).unwrap_or_default();
        let x = user.invalidated.unwrap_or(0);
        let kind = user.kind(args.text(0));
        let reply = |status, rest: &[Reply]| Reply::Array([&[int(now), int(x), text(status)], rest].concat());
        if let Some((sealed, since)) = &kind.value
            && (x + 1..=now).contains(since)
            && u128::from(*since) > args.number(3)
            && u128::from(now - since) <= args.number(2)
        {
            return reply("VALUE", &[Reply::Bytes(sealed.clone())]);
        }
        let (token, waited) = (args.text(4), args.text(6));
        if let Some(lease) = &kind.lease
            && lease.token != token
            && (lease.since..lease.until).contains(&now)
        {
            return reply("BUSY", &[text(&lease.token), int(lease.since), int(lease.until - now)]);
        }
        if let Some((failed, reason)) = &kind.failure
            && failed == waited
        {
            return reply("FAILED", &[text(reason)]);
        }
        let old = kind.value.iter().flat_map(|(old, since)| [Reply::Bytes(old.clone()), int(*since)]);
        let old: Vec<_> = old.collect();
        if args.text(1) == "peek" {
            return reply("NOTHING", &old);
        }
        kind.lease = Some(Lease { token: token.into(), until: now + args.int(5), since: now });
        kind.failure = None;
        self.write(key, user, now + args.int(7) * 1_000);
        reply("LEASED", &[&[int(now)], &*old].concat())
    }

    fn renew(&mut self, now: u64, key: &str, args: &Args<'_>) -> Reply {
        let Some(mut user) = self.leased(key, args) else { return text("GONE") };
        if let Some(lease) = &mut user.kind(args.text(0)).lease {
            lease.until = now + args.int(2);
        }
        self.write(key, user, 0);
        text("OK")
    }

    fn put(&mut self, now: u64, key: &str, args: &Args<'_>) -> Reply {
        let Some(mut user) = self.leased(key, args) else { return text("GONE") };
        let x = user.invalidated.unwrap_or(0);
        let kind = user.kind(args.text(0));
        let Some(lease) = kind.lease.take_if(|lease| lease.since > x) else { return text("GONE") };
        *kind = Kind { value: Some((args.bytes(2).into(), lease.since)), ..Kind::default() };
        if args.text(4) == "1" {
            user.groups.value = None;
        }
        self.write(key, user, now + args.int(3) * 1_000);
        text("OK")
    }

    fn release(&mut self, key: &str, args: &Args<'_>) -> Reply {
        let Some(mut user) = self.leased(key, args) else { return text("GONE") };
        let kind = user.kind(args.text(0));
        kind.lease = None;
        if !args.text(2).is_empty() {
            kind.failure = Some((args.text(1).into(), args.text(2).into()));
        }
        if args.text(3) == "1" {
            user.profile.value = None;
        }
        self.write(key, user, 0);
        text("OK")
    }

    fn invalidate(&mut self, now: u64, key: &str, args: &Args<'_>) -> Reply {
        let mut user = self.user(key).unwrap_or_default();
        let (held, age) = (user.invalidated.unwrap_or(0), args.int(2));
        let is_all = age == 0;
        let mut x = now.saturating_sub(age).max(held + u64::from(is_all));
        for kind in [&mut user.profile, &mut user.groups] {
            let value = kind.value.as_ref().map_or(0, |(_, since)| *since);
            let latest = value.max(kind.lease.as_ref().map_or(0, |lease| lease.since));
            x = if is_all { x.max(latest) } else { x };
            *kind = Kind { value: kind.value.take().filter(|_| args.text(0) != "erase"), ..Kind::default() };
        }
        user.invalidated = Some(x);
        self.write(key, user, now + args.int(1) * 1_000);
        int(x)
    }

    fn publish(&mut self, now: u64, keys: &[String], args: &Args<'_>) -> Reply {
        let (number, mut stream) = (self.number(&keys[0]) + 1, self.stream(&keys[1]));
        let keep = args.int(1);
        let id = match stream.back() {
            Some(last) if last.id.0 >= now / 1_000 => (last.id.0, last.id.1 + 1),
            _ => (now / 1_000, 0),
        };
        stream.push_back(Entry { id, number, sealed: args.bytes(0).into() });
        stream.retain(|entry| entry.id.0 >= now.saturating_sub(keep) / 1_000);
        let too_many = stream.len().saturating_sub(args.int(2) as usize);
        stream.drain(..too_many);
        let needed_since = now.saturating_sub(args.int(3)) / 1_000;
        let has_older = stream.front().is_some_and(|entry| entry.id.0 <= needed_since);
        let removed = if has_older { 0 } else { too_many as u64 };
        self.set(keys[0].clone(), Some(Item { value: Value::Counter(number), expires: now + DAY }));
        self.set(keys[1].clone(), Some(Item { value: Value::Stream(stream), expires: now + keep }));
        Reply::Array(vec![int(number), text(&id_text(id)), int(removed)])
    }

    fn position(&self, now: u64, keys: &[String], run: &str) -> Reply {
        let last = self.stream(&keys[1]).back().map_or((0, 0), |entry| entry.id);
        Reply::Array(vec![int(now), int(self.number(&keys[0])), text(&id_text(last)), text(run)])
    }

    /// Returns the hash of a user.
    pub(crate) fn user(&self, key: &str) -> Option<User> {
        match &self.items.get(key)?.value {
            Value::User(user) => Some((**user).clone()),
            _ => panic!("{key} is no hash of a user"),
        }
    }

    /// Returns the keys of all users.
    pub(crate) fn users(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.items.keys().filter(|key| key.contains(":1:")).cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// Returns the events of a stream after a position.
    pub(crate) fn events(&self, now: u64, key: &str, after: &StreamPosition) -> Vec<Event> {
        if self.items.get(key).is_none_or(|item| item.expires <= now) {
            return Vec::new();
        }
        let (millis, number) = after.0.split_once('-').expect("an id");
        let after = (millis.parse().expect("milliseconds"), number.parse().expect("a number"));
        let later = self.stream(key).into_iter().filter(|entry| entry.id > after);
        later.map(Entry::into_event).collect()
    }

    /// Keeps only the last `count` events of all streams.
    pub(crate) fn trim(&mut self, count: usize) {
        for item in self.items.values_mut() {
            if let Value::Stream(stream) = &mut item.value {
                stream.drain(..stream.len().saturating_sub(count));
            }
        }
    }

    /// Returns what a key has.
    pub(crate) fn item(&self, key: &str) -> Option<Item> {
        self.items.get(key).cloned()
    }

    /// Returns the number of writes.
    pub(crate) fn writes(&self) -> u64 {
        self.writes
    }

    /// Sets what a key has.
    pub(crate) fn set(&mut self, key: String, item: Option<Item>) {
        self.writes += 1;
        match item {
            Some(item) => self.items.insert(key, item),
            None => self.items.remove(&key),
        };
    }

    /// Returns the user if this caller holds the lease.
    fn leased(&self, key: &str, args: &Args<'_>) -> Option<User> {
        let mut user = self.user(key)?;
        let lease = user.kind(args.text(0)).lease.as_ref()?;
        (lease.token == args.text(1)).then_some(user)
    }

    /// Writes a user's hash, whose TTL lasts at least until `expires`.
    fn write(&mut self, key: &str, user: User, expires: u64) {
        let expires = expires.max(self.items.get(key).map_or(0, |item| item.expires));
        let is_empty = user.fields().is_empty();
        self.set(key.into(), (!is_empty).then_some(Item { value: Value::User(user.into()), expires }));
    }

    fn number(&self, key: &str) -> u64 {
        match self.items.get(key).map(|item| &item.value) {
            Some(Value::Counter(number)) => *number,
            None => 0,
            Some(_) => panic!("{key} is no counter"),
        }
    }

    fn stream(&self, key: &str) -> VecDeque<Entry> {
        match self.items.get(key).map(|item| &item.value) {
            Some(Value::Stream(stream)) => stream.clone(),
            None => VecDeque::new(),
            Some(_) => panic!("{key} is no stream"),
        }
    }
}

impl User {
    /// Returns the fields of the hash as the scripts write them.
    pub(crate) fn fields(&self) -> BTreeMap<String, Vec<u8>> {
        let mut fields = BTreeMap::new();
        fields.extend(self.invalidated.map(|x| ("x".to_owned(), x.to_string().into())));
        for (name, kind) in [("u", &self.profile), ("g", &self.groups)] {
            if let Some((sealed, since)) = &kind.value {
                fields.insert(name.into(), sealed.clone());
                fields.insert(format!("{name}s"), since.to_string().into());
            }
            if let Some(Lease { token, until, since }) = &kind.lease {
                fields.insert(format!("{name}l"), format!("{token}:{until}:{since}").into());
            }
            if let Some((token, reason)) = &kind.failure {
                fields.insert(format!("{name}f"), format!("{token}:{reason}").into());
            }
        }
        fields
    }

    fn kind(&mut self, name: &str) -> &mut Kind {
        match name {
            "u" => &mut self.profile,
            "g" => &mut self.groups,
            _ => panic!("{name} is no kind"),
        }
    }
}

impl Entry {
    fn into_event(self) -> Event {
        Event { position: StreamPosition(id_text(self.id)), number: self.number, sealed: self.sealed }
    }
}

struct Args<'a>(&'a [Vec<u8>]);

impl Args<'_> {
    fn bytes(&self, index: usize) -> &[u8] {
        &self.0[index]
    }

    fn text(&self, index: usize) -> &str {
        std::str::from_utf8(self.bytes(index)).expect("a text")
    }

    fn number(&self, index: usize) -> u128 {
        self.text(index).parse().expect("a number")
    }

    fn int(&self, index: usize) -> u64 {
        self.number(index).try_into().expect("a number of 64 bits")
    }
}

fn int(number: u64) -> Reply {
    Reply::Int(number.try_into().expect("a number of 63 bits"))
}

fn text(text: &str) -> Reply {
    Reply::Bytes(text.into())
}

fn id_text((millis, number): (u64, u64)) -> String {
    format!("{millis}-{number}")
}

/// 24 hours in microseconds.
const DAY: u64 = 86_400_000_000;
