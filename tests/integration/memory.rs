use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use cognito_lookup::proto::{
    BatchGetUsersRequest, batch_get_users_result::Result as BatchItem, user_service_client::UserServiceClient,
};
use cognito_standin::User;
use rustix::process::setpriority_process;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::transport::Channel;

use crate::{
    support::process::Process,
    support::{
        ADA, App, about,
        attack::{LONG, flood, refused_by, single_worker, stream_id},
        connect,
        frames::{
            self, CONTINUATION, DATA, END_HEADERS, END_STREAM, FrameConnection, HEADERS, INITIAL_WINDOW_SIZE,
            RST_STREAM, WINDOW_UPDATE, frame, indexed, literal,
        },
        metric, standin,
    },
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: `cargo test --test integration memory -- --ignored --nocapture`"]
async fn a_cache_full_of_the_largest_users_fits_into_512_mib() {
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\nworkers = 2\n[budget]\nuser_reads_per_second = 100000";
    let process = Process::serve(&cognito, settings);
    let channel = connect(process.address.parse().unwrap()).await;
    let (mut asking, mut asked) = (JoinSet::new(), 0);
    while asked < USERS {
        // The largest user that Cognito allows: 50 custom and 20 standard attributes of 2,048
        // characters each.
        let mut person = User::local(format!("large-{asked}"), "x");
        person.attributes = (0..70).map(|n| (format!("custom:a{n}"), "v".repeat(2048))).collect();
        let (mut users, sub) = (UserServiceClient::new(channel.clone()), person.sub.clone());
        cognito.put_user(person);
        asking.spawn(async move { users.get_user(about(&sub)).await.is_ok() });
        asked += 1;
        if asking.len() == 8 {
            assert_eq!(asking.join_next().await.unwrap().ok(), Some(true));
        }
    }
    assert!(asking.join_all().await.into_iter().all(|is_ok| is_ok));
    let held = metric(process.admin, "cognito_lookup_cache_entries{store=\"Users\"}").await;
    let taken = process.resident();
    println!(
        "2,400 users of 140 KB before a process with 256 MiB for them: {held} held, {} MiB resident",
        taken >> 20
    );
    assert!(held > 1500.0);
    // Four fifths of a container's 512 MiB.
    assert!(taken <= 410 << 20, "{taken} bytes");
}

/// Peers without a credential, each kind of attack for itself, while a backend makes its calls.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_exhaust_the_memory() {
    for attack in &ATTACKS {
        let cognito = standin();
        let settings = "listen = \"127.0.0.1:0\"\nworkers = 2\n[limits]\nconnections_per_peer = 10000";
        let line = "COGNITO_LOOKUP_LOG__LEVEL=info exec \"$0\" \"$@\"";
        let process = Process::serve_with_shell(line, &cognito, settings, &[]);
        let address: SocketAddr = process.address.parse().unwrap();
        let (calm, was_calm) = oneshot::channel();
        // A thread of its own, which the attackers do not slow down.
        let backend = thread::spawn(move || calls(address, calm));
        let calm = was_calm.await.unwrap();
        let idle = process.resident();
        let attackers = attack.begin(address);
        let mut most = 0;
        while !backend.is_finished() {
            most = most.max(process.resident());
            sleep(Duration::from_millis(20)).await;
        }
        let attacked = backend.join().unwrap();
        attackers.shutdown_background();
        let refusals = metric(process.admin, "cognito_lookup_memory_refusals_total").await;
        let returned = async {
            while process.resident() > idle + (100 << 20) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let returned = timeout(LONG, returned).await;
        println!(
            "{}: {} MiB idle, {} MiB more at most, {} MiB more at the end, {refusals} refusals, \
             p99 {calm:?} calm and {attacked:?} under attack, {:.1} times as long",
            attack.name,
            idle >> 20,
            most.saturating_sub(idle) >> 20,
            process.resident().saturating_sub(idle) >> 20,
            attacked.as_secs_f64() / calm.as_secs_f64(),
        );
        assert!(most < idle + (300 << 20), "{}: {} MiB", attack.name, most >> 20);
        assert!(returned.is_ok(), "{}: {} MiB stay", attack.name, process.resident() >> 20);
    }
}

/// Makes calls for some time before and during the attack, all of which must succeed. Returns the
/// 99th percentile of the latter.
#[tokio::main(flavor = "current_thread")]
async fn calls(address: SocketAddr, calm: oneshot::Sender<Duration>) -> Duration {
    let mut client = UserServiceClient::new(connect(address).await);
    calm.send(latency(&mut client, ATTACK_TIME / 2).await).unwrap();
    latency(&mut client, ATTACK_TIME).await
}

async fn latency(client: &mut UserServiceClient<Channel>, time: Duration) -> Duration {
    let (mut took, end) = (Vec::new(), Instant::now() + time);
    while Instant::now() < end {
        let begun = Instant::now();
        client.get_user(about(ADA)).await.expect("the backend's call succeeds");
        took.push(begun.elapsed());
        sleep(Duration::from_millis(2)).await;
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// A way to take memory.
struct Attack {
    name: &'static str,
    connections: usize,
    settings: &'static [(u16, u32)],
    /// The frames that open a stream.
    open: fn(u32) -> Vec<u8>,
    /// Whether DATA follows, as far as the windows allow.
    sends_data: bool,
}

static ATTACKS: [Attack; 6] = [
    Attack {
        name: "messages of 64 KiB that are never finished",
        connections: 1_000,
        settings: &[],
        open: frames::open_stream,
        sends_data: true,
    },
    Attack {
        name: "references to one header field",
        connections: 100,
        settings: &[],
        open: |stream| {
            let block = [frames::get_user(), indexed("x", ""), vec![0xbe; 1_900]].concat();
            frame(HEADERS, END_HEADERS, stream, &block)
        },
        sends_data: false,
    },
    Attack {
        name: "header fields of 60 KiB",
        connections: 100,
        settings: &[],
        open: |stream| unended(stream, &[frames::get_user(), literal("x", &"y".repeat(60_000))].concat()),
        sends_data: false,
    },
    Attack {
        name: "header blocks that are never finished",
        connections: 1_000,
        settings: &[],
        open: |stream| {
            let block = [frames::get_user(), indexed("x", ""), vec![0xbe; 1_900]].concat();
            if stream == 1 { frame(HEADERS, 0, stream, &block) } else { Vec::new() }
        },
        sends_data: false,
    },
    Attack {
        name: "unread answers of reflection",
        connections: 100,
        settings: &[(INITIAL_WINDOW_SIZE, 0)],
        open: |stream| {
            // `file_containing_symbol`.
            let symbol = "userlookup.v1.UserService";
            let message = [&[0x22, u8::try_from(symbol.len()).unwrap()], symbol.as_bytes()].concat();
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let message = [&[0], &length[..], &message].concat();
            let head = frames::head("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
            [frame(HEADERS, END_HEADERS, stream, &head), frame(DATA, 0, stream, &message)].concat()
        },
        sends_data: false,
    },
    Attack {
        name: "lists of empty strings",
        connections: 300,
        settings: &[],
        open: |stream| {
            // 300 of them, and a token whose key has to be fetched.
            let message = b"\x22\0".repeat(300);
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let message = [&[0], &length[..], &message].concat();
            [frames::open_stream(stream), frame(DATA, 0, stream, &message)].concat()
        },
        sends_data: false,
    },
];

impl Attack {
    fn opening(&self) -> Vec<u8> {
        [frames::preface_and_settings(self.settings), flood(100, |n| (self.open)(stream_id(n)))].concat()
    }

    /// Begins the attack, on threads of the lowest priority: attackers have machines of their own, and
    /// do not compete with the server for this one's CPU.
    fn begin(&'static self, address: SocketAddr) -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.enable_all().on_thread_start(|| setpriority_process(None, 19).unwrap());
        let attackers = builder.build().unwrap();
        let opening: Arc<[u8]> = self.opening().into();
        for _ in 0..self.connections {
            let opening = Arc::clone(&opening);
            attackers.spawn(async move {
                loop {
                    self.run_until_cut(address, &opening).await;
                }
            });
        }
        attackers
    }

    /// Opens 100 streams on a new connection, and another one whenever one ends, until the server
    /// closes the connection.
    async fn run_until_cut(&self, address: SocketAddr, opening: &[u8]) {
        let Ok(stream) = connect_as_stranger(address).await else { return };
        let mut wire = FrameConnection::over(stream);
        // In parts, as a large write would keep this machine's kernel from running the server.
        for part in opening.chunks(CHUNK) {
            if wire.0.write_all(part).await.is_err() {
                return;
            }
        }
        let (mut opened, mut window, mut sent) = (100, 65_535, 0);
        loop {
            let mut more = Vec::new();
            // The prefix of a message of 64 KiB, and a fifth of it, for one stream after the other.
            while self.sends_data && window >= CHUNK && sent < opened * 5 {
                let stream = stream_id(opened - 100 + sent % 100);
                let part = if sent < opened {
                    [&[0, 0, 1, 0, 0][..], &[0; CHUNK - 5]].concat()
                } else {
                    vec![0; CHUNK]
                };
                more.extend(frame(DATA, 0, stream, &part));
                (window, sent) = (window - CHUNK, sent + 1);
            }
            if wire.0.write_all(&more).await.is_err() {
                return;
            }
            // Frames may stay away as long as the attack lasts.
            let Ok(next) = frames::next(&mut wire.0).await else { return };
            let more = match next.kind {
                WINDOW_UPDATE if next.stream == 0 => {
                    window += usize::try_from(frames::code(&next.payload)).unwrap();
                    continue;
                }
                RST_STREAM => (self.open)(stream_id(opened)),
                HEADERS if next.flags & END_STREAM != 0 => (self.open)(stream_id(opened)),
                _ => continue,
            };
            opened += 1;
            if wire.0.write_all(&more).await.is_err() {
                return;
            }
        }
    }
}

/// Connects from one of many addresses, because one has too few ports for connections that are
/// refused at once. May fail while the server accepts none.
async fn connect_as_stranger(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let source = [127, 0, fastrand::u8(1..), 2];
    let connecting = async {
        socket.bind((source, 0).into())?;
        socket.connect(address).await
    };
    let connected = connecting.await;
    if connected.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
    connected
}

/// The frames of a header block, without the end of the stream.
fn unended(stream: u32, block: &[u8]) -> Vec<u8> {
    let chunks: Vec<_> = block.chunks(16 * 1024).collect();
    let count = chunks.len();
    let one = |(n, chunk): (usize, &[u8])| {
        let kind = if n == 0 { HEADERS } else { CONTINUATION };
        frame(kind, if n + 1 == count { END_HEADERS } else { 0 }, stream, chunk)
    };
    chunks.into_iter().enumerate().flat_map(one).collect()
}

/// A caller with a rule, which makes large batches and opens no window for the answers.
#[tokio::test]
async fn unread_batches_are_bounded_and_leave_room_for_others() {
    let app = single_worker(|config| {
        config.callers[1].attributes = vec!["*".to_owned()];
        config.limits.memory = 64 << 20;
    })
    .await;
    let mut eve = User::local("eve", "secret");
    eve.attributes = (0..45).map(|n| (format!("custom:{n}"), "x".repeat(2048))).collect();
    let subs = vec![eve.sub.clone(); 40];
    app.cognito.put_user(eve);
    let message = BatchGetUsersRequest { subs, ..Default::default() };
    let mut wire = FrameConnection::open(app.address, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    wire.send(&flood(30, |n| frames::batch(stream_id(n), &message))).await;
    let (mut held, mut refused) = (0, 0);
    while held + refused < 30 {
        match wire.next_of_kind(HEADERS).await.unwrap() {
            end if end.flags & END_STREAM != 0 => refused += 1,
            _ => held += 1,
        }
    }
    let memory = "cognito_lookup_connection_memory_bytes";
    let taken = app.metric(memory).await;
    assert!(
        held > 0 && refused > 20 && taken <= f64::from(18 << 20),
        "{held} held, {refused} refused, {taken}"
    );
    let mut users = UserServiceClient::new(app.channel.clone());
    let batch = users.batch_get_users(message).await.unwrap().into_inner();
    assert!(batch.results.iter().all(|item| matches!(item.result, Some(BatchItem::Found(_)))));
    drop(wire);
    app.wait_for_metric(memory, |left| left < f64::from(1 << 20)).await;
}

/// With all room for strangers taken, a new client gets a place, and the connection that holds most
/// loses its own.
#[tokio::test]
async fn a_new_client_gets_a_place_among_strangers() {
    let app: App = single_worker(|config| config.limits.memory = 8 << 20).await;
    let mut strangers = Vec::new();
    for _ in 0..160 {
        strangers.push(FrameConnection::open(app.address, &[]).await);
        if strangers.len() % 20 == 0 {
            let mut users = UserServiceClient::new(connect(app.address).await);
            assert!(users.get_user(about(ADA)).await.is_ok(), "beside {} strangers", strangers.len());
        }
    }
    assert!(app.metric("cognito_lookup_connections_cut_total{reason=\"Memory\"}").await > 10.0);
    assert!(app.get_by_sub(ADA).await.is_ok(), "a known connection is kept");
}

/// Strangers that are refused for memory and come again at once wait in the system's backlog, and take
/// no CPU from the calls of others.
#[tokio::test]
async fn refusals_for_memory_are_paced() {
    let app: App = single_worker(|config| config.limits.memory = 8 << 20).await;
    let (address, mut strangers) = (app.address, JoinSet::new());
    for _ in 0..300 {
        strangers.spawn(async move {
            loop {
                if let Ok(stream) = connect_as_stranger(address).await {
                    FrameConnection::over(stream).ended().await;
                }
            }
        });
    }
    let refused = refused_by("Memory");
    app.wait_for_metric(&refused, |count| count >= 1.0).await;
    let (begun, before) = (Instant::now(), app.metric(&refused).await);
    app.wait_for_metric(&refused, |count| count >= before + 40.0).await;
    // At most one in 20 ms.
    let (count, most) = (app.metric(&refused).await - before, begun.elapsed().as_secs_f64() * 50.0 + 1.0);
    assert!(count <= most, "{count} refused, at most {most}");
    assert!(app.get_by_sub(ADA).await.is_ok(), "a known connection is kept");
}

const USERS: usize = 2400;
const ATTACK_TIME: Duration = Duration::from_secs(6);
const CHUNK: usize = 13_000;
