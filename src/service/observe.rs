//! One call as it is observed: the time it may take, and the one line that says how it ended.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{HeaderMap, Response, header::HeaderName};
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use tracing::{Span, debug, error, info, warn};

use super::{
    method::{METHODS, Method},
    request_id::RequestId,
    respond::ResponseBody,
};
use crate::{
    audit::{OpenRecord, Recorder},
    error::Error,
    freshness::TimePoint,
    telemetry::{
        metrics::{
            Metrics,
            callers::{CallerCounters, CallerOutcome},
            rpc::{self, RpcCounters},
        },
        traces,
    },
};

/// The counters of one serving thread.
#[derive(Debug)]
pub(super) struct CallCounters {
    rpcs: Arc<RpcCounters>,
    callers: Arc<CallerCounters>,
}

impl CallCounters {
    /// Adds counters for one more thread to `metrics`.
    pub(super) fn for_thread(metrics: &Metrics) -> Self {
        Self { rpcs: metrics.rpcs.for_thread(METHODS), callers: metrics.callers.for_thread() }
    }
}

/// A call under way. One that is dropped before its end was cancelled by its caller.
#[derive(Debug)]
pub(super) struct CallObserver<'c> {
    method: Method,
    counters: &'c CallCounters,
    caller: OnceLock<Arc<str>>,
    request_id: RequestId,
    begun: Instant,
    deadline: Instant,
    ended: bool,
}

impl<'c> CallObserver<'c> {
    /// Begins to observe a call. It may take as long as `longest`, or its `grpc-timeout` if that is less, which is cut by a
    /// tenth, at most 20 ms: the answer must be there before the caller's own clock ends the call, for then it learns
    /// nothing of the reason (and a tonic client calls it `CANCELLED`).
    pub(super) fn start(
        path: &str,
        headers: &HeaderMap,
        longest: Duration,
        counters: &'c CallCounters,
    ) -> Self {
        let method = Method::of(path);
        counters.rpcs.started(method.index());
        let callers = headers.get(GRPC_TIMEOUT).and_then(|value| grpc_timeout(value.to_str().ok()?));
        let now = TimePoint::now();
        Self {
            method,
            counters,
            caller: OnceLock::new(),
            request_id: RequestId::from_headers(headers, now.system),
            begun: now.monotonic,
            deadline: now.monotonic
                + callers.map_or(longest, |limit| (limit - (limit / 10).min(AHEAD)).min(longest)),
            ended: false,
        }
    }

    /// Returns what is called.
    pub(super) fn method(&self) -> Method {
        self.method
    }

    /// Returns the name of the call.
    pub(super) fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    /// Returns where the configured name of the caller is put once it is known.
    pub(super) fn caller(&self) -> &OnceLock<Arc<str>> {
        &self.caller
    }

    /// Returns when the call must have been answered.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Begins the span of the call, if it is about people; of health checks there would be too many.
    pub(super) fn span(&self, headers: &HeaderMap) -> Span {
        if self.method.is_recorded() {
            traces::server_span(self.method.name(), self.request_id(), headers)
        } else {
            Span::none()
        }
    }

    /// Opens the audit record of the call, if it is to have one.
    pub(super) fn open_record<'a>(&'a self, recorder: &'a Recorder) -> OpenRecord<'a> {
        if self.method.is_recorded() {
            recorder.open(self.method.name(), self.request_id())
        } else {
            recorder.open_unrecorded(self.method.name(), self.request_id())
        }
    }

    /// Runs the call until its deadline. One that cannot be answered in time is not begun: what it would have Cognito
    /// asked for, nobody would see.
    pub(super) async fn run<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.deadline < self.begun + SHORTEST {
            return Err(Error::DeadlineExceeded);
        }
        // A call owns nothing that others share and could find broken: the parts they share lock for moments only.
        let call = AssertUnwindSafe(call).catch_unwind();
        match timeout_at(self.deadline, call).await {
            Ok(outcome) => outcome.unwrap_or(Err(Error::Panicked)),
            Err(_) => Err(Error::DeadlineExceeded),
        }
    }

    /// Closes the audit record. Where records are required this returns when it is written, and what cannot be recorded
    /// in time does not leave. A record may so be of an answer that never left, but no answer is without one.
    pub(super) async fn record(
        &self,
        record: OpenRecord<'_>,
        outcome: Result<Response<ResponseBody>, Error>,
    ) -> Result<Response<ResponseBody>, Error> {
        let ack = record.close(outcome.as_ref().map(drop).map_err(Error::reason));
        let Some(written) = ack else { return outcome };
        match timeout_at(self.deadline, written).await {
            Ok(Ok(())) => outcome,
            Ok(Err(_)) => Err(Error::AuditUnavailable),
            Err(_) => Err(Error::DeadlineExceeded),
        }
    }

    /// Ends the call: logs how, once, and makes what the caller gets, with the request id on it.
    pub(super) fn finish(
        mut self,
        outcome: Result<Response<ResponseBody>, Error>,
        span: &Span,
    ) -> Response<ResponseBody> {
        self.ended = true;
        let code = outcome.as_ref().map_or_else(Error::code, |_| Code::Ok);
        let caller_outcome = match &outcome {
            Ok(_) => CallerOutcome::Answered,
            Err(error) if error.is_server_fault() => CallerOutcome::Failed,
            Err(_) => CallerOutcome::Refused,
        };
        self.count(code, caller_outcome);
        traces::end_server_span(span, rpc::code_name(code.into()), outcome.as_ref().err().map(Error::reason));
        let mut response = match outcome {
            Ok(response) => {
                self.log_success();
                response
            }
            Err(error) => {
                self.log_failure(&error);
                error.into_status(self.request_id()).into_http().map(ResponseBody::Other)
            }
        };
        self.request_id.move_into(response.headers_mut());
        response
    }

    fn log_success(&self) {
        let (method, request_id) = (self.method, self.request_id());
        debug!(
            rpc.method = method.name(),
            rpc.code = "OK",
            request.id = request_id,
            duration_ms = self.milliseconds(),
            "call answered"
        );
    }

    fn log_failure(&self, cause: &Error) {
        let (method, request_id) = (self.method, self.request_id());
        let (code, reason, duration_ms) = (cause.code(), cause.reason(), self.milliseconds());
        macro_rules! log {
            ($level:ident) => {
                $level!(rpc.method = method.name(), rpc.code = ?code, reason, request.id = request_id, duration_ms, %cause, "call failed")
            };
        }
        match code {
            Code::Internal => log!(error),
            // Anybody can cause it with a made-up key name; where keys are really missing, their task says so.
            _ if matches!(cause, Error::Rejected(_)) => log!(info),
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => log!(warn),
            _ => log!(info),
        }
    }

    fn log_cancellation(&self) {
        let (method, request_id) = (self.method, self.request_id());
        debug!(
            rpc.method = method.name(),
            rpc.code = "Cancelled",
            request.id = request_id,
            duration_ms = self.milliseconds(),
            "call cancelled"
        );
    }

    fn count(&self, code: Code, outcome: CallerOutcome) {
        self.counters.rpcs.handled(self.method.index(), code.into(), self.begun.elapsed());
        if self.method.is_recorded() {
            self.counters.callers.count(self.caller.get().map(|name| &**name), outcome);
        }
    }

    fn milliseconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1000.0
    }
}

impl Drop for CallObserver<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.count(Code::Cancelled, CallerOutcome::Cancelled);
            self.log_cancellation();
        }
    }
}

/// Reads a `grpc-timeout`: at most 8 digits and a unit (gRPC over HTTP/2, "Requests"); none if it is no such thing.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

const AHEAD: Duration = Duration::from_millis(20);
const SHORTEST: Duration = Duration::from_millis(1);
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use http::HeaderValue;

    use super::*;
    use crate::audit::Audit;

    #[tokio::test(start_paused = true)]
    async fn the_callers_deadline_shortens_ours() {
        let table = [
            (None, 3000),
            (Some("1S"), 980),
            (Some("100m"), 90),
            (Some("10M"), 3000),
            (Some("99999999H"), 3000),
            (Some("0n"), 0),
            (Some(""), 3000),
            (Some("1"), 3000),
            (Some("S"), 3000),
            (Some("-1S"), 3000),
            (Some("1X"), 3000),
            (Some("123456789S"), 3000),
            (Some("12345678901234567890S"), 3000),
            (Some("1s"), 3000),
            (Some("1é"), 3000),
        ];
        for (header, expected) in table {
            let value = header.map(|header| HeaderValue::from_bytes(header.as_bytes()).unwrap());
            let headers = value.map(|value| (GRPC_TIMEOUT, value));
            let call = begin(headers.into_iter().collect());
            assert_eq!(call.deadline - Instant::now(), Duration::from_millis(expected), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_call_without_time_is_not_begun() {
        let timeout = (GRPC_TIMEOUT, HeaderValue::from_static("1n"));
        let outcome = begin([timeout].into_iter().collect()).run(async { panic!("begun") }).await;
        assert_eq!(outcome, Err::<(), _>(Error::DeadlineExceeded));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_with_its_time() {
        let timeout = (GRPC_TIMEOUT, HeaderValue::from_static("100m"));
        let call = begin([timeout].into_iter().collect());
        let outcome = call.run(std::future::pending::<Result<(), _>>()).await;
        assert_eq!(
            (outcome, call.begun.elapsed()),
            (Err(Error::DeadlineExceeded), Duration::from_millis(90))
        );
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_internal_error() {
        let outcome = begin(HeaderMap::new()).run(async { panic!("a bug") }).await;
        assert_eq!(outcome.map_err(|error: Error| error.code()), Err::<(), _>(Code::Internal));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_recorded_as_an_internal_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (audit, writing) = Audit::for_test(&path);
        let (call, recorder) = (begin(HeaderMap::new()), audit.recorder());
        let record = call.open_record(&recorder);
        let outcome = call.run(async { panic!("a bug") }).await;
        assert_eq!(call.record(record, outcome).await.err(), Some(Error::Panicked));
        writing.end().await;
        let record = std::fs::read_to_string(&path).unwrap();
        assert!(record.contains("\"outcome\":\"INTERNAL\"") && record.lines().count() == 1, "{record}");
    }

    fn begin(headers: HeaderMap) -> CallObserver<'static> {
        static COUNTERS: LazyLock<CallCounters> = LazyLock::new(|| CallCounters::for_thread(&Metrics::new()));
        CallObserver::start("/userlookup.v1.UserService/GetUser", &headers, Duration::from_secs(3), &COUNTERS)
    }
}
