"""A service that runs as a file of deploy/ says, here rather than where the file would put it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from child import Child, running
from service import CREDENTIALS, binary

POOL = "local_Example"


@contextmanager
def serving(directory: Path, environment: Mapping[str, str]) -> Iterator[Child]:
    """With the environment of the file and credentials; returns once it listens."""
    with running([binary(), "serve"], directory, **CREDENTIALS | dict(environment)) as child:
        child.find(r'("message":"listening")')
        yield child


def elsewhere(cognito: str) -> dict[str, str]:
    """The pool of the emulator, in place of one in AWS."""
    prefix = "COGNITO_LOOKUP_POOLS__0__"
    return {
        f"{prefix}REGION": "eu-west-1",
        f"{prefix}ENDPOINT_URL": cognito,
        f"{prefix}ISSUER": f"http://cognito:9229/{POOL}",
        f"{prefix}JWKS_URL": f"{cognito}/{POOL}/.well-known/jwks.json",
    }


def status(url: str) -> int:
    """What a GET is answered with, and what kubelet and Docker look at."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def sign_in(cognito: str) -> str:
    """The access token of the one person in the compose file."""
    asked = {
        "AuthFlow": "USER_PASSWORD_AUTH",
        "ClientId": "local_client",
        "AuthParameters": {"USERNAME": "ada", "PASSWORD": "Ada-Local-1"},
    }
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth",
    }
    request = urllib.request.Request(cognito, json.dumps(asked).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["AuthenticationResult"]["AccessToken"]
