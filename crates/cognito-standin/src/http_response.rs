//! A whole HTTP response as a value.

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Response, StatusCode},
    response::IntoResponse,
};
use serde_json::Value;
use uuid::Uuid;

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl HttpResponse {
    /// A response with this status (200 to 999), content type and body.
    pub fn new(status: u16, content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.into())];
        Self { status, headers, body: body.into() }
    }

    /// A JSON response.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// Adds a header. A header that HTTP does not allow makes the response a 500.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// A response in AWS JSON 1.1, which Cognito and CloudTrail speak.
    pub(super) fn aws_json(status: u16, body: &Value) -> Self {
        Self::with_request_id(status, "application/x-amz-json-1.1", body)
    }

    /// A response in AWS JSON 1.0, which SQS speaks.
    pub(super) fn aws_json_1_0(status: u16, body: &Value) -> Self {
        Self::with_request_id(status, "application/x-amz-json-1.0", body)
    }

    /// Splits the body in two halves.
    pub(super) fn split_body(mut self) -> (Bytes, Bytes) {
        let rest = self.body.split_off(self.body.len() / 2);
        (self.body.into(), rest.into())
    }

    fn with_request_id(status: u16, content_type: &str, body: &Value) -> Self {
        Self::new(status, content_type, body.to_string())
            .header("x-amzn-requestid", Uuid::new_v4().to_string())
    }

    fn build(self) -> Result<Response<Body>, axum::http::Error> {
        let mut response = Response::builder().status(self.status).body(Body::from(self.body))?;
        for (name, value) in self.headers {
            response.headers_mut().append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        Ok(response)
    }
}

impl IntoResponse for HttpResponse {
    fn into_response(self) -> Response<Body> {
        self.build()
            .unwrap_or_else(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response())
    }
}
