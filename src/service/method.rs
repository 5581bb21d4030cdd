//! The methods that are served, under the names that logs, metrics and audit records use.

use crate::telemetry::metrics::rpc;

/// The method that a request calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    /// Its position among [`LABELS`].
    pub(super) index: usize,
    /// Its name with package and service, without a leading slash; `other` for an unknown method.
    pub(super) name: &'static str,
    pub(super) handler: Handler,
}

/// What answers a method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Handler {
    /// A method of this contract. Each call leaves an audit record, because it is about a user.
    Ours(Rpc),
    /// A method of health or reflection.
    Builtin,
    /// The stream of this contract, which tonic's generated server answers.
    Watch,
    Unknown,
}

/// A method of this contract.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rpc {
    GetUser,
    BatchGetUsers,
    InspectUser,
    ExpireUser,
    EraseUser,
    RevokeTokens,
    ExplainAccess,
}

impl Method {
    /// Returns the method at a path. Unknown methods share one name, so clients cannot choose it.
    pub(super) fn at(path: &str) -> Self {
        let name = path.strip_prefix('/').unwrap_or_default();
        let found = METHODS.iter().enumerate().find(|(_, (served, _))| *served == name);
        let (index, (name, handler)) = found.unwrap_or((METHODS.len(), &("other", Handler::Unknown)));
        Self { index, name, handler: *handler }
    }

    pub(super) fn is_audited(self) -> bool {
        matches!(self.handler, Handler::Ours(_) | Handler::Watch)
    }

    /// Returns whether the client may send several messages.
    pub(super) fn is_streamed(self) -> bool {
        LABELS.get(self.index).is_some_and(|labels| labels.grpc_type == "bidi_stream")
    }
}

/// The path of the stream of this contract.
pub(super) const WATCH_PATH: &str = "/userlookup.v1.UserService/WatchUsers";

macro_rules! methods {
    ($($handler:expr, $kind:literal $service:literal $name:literal;)*) => {
        const METHODS: &[(&str, Handler)] = &[$((concat!($service, "/", $name), $handler)),*];

        /// The metric labels of every served method, and at the end those of an unknown one.
        pub(super) const LABELS: &[rpc::Method] = &[
            $(rpc::Method { grpc_type: $kind, grpc_service: $service, grpc_method: $name },)*
            rpc::Method { grpc_type: "unary", grpc_service: "other", grpc_method: "other" },
        ];
    };
}

// The most frequent first: they are searched in this order.
methods! {
    Handler::Ours(Rpc::GetUser), "unary" "userlookup.v1.UserService" "GetUser";
    Handler::Ours(Rpc::BatchGetUsers), "unary" "userlookup.v1.UserService" "BatchGetUsers";
    Handler::Watch, "server_stream" "userlookup.v1.UserService" "WatchUsers";
    Handler::Builtin, "unary" "grpc.health.v1.Health" "Check";
    Handler::Builtin, "server_stream" "grpc.health.v1.Health" "Watch";
    Handler::Builtin, "unary" "grpc.health.v1.Health" "List";
    Handler::Ours(Rpc::InspectUser), "unary" "userlookup.v1.AdminService" "InspectUser";
    Handler::Ours(Rpc::ExpireUser), "unary" "userlookup.v1.AdminService" "ExpireUser";
    Handler::Ours(Rpc::EraseUser), "unary" "userlookup.v1.AdminService" "EraseUser";
    Handler::Ours(Rpc::RevokeTokens), "unary" "userlookup.v1.AdminService" "RevokeTokens";
    Handler::Ours(Rpc::ExplainAccess), "unary" "userlookup.v1.AdminService" "ExplainAccess";
    Handler::Builtin, "bidi_stream" "grpc.reflection.v1.ServerReflection" "ServerReflectionInfo";
    Handler::Builtin, "bidi_stream" "grpc.reflection.v1alpha.ServerReflection" "ServerReflectionInfo";
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::DESCRIPTORS;

    #[test]
    fn every_method_of_the_contract_is_served_and_counted_by_its_name() {
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut seen = 0;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    let found = Method::at(&format!("/{name}"));
                    let counted = LABELS[found.index];
                    assert_eq!(found.name, name);
                    assert_eq!(format!("{}/{}", counted.grpc_service, counted.grpc_method), name);
                    let kind = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => "unary",
                        (false, true) => "server_stream",
                        (true, true) => "bidi_stream",
                        (true, false) => "client_stream",
                    };
                    assert_eq!(counted.grpc_type, kind, "{name}");
                    match found.handler {
                        Handler::Ours(rpc) => assert_eq!(format!("{rpc:?}"), method.name()),
                        Handler::Watch => assert_eq!(format!("/{name}"), WATCH_PATH),
                        handler => assert_eq!(handler, Handler::Builtin, "{name}"),
                    }
                    assert_eq!(found.is_audited(), file.package() == "userlookup.v1", "{name}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, LABELS.len() - 3, "reflection brings two of its own, and one is unknown");
        for version in ["v1", "v1alpha"] {
            let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            assert_eq!(Method::at(&path).handler, Handler::Builtin);
        }
        for other in ["", "/", "/nobody.knows/It", "userlookup.v1.UserService/GetUser"] {
            let found = Method::at(other);
            assert_eq!((found.handler, found.is_audited()), (Handler::Unknown, false));
            assert_eq!((found.name, LABELS[found.index].grpc_method), ("other", "other"));
        }
    }
}
