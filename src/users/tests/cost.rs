//! Which calls are made: each costs quota, and a lookup of a dormant user costs money.

use serde_json::json;
use tokio::time::sleep;

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
};
use crate::{
    config::{self, PoolSettings},
    pool::BareSubLookup,
};

#[tokio::test(start_paused = true)]
async fn the_rate_limit_follows_the_reported_quota() {
    let lab = Lab::start(|_, budget| budget.lists_per_second = Some(7));
    let cognito = lab.users.cognito(&lab.pool.id).unwrap();
    lab.respond(|_| (NEAR, Lab::error("AccessDeniedException")));
    cognito.clone().learn_quotas().await;
    assert_eq!(cognito.limiter().rates(), [96, 7, 40], "GetProvisionedLimit is denied");
    lab.respond(|request| {
        let definition = &request.input["LimitDefinition"];
        assert_eq!(definition["LimitClass"], "API_CATEGORY");
        let limit = match definition["Attributes"]["Category"].as_str() {
            Some("UserRead") => 500,
            Some("UserList") => 30,
            _ => 0,
        };
        let limit = json!({"Limit": {"ProvisionedLimitValue": limit, "FreeLimitValue": 120}});
        (NEAR, Reply::Answer(200, limit.to_string()))
    });
    cognito.clone().learn_quotas().await;
    assert_eq!(
        cognito.limiter().rates(),
        [400, 7, 40],
        "a configured rate stays, and a quota of 0 is ignored"
    );
    // LimitManagement allows one call a second.
    lab.assert_within(1);
}

#[tokio::test]
async fn pools_of_one_account_and_region_share_a_rate_limit() {
    let pool = |id: &str, account: Option<&str>| PoolSettings {
        id: id.into(),
        app_clients: vec!["client1".into()],
        account: account.map(Into::into),
        credentials: config::AwsCredentials::Placeholder,
        endpoint_url: Some("http://127.0.0.1:1".into()),
        ..PoolSettings::default()
    };
    let own = Some("123456789012");
    let settings = [
        ("eu-west-1_A", None),
        ("eu-west-1_B", None),
        ("eu-west-1_C", own),
        ("eu-west-1_D", own),
        ("us-east-1_E", None),
    ];
    let pools = settings.map(|(id, account)| pool(id, account)).into();
    let config = config::Config { pools, ..config::Config::default() };
    let pools = Pools::read(&config, &mut config::ErrorCollector::new(&config)).unwrap();
    let (metrics, outgoing) = (Metrics::new(), Outgoing::default());
    let users =
        Users::connect(&pools, &config.cache, &config.budget, no_tokens(), None, &metrics, &outgoing).await;
    let budget = |id: &str| Arc::as_ptr(users.cognito(&id.parse().unwrap()).unwrap().limiter());
    assert_eq!(budget("eu-west-1_A"), budget("eu-west-1_B"));
    assert_eq!(budget("eu-west-1_C"), budget("eu-west-1_D"));
    assert_ne!(budget("eu-west-1_A"), budget("eu-west-1_C"));
    assert_ne!(budget("eu-west-1_A"), budget("us-east-1_E"));
}

#[tokio::test(start_paused = true)]
async fn a_dormant_user_is_never_fetched() {
    let lab = Lab::start(|_, _| {});
    for n in 0..50 {
        lab.ask(&format!("dormant-{n}")).await.unwrap();
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(lab.calls(), 50, "no refresh without a hit");
    for n in 0..50 {
        lab.ask(&format!("dormant-{n}")).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lab.calls(), 100);
    sleep(Duration::from_secs(40)).await;
    for _ in 0..100 {
        lab.ask("dormant-0").await.unwrap();
    }
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(lab.calls(), 101, "one refresh for a hundred hits");
}

#[tokio::test(start_paused = true)]
async fn a_pool_with_list_users_makes_no_user_active() {
    let lab = Lab::of(BareSubLookup::ListUsers, |_, _| {});
    for _ in 0..20 {
        lab.ask("dormant").await.unwrap();
        sleep(Duration::from_secs(20)).await;
    }
    assert!(lab.calls() >= 5 && lab.operations().iter().all(|name| name == "ListUsers"));
}
