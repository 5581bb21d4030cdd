use bytes::{Buf as _, BufMut as _};
use cognito_lookup::config::{CallerSettings, Reads};
use prost::Message as _;
use prost_types::{FileDescriptorProto, MethodDescriptorProto};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{ADA, App};

/// Tries every RPC that reflection lists, so that a new RPC cannot be forgotten here.
#[tokio::test]
async fn every_rpc_requires_a_credential() {
    let app = App::start_with_config(|config| {
        config.pools[0].app_clients.extend([MACHINE, STRANGER].map(Into::into));
        config.callers.pop();
        config.callers.push(CallerSettings {
            name: "desk".into(),
            app_client: Some(MACHINE.into()),
            scope: Some(SCOPE.into()),
            reads: Reads::Any,
            attributes: vec!["name".into()],
            admin: true,
            watch: true,
            ..CallerSettings::default()
        });
    })
    .await;
    let without = [
        ("nothing", None),
        ("a machine's token without a rule", Some(app.cognito.machine_token(STRANGER, &[SCOPE]))),
        ("a machine's token without its scope", Some(app.cognito.machine_token(MACHINE, &["x/y"]))),
        ("an ID token", app.cognito.id_token("ada")),
        ("no token", Some("a.b.c".into())),
    ];
    let permitted = app.cognito.machine_token(MACHINE, &[SCOPE]);
    let mut tried = Vec::new();
    for (service, file) in services(&app.channel).await {
        for method in methods(&file, &service) {
            let path = format!("/{service}/{}", method.name());
            if OPEN.contains(&&*service) {
                continue;
            }
            for (case, token) in &without {
                let answer = call(&app.channel, &path, &file, &method, token.as_deref()).await;
                let code = answer.expect_err(&format!("{path} answers {case}")).code();
                assert!(
                    matches!(code, Code::Unauthenticated | Code::PermissionDenied),
                    "{path} {case}: {code:?}"
                );
            }
            assert_eq!(app.cognito_lookups(), 0, "{path}: what is refused costs nothing");
            tried.push((path, file.clone(), method));
        }
    }
    assert!(tried.len() >= 6, "{} RPCs were found: is the reader of this test broken?", tried.len());
    for (path, file, method) in tried {
        let answer = call(&app.channel, &path, &file, &method, Some(&permitted)).await;
        assert!(answer.is_ok(), "{path}, permitted: {answer:?}");
    }
}

/// A user's token never gives access to `AdminService`, whatever its app client may read.
#[tokio::test]
async fn a_users_token_may_not_call_the_admin_service() {
    let app = App::start().await;
    let token = app.token("ada");
    for (service, file) in services(&app.channel).await {
        for method in methods(&file, &service).into_iter().filter(|_| service.ends_with(".AdminService")) {
            let path = format!("/{service}/{}", method.name());
            let answer = call(&app.channel, &path, &file, &method, Some(&token)).await;
            assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied, "{path}");
        }
    }
}

/// Calls a method for Ada, with the other fields that a valid request needs.
async fn call(
    channel: &Channel,
    path: &str,
    file: &FileDescriptorProto,
    method: &MethodDescriptorProto,
    token: Option<&str>,
) -> Result<(), Status> {
    let input = method.input_type().rsplit('.').next().unwrap();
    let input = file.message_type.iter().find(|message| message.name() == input).unwrap();
    let mut body = Vec::new();
    for field in &input.field {
        let value = match field.name() {
            "sub" | "subs" => ADA,
            "caller" => "web",
            _ => continue,
        };
        prost::encoding::string::encode(field.number().unsigned_abs(), &value.to_owned(), &mut body);
    }
    let mut request = Request::new(body);
    if let Some(token) = token {
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
    }
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    if method.server_streaming() {
        let stream = grpc.server_streaming(request, path.parse().unwrap(), Raw).await?;
        return stream.into_inner().message().await.map(drop);
    }
    grpc.unary(request, path.parse().unwrap(), Raw).await.map(drop)
}

/// Returns the services that reflection lists, each with the file that declares it.
async fn services(channel: &Channel) -> Vec<(String, FileDescriptorProto)> {
    let listed = match reflect(channel, MessageRequest::ListServices(String::new())).await {
        MessageResponse::ListServicesResponse(listed) => listed.service,
        other => panic!("{other:?}"),
    };
    let mut services = Vec::new();
    for service in listed.into_iter().map(|service| service.name) {
        let files = match reflect(channel, MessageRequest::FileContainingSymbol(service.clone())).await {
            MessageResponse::FileDescriptorResponse(files) => files.file_descriptor_proto,
            other => panic!("{other:?}"),
        };
        services.push((service, FileDescriptorProto::decode(&*files[0]).unwrap()));
    }
    services
}

fn methods(file: &FileDescriptorProto, service: &str) -> Vec<MethodDescriptorProto> {
    let is_it = |name: &str| format!("{}.{name}", file.package()) == service;
    file.service.iter().find(|service| is_it(service.name())).unwrap().method.clone()
}

async fn reflect(channel: &Channel, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut reflection = ServerReflectionClient::new(channel.clone());
    let answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    answers.into_inner().message().await.unwrap().unwrap().message_response.unwrap()
}

/// Sends messages as bytes, since the test does not know their types.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        buffer.advance(buffer.remaining());
        Ok(Some(()))
    }
}

// Health and reflection describe the server, and have no access to users.
const OPEN: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
const MACHINE: &str = "sandboxmachine000000000001";
const STRANGER: &str = "sandboxmachine000000000003";
const SCOPE: &str = "user-lookup/read";
