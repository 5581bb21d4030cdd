"""The Cognito emulator of this repository, called by boto3, which speaks as the AWS CLI does."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

ADA = "ada00000-5a4d-4b0c-8000-000000000001"


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    cognito: Any
    sqs: Any
    cloudtrail: Any
    queue_url: str
    pool_id: str
    token: str

    def receive(self, **more: Any) -> list[dict[str, Any]]:
        received = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, **more)
        return received.get("Messages", [])

    def rename(self) -> None:
        change = [{"Name": "name", "Value": "Augusta"}]
        self.cognito.admin_update_user_attributes(UserPoolId=self.pool_id, Username="ada", UserAttributes=change)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with subprocess.Popen([os.environ["INTEROP_STANDIN"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        started = json.loads(process.stdout.readline())
        endpoint = started.pop("endpoint")
        session = boto3.Session("test", "test", region_name="eu-west-1")
        names = ["cognito-idp", "sqs", "cloudtrail"]
        yield Emulator(*(session.client(name, endpoint_url=endpoint) for name in names), **started)
        process.stdin.close()


def test_a_change_is_received_and_deleted(emulator: Emulator) -> None:
    emulator.rename()
    (message,) = emulator.receive(WaitTimeSeconds=20, MessageSystemAttributeNames=["All"])
    event = json.loads(message["Body"])
    assert (event["source"], event["detail"]["eventName"]) == ("aws.cognito-idp", "AdminUpdateUserAttributes")
    assert event["detail"]["additionalEventData"] == {"sub": ADA}
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    receipt = message["ReceiptHandle"]
    emulator.sqs.change_message_visibility(QueueUrl=emulator.queue_url, ReceiptHandle=receipt, VisibilityTimeout=0)
    (again,) = emulator.receive()
    entries = [{"Id": "a", "ReceiptHandle": again["ReceiptHandle"]}]
    deleted = emulator.sqs.delete_message_batch(QueueUrl=emulator.queue_url, Entries=entries)
    assert [one["Id"] for one in deleted["Successful"]] == ["a"] and not deleted.get("Failed")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = emulator.sqs.get_queue_attributes(QueueUrl=emulator.queue_url, AttributeNames=names)["Attributes"]
    assert counts == dict.fromkeys(names, "0")


def test_messages_of_an_application_are_received(emulator: Emulator) -> None:
    url = emulator.sqs.get_queue_url(QueueName="user-changes")["QueueUrl"]
    assert url == emulator.queue_url
    emulator.sqs.send_message(QueueUrl=url, MessageBody="one")
    batch = [{"Id": "two", "MessageBody": "two"}]
    assert emulator.sqs.send_message_batch(QueueUrl=url, Entries=batch)["Successful"][0]["Id"] == "two"
    assert [message["Body"] for message in emulator.receive()] == ["one", "two"]


def test_the_trail_lists_the_change(emulator: Emulator) -> None:
    emulator.rename()
    emulator.cognito.admin_disable_user(UserPoolId=emulator.pool_id, Username="ada")
    wanted = [{"AttributeKey": "EventName", "AttributeValue": "AdminDisableUser"}]
    pages = emulator.cloudtrail.get_paginator("lookup_events").paginate(LookupAttributes=wanted)
    (event,) = [event for page in pages for event in page["Events"]]
    assert json.loads(event["CloudTrailEvent"])["eventID"] == event["EventId"]


def test_a_signed_out_token_is_refused(emulator: Emulator) -> None:
    emulator.cognito.global_sign_out(AccessToken=emulator.token)
    with pytest.raises(ClientError) as refused:
        emulator.cognito.get_user(AccessToken=emulator.token)
    assert refused.value.response["Error"] == {
        "Code": "NotAuthorizedException",
        "Message": "Access Token has been revoked",
    }


def test_an_unknown_queue_has_the_name_that_clients_know(emulator: Emulator) -> None:
    with pytest.raises(emulator.sqs.exceptions.QueueDoesNotExist) as missing:
        emulator.sqs.get_queue_url(QueueName="other")
    assert missing.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
