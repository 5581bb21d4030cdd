"""A PostAuthentication trigger: reports sign-ins by which an identity provider may have changed a user's attributes."""

import json
import os
from datetime import UTC, datetime

import boto3
from botocore.config import Config

# Amazon Cognito waits 5 s for a trigger.
CONFIG = Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 2})
SQS = boto3.client("sqs", config=CONFIG)


def handler(event: dict, _context: object) -> dict:
    try:
        attributes = event["request"]["userAttributes"]
        if "identities" in attributes:
            change = {"userPoolId": event["userPoolId"], "sub": attributes["sub"], "change": "ATTRIBUTES"}
            change["time"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            body = json.dumps({"detail-type": "User Change", "detail": change})
            SQS.send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=body)
    except Exception as error:  # A failed trigger would fail the sign-in.
        print(f"sign-in not reported: {type(error).__name__}")
    return event
