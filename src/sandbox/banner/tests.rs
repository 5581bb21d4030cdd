use std::net::SocketAddr;

use cognito_standin::Pool;

use super::*;

#[test]
fn no_two_users_share_a_variable() {
    let text = banner(
        r#"[{"username": "a.b"}, {"username": "a-b"}, {"username": "a_b_2"}, {"username": "1"},
            {"username": "backend"}]"#,
    );
    let names: Vec<&str> =
        text.lines().filter_map(|line| Some(line.strip_prefix("export ")?.split_once('=')?.0)).collect();
    let expected =
        ["A_B_TOKEN", "A_B_2_TOKEN", "A_B_2_2_TOKEN", "_1_TOKEN", "BACKEND_2_TOKEN", "BACKEND_TOKEN"];
    assert_eq!(names, expected);
}

#[test]
fn the_calls_carry_the_token_of_the_first_enabled_user() {
    let text = banner(r#"[{"username": "a.b", "enabled": false}, {"username": "a-b"}]"#);
    assert!(text.contains("authorization: Bearer $A_B_2_TOKEN"), "{text}");
    assert!(!text.contains(NO_CALLS), "{text}");
}

#[test]
fn without_an_enabled_user_the_banner_says_why_there_are_no_calls() {
    for users in ["[]", r#"[{"username": "eve", "enabled": false}]"#] {
        let text = banner(users);
        assert!(text.ends_with(&format!("\n{NO_CALLS}\n")), "{text}");
        assert!(!text.contains("grpcurl"), "{text}");
    }
}

#[test]
fn the_calls_show_events_where_replicas_get_them() {
    let users = r#"[{"username": "a"}]"#;
    let url = Some("redis://127.0.0.1:6379");
    for (replicas, shared_cache, has_events) in [(1, None, true), (2, url, true), (2, None, false)] {
        let text = banner_of(users, replicas, shared_cache);
        assert_eq!(text.contains("admin-user-global-sign-out"), has_events, "{text}");
        assert_eq!(text.contains("max_age"), !has_events, "{text}");
    }
}

#[test]
fn several_replicas_are_listed_with_what_they_share() {
    let users = r#"[{"username": "a"}]"#;
    let (url, shared) = ("redis://127.0.0.1:6379", "SOURCE_SHARED_CACHE");
    for (replicas, shared_cache, expected, others) in [
        (1, None, &["127.0.0.1:50051 (plain"][..], &["replica", "Shared cache", shared][..]),
        (1, Some(url), &[url, "with keys of this process"], &["replica 1", shared]),
        (2, None, &["127.0.0.1:50052 of replica 2", "http://127.0.0.1:9091/", "none: each"], &[shared]),
        (2, Some(url), &["127.0.0.1:50051 of replica 1", url, shared, "127.0.0.1:50052 user"], &["none"]),
    ] {
        let text = banner_of(users, replicas, shared_cache);
        for expected in expected {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        for other in others {
            assert!(!text.contains(other), "{other}: {text}");
        }
    }
    assert!(!banner_of("[]", 2, Some(url)).contains(shared), "there is nobody to look up");
}

fn banner(users: &str) -> String {
    banner_of(users, 1, None)
}

fn banner_of(users: &str, replicas: u16, shared_cache: Option<&str>) -> String {
    let pool = Pool::from_json(&format!(r#"{{"users": {users}}}"#)).unwrap();
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let replica = |n| (ListenAddress::Tcp(address(50051 + n)), address(9090 + n));
    let replicas: Vec<_> = (0..replicas).map(replica).collect();
    text(&StandIn::start(pool).unwrap(), &replicas, shared_cache)
}

const NO_CALLS: &str = "# no user of the pool is enabled, so there are no calls to paste";
