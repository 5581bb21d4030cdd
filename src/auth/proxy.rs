//! The marks that a proxy leaves in the metadata of a call. The peer's address is then the proxy's.

use tonic::metadata::MetadataMap;

/// Returns whether a call came through a proxy that says so.
pub(super) fn has_marks(metadata: &MetadataMap) -> bool {
    metadata.as_ref().keys().any(|name| is_mark(name.as_str()))
}

fn is_mark(name: &str) -> bool {
    match name {
        // RFC 7239, section 4; RFC 9110, section 7.6.3; and what nginx and CDNs write.
        "forwarded"
        | "via"
        | "x-real-ip"
        | "x-original-forwarded-for"
        | "true-client-ip"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "x-azure-clientip"
        | "fastly-client-ip"
        | "cf-connecting-ip" => true,
        // The de facto standard, Envoy's and Linkerd's.
        _ => ["x-forwarded-", "x-envoy-", "l5d-"].iter().any(|prefix| name.starts_with(prefix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_of_proxies_are_known() {
        for (name, expected) in [
            ("forwarded", true),
            ("via", true),
            ("x-forwarded-for", true),
            ("x-forwarded-client-cert", true),
            ("x-forwarded-proto", true),
            ("x-envoy-external-address", true),
            ("x-envoy-attempt-count", true),
            ("x-real-ip", true),
            ("l5d-client-id", true),
            ("x-client-ip", true),
            ("x-azure-clientip", true),
            ("x-forwarded", false),
            ("x-request-id", false),
            ("traceparent", false),
            ("user-agent", false),
            ("grpc-timeout", false),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert(name, "x".parse().unwrap());
            assert_eq!(has_marks(&metadata), expected, "{name}");
        }
        assert!(!has_marks(&MetadataMap::new()));
    }
}
