"""Deploys deploy/events/events.yaml in moto, and sends it one CloudTrail event per name."""

import copy
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import moto
import pytest

TEMPLATE = (Path(__file__).parents[2] / "deploy/events/events.yaml").read_text()
CREDENTIALS = {"region_name": "eu-west-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}
SUB = "6ad2c1e4-5a4d-4b0c-8000-000000000009"
HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
API_CALL = "AWS API Call via CloudTrail"
SERVICE_EVENT = "AWS Service Event via CloudTrail"

# The operations that change what the service caches, or which tokens are valid.
ARRIVE = """
    UpdateUserAttributes DeleteUserAttributes VerifyUserAttribute AdminUpdateUserAttributes AdminDeleteUserAttributes
    AdminLinkProviderForUser AdminDisableProviderForUser SignUp ConfirmSignUp AdminCreateUser AdminConfirmSignUp
    AdminEnableUser AdminDisableUser DeleteUser AdminDeleteUser ChangePassword ConfirmForgotPassword
    AdminSetUserPassword AdminResetUserPassword AdminAddUserToGroup AdminRemoveUserFromGroup DeleteGroup GlobalSignOut
    AdminUserGlobalSignOut RevokeToken
""".split()

# Reads, the service's own among them, and writes that change nothing of a user.
STAY_AWAY = """
    AdminGetUser AdminListGroupsForUser ListUsers ListUsersInGroup GetUser DescribeUserPool InitiateAuth
    AdminInitiateAuth ForgotPassword ResendConfirmationCode GetUserAttributeVerificationCode CreateGroup UpdateGroup
    AdminSetUserMFAPreference AdminForgetDevice ConfirmDevice UpdateUserPool CreateUserPoolClient
""".split()

# Events of the hosted login. They carry no sub, so they would be of no use.
LOGIN = "Login_GET Login_POST Token_POST SAML2Response_POST OAuth2Response_GET Logout_GET Signup_POST".split()


@dataclass(frozen=True)
class Deployed:
    """The stack."""

    events: Any
    sqs: Any
    queue_url: str

    def arrived(self, *events: dict[str, Any]) -> list[str]:
        """Sends events and returns the names of those in the queue."""
        entries = [
            {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
            for event in events
        ]
        for entry in entries:
            assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0
        return [json.loads(body)["detail"]["eventName"] for body in self._bodies()]

    def _bodies(self) -> Iterator[str]:
        while messages := self._receive():
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                yield message["Body"]

    def _receive(self) -> list[dict[str, Any]]:
        received = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        return received.get("Messages", [])


def deploy(template: str, name: str) -> Deployed:
    cloudformation, events, sqs = (boto3.client(name, **CREDENTIALS) for name in ["cloudformation", "events", "sqs"])
    with warnings.catch_warnings():
        # moto has neither queue policies nor alarms in its CloudFormation.
        warnings.filterwarnings("ignore", message="Tried to parse AWS::(SQS::QueuePolicy|CloudWatch::Alarm)")
        parameters = [{"ParameterKey": "QueueName", "ParameterValue": name}]
        capabilities = ["CAPABILITY_IAM"]
        cloudformation.create_stack(
            StackName=name, TemplateBody=template, Parameters=parameters, Capabilities=capabilities
        )
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return Deployed(events, sqs, outputs["QueueUrl"])


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with moto.mock_aws():
        yield deploy(TEMPLATE, "events")


def event(name: str, **parameters: str) -> dict[str, Any]:
    """Returns the event of a successful call."""
    signed = {"userPoolId": "eu-west-1_AbCdEfGhI", "username": HIDDEN}
    return {
        "source": "aws.cognito-idp",
        "detail-type": API_CALL,
        "detail": {
            "eventVersion": "1.11",
            "eventTime": "2026-11-29T10:00:00Z",
            "eventSource": "cognito-idp.amazonaws.com",
            "eventName": name,
            "awsRegion": "eu-west-1",
            "requestParameters": (signed if name.startswith("Admin") else {"accessToken": HIDDEN}) | parameters,
            "responseElements": None,
            "additionalEventData": {"sub": SUB},
            "readOnly": False,
            "eventType": "AwsApiCall",
            "managementEvent": True,
        },
    }


def with_detail(original: dict[str, Any], **fields: Any) -> dict[str, Any]:
    changed = copy.deepcopy(original)
    changed["detail"] |= fields
    return changed


@pytest.mark.parametrize("name", ARRIVE)
def test_a_change_arrives_once(deployed: Deployed, name: str) -> None:
    assert deployed.arrived(event(name)) == [name]


@pytest.mark.parametrize("name", STAY_AWAY)
def test_other_calls_stay_away(deployed: Deployed, name: str) -> None:
    assert deployed.arrived(event(name)) == []


@pytest.mark.parametrize("name", LOGIN)
def test_events_of_the_hosted_login_stay_away(deployed: Deployed, name: str) -> None:
    service = event(name) | {"detail-type": SERVICE_EVENT}
    assert deployed.arrived(with_detail(service, eventType="AwsServiceEvent", errorCode="")) == []


@pytest.mark.parametrize("name", ["RespondToAuthChallenge", "AdminRespondToAuthChallenge"])
def test_a_challenge_arrives_only_if_it_sets_the_first_password(deployed: Deployed, name: str) -> None:
    challenges = ["SMS_MFA", "PASSWORD_VERIFIER", "NEW_PASSWORD_REQUIRED"]
    assert deployed.arrived(*(event(name, challengeName=challenge) for challenge in challenges)) == [name]
    assert deployed.arrived(event(name)) == []


def test_failed_calls_and_other_services_stay_away(deployed: Deployed) -> None:
    change = event("UpdateUserAttributes")
    challenge = event("RespondToAuthChallenge", challengeName="NEW_PASSWORD_REQUIRED")
    others = [
        *(with_detail(event, errorCode="NotAuthorizedException") for event in [change, challenge]),
        change | {"source": "aws.iam"},
        change | {"source": "example.app"},
        with_detail(change, eventSource="iam.amazonaws.com"),
    ]
    for other in others:
        assert deployed.arrived(other) == []


def test_without_its_condition_the_rule_would_pass_failed_calls(deployed: Deployed) -> None:
    """The negative control of the test above."""
    condition = "          errorCode: [{exists: false}]\n"
    assert TEMPLATE.count(condition) == 2
    careless = deploy(TEMPLATE.replace(condition, ""), "careless")
    failed = with_detail(event("UpdateUserAttributes"), errorCode="NotAuthorizedException")
    assert careless.arrived(failed) == ["UpdateUserAttributes"]
    assert deployed.arrived() == []
