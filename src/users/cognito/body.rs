//! Reads the body of a response before the SDK does: at most 1 MiB of it, and leniently. The largest
//! user has some 140 KB, and the SDK itself has no limit.

use std::{mem, sync::Arc};

use aws_sdk_cognitoidentityprovider::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut,
    },
    error::BoxError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, Collected, LengthLimitError, Limited, StreamBody};

use super::{
    flaw::{FieldLog, Flaw},
    lenient,
};

/// Replaces each body by what [`lenient`] makes of it. The SDK would refuse some of what emulators
/// send.
#[derive(Debug)]
pub(super) struct BodyReader(pub(super) Arc<FieldLog>);

impl Intercept for BodyReader {
    fn name(&self) -> &'static str {
        "BodyReader"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let (is_answer, log) = (response.status().is_success(), Arc::clone(&self.0));
        let whole = mem::replace(response.body_mut(), SdkBody::taken());
        let read = async move {
            let body = Limited::new(whole, MAX_BYTES).collect().await.map(Collected::to_bytes);
            let body = match is_answer {
                true => answer(body.map_err(too_long)?, &log)?,
                // Without its body, an error still has its status.
                false => lenient::error(&body.unwrap_or_default()).into(),
            };
            Ok::<_, BoxError>(Frame::data(body))
        };
        *response.body_mut() = SdkBody::from_body_1_x(StreamBody::new(stream::once(read)));
        Ok(())
    }
}

/// What is not JSON stays as it is, and fails in the SDK like a truncated response.
fn answer(body: Bytes, log: &FieldLog) -> Result<Bytes, Flaw> {
    let mut left_out = Vec::new();
    let text = str::from_utf8(&body).map_err(|_| Flaw::unreadable("the body, which is not UTF-8"))?;
    let rewritten = lenient::answer(text, &mut left_out)?;
    left_out.into_iter().for_each(|field| log.note(field, true));
    Ok(rewritten.map_or(body, Bytes::from))
}

fn too_long(error: BoxError) -> BoxError {
    let is_long = error.is::<LengthLimitError>();
    if is_long { Flaw::unreadable("the body, which exceeds 1 MiB").into() } else { error }
}

const MAX_BYTES: usize = 1 << 20;
