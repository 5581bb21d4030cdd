use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use cognito_lookup::{
    config::{BareSub, CallerSettings, Config, Reads},
    proto::{
        BatchGetUsersRequest, GetUserRequest, batch_get_users_result::Result as Item,
        user_service_client::UserServiceClient,
    },
};
use cognito_standin::User;
use futures_util::future::join_all;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{ADA, App, about, connect, failure, max_age};

#[tokio::test]
async fn a_caller_gets_no_more_than_its_answers_from_the_cache_either() {
    let app = App::start_with_config(|config| config.callers[1].answers_per_second = Some(2)).await;
    let (begun, mut answered) = (Instant::now(), 0);
    let status = loop {
        match app.get_by_sub(ADA).await {
            Ok(_) => answered += 1,
            Err(status) => break status,
        }
    };
    // Two at once, and one in each half of a second that the calls take.
    assert!(answered >= 2 && f64::from(answered) <= 3.0 + 2.0 * begun.elapsed().as_secs_f64(), "{answered}");
    assert_eq!(failure(&status), (Code::ResourceExhausted, "CALLER_RATE_LIMITED".to_owned()));
    let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(retry <= Duration::from_secs(1), "{retry:?}, with jitter");
    assert_eq!(app.cognito_lookups(), 1, "the others were in the cache");
    let series =
        |outcome| format!("cognito_lookup_caller_requests_total{{caller=\"sidecar\",outcome=\"{outcome}\"}}");
    assert_eq!(app.metric(&series("Limited")).await, 1.0);
    assert_eq!(app.metric(&series("Failed")).await, 0.0, "the service has not failed");
    let users = app.metric("cognito_lookup_caller_users_total{caller=\"sidecar\"}").await;
    assert_eq!(users, f64::from(answered));
    // Another caller has no limit.
    let token = app.token("ada");
    for _ in 0..20 {
        app.get_by_token(&token).await.unwrap();
    }
}

#[tokio::test]
async fn of_a_burst_of_cold_users_only_those_whose_fetch_starts_before_the_deadline_are_fetched() {
    let app = App::start_with_config(|config| config.budget.user_reads_per_second = Some(20)).await;
    let people = put_cold_users(&app, 400);
    let channels = join_all((0..4).map(|_| connect(app.address))).await;
    let asking = people.iter().enumerate().map(|(n, sub)| {
        let mut users = UserServiceClient::new(channels[n % 4].clone());
        async move { users.get_user(about(sub)).await }
    });
    let begun = Instant::now();
    let answers = join_all(asking).await;
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    for status in &refused {
        assert_eq!(failure(status), (Code::ResourceExhausted, "BUDGET_EXHAUSTED".to_owned()));
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::from_millis(500) && wait < Duration::from_secs(8), "{wait:?}");
        assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    }
    let arrivals = app.cognito.call_times("AdminGetUser");
    assert_eq!(arrivals.len(), answers.len() - refused.len(), "a refused user costs no call");
    // A call arrives after it started, so arrivals are at most the starts that the limit allows. A
    // test on a paused clock checks each second.
    let seconds = usize::try_from((*arrivals.last().unwrap() - begun).as_secs()).unwrap() + 1;
    assert!((20..=20 * seconds).contains(&arrivals.len()), "{} calls in {seconds} s", arrivals.len());
}

#[tokio::test]
async fn a_caller_beyond_its_own_rate_limit_is_refused_and_others_are_not() {
    let app = App::start_with_config(|config| {
        config.callers[1].misses_per_second = Some(1);
        config.limits.request_timeout = Duration::from_millis(900);
    })
    .await;
    let people = put_cold_users(&app, 10);
    let first = app.get_by_sub(&people[0]).await;
    assert!(first.is_ok());
    let more = join_all(people[1..].iter().map(|sub| app.get_by_sub(sub))).await;
    let refused = more
        .iter()
        .filter(|answer| answer.as_ref().is_err_and(|status| failure(status).1 == "BUDGET_EXHAUSTED"));
    assert!(refused.count() >= 8, "one more may begin within the time");
    assert!(app.get_by_token(&app.token("ada")).await.is_ok());
    assert!(app.get_by_sub(ADA).await.is_ok(), "a hit is no miss");
    assert!(app.metric("cognito_lookup_upstream_refusals_total{category=\"UserRead\"}").await >= 8.0);
}

#[tokio::test]
async fn the_quota_is_read_from_cognito() {
    let app = App::start().await;
    app.cognito.wait_for_calls("GetProvisionedLimit", 3).await;
    let asked = app.cognito.last_input("GetProvisionedLimit").unwrap();
    assert_eq!(asked["LimitDefinition"]["LimitClass"], "API_CATEGORY");
    assert_eq!(asked["LimitDefinition"]["Attributes"]["Category"], "UserResourceRead");
    let arrivals = app.cognito.call_times("GetProvisionedLimit");
    assert!(arrivals.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)), "once a second");
}

/// At the receiver, after a network that delays some calls more than others.
#[tokio::test(flavor = "multi_thread")]
async fn no_second_at_cognito_holds_more_calls_than_the_limit() {
    let list = |config: &mut Config| config.pools[0].bare_sub = BareSub::ListUsers;
    let group = |config: &mut Config| config.callers[1].groups = true;
    let table: [(&str, Change<'_>, bool); 3] = [
        ("AdminGetUser", &|_| {}, false),
        ("ListUsers", &list, false),
        ("AdminListGroupsForUser", &group, true),
    ];
    let checks = table.map(|(operation, change, include_groups)| async move {
        let app = App::start_with_config(|config| {
            config.limits.request_timeout = Duration::from_secs(60);
            config.budget.user_reads_per_second = Some(100);
            config.budget.lists_per_second = Some(100);
            config.budget.group_reads_per_second = Some(50);
            config.pools[0].federated = false;
            change(config);
        })
        .await;
        app.cognito.set_travel_time(Duration::from_millis(60));
        let most = if include_groups { 50 } else { 100 };
        let people = put_cold_users(&app, 4 * most);
        let address = app.address;
        let batches = people.chunks(people.len() / 10).map(|subs| async move {
            let mut users = UserServiceClient::new(connect(address).await);
            let request = BatchGetUsersRequest { subs: subs.to_vec(), include_groups, ..Default::default() };
            users.batch_get_users(request).await.unwrap().into_inner().results
        });
        let results = join_all(batches).await.concat();
        let found = results.iter().filter(|result| matches!(result.result, Some(Item::Found(_)))).count();
        assert_eq!(found, people.len(), "{operation}");
        let arrivals = app.cognito.call_times(operation);
        let peak = most_in_a_second(&arrivals);
        assert!(peak <= most && peak >= most * 4 / 5, "{operation}: {peak} calls in a second");
        let span = *arrivals.last().unwrap() - arrivals[0];
        assert!(span < Duration::from_secs(8), "{operation}: most of the limit is used, {span:?}");
    });
    join_all(checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_at_cognito_holds_more_than_ten_reads_of_one_user() {
    let app = App::start().await;
    app.cognito.set_travel_time(Duration::from_millis(60));
    let until = Instant::now() + Duration::from_secs(3);
    let insisting = (0..20).map(|_| async {
        while Instant::now() < until {
            let request = GetUserRequest { freshness: max_age(0), ..about(ADA) };
            drop(app.get_user(Request::new(request)).await);
        }
    });
    join_all(insisting).await;
    let arrivals = app.cognito.call_times("AdminGetUser");
    assert!(most_in_a_second(&arrivals) <= 10 && arrivals.len() >= 20, "{} calls", arrivals.len());
}

/// A call that times out may have arrived late, and a retry follows it.
#[tokio::test(flavor = "multi_thread")]
async fn no_second_at_cognito_holds_more_calls_than_the_limit_while_it_hangs() {
    let app = App::start_with_config(|config| {
        config.limits.request_timeout = Duration::from_secs(20);
        config.budget.user_reads_per_second = Some(20);
    })
    .await;
    app.cognito.set_travel_time(Duration::from_millis(1500));
    let people = put_cold_users(&app, 50);
    let users = UserServiceClient::new(app.channel.clone());
    let asking = people.iter().map(|sub| {
        let mut users = users.clone();
        async move { users.get_user(about(sub)).await.is_ok() }
    });
    let found = join_all(asking).await.into_iter().filter(|is_found| *is_found).count();
    let arrivals = app.cognito.call_times("AdminGetUser");
    assert!(most_in_a_second(&arrivals) <= 20 && found > 20, "{found} found, {} calls", arrivals.len());
}

/// Forty loops of another caller's batches of unknown users leave no room in the queue.
#[tokio::test(flavor = "multi_thread")]
async fn single_reads_beside_another_callers_batches_are_answered_and_the_batches_use_the_rest() {
    let app = App::start_with_config(with_job).await;
    let people = put_cold_users(&app, 60);
    let mut loops = JoinSet::new();
    for n in 0..40 {
        let mut users = UserServiceClient::new(connect_as_job(&app).await);
        loops.spawn(async move {
            for round in 0.. {
                let subs = (0..100).map(|m| format!("unknown-{n}-{round}-{m}")).collect();
                drop(users.batch_get_users(BatchGetUsersRequest { subs, ..Default::default() }).await);
            }
        });
    }
    app.cognito.wait_for_calls("AdminGetUser", 200).await;
    let (begun, calls) = (Instant::now(), app.cognito.calls("AdminGetUser"));
    let asking = people.iter().enumerate().map(|(n, sub)| {
        let app = &app;
        async move {
            sleep(Duration::from_millis(50) * u32::try_from(n).unwrap()).await;
            timeout(Duration::from_secs(1), app.get_by_sub(sub)).await.is_ok_and(|answer| answer.is_ok())
        }
    });
    let answered = join_all(asking).await.into_iter().filter(|is_answered| *is_answered).count();
    assert!(answered >= 57, "{answered} of 60 answered within a second");
    let (calls, seconds) = (app.cognito.calls("AdminGetUser") - calls, begun.elapsed().as_secs_f64());
    assert!(calls as f64 >= 0.8 * 96.0 * seconds, "{calls} calls in {seconds} s");
    assert!(most_in_a_second(&app.cognito.call_times("AdminGetUser")) <= 96);
    loops.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_reads_come_before_batches_of_the_same_caller() {
    let app = App::start_with_config(|config| {
        config.budget.user_reads_per_second = Some(20);
        config.pools[0].federated = false;
    })
    .await;
    let people = put_cold_users(&app, 10);
    let unknown = (0..80).map(|n| format!("unknown-{n}")).collect();
    let mut users = UserServiceClient::new(connect(app.address).await);
    let batch = users.batch_get_users(BatchGetUsersRequest { subs: unknown, ..Default::default() });
    let asking = async {
        app.cognito.wait_for_calls("AdminGetUser", 5).await;
        let app = &app;
        join_all(people.iter().map(|sub| async move {
            let begun = Instant::now();
            app.get_by_sub(sub).await.map(|_| begun.elapsed())
        }))
        .await
    };
    let (batch, times) = tokio::join!(batch, asking);
    let soon = times.iter().filter(|time| time.as_ref().is_ok_and(|time| *time < Duration::from_secs(2)));
    assert_eq!(soon.count(), 10, "{times:?}");
    let results = batch.unwrap().into_inner().results;
    let ended = |wanted: Code| {
        let is = |item: &Item| matches!(item, Item::Error(status) if status.code == i32::from(wanted));
        results.iter().filter(|result| result.result.as_ref().is_some_and(is)).count()
    };
    assert!(ended(Code::NotFound) >= 20 && ended(Code::ResourceExhausted) > 0, "the batch gets the rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_one_caller_delays_no_other_that_asks_for_the_same_user() {
    let app = App::start_with_config(|config| {
        with_job(config);
        config.callers[2].misses_per_second = Some(1);
    })
    .await;
    let people = put_cold_users(&app, 3);
    let job = UserServiceClient::new(connect_as_job(&app).await);
    let slow = join_all(people.iter().map(|sub| {
        let mut job = job.clone();
        async move { job.get_user(about(sub)).await }
    }));
    let quick = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        let last = app.get_by_sub(&people[2]).await.map(|_| begun.elapsed());
        (last, app.get_by_sub(&people[1]).await.map(|_| begun.elapsed()))
    };
    let begun = Instant::now();
    let (slow, (last, second)) = tokio::join!(slow, quick);
    // The third call of the job itself would begin after two seconds.
    assert!(last.unwrap() < Duration::from_millis(1500) && second.is_ok());
    assert!(slow.iter().all(Result::is_ok) && begun.elapsed() < Duration::from_millis(1900));
    assert_eq!(app.cognito.calls("AdminGetUser"), 3);
}

type Change<'a> = &'a dyn Fn(&mut Config);

/// Adds users that are not cached, and returns their `sub`s.
fn put_cold_users(app: &App, size: usize) -> Vec<String> {
    let people: Vec<_> = (0..size).map(|n| User::local(format!("person-{n}"), "x")).collect();
    let subs = people.iter().map(|person| person.sub.clone()).collect();
    people.into_iter().for_each(|person| app.cognito.put_user(person));
    subs
}

/// Adds a third caller, which calls from 127.0.0.2.
fn with_job(config: &mut Config) {
    config.pools[0].federated = false;
    config.callers.push(CallerSettings {
        name: "job".into(),
        network: vec!["127.0.0.2/32".into()],
        reads: Reads::Any,
        attributes: vec!["name".into()],
        ..CallerSettings::default()
    });
}

async fn connect_as_job(app: &App) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", app.address)).unwrap();
    endpoint.local_address(Some(IpAddr::from(Ipv4Addr::new(127, 0, 0, 2)))).connect().await.unwrap()
}

/// Returns how many calls arrived within the second that has the most.
fn most_in_a_second(arrivals: &[Instant]) -> usize {
    let within = |first: &Instant| {
        let of_second = |at: &&Instant| **at >= *first && **at - *first < Duration::from_secs(1);
        arrivals.iter().filter(of_second).count()
    };
    arrivals.iter().map(within).max().unwrap_or(0)
}
