"""Runs the service locally with the settings of a file of deploy/."""

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
    """Runs the server with this environment and test credentials. Waits until it listens."""
    with running([binary(), "serve"], directory, **CREDENTIALS | dict(environment)) as child:
        child.find(r'("message":"listening")')
        yield child


def emulator_pool(cognito: str) -> dict[str, str]:
    """Returns the settings that replace the pool in AWS with the pool of the emulator."""
    prefix = "COGNITO_LOOKUP_POOLS__0__"
    return {
        f"{prefix}REGION": "eu-west-1",
        f"{prefix}ENDPOINT_URL": cognito,
        f"{prefix}ISSUER": f"http://cognito:9229/{POOL}",
        f"{prefix}JWKS_URL": f"{cognito}/{POOL}/.well-known/jwks.json",
    }


def status(url: str) -> int:
    """Returns the HTTP status of a GET, from which kubelet and Docker decide."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def sign_in(cognito: str) -> str:
    """Signs in the user of the compose file, and returns the access token."""
    parameters = {
        "AuthFlow": "USER_PASSWORD_AUTH",
        "ClientId": "local_client",
        "AuthParameters": {"USERNAME": "ada", "PASSWORD": "Ada-Local-1"},
    }
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": "AWSCognitoIdentityProviderService.InitiateAuth",
    }
    request = urllib.request.Request(cognito, json.dumps(parameters).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["AuthenticationResult"]["AccessToken"]
