use std::time::Duration;

use cognito_standin::StandIn;
use tokio::time::{Instant, sleep};

use super::{demand::Demand, outage::Outage, received::Received};
use crate::{
    replicas::{
        fleet::{Fleet, pool},
        replica::until,
        settings::Settings,
    },
    store::{pair::Pair, proxy::Proxy, server::Engine},
};

/// Three replicas of two pools under load, and their store.
pub(super) struct Proof {
    pub(super) demand: Demand,
    /// When the load began.
    pub(super) begun: Instant,
    fleet: Fleet,
    second: StandIn,
    pair: Pair,
}

/// Whether the replicas share the limit, and the most replicas that there may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sharing {
    Shared(usize),
    Own,
}

/// What counts the calls of a replica, as its metric says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    Shared,
    CutOff,
    Warm,
    Own,
}

impl Proof {
    /// Starts the replicas with this limit, and this time limit of a call to the store, and ten times the
    /// load.
    pub(super) async fn start(limit: usize, sharing: Sharing, timeout: Duration) -> Self {
        let pair = Pair::start(Engine::Valkey).await;
        let mut fleet = Fleet::without_replicas(pair.primary.address);
        let second = pool("eu-west-1_Sandbox02");
        for cognito in [&fleet.cognito, &second] {
            cognito.set_travel_time(Duration::from_millis(30));
        }
        for _ in 0..3 {
            fleet.proxies.push(Proxy::start(pair.primary.address).await);
        }
        let (scope, replicas_at_most) = match sharing {
            Sharing::Shared(replicas_at_most) => ("", replicas_at_most),
            Sharing::Own => ("scope = \"own\"", 3),
        };
        let settings = Settings {
            // A user is soon unknown again.
            cache: "fresh_for = \"1s\"\nusable_for = \"1s\"\n".to_owned(),
            shared_cache: format!("replicas_at_most = {replicas_at_most}\ntimeout = \"{timeout:?}\"\n"),
            budget: format!("{scope}\nuser_reads_per_second = {limit}\n"),
            tables: format!("{}[audit]\nsink = \"off\"\n", further_pool(&second)),
            ..Settings::of_production()
        };
        fleet.start_replicas(&settings).await;
        fleet.connected().await;
        let begun = Instant::now();
        let demand = Demand::start(&fleet, [&fleet.cognito, &second], 10 * limit);
        Self { demand, begun, fleet, second, pair }
    }

    pub(super) fn received(&self) -> Received {
        Received::by(&[&self.fleet.cognito, &self.second])
    }

    /// Waits until all replicas share the limit, and no call of an allowance counts any more.
    pub(super) async fn shares(&self) {
        until("shared", async || {
            // The metrics cost the replicas more than their calls.
            sleep(Duration::from_millis(200)).await;
            self.scopes().await == [Scope::Shared; 3]
        })
        .await;
        sleep(Duration::from_millis(1_200)).await;
    }

    pub(super) async fn scopes(&self) -> Vec<Scope> {
        let mut scopes = Vec::new();
        for replica in &self.fleet.replicas {
            let metrics = replica.metrics().await;
            let is_set = |scope: &Scope| {
                let label = format!("scope=\"{scope:?}\"");
                let mut series =
                    metrics.lines().filter(|line| line.starts_with(SCOPE) && line.contains(&label));
                series.any(|line| line.ends_with(" 1"))
            };
            scopes.extend([Scope::Shared, Scope::CutOff, Scope::Warm, Scope::Own].into_iter().find(is_set));
        }
        scopes
    }

    pub(super) async fn begin(&mut self, outage: Outage) {
        outage.begin(&mut self.pair, &self.fleet).await;
    }

    pub(super) async fn end(&mut self, outage: Outage) {
        outage.end(&mut self.pair, &mut self.fleet).await;
    }

    /// Waits until a second after `since` has had so many calls. Returns how long after it that began.
    pub(super) async fn recovered(&self, since: Instant, calls: usize) -> Duration {
        until("recovered", async || self.received().time_until(since, calls).is_some()).await;
        self.received().time_until(since, calls).unwrap()
    }

    /// Returns the most calls in a second while no replica reaches the store, and none of its grants is
    /// on its way any more.
    pub(super) async fn calls_alone(&self) -> usize {
        sleep(Duration::from_secs(1)).await;
        let alone = Instant::now();
        sleep(Duration::from_millis(1_500)).await;
        self.received().most(&(alone..Instant::now()))
    }

    /// Waits until a second has had more calls.
    pub(super) async fn sees_more_than(&self, calls: usize) {
        self.recovered(self.begun, calls + 1).await;
    }
}

fn further_pool(cognito: &StandIn) -> String {
    let (id, issuer) = (cognito.pool_id(), cognito.issuer());
    let (jwks, endpoint) = (cognito.jwks_url(), cognito.endpoint_url());
    format!(
        "[[pools]]\nid = {id:?}\nissuer = {issuer:?}\njwks_url = {jwks:?}\nendpoint_url = {endpoint:?}\n\
         app_clients = [\"another\"]\n"
    )
}

const SCOPE: &str = "cognito_lookup_upstream_budget_scope";
