//! The names of the methods that are served, as logs and metrics tell them.

/// Returns the method that a request's path names, without the leading slash; `other` if no such method is served, so
/// that nobody outside chooses what is logged.
pub(super) fn of(path: &str) -> &'static str {
    let name = path.strip_prefix('/').unwrap_or_default();
    METHODS.into_iter().find(|known| *known == name).unwrap_or("other")
}

/// Returns true if and only if calls of a method are about people, so that each leaves an audit record.
pub(super) fn is_recorded(name: &str) -> bool {
    name.starts_with("userlookup.v1.")
}

// The most asked for first.
const METHODS: [&str; 11] = [
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

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::wire::proto::DESCRIPTORS;

    #[test]
    fn every_method_of_the_contract_has_its_name() {
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut seen = 0;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    assert_eq!(of(&format!("/{name}")), name);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, METHODS.len() - 2, "reflection brings two of its own");
        for other in ["", "/", "/nobody.knows/It", "userlookup.v1.UserService/GetUser"] {
            assert_eq!(of(other), "other");
        }
    }
}
