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
        let Ok(definition) = definition(category) else { return };
        match client.get_provisioned_limit().limit_definition(definition).send().await {
            Ok(output) => {
                let allowed =
                    output.limit.and_then(|limit| usize::try_from(limit.provisioned_limit_value).ok());
                allowed
                    .filter(|allowed| *allowed > 0)
                    .inspect(|allowed| limiter.report_quota(category, *allowed));
            }
            Err(error) => {
                let code = error.code().unwrap_or("no answer");
                let category = category.as_str();
                info!(
                    quota.category = category,
                    region,
                    aws.code = code,
                    "the rate limit keeps its default or configured rate: GetProvisionedLimit failed"
                );
            }
        }
        sleep(PAUSE).await;
    }
}

fn definition(
    category: QuotaCategory,
) -> Result<LimitDefinitionType, aws_sdk_cognitoidentityprovider::error::BuildError> {
    LimitDefinitionType::builder()
        .limit_class(LimitClass::ApiCategory)
        .attributes("Category", category.as_str())
        .build()
}

// `LimitManagement` allows one call a second (developer guide, "Quotas in Amazon Cognito").
const PAUSE: Duration = Duration::from_millis(1100);
