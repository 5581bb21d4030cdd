//! What is refused before it becomes a call: requests that are not gRPC, and those without memory.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::respond::ResponseBody;
use crate::{
    error::Error,
    memory::{Charge, ConnectionMemory, Exhausted},
};

/// Counts the memory of a call and its metadata. Returns the response to a request that is not gRPC
/// ("gRPC over HTTP/2", "Requests"), or that has no room.
pub(super) fn admit<B>(
    request: &Request<B>,
    memory: &ConnectionMemory,
) -> Result<Charge, Box<Response<ResponseBody>>> {
    if request.method() != Method::POST {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Err(response.into());
    }
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|value| is_grpc(value.as_bytes())) {
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
    }
    memory.charge(CALL_BYTES + metadata_bytes(request)).map_err(|Exhausted| without_memory().into())
}

/// Returns whether a content type is that of gRPC with protobuf, with or without parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    let Some((base, rest)) = content_type.split_at_checked(BASE.len()) else { return false };
    let rest = match rest.split_at_checked(PROTO.len()) {
        Some((suffix, rest)) if suffix.eq_ignore_ascii_case(PROTO) => rest,
        _ => rest,
    };
    base.eq_ignore_ascii_case(BASE) && matches!(rest.trim_ascii_start(), [] | [b';', ..])
}

/// Returns at most what the request's head takes in memory. HPACK lets a client send a field in one
/// byte, so each counts with its place in the map.
fn metadata_bytes<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter();
    let fields: usize = fields.map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len()).sum();
    let uri = request.uri();
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    fields + authority + uri.path_and_query().map_or(0, |path| path.as_str().len())
}

fn refusal(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Ended);
    *response.status_mut() = status;
    response
}

/// Returns the status of [`Error::MemoryExhausted`]. It is made in advance, so that refusals cost
/// little.
fn without_memory() -> Response<ResponseBody> {
    // Each has another retry delay, so that callers refused together do not retry together.
    static REFUSALS: LazyLock<[HeaderMap; 8]> = LazyLock::new(|| {
        [(); 8].map(|()| {
            Error::MemoryExhausted.into_status("").into_http::<ResponseBody>().into_parts().0.headers
        })
    });
    let mut response = Response::new(ResponseBody::Ended);
    *response.headers_mut() = fastrand::choice(REFUSALS.iter()).cloned().unwrap_or_default();
    response
}

const BASE: &[u8] = b"application/grpc";
const PROTO: &[u8] = b"+proto";
// The future of a call, and what h2, hyper and the runtime keep for it.
const CALL_BYTES: usize = 4 * 1024;
// The places of a field in a `HeaderMap`, which doubles when it is full.
const FIELD_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLimit;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn only_grpc_requests_become_calls() {
        let memory = ConnectionMemory::open(&MemoryLimit::new(64 << 20, 0, &Metrics::new())).unwrap();
        let table = [
            ("POST", Some("application/grpc"), 200),
            ("POST", Some("application/grpc+proto"), 200),
            ("POST", Some("Application/gRPC+Proto"), 200),
            ("POST", Some("application/grpc;charset=utf-8"), 200),
            ("POST", Some("application/grpc ; charset=utf-8"), 200),
            ("POST", Some("application/grpc+proto; charset=utf-8"), 200),
            ("POST", Some("application/grpc+json"), 415),
            ("POST", Some("application/grpc+protobuf"), 415),
            ("POST", Some("application/grpc-web"), 415),
            ("POST", Some("application/grpc-web+proto"), 415),
            ("POST", Some("application/grpcx"), 415),
            ("POST", Some("application/json"), 415),
            ("POST", Some("text/html"), 415),
            ("POST", Some(""), 415),
            ("POST", None, 415),
            ("GET", Some("application/grpc"), 405),
            ("GET", None, 405),
            ("PUT", Some("application/grpc"), 405),
            ("CONNECT", None, 405),
        ];
        for (method, content_type, expected) in table {
            let mut request = Request::new(());
            *request.method_mut() = method.parse().unwrap();
            let value = content_type.map(|value| (header::CONTENT_TYPE, HeaderValue::from_static(value)));
            request.headers_mut().extend(value);
            let status = admit(&request, &memory).map_or_else(|response| response.status().as_u16(), |_| 200);
            assert_eq!(status, expected, "{method} {content_type:?}");
        }
    }

    #[test]
    fn metadata_counts_by_number_and_size() {
        let limit = MemoryLimit::new(64 << 20, 0, &Metrics::new());
        for (fields, size, fits) in [(10, 10, true), (40, 1000, true), (500, 1, true), (10_000, 0, false)] {
            let memory = ConnectionMemory::open(&limit).unwrap();
            let mut request = Request::post("/").header(header::CONTENT_TYPE, "application/grpc");
            for n in 0..fields {
                request = request.header(format!("x{n}"), "v".repeat(size));
            }
            let admitted = admit(&request.body(()).unwrap(), &memory);
            assert_eq!(admitted.is_ok(), fits, "{fields} of {size}");
            let Err(response) = admitted else { continue };
            let headers = response.headers();
            assert_eq!((&headers["grpc-status"], response.status()), (&HeaderValue::from(8), StatusCode::OK));
            assert!(headers.contains_key("grpc-retry-pushback-ms"), "{headers:?}");
        }
    }
}
