use super::{
    super::{ConfigErrors, Sources, error::DERIVED_KEYS, value_source::PREFIX},
    *,
};

#[test]
fn a_single_pool_is_expanded_with_its_sources() {
    let config =
        load(&[("USER_POOL_ID", "eu-west-1_A"), ("APP_CLIENTS", "one,two"), ("ATTRIBUTES", "name")]).unwrap();
    assert_eq!(config.pools.len(), 1);
    assert_eq!(config.pools[0].id, "eu-west-1_A");
    assert_eq!(config.pools[0].app_clients, ["one", "two"]);
    let callers: Vec<_> =
        config.callers.iter().map(|caller| (&*caller.name, caller.app_client.as_deref())).collect();
    assert_eq!(callers, [("one", Some("one")), ("two", Some("two"))]);
    assert!(config.callers.iter().all(|caller| caller.attributes == ["name"]));
    let value_source = |key: &str| config.value_source(key).to_string();
    assert_eq!(value_source("pools[0].id"), "environment variable COGNITO_LOOKUP_USER_POOL_ID");
    assert_eq!(value_source("callers[1].attributes[0]"), "environment variable COGNITO_LOOKUP_ATTRIBUTES");
    assert_eq!(value_source("callers[1].app_client"), "environment variable COGNITO_LOOKUP_APP_CLIENTS");
}

#[test]
fn the_single_pool_may_be_an_emulator() {
    let config = load(&[
        ("USER_POOL_ID", "local_A"),
        ("APP_CLIENTS", "one"),
        ("ATTRIBUTES", "name"),
        ("POOLS__0__ENDPOINT_URL", "http://127.0.0.1:9229"),
    ]);
    let pool = config.unwrap().pools.remove(0);
    assert_eq!((&*pool.id, pool.endpoint_url.as_deref()), ("local_A", Some("http://127.0.0.1:9229")));
}

#[test]
fn a_missing_key_is_an_error() {
    let keys = |variables: &[(&str, &str)]| {
        load(variables).unwrap_err().iter().map(|error| error.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&[("USER_POOL_ID", "eu-west-1_A")]), ["app_clients", "attributes"]);
    assert_eq!(keys(&[("ATTRIBUTES", "name")]), ["user_pool_id", "app_clients"]);
    let both = [("USER_POOL_ID", "a"), ("APP_CLIENTS", "a"), ("ATTRIBUTES", "a"), ("POOLS__0__ID", "b")];
    assert_eq!(keys(&both), ["user_pool_id"]);
}

#[test]
fn a_single_pool_with_other_pools_is_one_error() {
    let two = [("USER_POOL_ID", "a"), ("POOLS__0__ID", "b")];
    let one = [("ATTRIBUTES", "name"), ("POOLS__0__ID", "b"), ("POOLS__1__ID", "c")];
    for (variables, key) in [(&two[..], "user_pool_id"), (&one, "attributes")] {
        let text = "is for a single pool, and [[pools]] is set too; use one of the two";
        let expected = format!("{key}: {text} (from environment variable {PREFIX}{})", key.to_uppercase());
        assert_eq!(load(variables).unwrap_err().to_string(), expected);
    }
}

#[test]
fn other_modules_do_not_repeat_its_errors() {
    let beside = ("POOLS__0__ENDPOINT_URL", "ftp://x");
    for variables in [
        &[("USER_POOL_ID", "eu-west-1_A"), beside][..],
        &[("USER_POOL_ID", "eu-west-1_A"), ("APP_CLIENTS", "a,,b"), ("ATTRIBUTES", "name"), beside],
        &[("USER_POOL_ID", "eu-west-1_A"), ("POOLS__0__ID", "eu-west-1_B"), beside],
    ] {
        let config = read(variables).unwrap();
        let own = config.errors.len();
        let mut collector = ErrorCollector::new(&config);
        for key in DERIVED_KEYS.into_iter().chain(["pools[0].endpoint_url", "callers[0].name"]) {
            collector.add(key, "is wrong");
        }
        assert_eq!(collector.finish(Some(())).unwrap_err().iter().count(), own + 2, "{variables:?}");
    }
    let none = Config::default();
    let mut collector = ErrorCollector::new(&none);
    collector.add("pools", "is wrong");
    assert!(collector.finish(Some(())).is_err(), "without a single pool it is reported");
}

fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    read(variables).and_then(Config::validated)
}

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let environment = variables.iter().map(|(name, value)| (format!("{PREFIX}{name}").into(), value.into()));
    Config::load(Sources { environment: environment.collect(), ..Sources::default() })
}
