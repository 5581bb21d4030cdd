//! What Cognito says it allows this account: `GetProvisionedLimit` (API reference), which IAM may not let us ask.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::{
    Client,
    error::ProvideErrorMetadata as _,
    types::{LimitClass, LimitDefinitionType},
};
use tokio::time::sleep;
use tracing::info;

use super::super::limiter::{QuotaCategory, RateLimiter};

/// Asks for every category's limit and tells the limiter. Where it is not told, the limiter stays as it is, for a wrong
/// guess is too low or soon throttled.
pub(super) async fn learn(client: &Client, limiter: &RateLimiter, region: &str) {
    for category in QuotaCategory::ALL {
        let Ok(definition) = definition(category) else { return };
        match client.get_provisioned_limit().limit_definition(definition).send().await {
            Ok(output) => {
                let allowed =
                    output.limit.and_then(|limit| usize::try_from(limit.provisioned_limit_value).ok());
                allowed.filter(|allowed| *allowed > 0).inspect(|allowed| limiter.seed(category, *allowed));
            }
            Err(error) => {
                let code = error.code().unwrap_or("no answer");
                let category = category.as_str();
                info!(
                    quota.category = category,
                    region,
                    aws.code = code,
                    "the limiter stays as it is: GetProvisionedLimit tells nothing"
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
