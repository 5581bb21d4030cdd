//! A service that a team writes in an afternoon with the same crates: tonic on the multi-thread
//! runtime, jsonwebtoken on every call, `moka::future::Cache::try_get_with` before `AdminGetUser`.
//! It has no policy per caller, audit records, metrics, limits or key rotation.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_cognitoidentityprovider::{
    Client, operation::admin_get_user::AdminGetUserOutput, types::UserStatusType,
};
use cognito_lookup::proto::{
    BatchGetUsersRequest, BatchGetUsersResponse, Freshness, GetUserRequest, GetUserResponse, Source, User,
    UserStatus, WatchUsersRequest, WatchUsersResponse, user_service_server::UserService,
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    jwk::{Jwk, JwkSet},
};
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status, codegen::BoxStream, metadata::MetadataMap};

#[derive(Deserialize, Serialize)]
pub(crate) struct Naive {
    pub(crate) pool_id: String,
    pub(crate) issuer: String,
    pub(crate) app_client: String,
    pub(crate) endpoint_url: String,
    /// A service would fetch the keys at its start.
    pub(crate) jwks: JwkSet,
    /// The names of the attributes that it returns.
    pub(crate) attributes: Vec<String>,
}

impl Naive {
    pub(super) async fn service(self) -> impl UserService {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-west-1"))
            .endpoint_url(&self.endpoint_url)
            .load()
            .await;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        // Cognito's access tokens have no `aud`.
        validation.validate_aud = false;
        let key = |jwk: &Jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?));
        Service {
            keys: self.jwks.keys.iter().filter_map(key).collect(),
            validation,
            cognito: Client::new(&config),
            users: Cache::builder().max_capacity(100_000).time_to_live(TTL).build(),
            settings: self,
        }
    }
}

struct Service {
    settings: Naive,
    keys: HashMap<String, DecodingKey>,
    validation: Validation,
    cognito: Client,
    users: Cache<String, Cached>,
}

#[derive(Clone)]
struct Cached {
    user: User,
    fetched_at: SystemTime,
}

/// The claims that the service needs.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    username: String,
    client_id: String,
    token_use: String,
}

#[tonic::async_trait]
impl UserService for Service {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let claims = self.verify(request.metadata())?;
        let fetch = self.fetch(&claims.username);
        let cached = self.users.try_get_with(claims.sub, fetch).await;
        let Cached { user, fetched_at } = cached.map_err(|status| Status::clone(&status))?;
        let freshness = Freshness {
            source: Source::Cache.into(),
            fetched_at: Some(fetched_at.into()),
            age: fetched_at.elapsed().unwrap_or_default().try_into().ok(),
            ..Freshness::default()
        };
        Ok(Response::new(GetUserResponse { user: Some(user), freshness: Some(freshness) }))
    }

    async fn batch_get_users(
        &self,
        _: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        Err(Status::unimplemented("not part of the bench"))
    }

    type WatchUsersStream = BoxStream<WatchUsersResponse>;

    async fn watch_users(
        &self,
        _: Request<WatchUsersRequest>,
    ) -> Result<Response<Self::WatchUsersStream>, Status> {
        Err(Status::unimplemented("not part of the bench"))
    }
}

impl Service {
    fn verify(&self, metadata: &MetadataMap) -> Result<Claims, Status> {
        let invalid = || Status::unauthenticated("invalid access token");
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(invalid)?;
        let kid = jsonwebtoken::decode_header(token).ok().and_then(|header| header.kid);
        let key = kid.and_then(|kid| self.keys.get(&kid)).ok_or_else(invalid)?;
        let token = jsonwebtoken::decode::<Claims>(token, key, &self.validation).map_err(|_| invalid())?;
        let is_ours =
            token.claims.token_use == "access" && token.claims.client_id == self.settings.app_client;
        is_ours.then_some(token.claims).ok_or_else(invalid)
    }

    async fn fetch(&self, username: &str) -> Result<Cached, Status> {
        let call = self.cognito.admin_get_user().user_pool_id(&self.settings.pool_id).username(username);
        let output = call.send().await.map_err(|_| Status::unavailable("Cognito failed"))?;
        Ok(Cached { user: self.user(output), fetched_at: SystemTime::now() })
    }

    fn user(&self, output: AdminGetUserOutput) -> User {
        let attributes = output.user_attributes.unwrap_or_default().into_iter();
        let attributes = attributes.map(|attribute| (attribute.name, attribute.value.unwrap_or_default()));
        let (sub, attributes): (Vec<_>, Vec<_>) = attributes.partition(|(name, _)| name == "sub");
        let is_released = |(name, _): &(String, String)| self.settings.attributes.contains(name);
        User {
            sub: sub.into_iter().map(|(_, sub)| sub).next().unwrap_or_default(),
            user_pool_id: self.settings.pool_id.clone(),
            attributes: attributes.into_iter().filter(is_released).collect(),
            status: status(output.user_status.as_ref()).into(),
            enabled: output.enabled,
            ..User::default()
        }
    }
}

fn status(status: Option<&UserStatusType>) -> UserStatus {
    match status {
        Some(UserStatusType::Confirmed) => UserStatus::Confirmed,
        Some(UserStatusType::ExternalProvider) => UserStatus::ExternalProvider,
        _ => UserStatus::Unspecified,
    }
}

// Nothing expires while the bench runs, as in the service's settings.
const TTL: Duration = Duration::from_hours(24);
