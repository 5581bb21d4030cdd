//! Reads the settings of the queue, and reports everything that is wrong with them.

use std::{fmt::Display, time::Duration};

use http::Uri;

use super::{fields, queue_url::QueueUrl};
use crate::config::{
    AwsCredentials, Config, ErrorCollector, EventCatchUp, EventScope, EventsSettings, RevocationCause,
};

/// The validated settings of `[events]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventsConfig {
    /// The queue.
    pub queue_url: QueueUrl,
    /// The Region that calls are signed for.
    pub region: String,
    /// The endpoint of SQS, where it is not that of the Region.
    pub endpoint_url: Option<String>,
    /// Which replicas a message reaches.
    pub scope: EventScope,
    /// By how much clocks may differ.
    pub skew: Duration,
    /// How long no receive may succeed before the service warns.
    pub stale_after: Duration,
    /// How the changes before the start are looked up; none if they are not.
    pub catch_up: Option<CatchUpConfig>,
    /// The changes that revoke the user's tokens.
    pub revoke_on: Vec<RevocationCause>,
    /// The credentials that sign calls.
    pub credentials: AwsCredentials,
}

/// The validated settings of the changes before the start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CatchUpConfig {
    /// The endpoint of CloudTrail, where it is not that of the Region.
    pub endpoint_url: Option<String>,
    /// How long ago a change may be.
    pub since: Duration,
    /// How long an entry is cached, at most.
    pub cached_for: Duration,
}

impl EventsConfig {
    /// Reads the settings. Returns none if no queue is set, and on errors, which are added to
    /// `errors`.
    pub fn read(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let settings = &config.events;
        let Some(url) = &settings.queue_url else {
            if has_other_settings(settings) {
                errors.add("events.queue_url", "must be set to use the other events settings");
            }
            return None;
        };
        let scope = scope(config, errors);
        let queue_url: Option<QueueUrl> = errors.parsed("events.queue_url", url);
        let endpoint_url = settings.endpoint_url.as_deref().map(|url| endpoint("endpoint_url", url, errors));
        let catch_up = catch_up(config, errors);
        let region = region(settings, queue_url.as_ref(), errors);
        Some(Self {
            queue_url: queue_url?,
            region: region?,
            endpoint_url: endpoint_url.map_or(Some(None), |url| url.map(Some))?,
            scope: scope?,
            skew: settings.skew,
            stale_after: settings.stale_after,
            catch_up: catch_up?,
            revoke_on: config.revocation.on.clone(),
            credentials: settings.credentials,
        })
    }
}

/// Returns whether a setting is set that has no effect without a queue. Those that only bound
/// something do not count, as in the other sections.
fn has_other_settings(settings: &EventsSettings) -> bool {
    let EventsSettings { region, endpoint_url, scope, catch_up, cloudtrail_endpoint_url, .. } = settings;
    [region, endpoint_url, cloudtrail_endpoint_url].into_iter().any(Option::is_some)
        || *scope != EventScope::Shared
        || *catch_up != EventCatchUp::Off
}

/// A message reaches one replica only. So with one queue for all of them, that one must be able to
/// tell the others.
fn scope(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<EventScope> {
    let (scope, shared) = (config.events.scope, &config.shared_cache);
    if scope == EventScope::Shared && shared.url.is_none() && shared.urls.is_empty() {
        return refuse(errors, "scope", NOT_SHARED);
    }
    Some(scope)
}

fn region(
    settings: &EventsSettings,
    queue_url: Option<&QueueUrl>,
    errors: &mut ErrorCollector<'_>,
) -> Option<String> {
    if let Some(region) = settings.region.as_deref() {
        let known = fields::region(region).map(ToOwned::to_owned);
        return known.or_else(|| {
            refuse(errors, "region", format!("{region:?} is not a Region; expected one such as eu-west-1"))
        });
    }
    let region = queue_url?.region().map(ToOwned::to_owned);
    region.or_else(|| refuse(errors, "region", "must be set: events.queue_url does not name a Region"))
}

/// Returns the settings of the changes before the start, if they are looked up; none on an error.
fn catch_up(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<Option<CatchUpConfig>> {
    let field = "cloudtrail_endpoint_url";
    let url = config.events.cloudtrail_endpoint_url.as_deref().map(|url| endpoint(field, url, errors));
    let endpoint_url = url.map_or(Some(None), |url| url.map(Some))?;
    // An event may be in CloudTrail a little later, and tokens are accepted with some leeway.
    let since = config.revocation.token_lifetime + Duration::from_secs(60);
    let cached_for = config.cache.usable_for * 11 / 10;
    let is_on = config.events.catch_up == EventCatchUp::Cloudtrail;
    Some(is_on.then_some(CatchUpConfig { endpoint_url, since, cached_for }))
}

fn endpoint(field: &str, url: &str, errors: &mut ErrorCollector<'_>) -> Option<String> {
    let uri = url.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    let Some(authority) = uri.as_ref().and_then(Uri::authority) else {
        return refuse(errors, field, "is not an http or https URL");
    };
    // They would be logged with the URL.
    if authority.as_str().contains('@') {
        return refuse(errors, field, "must not hold a user name or password");
    }
    Some(url.to_owned())
}

fn refuse<T>(errors: &mut ErrorCollector<'_>, field: &str, problem: impl Display) -> Option<T> {
    errors.add(format!("events.{field}"), problem);
    None
}

const NOT_SHARED: &str = "is \"shared\", which needs shared_cache.url, because a message reaches one replica only; \
                          set \"own\" if there is one replica, or each has a queue of its own";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    /// Loads settings, a line each, and reads them.
    fn read(lines: &str) -> (Option<EventsConfig>, Vec<String>) {
        let lines = lines.lines().filter_map(|line| line.trim().split_once(" = "));
        let environment = lines.map(|(key, value)| {
            (format!("COGNITO_LOOKUP_{}", key.to_uppercase().replace('.', "__")).into(), value.into())
        });
        let config =
            Config::load(Sources { environment: environment.collect(), ..Sources::default() }).unwrap();
        let mut errors = ErrorCollector::new(&config);
        let read = EventsConfig::read(&config, &mut errors);
        let keys = errors.into_errors().into_iter().map(|error| format!("{}: {}", error.key, error.message));
        (read, keys.collect())
    }

    const QUEUE: &str = "events.queue_url = https://sqs.eu-west-1.amazonaws.com/123456789012/q\n";
    const OWN: &str = "events.scope = own\n";

    #[test]
    fn a_queue_and_a_scope_suffice() {
        let (config, errors) = read(&format!("{QUEUE}{OWN}"));
        let config = config.unwrap_or_else(|| panic!("{errors:?}"));
        assert_eq!((config.region.as_str(), config.scope), ("eu-west-1", EventScope::Own));
        assert_eq!((config.skew, config.stale_after), (Duration::from_secs(2), Duration::from_secs(600)));
        let shared = "shared_cache.url = redis://127.0.0.1:1";
        assert_eq!(read(&format!("{QUEUE}{shared}")).0.map(|config| config.scope), Some(EventScope::Shared));
    }

    #[test]
    fn what_is_looked_up_at_the_start_is_as_old_as_a_token_can_be() {
        let catch_up = |lines: &str| read(&format!("{QUEUE}{OWN}{lines}")).0.unwrap().catch_up;
        assert_eq!(catch_up(""), None);
        assert_eq!(catch_up("events.cloudtrail_endpoint_url = http://a"), None);
        let lines = "events.catch_up = cloudtrail\nrevocation.token_lifetime = 1h\n\
                     events.cloudtrail_endpoint_url = http://a";
        let expected = CatchUpConfig {
            endpoint_url: Some("http://a".to_owned()),
            since: Duration::from_secs(3660),
            cached_for: Duration::from_secs(990),
        };
        assert_eq!(catch_up(lines), Some(expected));
        let (config, errors) = read(&format!("{QUEUE}{OWN}events.cloudtrail_endpoint_url = a"));
        assert!(config.is_none());
        assert_eq!(errors, ["events.cloudtrail_endpoint_url: is not an http or https URL"]);
    }

    #[test]
    fn the_changes_that_revoke_tokens_are_read() {
        use RevocationCause::{Disabled, Erased, Password, SignedOut};
        for (lines, expected) in [
            ("", &[SignedOut, Disabled, Erased][..]),
            ("revocation.on = password, signed_out", &[Password, SignedOut]),
        ] {
            let (config, errors) = read(&format!("{QUEUE}{OWN}{lines}"));
            assert_eq!(config.unwrap_or_else(|| panic!("{errors:?}")).revoke_on, expected);
        }
    }

    #[test]
    fn every_setting_is_read() {
        let lines =
            "events.queue_url = http://127.0.0.1:9229/123456789012/user-changes\nevents.region = eu-west-2
            events.endpoint_url = http://127.0.0.1:9229\nevents.scope = own\nevents.skew = 5s\nevents.stale_after = 2min";
        let (config, errors) = read(lines);
        let config = config.unwrap_or_else(|| panic!("{errors:?}"));
        assert_eq!(config.endpoint_url.as_deref(), Some("http://127.0.0.1:9229"));
        assert_eq!((config.region.as_str(), config.scope), ("eu-west-2", EventScope::Own));
        assert_eq!((config.skew, config.stale_after), (Duration::from_secs(5), Duration::from_secs(120)));
    }

    #[test]
    fn without_a_queue_there_are_no_events() {
        for harmless in ["", "events.skew = 1s\nevents.stale_after = 1h"] {
            assert_eq!(read(harmless), (None, Vec::new()));
        }
        let useless = ["events.catch_up = cloudtrail", "events.cloudtrail_endpoint_url = http://a"];
        let useless =
            [OWN, "events.region = eu-west-1", "events.endpoint_url = http://a"].into_iter().chain(useless);
        for useless in useless {
            let expected = "events.queue_url: must be set to use the other events settings";
            assert_eq!(read(useless), (None, vec![expected.to_owned()]), "{useless}");
        }
    }

    #[test]
    fn every_mistake_is_reported() {
        let cases = [
            (QUEUE.to_owned(), "events.scope: is \"shared\", which needs shared_cache.url"),
            (
                format!("{OWN}events.queue_url = queue"),
                "events.queue_url: \"queue\" is not the URL of a queue",
            ),
            (
                format!("{OWN}events.queue_url = http://127.0.0.1/123456789012/q"),
                "events.region: must be set",
            ),
            (format!("{QUEUE}{OWN}events.region = Ireland"), "events.region: \"Ireland\" is not a Region"),
            (format!("{QUEUE}{OWN}events.endpoint_url = ftp://a"), "events.endpoint_url: is not an http"),
            (
                format!("{QUEUE}{OWN}events.endpoint_url = http://u:p@a"),
                "events.endpoint_url: must not hold a user",
            ),
        ];
        for (lines, expected) in cases {
            let (config, errors) = read(&lines);
            assert!(config.is_none() && errors.len() == 1, "{errors:?}");
            assert!(errors[0].starts_with(expected), "{errors:?}");
        }
    }
}
