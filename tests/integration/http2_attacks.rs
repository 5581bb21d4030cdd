//! HTTP/2 frames that would exhaust the memory or the CPU of the server.

use cognito_lookup::config::Config;
use cognito_standin::User;
use tokio::{io::AsyncWriteExt as _, net::TcpSocket};

use crate::{
    support::tls_client,
    support::{
        ADA, App, GRACE, about,
        attack::{
            LONG, SHORT, cut, flood, is_refusal, single_worker, single_worker_tls, stream_id, while_calling,
            while_repeating,
        },
        certificates::{Authority, client_config},
        frames::{
            self, CANCEL, CONTINUATION, ConnectionEnd, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
            Frame, FrameConnection, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, PADDED,
            PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, literal, sent,
        },
    },
};

#[tokio::test]
async fn floods_of_frames_are_cut_and_usual_numbers_are_not() {
    let app = single_worker(|_| {}).await;
    let enhance_your_calm = ConnectionEnd::GoAway(ENHANCE_YOUR_CALM);
    // `:method: POST`, `:scheme: http` and `:path: /` of HPACK's static table. A request needs a
    // method.
    let (request, malformed) = ([0x83, 0x86, 0x84], [0x86, 0x84]);
    let begun = |n: usize, block: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, stream_id(n), block);
    let taken_back =
        |n| [begun(n, &request), frame(RST_STREAM, 0, stream_id(n), &CANCEL.to_be_bytes())].concat();
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
        ("cancelled requests", flood(10, taken_back), ConnectionEnd::Alive),
        ("too many cancelled requests", flood(1_000, taken_back), enhance_your_calm),
        ("malformed requests", flood(1_000, |n| begun(n, &malformed)), ConnectionEnd::Alive),
        ("too many malformed requests", flood(2_000, |n| begun(n, &malformed)), enhance_your_calm),
        (
            "endless headers of nothing",
            unfinished(flood(1_000, |_| frame(CONTINUATION, 0, 1, b""))),
            enhance_your_calm,
        ),
        (
            "endless headers",
            unfinished(flood(1_000, |_| frame(CONTINUATION, 0, 1, &literal("a", "b")))),
            enhance_your_calm,
        ),
        ("data of nothing", open(flood(10, |_| frame(DATA, 0, 1, b""))), ConnectionEnd::Alive),
        ("too much data of nothing", open(flood(1_000, |_| frame(DATA, 0, 1, b""))), enhance_your_calm),
        (
            "too much padded nothing",
            open(flood(1_000, |_| frame(DATA, PADDED, 1, &[3, 0, 0, 0]))),
            enhance_your_calm,
        ),
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
        let end = while_calling(&app, sent(app.address, &frames, |_| {})).await;
        assert_eq!(end, expected, "{case}");
        cuts += if end == ConnectionEnd::Cut { 1.0 } else { 0.0 };
        assert_eq!(app.metric(&cut("Flood")).await, cuts, "{case}");
    }
}

#[tokio::test]
async fn calls_earn_allowance_for_control_frames() {
    let app = single_worker(|_| {}).await;
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut wire = FrameConnection::open(app.address, &[]).await;
    for n in 0..1500 {
        wire.send(&[frames::call(stream_id(n), &about("nobody")), ping.repeat(18)].concat()).await;
        wire.ping().await.unwrap();
    }
    assert_eq!(app.metric(&cut("Flood")).await, 0.0);
}

#[tokio::test]
async fn large_headers_reach_no_service() {
    let app = single_worker(|_| {}).await;
    let enhance_your_calm = || Outcome::Ended(ENHANCE_YOUR_CALM);
    let with = |more: Vec<u8>| frames::headers(1, &[frames::get_user(), more].concat());
    // Each reference is one byte, and stands for the field that the first literal put into the
    // dynamic table.
    let referred =
        |value: usize, times| [frames::indexed("x", &"y".repeat(value)), vec![0xbe; times]].concat();
    let resized = |block: Vec<u8>| [[0x20, 0x3f, 0xe1, 0x1f].repeat(5_000), block].concat();
    for (case, frames, expected) in [
        ("48 KiB", with(literal("x", &"y".repeat(48 * 1024))), Outcome::Called),
        ("80 KiB", with(literal("x", &"y".repeat(80 * 1024))), Outcome::Refused),
        ("1 MiB", with(literal("x", &"y".repeat(1024 * 1024))), enhance_your_calm()),
        (
            "1 MiB in parts",
            with(flood(256, |n| literal(&format!("x{n}"), &"y".repeat(4096)))),
            enhance_your_calm(),
        ),
        ("ten thousand", with(flood(10_000, |n| literal(&format!("x{n}"), ""))), Outcome::Refused),
        ("forty thousand alike", with(literal("x", "").repeat(40_000)), enhance_your_calm()),
        ("references", with(referred(4_000, 10_000)), enhance_your_calm()),
        ("a table resized", frames::headers(1, &resized(frames::get_user())), Outcome::Called),
    ] {
        let attack = async {
            let mut wire = FrameConnection::open(app.address, &[]).await;
            // The server may close the connection before it has read everything.
            drop(wire.0.write_all(&frames).await);
            loop {
                let Frame { kind, payload, .. } = wire.next().await.unwrap();
                match kind {
                    HEADERS if payload.starts_with(&STATUS_200) => return Outcome::Called,
                    HEADERS if payload == STATUS_431 => return Outcome::Refused,
                    HEADERS => panic!("{payload:?}"),
                    GOAWAY => return Outcome::Ended(frames::code(&payload[4..8])),
                    _ => {}
                }
            }
        };
        assert_eq!(while_calling(&app, attack).await, expected, "{case}");
    }
}

/// The outcome of a call with large headers.
#[derive(Debug, Eq, PartialEq)]
enum Outcome {
    Called,
    Refused,
    Ended(u32),
}

#[tokio::test]
async fn a_connection_carries_a_hundred_concurrent_calls() {
    let app = single_worker(|config| config.limits.request_timeout = LONG).await;
    let held = app.cognito.hold("AdminGetUser");
    let asked = app.cognito_lookups();
    let attack = async {
        let mut wire = FrameConnection::open(app.address, &[]).await;
        let settings = wire.next_of_kind(SETTINGS).await.unwrap().payload;
        let streams = settings.chunks(6).find(|setting| setting[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes());
        assert_eq!(streams.unwrap()[2..], 100_u32.to_be_bytes());
        wire.send(&flood(150, |n| frames::call(stream_id(n), &about(GRACE)))).await;
        (wire.ping().await.unwrap(), wire)
    };
    let (came, mut wire) = while_calling(&app, attack).await;
    // A second RST_STREAM may follow for the DATA frame of a refused stream.
    let refused: Vec<_> = came.iter().filter(|frame| is_refusal(frame)).map(|frame| frame.stream).collect();
    assert_eq!(refused, (100..150).map(stream_id).collect::<Vec<_>>());
    app.cognito.wait_for_calls("AdminGetUser", asked + 1).await;
    held.release();
    for _ in 0..100 {
        while wire.next_of_kind(HEADERS).await.unwrap().flags & END_STREAM == 0 {}
    }
    assert_eq!(app.cognito.calls("AdminGetUser"), asked + 1);
}

#[tokio::test]
async fn ten_thousand_concurrent_calls_end_their_connection() {
    let app = single_worker(|config| config.limits.request_timeout = LONG).await;
    let _held = app.cognito.hold("AdminGetUser");
    let mut refused = 0;
    let calls = flood(10_000, |n| frames::call(stream_id(n), &about(GRACE)));
    let attack = sent(app.address, &calls, |frame| {
        refused += usize::from(is_refusal(&frame));
    });
    assert_eq!(while_calling(&app, attack).await, ConnectionEnd::GoAway(ENHANCE_YOUR_CALM));
    assert!(refused > 0);
}

#[tokio::test]
async fn a_client_that_opens_no_window_is_cut() {
    let app = single_worker(|config| config.limits.stall_timeout = SHORT).await;
    let attack = async {
        let mut wire = FrameConnection::open(app.address, &[(INITIAL_WINDOW_SIZE, 0)]).await;
        wire.send(&flood(100, |n| frames::call(stream_id(n), &about(ADA)))).await;
        let mut data = 0;
        let end = frames::end(&mut wire.0, |frame| data += usize::from(frame.kind == DATA)).await;
        (end, data)
    };
    assert_eq!(while_calling(&app, attack).await, (ConnectionEnd::Cut, 0));
    assert_eq!(app.metric(&cut("Stall")).await, 1.0);
}

#[tokio::test]
async fn a_client_that_opens_its_window_late_gets_its_reply() {
    let app = single_worker(|_| {}).await;
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
async fn a_client_that_does_not_read_its_socket_is_cut() {
    let authority = Authority::new("servers");
    let settings = |config: &mut Config| {
        config.callers[1].attributes = vec!["*".to_owned()];
        config.limits.stall_timeout = SHORT;
    };
    let clear = single_worker(settings).await;
    let (single_worker_tls, mut good) = single_worker_tls(&authority, settings).await;
    // The HTTP/2 windows are as large as possible, so that only TCP delays a reply.
    let wide = i32::MAX as u32;
    let opening = frame(WINDOW_UPDATE, 0, 0, &(wide - 65_535).to_be_bytes());
    let opening = [frames::preface_and_settings(&[(INITIAL_WINDOW_SIZE, wide)]), opening].concat();
    let begun = async |app: &App| {
        let mut eve = User::local("eve", "secret");
        eve.attributes = (0..45).map(|n| (format!("custom:{n}"), "x".repeat(2048))).collect();
        let calls = flood(100, |n| frames::call(stream_id(n), &about(&eve.sub)));
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
    while_calling(&clear, attack).await;
    let attack = async {
        let (stream, bytes) = begun(&single_worker_tls).await;
        let mut stream =
            tls_client::handshake_over(stream, client_config(&[&authority], None)).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        is_cut(&single_worker_tls).await;
    };
    while_repeating(async || assert!(good.get_user(about(ADA)).await.is_ok()), attack).await;
}

// `:status` in HPACK: 200 is in the static table, 431 is a literal in Huffman code.
const STATUS_200: [u8; 1] = [0x88];
const STATUS_431: [u8; 5] = [0x48, 0x83, 0x69, 0x90, 0xff];
const SERVED: &str = "cognito_lookup_connections{worker=\"0\"}";
