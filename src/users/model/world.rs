//! The world: every user's history, and a Cognito that answers from it subject to faults.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::cognito::fixtures::{Peer, Reply, Request};
use super::*;

/// The number of users; every second one is federated, so `sub` does not find it as a username.
pub(super) const PEOPLE: usize = 6;

/// The truth about one user from some time on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Truth {
    pub(super) exists: bool,
    pub(super) enabled: bool,
    pub(super) version: usize,
}

impl Truth {
    /// The one group that the user is in.
    pub(super) fn group(&self, who: usize) -> String {
        format!("group-{who}-{}", self.version)
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Denied,
    Failing,
    Garbage,
    Hanging,
    Lie,
    Reset,
    Slow,
    Throttled,
}

/// The maximum latency of each direction without a fault.
const BRISK: Duration = Duration::from_millis(20);

/// A point in time on the clock of the timers, and on that of the ages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) timers: Instant,
    pub(super) ages: BootTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { timers: Instant::now(), ages: BootTime::now() }
    }
}

pub(super) struct World(Mutex<State>);

struct State {
    /// The rate limit of every operation.
    per_second: usize,
    people: Vec<Person>,
    /// The percentage of calls with each fault.
    weather: Vec<(Fault, u8)>,
    slowness: Duration,
    faults: Vec<(Moment, Fault)>,
    calls: Vec<Call>,
    questions: Vec<(Moment, usize)>,
    erasures: Vec<(BootTime, usize)>,
    expiries: Vec<(BootTime, usize)>,
    /// When a response said to a replica that a user is disabled or deleted.
    gone: Vec<(BootTime, usize, usize)>,
    /// When the machine woke up.
    sleeps: Vec<BootTime>,
}

struct Call {
    at: Moment,
    operation: String,
    /// Every user with the requested name or `sub`.
    about: Vec<usize>,
}

struct Person {
    history: Vec<(BootTime, Truth)>,
    /// Fixed, but the name of a deleted user may be given to a new one.
    name: String,
}

impl World {
    pub(super) fn new(per_second: usize) -> Self {
        let truth = |n| Truth { exists: n < PEOPLE - 2, enabled: true, version: 0 };
        let person = |n| Person { history: vec![(BootTime::now(), truth(n))], name: format!("name-{n}") };
        Self(Mutex::new(State {
            per_second,
            people: (0..PEOPLE).map(person).collect(),
            weather: Vec::new(),
            slowness: BRISK,
            faults: Vec::new(),
            calls: Vec::new(),
            questions: Vec::new(),
            erasures: Vec::new(),
            expiries: Vec::new(),
            gone: Vec::new(),
            sleeps: Vec::new(),
        }))
    }

    /// The Cognito of one replica.
    pub(super) fn peer(world: &Arc<Self>, replica: usize) -> Peer {
        let world = Arc::clone(world);
        Arc::new(move |request| Box::pin(Arc::clone(&world).reply(replica, request)))
    }

    async fn reply(self: Arc<Self>, replica: usize, request: Request) -> Reply {
        let (fault, slowness) = self.send();
        let (world, travel) = (Arc::clone(&self), random(slowness));
        // A request arrives even if the service has given it up.
        #[expect(clippy::disallowed_methods, reason = "ends after its travel")]
        let arrival = tokio::spawn(async move {
            sleep(travel).await;
            world.arrive(&request);
            let truth = world.state().record(&request, fault == Some(Fault::Lie));
            (request, truth)
        });
        let (request, truth) = arrival.await.unwrap();
        sleep(random(slowness)).await;
        if matches!(fault, None | Some(Fault::Slow)) {
            self.state().note_gone(replica, &request, &truth);
        }
        match fault {
            None | Some(Fault::Lie | Fault::Slow) => truth,
            Some(Fault::Denied) => error("AccessDeniedException"),
            Some(Fault::Failing) => Reply::Answer(500, r#"{"__type":"InternalErrorException"}"#.into()),
            Some(Fault::Garbage) => garbage(truth),
            Some(Fault::Hanging) => Reply::Nothing,
            Some(Fault::Reset) => Reply::Reset,
            Some(Fault::Throttled) => error("TooManyRequestsException"),
        }
    }

    /// Draws the fault of a call, and how slow it is in each direction.
    fn send(&self) -> (Option<Fault>, Duration) {
        let mut state = self.state();
        let now = Moment::now();
        let fault = state
            .weather
            .iter()
            .find(|(_, percent)| fastrand::u8(0..100) < *percent)
            .map(|(fault, _)| *fault);
        let slowness = if fault == Some(Fault::Slow) { Duration::from_secs(2) } else { state.slowness };
        state.faults.extend(fault.map(|fault| (now, fault)));
        if slowness > BRISK {
            state.faults.push((now, Fault::Slow));
        }
        (fault, slowness)
    }

    fn arrive(&self, request: &Request) {
        let mut state = self.state();
        let (operation, about) = (request.operation.clone(), state.about(request));
        state.calls.push(Call { at: Moment::now(), operation, about });
    }

    pub(super) fn change_weather(&self) {
        use Fault::{Denied, Failing, Garbage, Hanging, Lie, Reset, Slow, Throttled};
        let mut state = self.state();
        state.weather.clear();
        state.slowness = Duration::from_millis(fastrand::u64(0..400));
        for _ in 0..fastrand::usize(0..3) {
            let fault =
                [Denied, Failing, Garbage, Hanging, Lie, Reset, Slow, Throttled][fastrand::usize(..8)];
            state.weather.push((fault, [10, 50, 100][fastrand::usize(..3)]));
        }
    }

    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.weather.clear();
        state.slowness = BRISK;
    }

    /// Edits, disables, deletes or creates a user, or gives a user's name to another.
    pub(super) fn change_somebody(&self) {
        let mut state = self.state();
        let (who, other) = (fastrand::usize(..PEOPLE), fastrand::usize(..PEOPLE));
        let truth = state.people[who].now();
        match fastrand::u8(0..4) {
            0 => state.set(who, Truth { enabled: !truth.enabled, ..truth }),
            1 if !state.shares_name(who) => state.set(who, Truth { exists: !truth.exists, ..truth }),
            // A name belongs to one user at a time.
            2 if state.people[who].was_born() && !state.is_taken(who) && !state.people[other].was_born() => {
                state.people[other].name = state.people[who].name.clone();
                let truth = state.people[other].now();
                state.set(other, Truth { exists: true, ..truth });
            }
            _ => {}
        }
        let truth = state.people[who].now();
        state.set(who, Truth { version: truth.version + 1, ..truth });
    }

    /// Changes a user's attributes.
    pub(super) fn change(&self, who: usize) {
        let mut state = self.state();
        let truth = state.people[who].now();
        state.set(who, Truth { version: truth.version + 1, ..truth });
    }

    /// The name in the token of a user that has, or had, one.
    pub(super) fn token_of(&self, who: usize) -> Option<Username> {
        let state = self.state();
        let person = Some(&state.people[who]).filter(|person| person.was_born());
        person.map(|person| person.name.parse().unwrap())
    }

    pub(super) fn note_question(&self, who: usize) {
        self.state().questions.push((Moment::now(), who));
    }

    pub(super) fn note_erasure(&self, who: usize) {
        self.state().erasures.push((BootTime::now(), who));
    }

    pub(super) fn note_expiry(&self, who: usize) {
        self.state().expiries.push((BootTime::now(), who));
    }

    /// When this user was last erased before then.
    pub(super) fn erased(&self, who: usize, before: BootTime) -> Option<BootTime> {
        last(&self.state().erasures, who, before)
    }

    /// Whether this user was erased and not requested since.
    pub(super) fn is_erased(&self, who: usize) -> bool {
        let state = self.state();
        let erased = state.erasures.iter().rfind(|(_, other)| *other == who);
        let asked = state.questions.iter().rfind(|(_, other)| *other == who);
        erased.is_some_and(|(erased, _)| asked.is_none_or(|(asked, _)| asked.ages < *erased))
    }

    /// When this user was last expired before then.
    pub(super) fn expired(&self, who: usize, before: BootTime) -> Option<BootTime> {
        last(&self.state().expiries, who, before)
    }

    /// When a response last said to a replica, before then, that this user is disabled or deleted.
    pub(super) fn known_gone(&self, replica: usize, who: usize, before: BootTime) -> Option<BootTime> {
        let state = self.state();
        let said =
            state.gone.iter().filter(|(at, to, other)| *to == replica && *other == who && *at < before);
        said.map(|(at, ..)| *at).max()
    }

    /// Whether the machine slept since then.
    pub(super) fn slept_since(&self, time: BootTime) -> bool {
        let state = self.state();
        state.sleeps.last().is_some_and(|slept| *slept >= time)
    }

    pub(super) fn note_sleep(&self) {
        self.state().sleeps.push(BootTime::now());
    }

    pub(super) fn history(&self, who: usize) -> Vec<(BootTime, Truth)> {
        self.state().people[who].history.clone()
    }

    /// Whether one of these faults happened since then.
    pub(super) fn saw(&self, kinds: &[Fault], since: Instant) -> bool {
        self.state().faults.iter().any(|(at, fault)| at.timers >= since && kinds.contains(fault))
    }

    /// Whether this user's name is, or was, another's.
    pub(super) fn shares_name(&self, who: usize) -> bool {
        self.state().shares_name(who)
    }

    /// Whether so few calls were made lately that the rate limit has no reason to refuse one about
    /// this user.
    pub(super) fn is_calm(&self, who: usize, at: Instant) -> bool {
        let state = self.state();
        let since = at - Duration::from_secs(6);
        let lately = || state.calls.iter().filter(|call| call.at.timers >= since);
        let has_fault = state.faults.iter().any(|(at, _)| at.timers >= since);
        let about = lately().filter(|call| call.about.contains(&who)).count();
        !has_fault && lately().count() + 1 < state.per_second / 4 && about < 5
    }

    /// Asserts that no second holds more calls than the rate limit, or more than 10 reads of one
    /// user. Every call must be for a user requested shortly before.
    pub(super) fn check_calls(&self) {
        let mut state = self.state();
        // They may overtake each other.
        state.calls.sort_by_key(|call| call.at.timers);
        let per_second = state.per_second;
        let within = |most: usize, is_meant: &dyn Fn(&Call) -> bool| {
            let calls: Vec<_> =
                state.calls.iter().filter(|call| is_meant(call)).map(|call| call.at.timers).collect();
            let mut pairs = calls.iter().zip(calls.iter().skip(most));
            let over = pairs.find(|(first, last)| **last - **first < Duration::from_secs(1));
            assert!(over.is_none(), "more than {most} calls in a second");
        };
        within(per_second, &|call| call.operation == "AdminGetUser");
        within(per_second, &|call| call.operation == "ListUsers");
        within(per_second, &|call| call.operation == "AdminListGroupsForUser");
        (0..PEOPLE).for_each(|who| within(10, &|call| call.about == [who]));
        for call in &state.calls {
            let at = call.at.timers;
            let is_for = |(asked, who): &(Moment, usize)| {
                let asked = asked.timers;
                call.about.contains(who) && asked <= at && at - asked < Duration::from_secs(9)
            };
            assert!(
                state.questions.iter().any(is_for),
                "a call about {:?} that no request caused",
                call.about
            );
        }
    }

    /// The history of one user, for debugging a seed.
    pub(super) fn tale(&self, who: usize) -> String {
        let state = self.state();
        let begin = state.people[who].history[0].0;
        let mut lines: Vec<_> =
            state.people[who].history.iter().map(|(at, truth)| (*at, format!("{truth:?}"))).collect();
        let calls = state.calls.iter().filter(|call| call.about.contains(&who));
        lines.extend(calls.map(|call| (call.at.ages, call.operation.clone())));
        lines.extend(state.faults.iter().map(|(at, fault)| (at.ages, format!("{fault:?}"))));
        lines.sort_by_key(|(at, _)| *at);
        let line = |(at, line): (BootTime, String)| format!("\n{:?} {line}", at - begin);
        format!("now {:?}{}", BootTime::now() - begin, lines.into_iter().map(line).collect::<String>())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn set(&mut self, who: usize, truth: Truth) {
        self.people[who].history.push((BootTime::now(), truth));
    }

    fn shares_name(&self, who: usize) -> bool {
        let name = &self.people[who].name;
        self.people.iter().filter(|person| person.name == *name).count() > 1
    }

    /// Whether a user has this name now.
    fn is_taken(&self, who: usize) -> bool {
        let name = &self.people[who].name;
        self.people.iter().any(|person| person.name == *name && person.now().exists)
    }

    /// The user that the request finds now.
    fn find(&self, request: &Request) -> Option<usize> {
        let is_found = |who: &usize| {
            let person = &self.people[*who];
            let is_meant = match request.input["Username"].as_str() {
                Some(name) => person.name == name || (who.is_multiple_of(2) && name == format!("sub-{who}")),
                None => request.input["Filter"] == format!("sub = \"sub-{who}\""),
            };
            person.now().exists && is_meant
        };
        (0..PEOPLE).find(is_found)
    }

    fn about(&self, request: &Request) -> Vec<usize> {
        let text = request.input["Username"].as_str().or_else(|| request.input["Filter"].as_str()).unwrap();
        let is_meant = |who: &usize| text.contains(&format!("sub-{who}")) || self.people[*who].name == text;
        (0..PEOPLE).filter(is_meant).collect()
    }

    /// Notes what the service learns from this response. A name that several users had says nothing
    /// about one of them.
    fn note_gone(&mut self, replica: usize, request: &Request, reply: &Reply) {
        let Reply::Answer(_, body) = reply else { return };
        let body: Value = serde_json::from_str(body).unwrap();
        let user = if body["Users"][0].is_object() { &body["Users"][0] } else { &body };
        let is_gone = |who: &usize| {
            let attributes = if body["Users"].is_array() { "Attributes" } else { "UserAttributes" };
            let is_disabled =
                user["Enabled"] == false && user[attributes][0]["Value"] == format!("sub-{who}");
            let is_deleted = body["__type"] == "UserNotFoundException"
                && request.input["Username"] == self.people[*who].name.as_str();
            (is_disabled || is_deleted) && !self.shares_name(*who)
        };
        let now = BootTime::now();
        let gone = (0..PEOPLE).filter(is_gone).map(|who| (now, replica, who)).collect::<Vec<_>>();
        self.gone.extend(gone);
    }

    fn record(&self, request: &Request, is_lie: bool) -> Reply {
        if request.operation == "AdminListGroupsForUser" {
            return self.groups(request);
        }
        // A wrong response is about another user than the requested one, whose name two users may
        // have had.
        let meant = if is_lie { self.about(request) } else { Vec::new() };
        let other = |who| (who..who + PEOPLE).map(|who| who % PEOPLE).find(|who| !meant.contains(who));
        let found = self.find(request).and_then(other);
        let user = found.map(|who| self.user(who));
        match (user, request.operation.as_str()) {
            (user, "ListUsers") => {
                let users: Vec<_> = user.into_iter().map(|(name, attributes, enabled)| {
                    json!({"Username": name, "Attributes": attributes, "Enabled": enabled, "UserStatus": "CONFIRMED"})
                }).collect();
                Reply::Answer(200, json!({"Users": users}).to_string())
            }
            (Some((name, attributes, enabled)), _) => Reply::Answer(
                200,
                json!({"Username": name, "UserAttributes": attributes, "Enabled": enabled, "UserStatus": "CONFIRMED"})
                    .to_string(),
            ),
            (None, _) => error("UserNotFoundException"),
        }
    }

    /// Never wrong: the response does not name the user, so the service could not notice.
    fn groups(&self, request: &Request) -> Reply {
        let Some(who) = self.find(request) else { return error("UserNotFoundException") };
        let group = json!({"GroupName": self.people[who].now().group(who)});
        match (fastrand::bool(), request.input["NextToken"].as_str()) {
            (true, None) => Reply::Answer(200, json!({"Groups": [], "NextToken": "next"}).to_string()),
            _ => Reply::Answer(200, json!({"Groups": [group]}).to_string()),
        }
    }

    fn user(&self, who: usize) -> (&str, Value, bool) {
        let (person, truth) = (&self.people[who], self.people[who].now());
        let attribute = |name: &str, value: String| json!({"Name": name, "Value": value});
        let attributes = json!([
            attribute("sub", format!("sub-{who}")),
            attribute("custom:truth", format!("{who} {} {}", truth.version, truth.enabled)),
        ]);
        (&person.name, attributes, truth.enabled)
    }
}

impl Person {
    fn was_born(&self) -> bool {
        self.history.iter().any(|(_, truth)| truth.exists)
    }

    fn now(&self) -> Truth {
        self.history.last().unwrap().1
    }
}

fn last(events: &[(BootTime, usize)], who: usize, before: BootTime) -> Option<BootTime> {
    events.iter().filter(|(at, other)| *other == who && *at <= before).map(|(at, _)| *at).max()
}

fn error(code: &str) -> Reply {
    Reply::Answer(400, json!({"__type": code, "message": "what Cognito says"}).to_string())
}

fn garbage(truth: Reply) -> Reply {
    let Reply::Answer(status, body) = truth else { return truth };
    let half = body.chars().take(body.len() / 2).collect::<String>();
    match fastrand::u8(0..6) {
        0 => Reply::Answer(status, half),
        1 => Reply::Cut(half),
        2 => Reply::Answer(200, "<html>".into()),
        3 => Reply::Answer(200, String::new()),
        4 => Reply::Answer(200, r#"{"Username":"name-0","Enabled":true,"UserAttributes":[]}"#.into()),
        _ => Reply::Answer(503, "busy".into()),
    }
}
