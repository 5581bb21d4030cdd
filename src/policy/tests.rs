use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use super::*;
use crate::{
    attribute::{AttributeName, Selection},
    auth::{Address, Certificate, Client, Scopes, TokenUser},
    changes::ChangeKinds,
    clock::TimePoint,
    config::{
        CallerSettings, ClientCertificate, ErrorCollector, PoolSettings, Reads as ReadsSetting, TlsSettings,
    },
    freshness::{Freshness, FreshnessRequirement, Source},
    pool::{Pool, PoolId},
    query::{AccessQuery, Query, Target, WatchQuery},
    user::{Groups, User, UserStatus},
};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_caller_gets_what_its_rule_releases_and_no_more() {
    type Released = Result<&'static [&'static str], Denied>;
    let table: &[(&str, Caller, Query, Released)] = &[
        ("all that is released", web("ada"), query(), Ok(&["email", "name"])),
        ("a part of it", web("ada"), selecting(&["name"]), Ok(&["name"])),
        ("none of it", web("ada"), Query { attributes: Selection::Only([].into()), ..query() }, Ok(&[])),
        (
            "more than that",
            web("ada"),
            selecting(&["name", "phone_number"]),
            Err(not_allowed(&["phone_number"])),
        ),
        ("a pseudo-attribute", web("ada"), selecting(&["username"]), Err(not_allowed(&["username"]))),
        ("groups", web("ada"), Query { include_groups: true, ..query() }, Err(not_allowed(&["groups"]))),
        (
            "groups that are released",
            at_address("10.1.2.3"),
            with_groups("ada"),
            Ok(&["email", "name", "phone_number"]),
        ),
        ("an unknown client", client("client9", "ada"), query(), Err(Denied::CallerNotAllowed)),
        (
            "a client of the pool without a rule",
            client("client3", "ada"),
            query(),
            Err(Denied::CallerNotAllowed),
        ),
        ("a machine by a sub alone", machine("client1", ""), about("ada"), Err(Denied::SubjectNotAllowed)),
        ("a machine without a rule", machine("client3", ""), about("ada"), Err(Denied::CallerNotAllowed)),
        ("a machine with its scope", machine("client2", "a user-lookup/read"), about("ada"), Ok(&["name"])),
        (
            "a machine without it",
            machine("client2", "user-lookup/reader"),
            about("ada"),
            Err(Denied::ScopeMissing),
        ),
        ("a user's token without it", client("client2", "ada"), query(), Err(Denied::ScopeMissing)),
        ("a certificate", with_certificate(&[BILLING]), about("ada"), Ok(&["email"])),
        (
            "a certificate with a name more",
            with_certificate(&["a.example.com", BILLING]),
            about("ada"),
            Ok(&["email"]),
        ),
        (
            "another certificate",
            with_certificate(&["spiffe://example.com/billing2"]),
            about("ada"),
            Err(Denied::CallerNotAllowed),
        ),
        ("a certificate without a name", with_certificate(&[]), about("ada"), Err(Denied::CallerNotAllowed)),
        (
            "a certificate that names two callers",
            with_certificate(&[BILLING, "desk.example.com"]),
            about("ada"),
            Err(Denied::CallerNotAllowed),
        ),
        ("everything", at_address("10.1.2.3"), about("ada"), Ok(&["email", "name", "phone_number"])),
        ("loopback", at_address("127.0.0.1"), about("ada"), Ok(&["name"])),
        (
            "loopback as a dual-stack socket reports it",
            at_address("::ffff:127.0.0.1"),
            about("ada"),
            Ok(&["name"]),
        ),
        ("another address", at_address("192.0.2.1"), about("ada"), Err(Denied::CredentialMissing)),
        (
            "over a Unix socket that no rule names",
            at(Address::Unix, false),
            about("ada"),
            Err(Denied::CredentialMissing),
        ),
    ];
    for (case, caller, query, expected) in table {
        let released = permit(&policy(), caller, query.clone()).and_then(|permit| {
            let disclosure = permit.disclose(user("ada").into(), None, freshness())?;
            assert_eq!(permit.groups != permit::GroupsSource::NotRequested, query.include_groups, "{case}");
            assert!(disclosure.username().is_none() || *permit.attributes == Selection::All, "{case}");
            Ok(disclosure.attributes().map(|(name, _)| name.to_string()).collect::<Vec<_>>())
        });
        let expected =
            expected.clone().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(released, expected, "{case}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_subject_is_the_user_of_the_token_or_the_sub() {
    let both = |own, presented| {
        Caller::for_test(
            Identity::User(app_client("client1", "")),
            [Some(token_user(own)), Some(token_user(presented))],
        )
    };
    let two_pools = Caller::for_test(
        Identity::User(app_client("client1", "")),
        [Some(token_user("ada")), Some(TokenUser { pool: read_pool("eu-west-1_B"), ..token_user("ada") })],
    );
    let other_pool = Query { pool: Some("eu-west-1_B".parse().unwrap()), ..about("ada") };
    let own_pool = Query { pool: Some("eu-west-1_A".parse().unwrap()), ..about("ada") };
    let address = Address::Ip("127.0.0.1".parse().unwrap());
    let loopback = Identity::Address { address, is_proxied: false };
    let presented = Caller::for_test(loopback, [None, Some(token_user("ada"))]);
    let machine_presenting =
        Caller::for_test(Identity::Machine(app_client("client1", "")), [None, Some(token_user("ada"))]);
    let table: &[(&str, Caller, Query, Result<bool, Denied>)] = &[
        ("the token's", web("ada"), query(), Ok(true)),
        ("the token's, named too", web("ada"), own_pool.clone(), Ok(true)),
        ("the token's, another named", web("ada"), about("bob"), Err(Denied::SubjectAmbiguous)),
        ("the token's, another pool named", web("ada"), other_pool.clone(), Err(Denied::SubjectAmbiguous)),
        ("two tokens of one user", both("ada", "ada"), query(), Ok(true)),
        ("two tokens of two users", both("ada", "bob"), query(), Err(Denied::SubjectAmbiguous)),
        ("two tokens of one sub in two pools", two_pools, query(), Err(Denied::SubjectAmbiguous)),
        ("a token presented over a network", presented.clone(), query(), Ok(true)),
        ("a token presented, another named", presented, about("bob"), Err(Denied::SubjectAmbiguous)),
        ("a token that a machine presents", machine_presenting, query(), Ok(true)),
        ("a machine that presents none", machine("client1", ""), query(), Err(Denied::MachineTokenAlone)),
        (
            "a certificate that presents none",
            with_certificate(&["desk.example.com"]),
            query(),
            Err(Denied::UserTokenMissing),
        ),
        ("a sub by a certificate", with_certificate(&[BILLING]), about("ada"), Ok(false)),
        ("a sub", at_address("127.0.0.1"), about("ada"), Ok(false)),
        ("a sub of a named pool", at_address("127.0.0.1"), own_pool, Ok(false)),
        ("a sub of an unknown pool", at_address("127.0.0.1"), other_pool, Err(Denied::PoolUnknown)),
        ("no sub", at_address("127.0.0.1"), query(), Err(Denied::SubjectMissing)),
        (
            "a sub, where a token is required",
            at_address("172.16.0.1"),
            about("ada"),
            Err(Denied::SubjectNotAllowed),
        ),
        (
            "no sub, where a token is required",
            at_address("172.16.0.1"),
            query(),
            Err(Denied::UserTokenMissing),
        ),
    ];
    for (case, caller, query, expected) in table {
        let permit = permit(&policy(), caller, query.clone());
        let by_token = permit.map(|permit| {
            assert_eq!(permit.subject().sub.as_str(), "ada", "{case}");
            permit.subject().lookup_key != LookupKey::Sub
        });
        assert_eq!(by_token, *expected, "{case}");
    }
}

#[test]
fn a_sub_needs_a_pool_if_several_are_configured() {
    let mut config = config();
    config.pools.push(PoolSettings { app_clients: vec!["client4".into()], ..pool("eu-west-1_B") });
    let policy = read(&config).unwrap();
    let caller = at_address("127.0.0.1");
    assert_eq!(permit(&policy, &caller, about("ada")).unwrap_err(), Denied::PoolMissing);
    let named = Query { pool: Some("eu-west-1_B".parse().unwrap()), ..about("ada") };
    assert_eq!(permit(&policy, &caller, named).unwrap().subject().pool.id.as_str(), "eu-west-1_B");
}

#[test]
fn a_disabled_users_own_token_discloses_nothing() {
    let disabled = Arc::new(User { enabled: false, ..user("ada") });
    let own = permit(&policy(), &web("ada"), query()).unwrap();
    assert_eq!(own.disclose(Arc::clone(&disabled), None, freshness()).err(), Some(Denied::UserDisabled));
    let bare = permit(&policy(), &at_address("127.0.0.1"), about("ada")).unwrap();
    assert!(!bare.disclose(disabled, None, freshness()).unwrap().enabled());
}

#[test]
fn another_user_than_the_permitted_one_is_not_disclosed() {
    for caller in [web("ada"), at_address("127.0.0.1")] {
        let permit = permit(&policy(), &caller, about("ada")).unwrap();
        let disclosed = permit.disclose(user("bob").into(), None, freshness());
        assert_eq!(disclosed.err(), Some(Denied::OtherUserFound));
    }
}

#[test]
fn a_network_rule_matches_a_proxied_call_only_if_it_says_so() {
    let network = |networks: &[&str], proxied| CallerSettings {
        name: "n".into(),
        network: networks.iter().map(ToString::to_string).collect(),
        proxied,
        reads: ReadsSetting::Any,
        attributes: vec!["name".into()],
        ..Default::default()
    };
    let (loopback, istio) = (&["127.0.0.0/8", "unix"][..], &["127.0.0.6/32", "::6/128"][..]);
    let everywhere = &["0.0.0.0/0", "::/0"][..];
    let ip = |text: &str| Address::Ip(text.parse().unwrap());
    // The rule's networks, the peer, whether the call has marks, and whether the rule matches
    // without and with `proxied`.
    let table = [
        (loopback, ip("127.0.0.1"), false, true, true),
        (loopback, ip("127.0.0.1"), true, false, true),
        (loopback, Address::Unix, false, true, true),
        (loopback, Address::Unix, true, false, true),
        (loopback, ip("127.0.0.6"), false, false, true),
        (loopback, ip("::ffff:127.0.0.6"), false, false, true),
        (loopback, ip("127.0.0.7"), false, true, true),
        (istio, ip("127.0.0.6"), false, true, true),
        (istio, ip("::ffff:127.0.0.6"), false, true, true),
        (istio, ip("::6"), false, true, true),
        (istio, ip("127.0.0.6"), true, false, true),
        (everywhere, ip("10.1.2.3"), false, true, true),
        (everywhere, ip("10.1.2.3"), true, false, true),
        (everywhere, ip("127.0.0.6"), false, false, true),
        (everywhere, ip("::6"), false, false, true),
    ];
    for (networks, peer, is_proxied, without, with) in table {
        for (proxied, expected) in [(false, without), (true, with)] {
            let config = Config { callers: vec![network(networks, proxied)], ..config() };
            let permitted = permit(&read(&config).unwrap(), &at(peer, is_proxied), about("ada"));
            let expected = if expected { Ok(()) } else { Err(Denied::Proxied) };
            assert_eq!(permitted.map(drop), expected, "{networks:?} {peer:?} {is_proxied} {proxied}");
        }
    }
}

#[test]
fn no_policy_is_returned_beside_an_error() {
    let faulty = |change: fn(&mut CallerSettings)| {
        let mut config = config();
        change(&mut config.callers[0]);
        config
    };
    for config in [
        faulty(|caller| caller.name = String::new()),
        faulty(|caller| caller.attributes = vec![]),
        faulty(|caller| caller.reads = ReadsSetting::Any),
        faulty(|caller| caller.admin = true),
        faulty(|caller| caller.proxied = true),
        faulty(|caller| caller.name = "desk".into()),
        Config { callers: vec![], ..config() },
    ] {
        let mut errors = ErrorCollector::new(&config);
        let pools = Pools::read(&config, &mut errors);
        assert!(Policy::read(&config, pools.as_ref(), &mut errors).is_none());
        assert!(!errors.is_empty());
    }
}

#[test]
fn pseudo_attributes_are_released_by_name() {
    let query = Query { attributes: only(&["username", "updated_at"]), ..about("ada") };
    let permit = permit(&policy(), &at_address("10.0.0.1"), query);
    let disclosure = permit.unwrap().disclose(user("ada").into(), None, freshness()).unwrap();
    assert_eq!(disclosure.attributes().next(), None);
    assert_eq!(disclosure.username().unwrap().as_str(), "ada");
    assert!(disclosure.updated_at().is_some());
    assert!(disclosure.created_at().is_none());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn all_errors_of_the_rules_are_reported_together() {
    let web = || callers().remove(0);
    let net = |networks: &[&str]| CallerSettings {
        name: "n".into(),
        network: networks.iter().map(ToString::to_string).collect(),
        attributes: vec!["name".into()],
        ..Default::default()
    };
    let table: &[(&str, CallerSettings, &[&str])] = &[
        ("no name", CallerSettings { name: String::new(), ..web() }, &["callers[0].name"]),
        ("no matcher", CallerSettings { app_client: None, ..web() }, &["callers[0]"]),
        (
            "two kinds at once",
            CallerSettings { network: vec!["127.0.0.1/32".into()], ..web() },
            &["callers[0]"],
        ),
        ("no client", CallerSettings { app_client: Some("a b".into()), ..web() }, &["callers[0].app_client"]),
        (
            "a client of no pool",
            CallerSettings { app_client: Some("x".into()), ..web() },
            &["callers[0].app_client"],
        ),
        (
            "any by a user's token",
            CallerSettings { reads: ReadsSetting::Any, ..web() },
            &["callers[0].reads"],
        ),
        (
            "a scope without a token",
            CallerSettings { scope: Some("a".into()), ..net(&["unix"]) },
            &["callers[0].scope"],
        ),
        (
            "an administrator by a user's token",
            CallerSettings { admin: true, ..web() },
            &["callers[0].admin"],
        ),
        (
            "an administrator on a remote network",
            CallerSettings { admin: true, ..net(&["unix", "10.0.0.0/8"]) },
            &["callers[0].admin"],
        ),
        (
            "an administrator behind a proxy",
            CallerSettings { admin: true, proxied: true, ..net(&["127.0.0.1/32"]) },
            &["callers[0].admin"],
        ),
        ("a watcher of one user", CallerSettings { watch: true, ..web() }, &["callers[0].watch"]),
        ("a proxied app client", CallerSettings { proxied: true, ..web() }, &["callers[0].proxied"]),
        ("no scope", CallerSettings { scope: Some("a b".into()), ..web() }, &["callers[0].scope"]),
        (
            "a wildcard certificate",
            CallerSettings { app_client: None, certificate: Some("*.example.com".into()), ..web() },
            &["callers[0].certificate"],
        ),
        (
            "a certificate and a client",
            CallerSettings { certificate: Some(BILLING.into()), ..web() },
            &["callers[0]"],
        ),
        ("no attributes", CallerSettings { attributes: vec![], ..web() }, &["callers[0].attributes"]),
        (
            "an invalid attribute name",
            CallerSettings { attributes: vec!["a b".into()], ..web() },
            &["callers[0].attributes[0]"],
        ),
        (
            "an attribute that no pool has",
            CallerSettings { attributes: vec!["emial".into(), "name".into(), "groups".into()], ..web() },
            &["callers[0].attributes[0]", "callers[0].attributes[2]"],
        ),
        (
            "a wildcard with a name",
            CallerSettings { attributes: vec!["name".into(), "*".into()], ..web() },
            &["callers[0].attributes[1]"],
        ),
        ("no network", net(&["localhost"]), &["callers[0].network[0]"]),
        ("host bits", net(&["10.0.0.1/8"]), &["callers[0].network[0]"]),
        ("a path", net(&["unix", "unix:/run/x"]), &["callers[0].network[1]"]),
        (
            "several errors",
            CallerSettings { name: String::new(), app_client: Some("x".into()), attributes: vec![], ..web() },
            &["callers[0].name", "callers[0].app_client", "callers[0].attributes"],
        ),
    ];
    for (case, caller, keys) in table {
        assert_eq!(read(&Config { callers: vec![caller.clone()], ..config() }).unwrap_err(), *keys, "{case}");
    }
    assert_eq!(read(&Config { callers: vec![], ..config() }).unwrap_err(), ["callers"]);
    let unseen = Config { tls: TlsSettings::default(), ..config() };
    assert_eq!(read(&unseen).unwrap_err(), ["callers[2].certificate", "callers[3].certificate"]);
}

#[test]
fn a_caller_keeps_its_number_wherever_its_rule_is() {
    let numbers = |callers: Vec<CallerSettings>| -> BTreeMap<Arc<str>, usize> {
        let config = Config { callers, ..config() };
        let mut errors = ErrorCollector::new(&config);
        let pools = Pools::read(&config, &mut errors);
        let rules = Policy::read(&config, pools.as_ref(), &mut errors).unwrap().rules;
        rules.iter().map(|rule| (Arc::clone(&rule.name), rule.caller_limit.caller)).collect()
    };
    let before = numbers(callers());
    let after = numbers(callers().into_iter().skip(1).rev().collect());
    assert!(after.len() > 2 && after.iter().all(|(name, number)| before[name] == *number), "{after:?}");
    let distinct: std::collections::BTreeSet<_> = before.values().collect();
    assert_eq!(distinct.len(), before.len());
}

#[test]
fn no_two_rules_match_the_same_caller() {
    let table: &[(&str, &[&str], &[&str], bool)] = &[
        ("the same network", &["127.0.0.1/32"], &["127.0.0.1/32"], true),
        ("one within the other", &["10.0.0.0/8"], &["192.168.0.0/16", "10.1.0.0/16"], true),
        ("one around the other", &["10.1.0.0/16"], &["192.168.0.0/16", "10.0.0.0/8"], true),
        ("side by side", &["10.0.0.0/16"], &["10.1.0.0/16"], false),
        ("another family", &["0.0.0.0/0"], &["::/0"], false),
        ("Unix sockets twice", &["unix"], &["10.0.0.0/8", "unix"], true),
        ("Unix sockets and all addresses", &["unix"], &["0.0.0.0/0", "::/0"], false),
    ];
    for (case, one, two, overlap) in table {
        let rule = |name: &str, networks: &[&str]| CallerSettings {
            name: name.into(),
            network: networks.iter().map(ToString::to_string).collect(),
            attributes: vec!["name".into()],
            ..Default::default()
        };
        let config = Config { callers: vec![rule("one", one), rule("two", two)], ..config() };
        let expected: &[&str] = if *overlap { &["callers[1]"] } else { &[] };
        assert_eq!(read(&config).err().unwrap_or_default(), expected, "{case}");
    }
    let twice = Config { callers: vec![callers().remove(0), callers().remove(0)], ..config() };
    let certificates = Config { callers: vec![callers().remove(2), callers().remove(2)], ..config() };
    assert_eq!(read(&certificates).unwrap_err(), ["callers[1].name", "callers[1]"]);
    assert_eq!(read(&twice).unwrap_err(), ["callers[1].name", "callers[1]"]);
}

#[test]
fn only_a_watcher_watches_and_with_a_users_token_only_that_user() {
    let scope = "user-lookup/read";
    let by_user =
        Caller::for_test(Identity::User(app_client("client2", scope)), [Some(token_user("ada")), None]);
    let watcher = machine("client2", scope);
    let [a, b] = ["eu-west-1_A", "eu-west-1_B"].map(|id| Some(id.parse::<PoolId>().unwrap()));
    let (all, ada, both): (&[&str], &[&str], &[&str]) = (&[], &["ada"], &["ada", "bob"]);
    type Permitted = Result<(Option<PoolId>, &'static [&'static str]), Denied>;
    type Case<'a> = (&'static str, Caller, &'a [&'a str], Option<PoolId>, Permitted);
    let table: &[Case<'_>] = &[
        ("all", watcher.clone(), all, None, Ok((None, &[]))),
        ("all of a pool", watcher.clone(), all, a.clone(), Ok((a.clone(), &[]))),
        ("two", watcher.clone(), both, None, Ok((a.clone(), &["ada", "bob"]))),
        ("of an unknown pool", watcher.clone(), ada, b.clone(), Err(Denied::PoolUnknown)),
        ("all of an unknown pool", watcher, all, b.clone(), Err(Denied::PoolUnknown)),
        ("without its scope", machine("client2", ""), ada, None, Err(Denied::ScopeMissing)),
        ("a user's token", by_user.clone(), all, None, Ok((a, &["ada"]))),
        ("a user's token, another user", by_user.clone(), both, None, Err(Denied::SubjectAmbiguous)),
        ("a user's token, another pool", by_user, ada, b, Err(Denied::SubjectAmbiguous)),
        ("without the grant", at_address("10.1.2.3"), ada, None, Err(Denied::NotWatcher)),
        ("who reads by token", web("ada"), ada, None, Err(Denied::NotWatcher)),
        ("nobody", at_address("192.0.2.1"), all, None, Err(Denied::CredentialMissing)),
    ];
    let mut config = config();
    let rule = config.callers.iter_mut().find(|caller| caller.app_client.as_deref() == Some("client2"));
    rule.unwrap().watch = true;
    let policy = read(&config).unwrap();
    for (case, caller, subs, pool, expected) in table {
        let query = WatchQuery {
            subs: subs.iter().map(|sub| sub.parse().unwrap()).collect(),
            pool: pool.clone(),
            kinds: ChangeKinds::ALL,
            resume_token: String::new(),
            checkpoint_interval: Duration::from_secs(30),
        };
        let permit = policy.rule(caller).and_then(|rule| rule.watch_permit(&query));
        let permitted = permit.map(WatchPermit::into_filter).map(|filter| (filter.pool, filter.subs));
        let expected = expected
            .clone()
            .map(|(pool, subs)| (pool, subs.iter().map(|sub| sub.parse().unwrap()).collect::<Vec<_>>()));
        assert_eq!(permitted, expected, "{case}");
    }
}

#[test]
fn only_an_administrator_gets_an_admin_permit() {
    let scope = "user-lookup/read";
    let user_token =
        Caller::for_test(Identity::User(app_client("client2", scope)), [Some(token_user("ada")), None]);
    let b = Some("eu-west-1_B".parse().unwrap());
    type Permitted = Result<(), Denied>;
    let table: &[(&str, Caller, Option<PoolId>, Permitted)] = &[
        ("a network", at_address("127.0.0.1"), None, Ok(())),
        ("a machine with its scope", machine("client2", scope), None, Ok(())),
        ("a machine without it", machine("client2", ""), None, Err(Denied::ScopeMissing)),
        ("a user's token with it", user_token, None, Err(Denied::NotAdmin)),
        ("another app client", web("ada"), None, Err(Denied::NotAdmin)),
        ("another network", at_address("10.1.2.3"), None, Err(Denied::NotAdmin)),
        ("another network, about an unknown pool", at_address("10.1.2.3"), b.clone(), Err(Denied::NotAdmin)),
        ("a certificate", with_certificate(&[BILLING]), None, Err(Denied::NotAdmin)),
        ("no credential", at_address("192.0.2.1"), None, Err(Denied::CredentialMissing)),
        ("an unknown certificate", with_certificate(&["x.example.com"]), None, Err(Denied::CallerNotAllowed)),
        ("about an unknown pool", at_address("127.0.0.1"), b, Err(Denied::PoolUnknown)),
    ];
    for (case, caller, pool, expected) in table {
        let target = Target { sub: "ada".parse().unwrap(), pool: pool.clone() };
        let allowed = admin_permit(&policy(), caller, target);
        assert_eq!(
            allowed.map(|allowed| assert_eq!(allowed.subject().lookup_key, LookupKey::Sub)),
            *expected,
            "{case}"
        );
    }
}

#[test]
fn an_explanation_names_the_setting_that_decides_each_attribute() {
    let explain = |caller: &str, names: &[&str]| {
        let policy = policy();
        let target = Target { sub: "ada".parse().unwrap(), pool: None };
        let allowed = admin_permit(&policy, &at_address("127.0.0.1"), target).unwrap();
        let attributes = names.iter().map(|name| name.parse().unwrap()).collect();
        policy.explain(&allowed, AccessQuery { caller: caller.into(), attributes })
    };
    let lines = |caller: &str, names: &[&str]| {
        let explanation = explain(caller, names).unwrap();
        let line =
            |access: Access| format!("{} {} {}", access.attribute.as_str(), access.released, access.rule);
        explanation.attributes.into_iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(
        lines("web", &["name", "phone_number", "sub", "username", "email"]),
        [
            "name true callers[0].attributes names it",
            "phone_number false callers[0].attributes does not name it",
            "sub true always released",
            "username false callers[0].attributes does not name it",
            "email true callers[0].attributes names it",
        ]
    );
    assert_eq!(
        lines("vpc", &["x", "enabled"]),
        ["x true callers[5].attributes is \"*\"", "enabled true always released"]
    );
    let all = lines("billing", &[]);
    let names: Vec<_> = all.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["created_at", "email", "name", "updated_at", "username"], "all that any rule names");
    let token = explain("web", &["name"]).unwrap();
    assert_eq!((token.subject_allowed, token.groups_allowed), (false, false));
    assert!(token.subject_rule.starts_with("callers[0].reads = \"token\""), "{}", token.subject_rule);
    let any = explain("vpc", &["name"]).unwrap();
    assert_eq!((any.subject_allowed, any.groups_allowed), (true, true));
    assert_eq!(any.subject_rule, "callers[5].reads = \"any\"");
    assert_eq!(explain("nobody", &[]), Err(Denied::CallerNameUnknown));
}

#[test]
fn an_explanation_agrees_with_the_permit() {
    let policy = policy();
    let target = Target { sub: "ada".parse().unwrap(), pool: None };
    let allowed = admin_permit(&policy, &at_address("127.0.0.1"), target).unwrap();
    for (name, caller) in
        [("web", web("ada")), ("sidecar", at_address("127.0.0.1")), ("vpc", at_address("10.1.2.3"))]
    {
        for attribute in ["email", "name", "phone_number", "username", "custom:x"] {
            let query = AccessQuery { caller: name.into(), attributes: vec![attribute.parse().unwrap()] };
            let released = policy.explain(&allowed, query).unwrap().attributes.remove(0).released;
            let query = Query { attributes: only(&[attribute]), ..about("ada") };
            assert_eq!(permit(&policy, &caller, query).is_ok(), released, "{name} {attribute}");
        }
    }
}

#[test]
fn risky_rules_without_a_credential_are_listed() {
    let rules = policy();
    let remote = Risk::RemoteNetwork;
    assert_eq!(
        rules.risks().collect::<Vec<_>>(),
        [("sidecar", Risk::Loopback), ("vpc", remote), ("pods", remote)]
    );
    let risks = |network: &[&str], proxied| {
        let network = network.iter().map(ToString::to_string).collect();
        let rule = CallerSettings {
            name: "n".into(),
            network,
            proxied,
            attributes: vec!["name".into()],
            ..Default::default()
        };
        let rules = read(&Config { callers: vec![rule], ..config() }).unwrap();
        rules.risks().map(|(_, risk)| risk).collect::<Vec<_>>()
    };
    for (network, proxied, expected) in [
        (&["unix"][..], false, &[][..]),
        (&["unix"], true, &[Risk::Proxied]),
        (&["::1/128"], false, &[Risk::Loopback]),
        (&["127.0.0.1/32", "unix"], true, &[Risk::Proxied]),
        (&["0.0.0.0/0"], false, &[Risk::RemoteNetwork, Risk::Loopback]),
        (&["::/0"], true, &[Risk::RemoteNetwork, Risk::Proxied]),
    ] {
        assert_eq!(risks(network, proxied), expected, "{network:?} {proxied}");
    }
}

fn permit(policy: &Policy, caller: &Caller, query: Query) -> Result<Permit, Denied> {
    policy.rule(caller)?.permit(query)
}

fn admin_permit(policy: &Policy, caller: &Caller, target: Target) -> Result<AdminPermit, Denied> {
    policy.rule(caller)?.admin_permit(target)
}

fn policy() -> Policy {
    read(&config()).unwrap()
}

fn read(config: &Config) -> Result<Policy, Vec<String>> {
    let mut errors = ErrorCollector::new(config);
    let pools = Pools::read(config, &mut errors);
    let policy = Policy::read(config, pools.as_ref(), &mut errors);
    errors.finish(policy).map_err(|errors| errors.iter().map(|fault| fault.key.clone()).collect())
}

fn config() -> Config {
    let tls = TlsSettings { client_certificate: ClientCertificate::Required, ..TlsSettings::default() };
    Config { pools: vec![pool("eu-west-1_A")], callers: callers(), tls, ..Config::default() }
}

fn pool(id: &str) -> PoolSettings {
    let clients = ["client1", "client2", "client3"].map(Into::into).into();
    PoolSettings { id: id.into(), app_clients: clients, ..PoolSettings::default() }
}

const BILLING: &str = "spiffe://example.com/billing";

fn callers() -> Vec<CallerSettings> {
    let rule = |name: &str, reads, attributes: &[&str]| CallerSettings {
        name: name.into(),
        reads,
        attributes: attributes.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let net = |network: &str, rule| CallerSettings { network: vec![network.into()], ..rule };
    vec![
        CallerSettings {
            app_client: Some("client1".into()),
            ..rule("web", ReadsSetting::Token, &["email", "name"])
        },
        CallerSettings {
            app_client: Some("client2".into()),
            scope: Some("user-lookup/read".into()),
            admin: true,
            ..rule("support-desk", ReadsSetting::Any, &["name"])
        },
        CallerSettings {
            certificate: Some(BILLING.into()),
            ..rule("billing", ReadsSetting::Any, &["email"])
        },
        CallerSettings {
            certificate: Some("desk.example.com".into()),
            ..rule("desk", ReadsSetting::Token, &["name"])
        },
        CallerSettings { admin: true, ..net("127.0.0.0/8", rule("sidecar", ReadsSetting::Any, &["name"])) },
        CallerSettings { groups: true, ..net("10.0.0.0/8", rule("vpc", ReadsSetting::Any, &["*"])) },
        net("172.16.0.0/12", rule("pods", ReadsSetting::Token, &["name"])),
    ]
}

fn web(sub: &str) -> Caller {
    client("client1", sub)
}

fn client(client: &str, sub: &str) -> Caller {
    Caller::for_test(Identity::User(app_client(client, "")), [Some(token_user(sub)), None])
}

fn machine(client: &str, scopes: &str) -> Caller {
    Caller::for_test(Identity::Machine(app_client(client, scopes)), [None, None])
}

fn with_certificate(names: &[&str]) -> Caller {
    Caller::for_test(Identity::Certificate(Certificate::for_test(names).into()), [None, None])
}

fn app_client(client: &str, scopes: &str) -> Arc<Client> {
    Arc::new(Client { id: client.parse().unwrap(), scopes: Scopes::from(scopes) })
}

fn at_address(peer: &str) -> Caller {
    at(Address::Ip(peer.parse().unwrap()), false)
}

fn at(address: Address, is_proxied: bool) -> Caller {
    Caller::for_test(Identity::Address { address, is_proxied }, [None, None])
}

fn read_pool(id: &str) -> Arc<Pool> {
    let config = Config { pools: vec![pool(id)], ..config() };
    let pools = Pools::read(&config, &mut ErrorCollector::new(&config)).unwrap();
    pools.only().unwrap().clone()
}

fn token_user(sub: &str) -> TokenUser {
    TokenUser {
        pool: read_pool("eu-west-1_A"),
        sub: sub.parse().unwrap(),
        username: sub.parse().unwrap(),
        groups: Some(Groups::default()),
        issued_at: SystemTime::UNIX_EPOCH,
        family: None,
    }
}

fn query() -> Query {
    Query {
        sub: None,
        pool: None,
        attributes: Selection::All,
        include_groups: false,
        freshness: FreshnessRequirement::Any,
    }
}

fn about(sub: &str) -> Query {
    Query { sub: Some(sub.parse().unwrap()), ..query() }
}

fn with_groups(sub: &str) -> Query {
    Query { include_groups: true, ..about(sub) }
}

fn selecting(names: &[&str]) -> Query {
    Query { attributes: only(names), ..query() }
}

fn only(names: &[&str]) -> Selection {
    Selection::Only(names.iter().map(|name| name.parse::<AttributeName>().unwrap()).collect())
}

fn not_allowed(names: &[&str]) -> Denied {
    Denied::AttributesNotAllowed(names.iter().map(ToString::to_string).collect())
}

fn user(sub: &str) -> User {
    let value = |name: &str| (name.parse().unwrap(), format!("the {name}").into());
    User {
        sub: sub.parse().unwrap(),
        username: "ada".parse().unwrap(),
        attributes: BTreeMap::from(["email", "name", "phone_number"].map(value)).into(),
        status: UserStatus::Confirmed,
        enabled: true,
        created_at: crate::unix_time::UnixTime::new(SystemTime::UNIX_EPOCH),
        updated_at: crate::unix_time::UnixTime::new(SystemTime::UNIX_EPOCH),
    }
}

fn freshness() -> Freshness {
    let age = Duration::ZERO;
    Freshness { source: Source::Cache, began: TimePoint::now(), age, stale_reason: None }
}
