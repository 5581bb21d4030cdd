"""What the script creates in the account, and deletes at the end."""

import json
import secrets
import sys
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import ClientError


class Account:
    """What the script creates in the account."""

    def __init__(self, session: boto3.Session) -> None:
        clients = ["cognito-idp", "sqs", "events", "cloudtrail", "sts"]
        self.cognito, self.sqs, self.events, self.cloudtrail, self.sts = map(session.client, clients)
        self.name = f"cognito-lookup-verify-{secrets.token_hex(4)}"
        self.undo: list[Callable[[], Any]] = []

    def check_trail(self) -> bool:
        """Returns whether a trail logs write management events here."""
        for trail in self.cloudtrail.describe_trails()["trailList"]:
            arn = trail["TrailARN"]
            if self.cloudtrail.get_trail_status(Name=arn)["IsLogging"] and self._logs_writes(arn):
                print(f"trail: {arn}")
                return True
        return False

    def _logs_writes(self, arn: str) -> bool:
        selectors = self.cloudtrail.get_event_selectors(TrailName=arn)
        simple = selectors.get("EventSelectors", [])
        if any(one.get("IncludeManagementEvents") and one.get("ReadWriteType") != "ReadOnly" for one in simple):
            return True
        fields = [one["FieldSelectors"] for one in selectors.get("AdvancedEventSelectors", [])]
        management = {"Field": "eventCategory", "Equals": ["Management"]}
        return any(management in selector and not reads_only(selector) for selector in fields)

    def create_queue(self) -> str:
        url = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        self.undo.append(lambda: self.sqs.delete_queue(QueueUrl=url))
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        pattern = json.dumps({"source": ["aws.cognito-idp"]})
        rule = self.events.put_rule(Name=self.name, EventPattern=pattern, State="ENABLED")["RuleArn"]
        self.undo.append(lambda: self.events.delete_rule(Name=self.name))
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        self.events.put_targets(Rule=self.name, Targets=[{"Id": "queue", "Arn": arn}])
        self.undo.append(lambda: self.events.remove_targets(Rule=self.name, Ids=["queue"]))
        return url

    def create_pool(self) -> tuple[str, str]:
        pool = self.cognito.create_user_pool(PoolName=self.name)["UserPool"]["Id"]
        self.undo.append(lambda: self.cognito.delete_user_pool(UserPoolId=pool))
        flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
        client = self.cognito.create_user_pool_client(
            UserPoolId=pool, ClientName="verify", ExplicitAuthFlows=flows, EnableTokenRevocation=True
        )
        return pool, client["UserPoolClient"]["ClientId"]

    def create_domain(self, pool: str) -> str:
        """Creates a domain for /oauth2/revoke. Returns its URL, or nothing if it cannot be had."""
        try:
            self.cognito.create_user_pool_domain(UserPoolId=pool, Domain=self.name.replace("cognito-", ""))
        except ClientError as error:
            print(f"no domain, so /oauth2/revoke is not called: {error}")
            return ""
        domain = self.name.replace("cognito-", "")
        self.undo.append(lambda: self.cognito.delete_user_pool_domain(UserPoolId=pool, Domain=domain))
        return f"https://{domain}.auth.{self.cognito.meta.region_name}.amazoncognito.com"

    def clean_up(self) -> None:
        for undo in reversed(self.undo):
            try:
                undo()
            except ClientError as error:
                print(f"delete {self.name} yourself: {error}", file=sys.stderr)


def reads_only(selector: list[dict]) -> bool:
    return {"Field": "readOnly", "Equals": ["true"]} in selector
