use cognito_lookup::{
    config::{CallerSettings, Config, Reads},
    proto::{ExplainAccessRequest, ExplainAccessResponse, admin_service_client::AdminServiceClient},
};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::support::{ADA, App, failure};

#[tokio::test]
async fn explain_names_the_rule_for_each_attribute() {
    let app = App::start_with_config(allow_admin).await;
    let told = explain(&app, about("web", &["email", "phone_number", "sub"])).await.unwrap();
    let lines: Vec<_> =
        told.attributes.iter().map(|told| (&*told.attribute, told.released, &*told.rule)).collect();
    assert_eq!(
        lines,
        [
            ("email", true, "callers[0].attributes names it"),
            ("phone_number", false, "callers[0].attributes does not name it"),
            ("sub", true, "always released"),
        ]
    );
    assert!(!told.subject_allowed && !told.groups_allowed);
    assert!(told.subject_rule.starts_with("callers[0].reads = \"token\""), "{}", told.subject_rule);
    let own = explain(&app, about("operator", &[])).await.unwrap();
    assert!(own.subject_allowed && own.groups_allowed);
    assert!(own.attributes.iter().all(|told| told.released && told.rule == "callers[1].attributes is \"*\""));
    assert_eq!(app.cognito_lookups(), 0, "the settings alone explain it");
}

#[tokio::test]
async fn an_invalid_explain_request_names_its_field() {
    let app = App::start_with_config(allow_admin).await;
    let message = || about("web", &[]);
    let many = vec!["a".to_owned(); 101];
    for (message, reason, field) in [
        (about("nobody", &[]), "FIELD_INVALID", "caller"),
        (about("", &[]), "FIELD_INVALID", "caller"),
        (about(&"x".repeat(65), &[]), "FIELD_INVALID", "caller"),
        (ExplainAccessRequest { sub: "a b".into(), ..message() }, "SUB_MALFORMED", "sub"),
        (ExplainAccessRequest { sub: String::new(), ..message() }, "SUB_MALFORMED", "sub"),
        (ExplainAccessRequest { user_pool_id: "x".into(), ..message() }, "FIELD_INVALID", "user_pool_id"),
        (
            ExplainAccessRequest { user_pool_id: "eu-west-1_Other".into(), ..message() },
            "FIELD_INVALID",
            "user_pool_id",
        ),
        (ExplainAccessRequest { attributes: many, ..message() }, "FIELD_INVALID", "attributes"),
        (about("web", &["email", "a b"]), "FIELD_INVALID", "attributes[1]"),
    ] {
        let status = explain(&app, message).await.unwrap_err();
        assert_eq!(failure(&status), (Code::InvalidArgument, reason.into()), "{field}");
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields.iter().map(|told| &*told.field).collect::<Vec<_>>(), [field]);
    }
}

#[tokio::test]
async fn only_an_administrator_may_explain() {
    let app = App::start().await;
    let status = explain(&app, about("nobody", &[])).await.unwrap_err();
    assert_eq!(
        failure(&status),
        (Code::PermissionDenied, "CALLER_NOT_ALLOWED".into()),
        "a refusal does not reveal the callers"
    );
}

/// Lets callers from this machine administer. The app client still reads by token.
fn allow_admin(config: &mut Config) {
    config.callers.pop();
    config.callers.push(CallerSettings {
        name: "operator".into(),
        network: vec!["127.0.0.1/32".into()],
        reads: Reads::Any,
        attributes: vec!["*".into()],
        groups: true,
        admin: true,
        ..CallerSettings::default()
    });
}

fn about(caller: &str, attributes: &[&str]) -> ExplainAccessRequest {
    let attributes = attributes.iter().map(ToString::to_string).collect();
    ExplainAccessRequest { caller: caller.into(), sub: ADA.into(), attributes, ..Default::default() }
}

async fn explain(app: &App, message: ExplainAccessRequest) -> Result<ExplainAccessResponse, Status> {
    let mut admin = AdminServiceClient::new(app.channel.clone());
    admin.explain_access(Request::new(message)).await.map(tonic::Response::into_inner)
}
