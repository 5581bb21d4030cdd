//! The methods that are served, as logs, metrics and audit records tell them.

use crate::telemetry::metrics::rpc;

macro_rules! methods {
    ($($method:ident: $kind:literal $service:literal $name:literal,)*) => {
        /// A method that may be asked for; its place is that among [`METHODS`].
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(super) enum Method {
            $($method,)*
            /// None that is served.
            Unknown,
        }

        const SERVED: &[Method] = &[$(Method::$method),*];

        const NAMES: &[&str] = &[$(concat!($service, "/", $name)),*];

        /// Every method as it is counted, and last what is none.
        pub(super) const METHODS: &[rpc::Method] = &[
            $(rpc::Method { grpc_type: $kind, grpc_service: $service, grpc_method: $name },)*
            rpc::Method { grpc_type: "unary", grpc_service: "other", grpc_method: "other" },
        ];
    };
}

// The most asked for first.
methods! {
    GetUser: "unary" "userlookup.v1.UserService" "GetUser",
    BatchGetUsers: "unary" "userlookup.v1.UserService" "BatchGetUsers",
    Check: "unary" "grpc.health.v1.Health" "Check",
    Watch: "server_stream" "grpc.health.v1.Health" "Watch",
    List: "unary" "grpc.health.v1.Health" "List",
    InspectUser: "unary" "userlookup.v1.AdminService" "InspectUser",
    ExpireUser: "unary" "userlookup.v1.AdminService" "ExpireUser",
    EraseUser: "unary" "userlookup.v1.AdminService" "EraseUser",
    ExplainAccess: "unary" "userlookup.v1.AdminService" "ExplainAccess",
    Reflect: "bidi_stream" "grpc.reflection.v1.ServerReflection" "ServerReflectionInfo",
    ReflectAlpha: "bidi_stream" "grpc.reflection.v1alpha.ServerReflection" "ServerReflectionInfo",
}

impl Method {
    /// Returns the method that a request's path names; [`Self::Unknown`] if no such method is served, so that nobody
    /// outside chooses what is logged.
    pub(super) fn of(path: &str) -> Self {
        let name = path.strip_prefix('/').unwrap_or_default();
        let served = NAMES.iter().zip(SERVED).find(|(known, _)| **known == name);
        served.map_or(Self::Unknown, |(_, method)| *method)
    }

    /// Returns the name with its service and package, without the leading slash.
    pub(super) fn name(self) -> &'static str {
        NAMES.get(self.index()).copied().unwrap_or("other")
    }

    /// Returns the place among [`METHODS`].
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Returns true if and only if a service answers it that is not ours.
    pub(super) fn is_builtin(self) -> bool {
        !self.is_recorded() && self != Self::Unknown
    }

    /// Returns true if and only if a call of it may have any number of requests.
    pub(super) fn is_client_streaming(self) -> bool {
        matches!(self, Self::Reflect | Self::ReflectAlpha)
    }

    /// Returns true if and only if calls of it are about people, so that each leaves an audit record.
    pub(super) fn is_recorded(self) -> bool {
        self.name().starts_with("userlookup.v1.")
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::DESCRIPTORS;

    #[test]
    fn every_method_of_the_contract_has_its_name() {
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut seen = 0;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    let found = Method::of(&format!("/{name}"));
                    assert_eq!((found.name(), format!("{found:?}")), (&*name, method.name().to_owned()));
                    let counted = METHODS[found.index()];
                    assert_eq!(format!("{}/{}", counted.grpc_service, counted.grpc_method), name);
                    let kind = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => "unary",
                        (false, true) => "server_stream",
                        (true, true) => "bidi_stream",
                        (true, false) => "client_stream",
                    };
                    assert_eq!(counted.grpc_type, kind, "{name}");
                    let is_ours = file.package() == "userlookup.v1";
                    assert_eq!((found.is_recorded(), found.is_builtin()), (is_ours, !is_ours), "{name}");
                    assert_eq!(found.is_client_streaming(), method.client_streaming(), "{name}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, METHODS.len() - 3, "reflection brings two of its own, and one is none");
        for reflection in [Method::Reflect, Method::ReflectAlpha] {
            assert!(reflection.is_builtin() && reflection.is_client_streaming());
        }
        for other in ["", "/", "/nobody.knows/It", "userlookup.v1.UserService/GetUser"] {
            let found = Method::of(other);
            assert!(!found.is_recorded() && !found.is_builtin());
            assert_eq!((found.name(), METHODS[found.index()].grpc_method), ("other", "other"));
        }
    }
}
