//! Observes one call: its deadline, audit record, span, metrics and log line.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Response, header::HeaderName};
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use tracing::{Span, debug, error, info, trace, warn};

use super::{
    deadline,
    decode::ACCEPTED_ENCODINGS,
    method::{LABELS, Method},
    request_id::RequestId,
    respond::ResponseBody,
};
use crate::{
    audit::{OpenRecord, Recorder},
    clock::BootTime,
    error::Error,
    policy::Denied,
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
        Self { rpcs: metrics.rpcs.for_thread(LABELS), callers: metrics.callers.for_thread() }
    }

    /// Returns the same counters of calls, and new ones of callers.
    pub(super) fn with_new_callers(&self, metrics: &Metrics) -> Self {
        Self { rpcs: Arc::clone(&self.rpcs), callers: metrics.callers.for_thread() }
    }
}

/// A call in progress. Dropped before [`finish`](Self::finish), it was cancelled by its caller.
#[derive(Debug)]
pub(super) struct CallObserver<'c> {
    pub(super) method: Method,
    counters: &'c CallCounters,
    /// The configured name of the caller, which the call is counted under.
    pub(super) caller: OnceLock<Arc<str>>,
    /// The users that the response has.
    users: AtomicU32,
    request_id: RequestId,
    started: Instant,
    pub(super) deadline: Instant,
    /// How long the client waits, if it has said so.
    client_timeout: Option<Duration>,
    /// Until when the response is as fresh as required; empty for ever.
    holds_until: OnceLock<BootTime>,
    finished: bool,
}

macro_rules! log {
    ($level:ident, $call:ident, $($fields_and_message:tt)+) => {
        $level!(
            rpc.method = $call.method.name,
            request.id = $call.request_id(),
            caller = $call.caller.get().map(|name| &**name),
            duration_ms = $call.started.elapsed().as_secs_f64() * 1000.0,
            $($fields_and_message)+
        )
    };
}

impl<'c> CallObserver<'c> {
    /// Starts to observe a call, which may take as long as `limit`.
    pub(super) fn start(
        path: &str,
        headers: &HeaderMap,
        limit: Duration,
        counters: &'c CallCounters,
    ) -> Self {
        let (method, now) = (Method::at(path), Instant::now());
        let client_timeout = deadline::client_timeout(headers);
        counters.rpcs.started(method.index);
        let call = Self {
            method,
            counters,
            caller: OnceLock::new(),
            users: AtomicU32::new(0),
            request_id: RequestId::from_headers(headers),
            started: now,
            deadline: deadline::of_call(client_timeout, now, limit),
            client_timeout,
            holds_until: OnceLock::new(),
            finished: false,
        };
        trace!(rpc.method = method.name, request.id = call.request_id(), "call begun");
        call
    }

    pub(super) fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    /// Sets how many users the response has.
    pub(super) fn set_users(&self, count: usize) {
        self.users.store(u32::try_from(count).unwrap_or(u32::MAX), Relaxed);
    }

    /// Sets until when the response is as fresh as the caller requires.
    pub(super) fn set_holds_until(&self, time: Option<BootTime>) {
        time.map(|time| self.holds_until.get_or_init(|| time));
    }

    /// Starts the span of the call, unless it is of health or reflection: those would be too many.
    pub(super) fn span(&self, headers: &HeaderMap) -> Span {
        if self.method.is_audited() {
            traces::server_span(self.method.name, self.request_id(), headers)
        } else {
            Span::none()
        }
    }

    /// Opens the audit record of the call, if its method is audited.
    pub(super) fn open_record<'a>(&'a self, recorder: &'a Recorder) -> OpenRecord<'a> {
        recorder.open(self.method.name, self.request_id(), self.method.is_audited())
    }

    /// Runs the call until its deadline. Fails at once if no time is left.
    pub(super) async fn run<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.deadline < self.started + SHORTEST {
            return Err(Error::DeadlineExceeded);
        }
        // A panic leaves nothing inconsistent: what calls share is changed under short locks only.
        let call = AssertUnwindSafe(call).catch_unwind();
        match timeout_at(self.deadline, call).await {
            Ok(outcome) => outcome.unwrap_or(Err(Error::Panicked)),
            Err(_) => Err(Error::DeadlineExceeded),
        }
    }

    /// Closes the audit record. Where records are required, the call fails unless it is written in
    /// time, while the response is still as fresh as required. A record may exist without its
    /// response, but no response without its record.
    pub(super) async fn record(
        &self,
        record: OpenRecord<'_>,
        outcome: Result<Response<ResponseBody>, Error>,
    ) -> Result<Response<ResponseBody>, Error> {
        let ack = record.close(outcome.as_ref().map(drop).map_err(Error::reason));
        let Some(written) = ack else { return outcome };
        match timeout_at(self.deadline, written).await {
            Ok(Ok(())) if self.holds_until.get().is_none_or(|time| BootTime::now() <= *time) => outcome,
            Ok(Ok(())) | Err(_) => Err(Error::DeadlineExceeded),
            Ok(Err(_)) => Err(Error::AuditUnavailable),
        }
    }

    /// Counts and logs the outcome of the call, and makes the response, with the request id in it.
    pub(super) fn finish(
        mut self,
        outcome: Result<Response<ResponseBody>, Error>,
        span: &Span,
    ) -> Response<ResponseBody> {
        self.finished = true;
        let (code, caller_outcome) = match &outcome {
            Ok(_) => (Code::Ok, CallerOutcome::Answered),
            Err(error @ Error::Denied(Denied::AnswersExhausted(_))) => (error.code(), CallerOutcome::Limited),
            Err(error) if error.is_server_fault() => (error.code(), CallerOutcome::Failed),
            Err(error) => (error.code(), CallerOutcome::Refused),
        };
        self.count(code, caller_outcome);
        traces::end_server_span(span, rpc::code_name(code.into()), outcome.as_ref().err().map(Error::reason));
        let mut response = match outcome {
            Ok(response) => {
                log!(debug, self, rpc.code = "OK", "call answered");
                response
            }
            Err(error) => {
                self.log_failure(&error);
                let elapsed = self.started.elapsed();
                let left = self.client_timeout.map_or(Duration::MAX, |time| time.saturating_sub(elapsed));
                error.into_status_for(self.request_id(), left).into_http().map(ResponseBody::Other)
            }
        };
        let headers = response.headers_mut();
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_ENCODINGS));
        self.request_id.move_into(headers);
        response
    }

    fn log_failure(&self, cause: &Error) {
        let (code, reason) = (cause.code(), cause.reason());
        match code {
            Code::Internal => log!(error, self, rpc.code = ?code, reason, %cause, "call failed"),
            // Anyone can cause KEYS_UNAVAILABLE with an invented key id; the key fetcher warns.
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted
                if !matches!(cause, Error::Rejected(_)) =>
            {
                log!(warn, self, rpc.code = ?code, reason, %cause, "call failed");
            }
            _ => log!(info, self, rpc.code = ?code, reason, %cause, "call failed"),
        }
    }

    fn count(&self, code: Code, outcome: CallerOutcome) {
        self.counters.rpcs.handled(self.method.index, code.into(), self.started.elapsed());
        if self.method.is_audited() {
            let users = if outcome == CallerOutcome::Answered { self.users.load(Relaxed) } else { 0 };
            self.counters.callers.count(self.caller.get().map(|name| &**name), outcome, users);
        }
    }
}

impl Drop for CallObserver<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.count(Code::Cancelled, CallerOutcome::Cancelled);
            log!(debug, self, rpc.code = "Cancelled", "call cancelled");
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(1);
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::audit::Audit;

    #[tokio::test]
    async fn a_call_without_time_is_not_started() {
        let timeout = (GRPC_TIMEOUT, HeaderValue::from_static("1n"));
        let outcome = start([timeout].into_iter().collect()).run(async { panic!("started") }).await;
        assert_eq!(outcome, Err::<(), _>(Error::DeadlineExceeded));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_at_its_deadline() {
        let timeout = (GRPC_TIMEOUT, HeaderValue::from_static("100m"));
        let call = start([timeout].into_iter().collect());
        let outcome = call.run(std::future::pending::<Result<(), _>>()).await;
        assert_eq!(
            (outcome, call.started.elapsed()),
            (Err(Error::DeadlineExceeded), Duration::from_millis(90))
        );
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_internal_error() {
        let outcome = start(HeaderMap::new()).run(async { panic!("a bug") }).await;
        assert_eq!(outcome.map_err(|error: Error| error.code()), Err::<(), _>(Code::Internal));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_recorded_as_an_internal_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (audit, writing) = Audit::for_test(&path);
        let (call, recorder) = (start(HeaderMap::new()), audit.recorder());
        let record = call.open_record(&recorder);
        let outcome = call.run(async { panic!("a bug") }).await;
        assert_eq!(call.record(record, outcome).await.err(), Some(Error::Panicked));
        writing.end().await;
        let record = std::fs::read_to_string(&path).unwrap();
        assert!(record.contains("\"outcome\":\"INTERNAL\"") && record.lines().count() == 1, "{record}");
    }

    fn start(headers: HeaderMap) -> CallObserver<'static> {
        static COUNTERS: LazyLock<CallCounters> = LazyLock::new(|| CallCounters::for_thread(&Metrics::new()));
        CallObserver::start("/userlookup.v1.UserService/GetUser", &headers, Duration::from_secs(3), &COUNTERS)
    }

    const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
}
