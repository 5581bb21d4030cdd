//! The hosts of AWS in each partition, by the data of the SDK.

use aws_sdk_cognitoidentityprovider::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use futures_util::FutureExt as _;

use super::PoolId;

/// Both issuers of a pool in its Region: the original, and that of pools with an updated issuer
/// configuration (developer guide, "Understanding the access token").
pub(super) fn issuers(region: &str, id: &PoolId) -> Option<Vec<String>> {
    let host = cognito_host(region, false)?;
    Some(["", "issuer-"].map(|prefix| format!("https://{prefix}{host}/{id}")).into())
}

/// Returns whether a host belongs to AWS, in the partition of this Region.
pub(super) fn is_aws(host: &str, region: &str) -> bool {
    [false, true].into_iter().filter_map(|dual_stack| cognito_host(region, dual_stack)).any(|cognito| {
        let suffix = cognito.split_once(region).map_or("", |(_, suffix)| suffix);
        !suffix.is_empty() && host.ends_with(suffix)
    })
}

/// Returns the host of Cognito's API in a Region; none for a partition without dual stack, if that
/// is requested. The SDK takes an unknown Region for one of the first partition.
fn cognito_host(region: &str, dual_stack: bool) -> Option<String> {
    let params = Params::builder().region(region).use_fips(false).use_dual_stack(dual_stack).build().ok()?;
    // The SDK resolves without waiting.
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).now_or_never()?.ok()?;
    endpoint.url().strip_prefix("https://").map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_own_hosts() {
        for (region, host) in [
            ("eu-west-1", "cognito-idp.eu-west-1.amazonaws.com"),
            ("mx-central-1", "cognito-idp.mx-central-1.amazonaws.com"),
            ("ap-southeast-7", "cognito-idp.ap-southeast-7.amazonaws.com"),
            ("us-gov-west-1", "cognito-idp.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "cognito-idp.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "cognito-idp.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "cognito-idp.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "cognito-idp.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", "cognito-idp.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", "cognito-idp.us-isof-south-1.csp.hci.ic.gov"),
            ("mars-north-1", "cognito-idp.mars-north-1.amazonaws.com"),
        ] {
            let id = format!("{region}_AbC").parse().unwrap();
            let expected = [format!("https://{host}/{id}"), format!("https://issuer-{host}/{id}")];
            assert_eq!(issuers(region, &id).unwrap(), expected);
            assert!(is_aws(host, region), "{host}");
            let endpoint = host.replacen("cognito-idp", "vpce-0123.cognito-idp", 1);
            assert!(is_aws(&endpoint, region), "{endpoint}");
        }
    }

    #[test]
    fn a_host_of_another_partition_is_not_aws() {
        for (host, region, expected) in [
            ("cognito-idp.eu-west-1.amazonaws.com", "eu-west-1", true),
            ("cognito-idp.eusc-de-east-1.api.amazonwebservices.eu", "eusc-de-east-1", true),
            ("cognito-idp.eu-west-1.amazonaws.com", "eusc-de-east-1", false),
            ("cognito-idp.eusc-de-east-1.amazonaws.eu", "eu-west-1", false),
            ("cognito-idp.eu-west-1.amazonaws.com.evil.example", "eu-west-1", false),
            ("evilamazonaws.com", "eu-west-1", false),
            ("127.0.0.1", "eu-west-1", false),
            ("", "eu-west-1", false),
        ] {
            assert_eq!(is_aws(host, region), expected, "{host} {region}");
        }
    }
}
