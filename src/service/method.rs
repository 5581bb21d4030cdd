//! The methods that are served, as logs, metrics and audit records tell them.

use crate::telemetry::metrics::rpc;

/// One of [`METHODS`], in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    GetUser,
    BatchGetUsers,
    Check,
    Watch,
    List,
    InspectUser,
    ExpireUser,
    EraseUser,
    ExplainAccess,
    Reflect,
    ReflectAlpha,
    /// None that is served.
    Other,
}

impl Method {
    const SERVED: [Self; NAMES.len()] = [
        Self::GetUser,
        Self::BatchGetUsers,
        Self::Check,
        Self::Watch,
        Self::List,
        Self::InspectUser,
        Self::ExpireUser,
        Self::EraseUser,
        Self::ExplainAccess,
        Self::Reflect,
        Self::ReflectAlpha,
    ];

    /// Returns the method that a request's path names; [`Self::Other`] if no such method is served, so that nobody
    /// outside chooses what is logged.
    pub(super) fn of(path: &str) -> Self {
        let name = path.strip_prefix('/').unwrap_or_default();
        let served = NAMES.iter().zip(Self::SERVED).find(|(known, _)| **known == name);
        served.map_or(Self::Other, |(_, method)| method)
    }

    /// Returns the name with its service and package, without the leading slash.
    pub(super) fn name(self) -> &'static str {
        NAMES.get(self.place()).copied().unwrap_or("other")
    }

    /// Returns the place among [`METHODS`].
    pub(super) fn place(self) -> usize {
        self as usize
    }

    /// Returns true if and only if calls of it are about people, so that each leaves an audit record.
    pub(super) fn is_recorded(self) -> bool {
        self.name().starts_with("userlookup.v1.")
    }
}

// The most asked for first.
const NAMES: [&str; 11] = [
    "userlookup.v1.UserService/GetUser",
    "userlookup.v1.UserService/BatchGetUsers",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.health.v1.Health/List",
    "userlookup.v1.AdminService/InspectUser",
    "userlookup.v1.AdminService/ExpireUser",
    "userlookup.v1.AdminService/EraseUser",
    "userlookup.v1.AdminService/ExplainAccess",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Every method as it is counted, and last what is none.
pub(super) const METHODS: &[rpc::Method] = &[
    unary("userlookup.v1.UserService", "GetUser"),
    unary("userlookup.v1.UserService", "BatchGetUsers"),
    unary("grpc.health.v1.Health", "Check"),
    rpc::Method { grpc_type: "server_stream", ..unary("grpc.health.v1.Health", "Watch") },
    unary("grpc.health.v1.Health", "List"),
    unary("userlookup.v1.AdminService", "InspectUser"),
    unary("userlookup.v1.AdminService", "ExpireUser"),
    unary("userlookup.v1.AdminService", "EraseUser"),
    unary("userlookup.v1.AdminService", "ExplainAccess"),
    bidi("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo"),
    bidi("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo"),
    unary("other", "other"),
];

const fn unary(grpc_service: &'static str, grpc_method: &'static str) -> rpc::Method {
    rpc::Method { grpc_type: "unary", grpc_service, grpc_method }
}

const fn bidi(grpc_service: &'static str, grpc_method: &'static str) -> rpc::Method {
    rpc::Method { grpc_type: "bidi_stream", grpc_service, grpc_method }
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
                    assert_eq!(found.name(), name);
                    let counted = METHODS[found.place()];
                    assert_eq!(format!("{}/{}", counted.grpc_service, counted.grpc_method), name);
                    let kind = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => "unary",
                        (false, true) => "server_stream",
                        (true, true) => "bidi_stream",
                        (true, false) => "client_stream",
                    };
                    assert_eq!(counted.grpc_type, kind, "{name}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, METHODS.len() - 3, "reflection brings two of its own, and one is none");
        for other in ["", "/", "/nobody.knows/It", "userlookup.v1.UserService/GetUser"] {
            let found = Method::of(other);
            assert_eq!((found.name(), METHODS[found.place()].grpc_method), ("other", "other"));
        }
    }
}
