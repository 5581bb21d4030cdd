use cognito_lookup::proto::health::health_check_response::ServingStatus;
use http::Request;
use std::{io::ErrorKind::WouldBlock, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{ADA, App, BOB, GET_USER_STARTED, http_get, http_get_with, standin};

#[tokio::test]
async fn probes_answer_over_http() {
    let app = App::start().await;
    for (path, status, body) in [
        ("/livez", 200, "live\n"),
        ("/readyz", 200, "ready\n"),
        ("/startupz", 200, "started\n"),
        ("/version", 200, concat!("cognito-lookup ", env!("CARGO_PKG_VERSION"), "\n")),
        ("/", 404, "not found; try /livez /readyz /readyz?verbose /startupz /statusz /metrics /version\n"),
    ] {
        assert_eq!(http_get(app.admin, path).await, (status, body.to_owned()), "{path}");
    }
    let (status, metrics) = http_get(app.admin, "/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("cognito_lookup_connections{worker=\"1\"}"));
}

#[tokio::test]
async fn metrics_are_in_the_format_that_is_accepted() {
    let app = App::start().await;
    for (accept, is_open_metrics) in [
        ("", false),
        ("accept: */*\r\n", false),
        ("accept: application/openmetrics-text; version=1.0.0, text/plain; q=0.5\r\n", true),
        ("accept: text/plain;q=0.5\r\naccept: application/openmetrics-text;q=0.9\r\n", true),
        ("accept: text/plain, application/openmetrics-text;q=0.9\r\n", false),
    ] {
        let (head, body) = http_get_with(app.admin, "/metrics", accept).await;
        let (content_type, counter, info) = if is_open_metrics {
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                "# TYPE cognito_lookup_accept_failures counter",
                "# TYPE cognito_lookup_build info",
            )
        } else {
            (
                "text/plain; version=0.0.4; charset=utf-8",
                "# TYPE cognito_lookup_accept_failures_total counter",
                "# TYPE cognito_lookup_build_info gauge",
            )
        };
        assert!(head.contains(&format!("\r\ncontent-type: {content_type}")), "{accept}: {head}");
        for line in [counter, info, "cognito_lookup_accept_failures_total 0"] {
            assert!(body.lines().any(|own| own == line), "{accept}: {line} is missing in\n{body}");
        }
        assert_eq!(body.ends_with("# EOF\n"), is_open_metrics, "{accept}");
    }
}

#[tokio::test]
async fn every_call_is_counted_by_its_method_and_code() {
    let app = App::start().await;
    app.get_by_sub(ADA).await.unwrap();
    app.get_by_sub("a b").await.unwrap_err();
    app.get_by_token("a.b.c").await.unwrap_err();
    let held = app.cognito.hold("AdminGetUser");
    let mut leaving = Box::pin(app.get_by_sub(BOB));
    tokio::select! {
        _ = &mut leaving => panic!("the call returned while held"),
        () = app.cognito.wait_for_calls("AdminGetUser", 2) => {}
    }
    drop(leaving);
    let method = "grpc_type=\"unary\",grpc_service=\"userlookup.v1.UserService\",grpc_method=\"GetUser\"";
    for (code, calls) in [
        ("OK", 1.0),
        ("InvalidArgument", 1.0),
        ("Unauthenticated", 1.0),
        ("Canceled", 1.0),
        ("Internal", 0.0),
    ] {
        let series = format!("grpc_server_handled_total{{{method},grpc_code=\"{code}\"}}");
        app.wait_for_metric(&series, |value| value.total_cmp(&calls).is_eq()).await;
    }
    app.wait_for_metric(GET_USER_STARTED, |begun| begun > 3.9).await;
    app.wait_for_metric(&format!("grpc_server_handling_seconds_count{{{method}}}"), |took| took > 3.9).await;
    drop(held);
    let (_, metrics) = http_get(app.admin, "/metrics").await;
    assert_eq!(metrics.matches("grpc_server_handled_total{").count(), 14 * 17, "every series from the start");
}

#[tokio::test]
async fn a_server_without_keys_is_live_and_not_ready() {
    let cognito = standin();
    cognito.stop().unwrap();
    let app = App::start_unready(cognito, |_| {}).await;
    for (path, expected) in [("/livez", 200), ("/startupz", 200), ("/readyz", 503)] {
        assert_eq!(http_get(app.admin, path).await.0, expected, "{path}");
    }
    assert_eq!(load_balancer(&app).await, "14");
}

#[tokio::test]
async fn a_stopping_server_is_live_and_not_ready() {
    let mut app = App::start_with_config(|config| config.shutdown.delay = Duration::from_secs(60)).await;
    assert_eq!(load_balancer(&app).await, "0");
    app.stop();
    app.wait_for_health(ServingStatus::NotServing).await;
    assert_eq!(load_balancer(&app).await, "14", "the health service's own code would be 0");
    for (path, expected) in [("/livez", 200), ("/startupz", 200), ("/readyz", 503)] {
        assert_eq!(http_get(app.admin, path).await.0, expected, "{path}");
    }
}

/// A client may keep more connections open than the port serves at once. Requests that came, and
/// new ones, have precedence.
#[tokio::test]
async fn silent_connections_to_the_admin_port_keep_no_probe_out() {
    let app = App::start().await;
    let (mut silent, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        for _ in 0..20 {
            silent.push(TcpStream::connect(app.admin).await.unwrap());
        }
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = timeout(Duration::from_secs(1), http_get(app.admin, path)).await;
            assert_eq!(answer.expect("in time").0, 200, "{path} beside {} connections", silent.len());
        }
    }
    assert!(silent.len() > 100, "{}", silent.len());
    for _ in 0..200 {
        silent.push(TcpStream::connect(app.admin).await.unwrap());
    }
    // Accepted after all of them.
    assert_eq!(http_get(app.admin, "/livez").await.0, 200);
    let is_open =
        |stream: &&TcpStream| stream.try_read(&mut [0]).is_err_and(|error| error.kind() == WouldBlock);
    let open = silent.iter().filter(is_open).count();
    assert!(open <= 64, "{open} are open");
}

/// Returns the gRPC code that the health check of an application load balancer gets.
async fn load_balancer(app: &App) -> String {
    let mut client = app.connect_h2().await;
    let request = Request::post(format!("http://{}/AWS.ALB/healthcheck", app.address));
    let request = request.header("content-type", "application/grpc").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    response.await.unwrap().headers()["grpc-status"].to_str().unwrap().to_owned()
}
