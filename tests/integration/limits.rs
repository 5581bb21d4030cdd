use std::{cell::Cell, future::pending, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use cognito_lookup::{
    config::{ClientCertificate, Config, LimitSettings},
    proto::{Source, user_service_client::UserServiceClient},
};
use cognito_standin::User;
use futures_util::future::join_all;
use h2::client::SendRequest;
use http::HeaderValue;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    time::{Instant, interval, timeout},
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    drain::{one_call, open},
    support::certificates::{Authority, Files, client_config},
    support::frames::{
        self, ACK, CANCEL, CONTINUATION, ConnectionEnd, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
        Frame, FrameConnection, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, NO_ERROR,
        PADDED, PING, PREFACE, PRIORITY, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal,
        sent,
    },
    support::process::Process,
    support::{ADA, App, GRACE, about, connect, failure, metric, source, standin},
    tls,
};

#[tokio::test]
async fn who_does_not_begin_in_time_is_cut() {
    let app = attacked(|config| config.limits.handshake_timeout = SHORT).await;
    let beginnings = [&b""[..], b"P", b"PRI * HTTP/2.0", &PREFACE[..PREFACE.len() - 1]];
    let ends = beside(&app, join_all((0..100).map(|n| left_at(&app, beginnings[n % 4])))).await;
    assert!(ends.iter().all(|end| *end == ConnectionEnd::Cut), "{ends:?}");
    assert_eq!(app.metric(&cut("Handshake")).await, 100.0);
}

#[tokio::test]
async fn who_does_not_shake_hands_in_time_is_cut() {
    let authority = Authority::new("servers");
    let (app, mut good) = encrypted(&authority, |config| config.limits.handshake_timeout = SHORT).await;
    // The head of a ClientHello of 512 bytes, and more of it.
    let partial = [&[22, 3, 1, 2, 0][..], &[1; 400]].concat();
    let beginnings = [&b""[..], &partial[..1], &partial[..5], &partial];
    let attack = join_all((0..100).map(|n| left_at(&app, beginnings[n % 4])));
    let attack = async {
        // One that shook hands must still begin.
        let stream = TcpStream::connect(app.address).await.unwrap();
        let stream = tls::handshake_over(stream, client_config(&[&authority], None)).await.unwrap();
        let (mut incoming, _outgoing) = tokio::io::split(stream);
        tokio::join!(attack, frames::end(&mut incoming, |_| {}))
    };
    let ask = async || assert!(good.get_user(about(ADA)).await.is_ok());
    let (ends, end) = while_asking(ask, attack).await;
    assert!(ends.iter().all(|end| *end == ConnectionEnd::Cut), "{ends:?}");
    assert_eq!(end, ConnectionEnd::Cut);
    assert_eq!(app.metric(&cut("Handshake")).await, 101.0);
}

#[tokio::test]
async fn who_never_answers_a_ping_is_cut() {
    let app = attacked(|config| {
        config.limits.keepalive_interval = Duration::from_millis(200);
        config.limits.keepalive_timeout = SHORT;
    })
    .await;
    // While the rest of a frame comes byte by byte, nothing else can be said.
    for (case, begun, more) in
        [("idle", &b""[..], &b""[..]), ("dribbling headers", &frames::open_stream(1)[..10], &[0])]
    {
        let attack = async {
            let mut wire = FrameConnection::open(app.address, &[]).await;
            wire.send(begun).await;
            let (mut incoming, mut outgoing) = wire.0.split();
            let dribble = async {
                let mut pace = interval(Duration::from_millis(50));
                while outgoing.write_all(more).await.is_ok() {
                    pace.tick().await;
                }
                pending().await
            };
            tokio::select! {
                end = frames::end(&mut incoming, |_| {}) => end,
                end = dribble => end,
            }
        };
        assert_eq!(beside(&app, attack).await, ConnectionEnd::GoAway(NO_ERROR), "{case}");
    }
}

#[tokio::test]
async fn who_answers_pings_is_kept() {
    let app = attacked(|config| {
        config.limits.keepalive_interval = Duration::from_millis(20);
        config.limits.keepalive_timeout = PATIENCE;
    })
    .await;
    let mut wire = FrameConnection::open(app.address, &[]).await;
    for _ in 0..10 {
        let ping = wire.next_of_kind(PING).await.unwrap();
        wire.send(&frame(PING, ACK, 0, &ping.payload)).await;
    }
    assert!(wire.ping().await.is_ok());
}

#[tokio::test]
async fn a_message_that_dribbles_is_ended_with_its_time() {
    let app = attacked(|config| config.limits.request_timeout = Duration::from_millis(300)).await;
    let asked = app.cognito_lookups();
    let attack = async {
        let (mut response, mut body) = app.begin_get_user().await;
        // Not compressed, of 255 bytes.
        body.send_data(Bytes::from_static(&[0, 0, 0, 0, 255]), false).unwrap();
        let mut pace = interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                response = &mut response => return status(&response.unwrap()),
                // The stream may end at any of these.
                _ = pace.tick() => drop(body.send_data(Bytes::from_static(&[0]), false)),
            }
        }
    };
    let status = beside(&app, attack).await;
    assert_eq!(failure(&status), (Code::DeadlineExceeded, "DEADLINE".to_owned()));
    assert_eq!(app.cognito_lookups(), asked);
}

#[tokio::test]
async fn who_is_idle_for_long_is_asked_to_leave() {
    let app = ageing(|limits| {
        limits.connection_age = Duration::from_millis(300);
        // Together what is waited for the last calls.
        limits.request_timeout = SHORT;
        limits.stall_timeout = SHORT;
    })
    .await;
    let mut good = Steady::new(&app);
    let polite = async {
        let mut wire = FrameConnection::open(app.address, &[]).await;
        wire.next_of_kind(GOAWAY).await.unwrap();
        let ping = wire.next_of_kind(PING).await.unwrap();
        wire.send(&frame(PING, ACK, 0, &ping.payload)).await;
        wire.ended().await
    };
    let end = while_asking(async || good.get_user().await, polite).await;
    assert_eq!(end, ConnectionEnd::GoAway(NO_ERROR));
    assert_eq!(app.metric(&cut("Drain")).await, 0.0);
    let deaf = async { FrameConnection::open(app.address, &[]).await.ended().await };
    let end = while_asking(async || good.get_user().await, deaf).await;
    assert_eq!(end, ConnectionEnd::GoAway(NO_ERROR));
    assert_eq!(app.metric(&cut("Drain")).await, 1.0);
}

#[tokio::test]
async fn a_call_outlives_the_age_of_its_connection() {
    let app = ageing(|limits| limits.connection_age = Duration::from_millis(100)).await;
    let held = app.cognito.hold("AdminGetUser");
    let mut wire = FrameConnection::open(app.address, &[]).await;
    wire.send(&frames::call(1, &about(GRACE))).await;
    let first = wire.next_of_kind(GOAWAY).await.unwrap();
    let ping = wire.next_of_kind(PING).await.unwrap();
    // A call that was on its way when the server said good-bye.
    wire.send(&frames::call(3, &about(GRACE))).await;
    wire.send(&frame(PING, ACK, 0, &ping.payload)).await;
    let second = wire.next_of_kind(GOAWAY).await.unwrap();
    let [first, second] = [first, second].map(|said| frames::code(&said.payload[..4]));
    assert_eq!((first, second), (i32::MAX as u32, 3), "the last call that is taken");
    held.release();
    let mut answered = Vec::new();
    let end = frames::end(&mut wire.0, |frame| {
        if frame.kind == HEADERS && frame.flags & END_STREAM != 0 {
            answered.push(frame.stream);
        }
    });
    end.await;
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
}

#[tokio::test]
async fn no_call_is_lost_to_the_age_of_connections() {
    let app = ageing(|limits| limits.connection_age = Duration::from_millis(50)).await;
    let callers = (0..4).map(|_| async {
        let mut steady = Steady::new(&app);
        while steady.connections <= 20 {
            steady.get_user().await;
        }
    });
    timeout(PATIENCE, join_all(callers)).await.expect("connections end");
    assert_eq!(app.metric(&cut("Drain")).await, 0.0);
}

#[tokio::test]
async fn a_flood_is_ended_and_what_is_usual_is_not() {
    let app = attacked(|_| {}).await;
    let calm = ConnectionEnd::GoAway(ENHANCE_YOUR_CALM);
    // ":method: POST", ":scheme: http" and ":path: /" of the static table; without a method it is no request.
    let (request, malformed) = ([0x83, 0x86, 0x84], [0x86, 0x84]);
    let begun = |n: usize, block: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, id(n), block);
    let taken_back = |n| [begun(n, &request), frame(RST_STREAM, 0, id(n), &CANCEL.to_be_bytes())].concat();
    let open = |more: Vec<u8>| [frames::open_stream(1), more].concat();
    let unfinished = |more: Vec<u8>| [frame(HEADERS, 0, 1, &request), more].concat();
    let ping = frame(PING, 0, 0, &[0; 8]);
    let setting = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    let unknown = frame(0x42, 0, 0, b"?");
    let window = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]);
    let reset = frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    let (few, many) = (9_000, 11_000);
    let table = [
        ("nothing", Vec::new(), ConnectionEnd::Alive),
        ("requests taken back", flood(10, taken_back), ConnectionEnd::Alive),
        ("too many requests taken back", flood(1_000, taken_back), calm),
        ("malformed requests", flood(1_000, |n| begun(n, &malformed)), ConnectionEnd::Alive),
        ("too many malformed requests", flood(2_000, |n| begun(n, &malformed)), calm),
        ("endless headers of nothing", unfinished(flood(1_000, |_| frame(CONTINUATION, 0, 1, b""))), calm),
        (
            "endless headers",
            unfinished(flood(1_000, |_| frame(CONTINUATION, 0, 1, &literal("a", "b")))),
            calm,
        ),
        ("data of nothing", open(flood(10, |_| frame(DATA, 0, 1, b""))), ConnectionEnd::Alive),
        ("too much data of nothing", open(flood(1_000, |_| frame(DATA, 0, 1, b""))), calm),
        ("too much padded nothing", open(flood(1_000, |_| frame(DATA, PADDED, 1, &[3, 0, 0, 0]))), calm),
        ("pings", ping.repeat(few), ConnectionEnd::Alive),
        ("too many pings", ping.repeat(many), ConnectionEnd::Cut),
        ("settings", setting.repeat(few), ConnectionEnd::Alive),
        ("too many settings", setting.repeat(many), ConnectionEnd::Cut),
        ("unknown frames", unknown.repeat(few), ConnectionEnd::Alive),
        ("too many unknown frames", unknown.repeat(many), ConnectionEnd::Cut),
        ("window updates", window.repeat(few), ConnectionEnd::Alive),
        ("too many window updates", window.repeat(many), ConnectionEnd::Cut),
        ("priorities", priority.repeat(few), ConnectionEnd::Alive),
        ("too many priorities", priority.repeat(many), ConnectionEnd::Cut),
        ("resets", [begun(0, &request), reset.repeat(few)].concat(), ConnectionEnd::Alive),
        ("too many resets", [begun(0, &request), reset.repeat(many)].concat(), ConnectionEnd::Cut),
    ];
    let mut cuts = 0.0;
    for (case, frames, expected) in table {
        let end = beside(&app, sent(app.address, &frames, |_| {})).await;
        assert_eq!(end, expected, "{case}");
        cuts += if end == ConnectionEnd::Cut { 1.0 } else { 0.0 };
        assert_eq!(app.metric(&cut("Flood")).await, cuts, "{case}");
    }
}

#[tokio::test]
async fn calls_pay_for_what_comes_with_them() {
    let app = attacked(|_| {}).await;
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut wire = FrameConnection::open(app.address, &[]).await;
    for n in 0..1500 {
        wire.send(&[frames::call(id(n), &about("nobody")), ping.repeat(18)].concat()).await;
        wire.ping().await.unwrap();
    }
    assert_eq!(app.metric(&cut("Flood")).await, 0.0);
}

#[tokio::test]
async fn a_header_bomb_reaches_no_service() {
    let app = attacked(|_| {}).await;
    let calm = || Verdict::Ended(ENHANCE_YOUR_CALM);
    let with = |more: Vec<u8>| frames::headers(1, &[frames::get_user(), more].concat());
    // Each reference is a byte, and stands for the first field of the table that was written out.
    let referred =
        |value: usize, times| [frames::indexed("x", &"y".repeat(value)), vec![0xbe; times]].concat();
    let resized = |block: Vec<u8>| [[0x20, 0x3f, 0xe1, 0x1f].repeat(5_000), block].concat();
    for (case, frames, expected) in [
        ("48 KiB", with(literal("x", &"y".repeat(48 * 1024))), Verdict::Called),
        ("80 KiB", with(literal("x", &"y".repeat(80 * 1024))), Verdict::Refused),
        ("1 MiB", with(literal("x", &"y".repeat(1024 * 1024))), calm()),
        ("1 MiB in parts", with(flood(256, |n| literal(&format!("x{n}"), &"y".repeat(4096)))), calm()),
        ("ten thousand", with(flood(10_000, |n| literal(&format!("x{n}"), ""))), Verdict::Refused),
        ("forty thousand alike", with(literal("x", "").repeat(40_000)), calm()),
        ("references", with(referred(4_000, 10_000)), calm()),
        ("a table resized", frames::headers(1, &resized(frames::get_user())), Verdict::Called),
    ] {
        let attack = async {
            let mut wire = FrameConnection::open(app.address, &[]).await;
            // The server may end it before it has taken all.
            drop(wire.0.write_all(&frames).await);
            loop {
                let Frame { kind, payload, .. } = wire.next().await.unwrap();
                match kind {
                    HEADERS if payload.starts_with(&STATUS_200) => return Verdict::Called,
                    HEADERS if payload == STATUS_431 => return Verdict::Refused,
                    HEADERS => panic!("{payload:?}"),
                    GOAWAY => return Verdict::Ended(frames::code(&payload[4..8])),
                    _ => {}
                }
            }
        };
        assert_eq!(beside(&app, attack).await, expected, "{case}");
    }
}

/// What becomes of a call and its connection.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    Called,
    Refused,
    Ended(u32),
}

#[tokio::test]
async fn a_connection_carries_a_hundred_calls_at_once() {
    let app = attacked(|config| config.limits.request_timeout = PATIENCE).await;
    let held = app.cognito.hold("AdminGetUser");
    let asked = app.cognito_lookups();
    let attack = async {
        let mut wire = FrameConnection::open(app.address, &[]).await;
        let settings = wire.next_of_kind(SETTINGS).await.unwrap().payload;
        let streams = settings.chunks(6).find(|setting| setting[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes());
        assert_eq!(streams.unwrap()[2..], 100_u32.to_be_bytes());
        wire.send(&flood(150, |n| frames::call(id(n), &about(GRACE)))).await;
        (wire.ping().await.unwrap(), wire)
    };
    let (came, mut wire) = beside(&app, attack).await;
    // Each may be followed by another code for the message that came all the same.
    let refused: Vec<_> = came.iter().filter(|frame| is_refusal(frame)).map(|frame| frame.stream).collect();
    assert_eq!(refused, (100..150).map(id).collect::<Vec<_>>());
    app.cognito.wait_for_calls("AdminGetUser", asked + 1).await;
    held.release();
    for _ in 0..100 {
        while wire.next_of_kind(HEADERS).await.unwrap().flags & END_STREAM == 0 {}
    }
    assert_eq!(app.cognito.calls("AdminGetUser"), asked + 1);
}

#[tokio::test]
async fn ten_thousand_calls_at_once_end_their_connection() {
    let app = attacked(|config| config.limits.request_timeout = PATIENCE).await;
    let _held = app.cognito.hold("AdminGetUser");
    let mut refused = 0;
    let calls = flood(10_000, |n| frames::call(id(n), &about(GRACE)));
    let attack = sent(app.address, &calls, |frame| {
        refused += usize::from(is_refusal(&frame));
    });
    assert_eq!(beside(&app, attack).await, ConnectionEnd::GoAway(ENHANCE_YOUR_CALM));
    assert!(refused > 0);
}

#[tokio::test]
async fn who_opens_no_window_is_cut() {
    let app = attacked(|config| config.limits.stall_timeout = SHORT).await;
    let attack = async {
        let mut wire = FrameConnection::open(app.address, &[(INITIAL_WINDOW_SIZE, 0)]).await;
        wire.send(&flood(100, |n| frames::call(id(n), &about(ADA)))).await;
        let mut data = 0;
        let end = frames::end(&mut wire.0, |frame| data += usize::from(frame.kind == DATA)).await;
        (end, data)
    };
    assert_eq!(beside(&app, attack).await, (ConnectionEnd::Cut, 0));
    assert_eq!(app.metric(&cut("Stall")).await, 1.0);
}

#[tokio::test]
async fn who_opens_its_window_late_is_answered() {
    let app = attacked(|_| {}).await;
    let mut wire = FrameConnection::open(app.address, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    wire.send(&frames::call(1, &about(ADA))).await;
    wire.next_of_kind(HEADERS).await.unwrap();
    let came = wire.ping().await.unwrap();
    assert!(came.iter().all(|frame| frame.kind != DATA), "{came:?}");
    wire.send(&frame(WINDOW_UPDATE, 0, 1, &65_535_u32.to_be_bytes())).await;
    assert!(!wire.next_of_kind(DATA).await.unwrap().payload.is_empty());
    assert_eq!(wire.next_of_kind(HEADERS).await.unwrap().flags & END_STREAM, END_STREAM);
    assert_eq!(app.metric(&cut("Stall")).await, 0.0);
}

#[tokio::test]
async fn who_takes_nothing_from_its_socket_is_cut() {
    let authority = Authority::new("servers");
    let settings = |config: &mut Config| {
        config.callers[1].attributes = vec!["*".to_owned()];
        config.limits.stall_timeout = SHORT;
    };
    let clear = attacked(settings).await;
    let (encrypted, mut good) = encrypted(&authority, settings).await;
    // Its windows are as wide as can be, so that nothing but TCP holds an answer up.
    let wide = i32::MAX as u32;
    let opening = frame(WINDOW_UPDATE, 0, 0, &(wide - 65_535).to_be_bytes());
    let opening = [frames::preface_and_settings(&[(INITIAL_WINDOW_SIZE, wide)]), opening].concat();
    let begun = async |app: &App| {
        let mut eve = User::local("eve", "secret");
        eve.attributes = (0..45).map(|n| (format!("custom:{n}"), "x".repeat(2048))).collect();
        let calls = flood(100, |n| frames::call(id(n), &about(&eve.sub)));
        app.cognito.put_user(eve);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        (socket.connect(app.address).await.unwrap(), [&opening[..], &calls].concat())
    };
    let is_cut = async |app: &App| {
        app.wait_for_metric(&cut("Stall"), |cuts| cuts == 1.0).await;
        app.wait_for_metric(SERVED, |connections| connections == 1.0).await;
    };
    let attack = async {
        let (mut stream, bytes) = begun(&clear).await;
        stream.write_all(&bytes).await.unwrap();
        is_cut(&clear).await;
    };
    beside(&clear, attack).await;
    let attack = async {
        let (stream, bytes) = begun(&encrypted).await;
        let mut stream = tls::handshake_over(stream, client_config(&[&authority], None)).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        is_cut(&encrypted).await;
    };
    while_asking(async || assert!(good.get_user(about(ADA)).await.is_ok()), attack).await;
}

#[tokio::test]
async fn a_method_that_no_service_has_is_refused_with_its_reason() {
    let app = attacked(|_| {}).await;
    for path in [
        "/userlookup.v1.UserService/Nope",
        "/userlookup.v1.AdminService/Nope",
        "/grpc.health.v1.Health/Nope",
        "/grpc.reflection.v1.ServerReflection/Nope",
        "/nobody.knows/It",
        "/",
    ] {
        let mut request = app.get_user_head();
        *request.uri_mut() = format!("http://{}{path}", app.address).parse().unwrap();
        let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        let status = status(&response.await.unwrap());
        assert_eq!(failure(&status), (Code::Unimplemented, "UNSPECIFIED".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_message_is_bounded_and_in_the_clear() {
    let app = attacked(|_| {}).await;
    let asked = app.cognito_lookups();
    let invalid = (Code::InvalidArgument, "FIELD_INVALID");
    let unimplemented = (Code::Unimplemented, "UNSPECIFIED");
    let large = frames::message(&about(&"x".repeat(64 * 1024)));
    // What `gzip` makes of nothing.
    let zipped = [1, 0, 0, 0, 20, 31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (case, encoding, message, (code, reason)) in [
        ("announced as 4 GiB", None, &[0, 255, 255, 255, 255][..], invalid),
        ("announced as 64 KiB and a byte", None, &large[..5], invalid),
        ("too large", None, &large, invalid),
        ("no protobuf", None, &[0, 0, 0, 0, 1, 255], invalid),
        ("compressed", Some("gzip"), &zipped, unimplemented),
        ("compressed without a word", None, &zipped, invalid),
        ("followed by another", None, &[0; 10], invalid),
    ] {
        let mut request = app.get_user_head();
        request.headers_mut().extend(encoding.map(|name| (GRPC_ENCODING, HeaderValue::from_static(name))));
        let attack = async {
            let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
            body.send_data(Bytes::copy_from_slice(message), false).unwrap();
            status(&response.await.unwrap())
        };
        let status = beside(&app, attack).await;
        assert_eq!(failure(&status), (code, reason.to_owned()), "{case}");
    }
    assert_eq!(app.cognito_lookups(), asked);
}

#[tokio::test]
async fn a_callers_deadline_shortens_ours_and_never_lengthens_it() {
    let app = attacked(|config| config.limits.request_timeout = Duration::from_millis(100)).await;
    let held = app.cognito.hold("AdminGetUser");
    let asked = app.cognito.calls("AdminGetUser");
    let sub = || User::local("nobody", "").sub;
    let ends = async |deadline: &'static str| {
        let mut request = app.get_user_head();
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(deadline));
        let (response, mut body) = app.connect_h2().await.send_request(request, false).unwrap();
        body.send_data(frames::message(&about(&sub())).into(), true).unwrap();
        let answer = timeout(PATIENCE, response).await.expect("ours ends it").unwrap();
        assert_eq!(failure(&status(&answer)), (Code::DeadlineExceeded, "DEADLINE".to_owned()), "{deadline}");
    };
    for none in ["0n", "1n", "99999n"] {
        beside(&app, ends(none)).await;
    }
    assert_eq!(app.cognito.calls("AdminGetUser"), asked, "there is no time to ask Cognito");
    drop(held);
    let long_ones = ["99999999H", "99999999S", "99999999m", "99999u"];
    let no_deadlines = ["-1S", "1X", "", "1", "H", "1 S", "12345678901234567890S"];
    for ours in long_ones.into_iter().chain(no_deadlines) {
        let asked = app.cognito.calls("AdminGetUser");
        let held = app.cognito.hold("AdminGetUser");
        beside(&app, ends(ours)).await;
        let reached = app.cognito.wait_for_calls("AdminGetUser", asked + 1);
        timeout(PATIENCE, reached).await.expect("there was time to ask Cognito");
        held.release();
        app.cognito.wait_until_idle("AdminGetUser").await;
    }
}

#[tokio::test]
async fn a_peer_has_no_more_connections_than_its_share() {
    let app = attacked(|config| config.limits.connections_per_peer = 3).await;
    let (one, other) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    let attack = async {
        let mut held =
            vec![begun_from(one, app.address).await.unwrap(), begun_from(one, app.address).await.unwrap()];
        for _ in 0..20 {
            assert!(begun_from(one, app.address).await.is_err());
        }
        for _ in 0..3 {
            held.push(begun_from(other, app.address).await.expect("another peer has a share of its own"));
        }
        assert!(begun_from(other, app.address).await.is_err());
        held
    };
    let mut held = beside(&app, attack).await;
    assert_eq!(app.metric(&refused_by("ConnectionsPerPeer")).await, 21.0);
    drop(held.remove(0));
    beside(&app, begun_at_last(one, app.address)).await;
    assert_eq!(app.metric(&refused_by("Connections")).await, 0.0);
}

#[tokio::test]
async fn all_have_no_more_connections_than_there_are() {
    let app = attacked(|config| config.limits.connections = 4).await;
    let attack = async {
        let sources = [[127, 0, 0, 1], [127, 0, 0, 2], [127, 0, 0, 3]];
        let held = join_all(sources.map(|source| begun_from(source, app.address))).await;
        for n in 0..20 {
            assert!(begun_from([127, 0, 0, n + 1], app.address).await.is_err());
        }
        held
    };
    let mut held = beside(&app, attack).await;
    assert!(held.iter().all(Result::is_ok));
    assert_eq!(app.metric(&refused_by("Connections")).await, 20.0);
    drop(held.remove(0));
    beside(&app, begun_at_last([127, 0, 0, 4], app.address)).await;
}

#[tokio::test]
async fn connections_are_spread_over_the_workers() {
    for workers in [2, 3, 8] {
        let app = App::start_with_config(|config| config.workers = workers).await;
        let series: Vec<_> =
            (0..workers).map(|n| format!("cognito_lookup_connections{{worker=\"{n}\"}}")).collect();
        let loads = async || join_all(series.iter().map(|series| app.metric(series))).await;
        let most = 8_usize.div_ceil(workers) as f64;
        let spread =
            |loads: &[f64]| loads.iter().sum::<f64>() == 8.0 && loads.iter().all(|load| *load <= most);
        let mut held = Vec::new();
        for _ in 0..7 {
            held.push(begun_from([127, 0, 0, 1], app.address).await.unwrap());
        }
        let now = loads().await;
        assert!(spread(&now), "{now:?}");
        // Some leave, and others come in their place.
        held.truncate(3);
        let gone = async { while loads().await.iter().sum::<f64>() > 4.0 {} };
        timeout(PATIENCE, gone).await.expect("who leaves is not counted any more");
        for _ in 0..4 {
            held.push(begun_from([127, 0, 0, 1], app.address).await.unwrap());
        }
        let now = loads().await;
        assert!(spread(&now), "{now:?}");
    }
}

#[tokio::test]
async fn a_thousand_who_leave_harm_nobody() {
    let app = attacked(|_| {}).await;
    let asked = app.cognito.calls("AdminGetUser");
    let held = app.cognito.hold("AdminGetUser");
    let eve = User::local("eve", "secret");
    let sub = eve.sub.clone();
    app.cognito.put_user(eve);
    let attack = async {
        let mut wire = FrameConnection::open(app.address, &[]).await;
        for n in (0..1000).step_by(10) {
            let calls = n..n + 10;
            wire.send(&calls.clone().flat_map(|n| frames::call(id(n), &about(&sub))).collect::<Vec<_>>())
                .await;
            wire.ping().await.unwrap();
            let reset = |n| frame(RST_STREAM, 0, id(n), &CANCEL.to_be_bytes());
            wire.send(&calls.flat_map(reset).collect::<Vec<_>>()).await;
            wire.ping().await.unwrap();
        }
    };
    let begun = Instant::now();
    beside(&app, attack).await;
    held.release();
    app.cognito.wait_until_idle("AdminGetUser").await;
    // Whoever comes now may still meet the fetch, and who comes next finds what it left.
    assert!(app.get_by_sub(&sub).await.is_ok());
    assert_eq!(source(&app.get_by_sub(&sub).await.unwrap()), Source::Cache);
    // One at a time, each of which waits a second.
    let most = 1 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    let calls = app.cognito.calls("AdminGetUser") - asked;
    assert!(calls <= most, "{calls} calls, {most} at most");
}

/// A thousand who connect and stay, as far as they are let, before a process of 256 descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_few_descriptors_keeps_some_for_cognito() {
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\nworkers = 2\n[limits]\nconnections_per_peer = 10000";
    let process = Process::serve_with_shell("ulimit -n 256; exec \"$0\" \"$@\"", &cognito, settings, &[]);
    let address = process.address.parse().unwrap();
    let warned = process.start.iter().filter(|line| line["connections"] == 120 && line["level"] == "WARN");
    assert_eq!(warned.count(), 1, "{:?}", process.start);
    let good = UserServiceClient::new(connect(address).await);
    let mut held = Vec::new();
    for _ in 0..20 {
        let fifty = join_all((0..50).map(|_| begun_from([127, 0, 0, 1], address))).await;
        held.extend(fifty.into_iter().flatten());
        assert!(good.clone().get_user(about(ADA)).await.is_ok());
    }
    assert_eq!(held.len(), 119);
    let refused = 1000 - held.len();
    assert_eq!(metric(process.admin, &refused_by("Connections")).await as usize, refused);
    // Each of these needs a connection to Cognito.
    let gate = cognito.hold("AdminGetUser");
    let asked = cognito.calls("AdminGetUser");
    let lookups = join_all((0..40).map(|n| {
        let mut good = good.clone();
        async move { good.get_user(about(&format!("nobody-{n}"))).await.unwrap_err().code() }
    }));
    let opening = async {
        cognito.wait_for_calls("AdminGetUser", asked + 40).await;
        gate.release();
    };
    let (codes, ()) = tokio::join!(lookups, opening);
    assert_eq!(codes, [Code::NotFound; 40]);
    drop(held);
    begun_at_last([127, 0, 0, 1], address).await;
    assert_eq!(metric(process.admin, ACCEPT_FAILURES).await, 0.0);
}

/// Where the process has fewer descriptors than it keeps for itself, those who probe it can take the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_descriptors_rests_warns_once_and_recovers() {
    let cognito = standin();
    let settings = "listen = \"127.0.0.1:0\"\nworkers = 1\n[shutdown]\ndelay = \"0s\"";
    let process = Process::serve_with_shell("ulimit -n 64; exec \"$0\" \"$@\"", &cognito, settings, &[]);
    let address = process.address.parse().unwrap();
    let mut good = UserServiceClient::new(connect(address).await);
    assert!(good.get_user(about(ADA)).await.is_ok());
    let begun = Instant::now();
    let asking = async {
        while begun.elapsed() < SHORT {
            assert!(good.get_user(about(ADA)).await.is_ok());
        }
    };
    let probing = join_all((0..64).map(|_| come_again(process.admin)));
    let waiting = join_all((0..5).map(|_| come_again(address)));
    tokio::select! {
        () = asking => {}
        _ = probing => {}
        _ = waiting => {}
    }
    drop(good);
    begun_at_last([127, 0, 0, 1], address).await;
    let failures = metric(process.admin, ACCEPT_FAILURES).await;
    assert!(failures > 1.0, "{failures}");
    process.wait_for_log("cannot accept connections");
    process.signal("TERM");
    let lines = process.log_until("stopped");
    assert!(lines.iter().all(|line| line["level"] != "WARN"), "{lines:?}");
}

/// A server on one thread, which whoever is attacked shares with who attacks.
async fn attacked(change: impl FnOnce(&mut Config)) -> App {
    let app = App::start_with_config(|config| {
        config.workers = 1;
        change(config);
    })
    .await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app
}

/// As [`attacked`], over TLS, with a client of its own.
async fn encrypted(
    authority: &Authority,
    change: impl FnOnce(&mut Config),
) -> (App, UserServiceClient<Channel>) {
    let files = Files::new(&authority.server(), authority);
    let app = App::start_unready(standin(), |config| {
        files.set(ClientCertificate::Off)(config);
        config.workers = 1;
        change(config);
    })
    .await;
    app.wait_until_ready().await;
    let channel = tls::connect(app.address, client_config(&[authority], None)).await.unwrap();
    (app, UserServiceClient::new(channel))
}

/// As [`attacked`], where connections live shortly, and nobody has called yet: tonic's client fails a call that it was
/// about to send over a connection that ends.
async fn ageing(change: impl FnOnce(&mut LimitSettings)) -> App {
    let app = App::start_unready(standin(), |config| {
        config.workers = 1;
        change(&mut config.limits);
    })
    .await;
    app.wait_until_ready().await;
    app
}

/// A client that calls over one connection after another. Each call that was sent must be answered.
struct Steady {
    address: SocketAddr,
    connections: usize,
    current: Option<SendRequest<Bytes>>,
}

impl Steady {
    fn new(app: &App) -> Self {
        Self { address: app.address, connections: 0, current: None }
    }

    async fn get_user(&mut self) {
        loop {
            if let Some(client) = &mut self.current
                && let Some(code) = one_call(client, ADA).await
            {
                assert_eq!(code, "0");
                return;
            }
            self.current = Some(open(self.address).await);
            self.connections += 1;
        }
    }
}

/// Attacks while a good client goes on asking, each of whose calls must be answered.
async fn beside<T>(app: &App, attack: impl Future<Output = T>) -> T {
    while_asking(async || assert!(app.get_by_sub(ADA).await.is_ok()), attack).await
}

async fn while_asking<T>(mut ask: impl AsyncFnMut(), attack: impl Future<Output = T>) -> T {
    let over = Cell::new(false);
    let asking = async {
        let mut answered = 0;
        while !over.get() || answered < 10 {
            ask().await;
            answered += 1;
        }
    };
    let attacking = async {
        let outcome = timeout(PATIENCE, attack).await.expect("the attack ends");
        over.set(true);
        outcome
    };
    let (outcome, ()) = tokio::join!(attacking, asking);
    ask().await;
    outcome
}

/// How it ends for one who says this and no more.
async fn left_at(app: &App, beginning: &[u8]) -> ConnectionEnd {
    let mut wire = FrameConnection::connect(app.address).await;
    wire.send(beginning).await;
    wire.ended().await
}

/// A connection from this address that the server has greeted.
async fn begun_from(source: [u8; 4], address: SocketAddr) -> io::Result<FrameConnection> {
    let mut wire = FrameConnection::connect_from(source, address).await;
    // One that is refused may be gone before this.
    drop(wire.0.write_all(&frames::preface_and_settings(&[])).await);
    wire.next_of_kind(SETTINGS).await?;
    Ok(wire)
}

/// Connects, says nothing until it is let go, and connects again.
async fn come_again(address: SocketAddr) {
    let mut pace = interval(Duration::from_millis(10));
    loop {
        pace.tick().await;
        FrameConnection::connect(address).await.ended().await;
    }
}

/// As [`begun_from`], as often as it takes.
async fn begun_at_last(source: [u8; 4], address: SocketAddr) {
    let begun = async { while begun_from(source, address).await.is_err() {} };
    timeout(PATIENCE, begun).await.expect("a place becomes free");
}

fn is_refusal(frame: &Frame) -> bool {
    frame.kind == RST_STREAM && frames::code(&frame.payload) == REFUSED_STREAM
}

fn flood(times: usize, one: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    (0..times).flat_map(one).collect()
}

/// The id of a client's stream.
fn id(n: usize) -> u32 {
    u32::try_from(2 * n + 1).unwrap()
}

/// The status of a call that failed before it was begun to be answered.
fn status<B>(response: &http::Response<B>) -> Status {
    Status::from_header_map(response.headers()).unwrap()
}

fn cut(reason: &str) -> String {
    format!("cognito_lookup_connections_cut_total{{reason=\"{reason}\"}}")
}

fn refused_by(limit: &str) -> String {
    format!("cognito_lookup_connections_refused_total{{limit=\"{limit}\"}}")
}

// What the status of an answer is in HPACK's tables: one of them, and one that is written out in Huffman's code.
const STATUS_200: [u8; 1] = [0x88];
const STATUS_431: [u8; 5] = [0x48, 0x83, 0x69, 0x90, 0xff];
const ACCEPT_FAILURES: &str = "cognito_lookup_accept_failures_total";
const SERVED: &str = "cognito_lookup_connections{worker=\"0\"}";
const GRPC_ENCODING: http::HeaderName = http::HeaderName::from_static("grpc-encoding");
// Long enough for who means well, on a machine that has much else to do.
const SHORT: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
