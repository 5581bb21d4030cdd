use std::time::Duration;

use cognito_standin::Fault as CognitoFault;
use tokio::time::{Instant, sleep};

use super::book::USERS;
use crate::{
    replicas::{
        fleet::{Fleet, sub},
        outage::Outage,
        replica::Replica,
    },
    store::server::Server,
    support::{
        about,
        certificates::{Authority, Identity},
        failure, max_age,
    },
};

/// What happens next.
#[derive(Debug)]
pub(super) enum Turn {
    Store(Outage),
    Cognito(CognitoFault),
    CognitoStopped,
    /// The pool gets another signing key.
    SigningKey,
    /// Other keys seal what is in the store; the files are read on a SIGHUP.
    ValueKeys([&'static str; 2]),
    /// The replicas present another certificate; the files are read on a SIGHUP.
    Certificate,
    Hangup,
}

impl Turn {
    pub(super) fn any(random: &mut fastrand::Rng) -> Self {
        use CognitoFault::{AccessDenied, Delay, Hang, Reset, ServerError, Throttle, WrongUser};
        let another = format!("member-{}", random.usize(..USERS));
        let faults = [
            Delay(Duration::from_millis(800)),
            Throttle,
            ServerError,
            AccessDenied,
            Reset,
            Hang,
            WrongUser(another),
        ];
        match random.u8(..20) {
            0..8 => Self::Store(*random.choice(&Outage::ALL).unwrap()),
            8..15 => Self::Cognito(random.choice(faults).unwrap()),
            15 => Self::CognitoStopped,
            16 => Self::SigningKey,
            17 => Self::ValueKeys(*random.choice(&[["one", "two"], ["two", "one"]]).unwrap()),
            18 => Self::Certificate,
            _ => Self::Hangup,
        }
    }

    pub(super) async fn begin(&self, store: &mut Server, fleet: &Fleet, authority: &Authority) {
        match self {
            Self::Store(outage) => outage.begin(store, fleet).await,
            Self::Cognito(fault) => fleet.cognito.inject("AdminGetUser", fault.clone()),
            Self::CognitoStopped => fleet.cognito.stop().unwrap(),
            Self::SigningKey => fleet.cognito.rotate_access_key().unwrap(),
            Self::ValueKeys(names) => {
                fleet.write_keys(*names);
                reload(fleet);
            }
            Self::Certificate => {
                write_certificate(fleet, authority);
                reload(fleet);
            }
            Self::Hangup => reload(fleet),
        }
    }

    pub(super) async fn end(&self, store: &mut Server, fleet: &Fleet) {
        match self {
            Self::Store(outage) => outage.end(store, fleet).await,
            Self::Cognito(_) => fleet.cognito.clear_faults("AdminGetUser"),
            Self::CognitoStopped => fleet.cognito.resume().unwrap(),
            Self::SigningKey | Self::ValueKeys(_) | Self::Certificate | Self::Hangup => {}
        }
    }
}

fn reload(fleet: &Fleet) {
    fleet.replicas.iter().for_each(|replica| replica.process.signal("HUP"));
}

/// Writes the certificate of the replicas, and its key.
pub(super) fn write_certificate(fleet: &Fleet, authority: &Authority) {
    let Identity { certificate, key } = authority.server();
    fleet.write("server.pem", &certificate);
    fleet.write("server.key", &key);
}

/// Waits until every replica uses the store, has published its revocations, hears of those of the others,
/// and reads users from Cognito. Returns how long that took, or what has not happened in this time.
pub(super) async fn recovered(fleet: &Fleet, within: Duration) -> Result<Duration, &'static str> {
    let begun = Instant::now();
    let [first, ..] = &fleet.replicas[..] else { panic!("no replica") };
    // A user that the clients leave alone.
    let probe = USERS;
    let token = fleet.cognito.access_token(&format!("member-{probe}")).unwrap();
    for replica in &fleet.replicas {
        wait("connected", begun, within, async || replica.is_connected().await).await?;
        wait("published", begun, within, async || unpublished(replica).await == 0.0).await?;
    }
    wait("able to revoke", begun, within, async || {
        first.revoke(&sub(probe)).await.is_ok_and(|answer| answer.reached_all_replicas)
    })
    .await?;
    for replica in &fleet.replicas {
        wait("told of a revocation", begun, within, async || is_refused(replica, &token).await).await?;
        wait("able to read a user", begun, within, async || reads(replica, probe).await).await?;
    }
    Ok(begun.elapsed())
}

pub(super) async fn wait(
    what: &'static str,
    begun: Instant,
    within: Duration,
    is_so: impl AsyncFn() -> bool,
) -> Result<(), &'static str> {
    while !is_so().await {
        if begun.elapsed() > within {
            return Err(what);
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn unpublished(replica: &Replica) -> f64 {
    let metrics = replica.metrics().await;
    let mut values =
        metrics.lines().filter_map(|line| line.strip_prefix("cognito_lookup_revocations_unpublished "));
    values.next().map_or(0.0, |value| value.parse().unwrap())
}

async fn is_refused(replica: &Replica, token: &str) -> bool {
    replica.get_by_token(token).await.is_err_and(|status| failure(&status).1 == "TOKEN_REVOKED")
}

async fn reads(replica: &Replica, user: usize) -> bool {
    let request = cognito_lookup::proto::GetUserRequest { freshness: max_age(0), ..about(&sub(user)) };
    replica.get_user(request).await.is_ok()
}
