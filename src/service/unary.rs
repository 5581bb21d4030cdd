//! An RPC of one message each way, from its request's bytes to its answer's.

use std::marker::PhantomData;

use bytes::Bytes;
use http::{Request, Response};
use prost::Message;
use tonic::{
    Status,
    body::Body,
    codec::{self, BufferSettings},
    server::{Grpc, UnaryService},
};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::error::Error;

/// Has `handle` answer a request, whose message is at most `most` bytes. Whatever failed, the answer is a status, in which
/// [`Error::of`] finds the error. Cancel safe as far as `handle` is.
pub(super) async fn answer<Q, A, B, F>(
    request: Request<B>,
    most: usize,
    handle: impl Fn(tonic::Request<Q>) -> F,
) -> Response<Body>
where
    Q: Message + Default + Send + 'static,
    A: Message + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    F: Future<Output = Result<A, Error>>,
{
    let mut grpc = Grpc::new(Codec(PhantomData::<(Q, A)>)).max_decoding_message_size(most);
    let handle = |request| {
        let answer = handle(request);
        async { Ok(tonic::Response::new(answer.await?)) }
    };
    grpc.unary(Handler(handle), request).await
}

struct Handler<H>(H);

impl<H, Q, A, F> UnaryService<Q> for Handler<H>
where
    H: Fn(tonic::Request<Q>) -> F,
    F: Future<Output = Result<tonic::Response<A>, Status>>,
{
    type Response = A;
    type Future = F;

    fn call(&mut self, request: tonic::Request<Q>) -> F {
        (self.0)(request)
    }
}

/// As tonic's own, which would make room for 8 KiB each way.
struct Codec<Q, A>(PhantomData<(Q, A)>);

impl<Q: Message + Default + Send + 'static, A: Message + Send + 'static> codec::Codec for Codec<Q, A> {
    type Encode = A;
    type Decode = Q;
    type Encoder = ProstEncoder<A>;
    type Decoder = ProstDecoder<Q>;

    fn encoder(&mut self) -> ProstEncoder<A> {
        ProstEncoder::new(BufferSettings::new(ANSWER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> ProstDecoder<Q> {
        ProstDecoder::new(BufferSettings::new(REQUEST_BYTES, YIELD_BYTES))
    }
}

// What takes more makes its room when its length is known.
const ANSWER_BYTES: usize = 1024;
const REQUEST_BYTES: usize = 256;
// tonic's own figure, for streams.
const YIELD_BYTES: usize = 32 * 1024;
