//! The quotas of this account as Cognito reports them: `GetProvisionedLimit` (API reference), if
//! IAM allows it.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::{
    Client,
    error::ProvideErrorMetadata as _,
    types::{LimitClass, LimitDefinitionType},
};
use tokio::time::sleep;
use tracing::info;

use super::super::limiter::{QuotaCategory, RateLimiter};

/// Reads every category's quota into the rate limiter. A quota that cannot be read leaves the rate
/// as it is: a wrong guess is too low, or soon throttled.
pub(super) async fn learn(client: &Client, limiter: &RateLimiter, region: &str) {
    for category in QuotaCategory::ALL {
        let definition = LimitDefinitionType::builder().limit_class(LimitClass::ApiCategory);
        let Ok(definition) = definition.attributes("Category", category.as_str()).build() else { return };
        match client.get_provisioned_limit().limit_definition(definition).send().await {
            Ok(output) => {
                let quota = output.limit.map_or(0, |limit| limit.provisioned_limit_value);
                if let Ok(quota @ 1..) = usize::try_from(quota) {
                    limiter.report_quota(category, quota);
                }
            }
            Err(error) => info!(
                quota.category = category.as_str(),
                region,
                aws.code = error.code().unwrap_or("no answer"),
                "the rate limit keeps its default or configured rate: GetProvisionedLimit failed"
            ),
        }
        sleep(PAUSE).await;
    }
}

// `LimitManagement` allows one call a second (developer guide, "Quotas in Amazon Cognito").
const PAUSE: Duration = Duration::from_millis(1100);
