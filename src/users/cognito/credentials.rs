//! The credentials that sign the calls, and the endpoint they go to.

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_sdk_cognitoidentityprovider::config::Credentials;

use crate::{config, pool::Pool};

/// Returns the SDK configuration for a pool. It connects to nothing and looks for no credentials
/// yet.
pub(super) async fn config(pool: &Pool) -> SdkConfig {
    let mut loader = own(pool);
    if let Some(role) = &pool.role {
        // From a loader without the pool's endpoint, which is not the endpoint of AWS STS.
        let own = own(pool).load().await;
        let mut provider = AssumeRoleProvider::builder(&role.arn).configure(&own).session_name(SESSION);
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        loader = loader.credentials_provider(provider.build().await);
    }
    if let Some(url) = &pool.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader.load().await
}

/// The service's own credentials, in the pool's Region.
fn own(pool: &Pool) -> ConfigLoader {
    let loader =
        aws_config::defaults(BehaviorVersion::v2026_01_12()).region(Region::new(pool.region.clone()));
    match pool.credentials {
        config::AwsCredentials::DefaultChain => loader,
        config::AwsCredentials::Placeholder => {
            let word = "placeholder";
            loader.credentials_provider(Credentials::new(word, word, None, None, word))
        }
    }
}

// The session name by which CloudTrail distinguishes these calls from others of the role.
const SESSION: &str = "cognito-lookup";
