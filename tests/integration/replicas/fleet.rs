use std::{fs, net::SocketAddr, os::unix::fs::symlink};

use cognito_lookup::proto::Source;
use cognito_standin::{Pool, StandIn, User};
use tempfile::TempDir;

use super::{
    replica::{Replica, until},
    settings::Settings,
};
use crate::{
    store::{
        proxy::{Fault, Proxy},
        server::Server,
    },
    support::{process::Process, source},
};

/// Processes of the service that share a store, each through a proxy of its own.
pub(crate) struct Fleet {
    pub(crate) cognito: StandIn,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) proxies: Vec<Proxy>,
    store: SocketAddr,
    folder: TempDir,
}

impl Fleet {
    /// Starts three replicas, and waits until they use the store and follow its events.
    pub(crate) async fn start(store: &Server, settings: &Settings) -> Self {
        Self::start_some(3, store, settings).await
    }

    pub(crate) async fn start_some(replicas: usize, store: &Server, settings: &Settings) -> Self {
        let mut fleet = Self::without_replicas(store.address);
        for _ in 0..replicas {
            fleet.proxies.push(Proxy::start(store.address).await);
        }
        fleet.start_replicas(settings).await;
        fleet.connected().await;
        fleet.follows().await;
        fleet
    }

    /// Makes what the replicas need.
    pub(crate) fn without_replicas(store: SocketAddr) -> Self {
        let cognito = pool("eu-west-1_Sandbox01");
        let folder = TempDir::new().unwrap();
        let fleet = Self { cognito, replicas: Vec::new(), proxies: Vec::new(), store, folder };
        for name in ["index", "value", "other"] {
            fleet.write(name, &key(name));
        }
        fleet
    }

    /// Starts a replica for each proxy.
    pub(crate) async fn start_replicas(&mut self, settings: &Settings) {
        let addresses: Vec<_> = self.proxies.iter().map(|proxy| proxy.address).collect();
        // All at once.
        let processes: Vec<_> = addresses.iter().map(|store| self.process(*store, settings)).collect();
        for process in processes {
            self.replicas.push(Replica::with_tls(process, settings.client_tls.clone()).await);
        }
    }

    /// Starts a further replica.
    pub(crate) async fn join(&mut self, settings: &Settings) {
        let proxy = Proxy::start(self.store).await;
        let process = self.process(proxy.address, settings);
        self.proxies.push(proxy);
        self.replicas.push(Replica::with_tls(process, settings.client_tls.clone()).await);
    }

    /// Starts a process, and does not wait for it.
    pub(crate) fn process(&self, store: SocketAddr, settings: &Settings) -> Process {
        let text = settings.text(&self.cognito, store, |name| self.path(name));
        let level = [("COGNITO_LOOKUP_LOG__LEVEL", settings.log)];
        Process::start_with_settings("exec \"$0\" \"$@\"", &text, &level)
    }

    /// Writes two key files as a whole, as Kubernetes does: `keys` is a link to their folder.
    pub(crate) fn write_keys(&self, contents: [&str; 2]) {
        let folder = contents.join("-");
        fs::create_dir_all(self.path(&folder)).unwrap();
        for (name, content) in ["first", "second"].iter().zip(contents) {
            self.write(&format!("{folder}/{name}"), &key(content));
        }
        symlink(self.path(&folder), self.path("keys.new")).unwrap();
        fs::rename(self.path("keys.new"), self.path("keys")).unwrap();
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Waits until all replicas use the store.
    pub(crate) async fn connected(&self) {
        for replica in &self.replicas {
            until("connected", async || replica.is_connected().await).await;
        }
    }

    /// Waits until every replica hears of the invalidations of the first one.
    pub(crate) async fn follows(&self) {
        let [first, others @ ..] = &self.replicas[..] else { panic!("no replica") };
        for other in others {
            let applied = async || other.metric("events_applied_total", "").await;
            let before = applied().await;
            until("followed", async || {
                first.expire_everywhere(&sub(USERS)).await;
                applied().await > before
            })
            .await;
        }
    }

    /// Waits until no replica uses the store.
    pub(crate) async fn disconnected(&self) {
        for replica in &self.replicas {
            until("disconnected", async || !replica.is_connected().await).await;
        }
    }

    /// Waits until the replicas serve what one of them fetched. `users` have not been fetched yet.
    pub(crate) async fn shares(&self, mut users: impl Iterator<Item = usize>) {
        let [first, others @ ..] = &self.replicas[..] else { panic!("no replica") };
        loop {
            let sub = sub(users.next().expect("the replicas share nothing"));
            first.get(&sub).await.unwrap();
            let mut shared = 0;
            for other in others {
                shared += usize::from(source(&other.get(&sub).await.unwrap()) == Source::SharedCache);
            }
            if shared == others.len() {
                return;
            }
        }
    }

    /// Reads users on every replica.
    pub(crate) async fn warm(&self, users: impl Iterator<Item = usize> + Clone) {
        for replica in &self.replicas {
            for user in users.clone() {
                replica.get(&sub(user)).await.unwrap();
            }
        }
    }

    /// Gives a user another name in Cognito.
    pub(crate) fn rename(&self, sub: &str, name: &str) {
        let rename = |user: &mut User| drop(user.attributes.insert("name".into(), name.into()));
        self.cognito.update_user(sub, rename).unwrap();
    }

    /// Makes the proxies, and those of replicas to come, lead to another server.
    pub(crate) fn lead_to(&mut self, server: SocketAddr) {
        self.store = server;
        self.proxies.iter().for_each(|proxy| proxy.redirect(server));
    }

    /// Sets the fault of every replica's connection.
    pub(crate) fn fault(&self, fault: Fault) {
        self.proxies.iter().for_each(|proxy| proxy.set(fault));
    }

    /// Returns the sum of a metric over all replicas.
    pub(crate) async fn sum(&self, name: &str, label: &str) -> f64 {
        let mut sum = 0.0;
        for replica in &self.replicas {
            sum += replica.metric(name, label).await;
        }
        sum
    }

    pub(crate) fn lookups(&self) -> usize {
        self.cognito.calls("AdminGetUser")
    }
}

/// Starts a pool with the users of the fleet.
pub(crate) fn pool(id: &str) -> StandIn {
    let users = (0..USERS).map(user).collect();
    StandIn::start(Pool { id: id.to_owned(), users, ..Pool::sandbox() }).unwrap()
}

fn user(number: usize) -> User {
    let mut user = User::local(format!("member-{number}"), "Secret-1");
    user.sub = sub(number);
    user.attributes = [
        ("email".to_owned(), format!("member-{number}@example.com")),
        ("name".to_owned(), format!("Member Number {number}")),
    ]
    .into();
    user.groups = vec!["gardeners".to_owned()];
    user
}

/// The content of a key file.
fn key(name: &str) -> String {
    format!("00112233445566778899aabbccddeeff {name}\n")
}

pub(crate) fn sub(number: usize) -> String {
    format!("5eeded00-5a4d-4b0c-8000-{number:012}")
}

pub(crate) const USERS: usize = 5_000;
