"""The two third-party Cognito emulators."""

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import moto
from joserfc import jws
from joserfc.jwk import RSAKey

from child import Child, running
from pool import Pool

URL = r"[Rr]unning on (http://127\.0\.0\.1:\d+)"


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    child: Child
    url: str
    key: RSAKey

    def pool(self) -> Pool:
        """Creates a user pool."""
        cognito = boto3.client(
            "cognito-idp",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        return Pool(cognito, self.url)

    def sign_with_claims(self, token: str, **claims: Any) -> str:
        """Replaces claims of a token and signs it with the emulator's key."""
        signed = jws.deserialize_compact(token, self.key, algorithms=["RS256"])
        payload = {**json.loads(signed.payload), **claims}
        return jws.serialize_compact(dict(signed.headers()), json.dumps(payload), self.key, algorithms=["RS256"])


@contextmanager
def start_moto(directory: Path) -> Iterator[Emulator]:
    server = Path(sys.executable).parent / "moto_server"
    packed = Path(moto.__file__).parent / "cognitoidp/resources/jwks-private.json.gz"
    key = RSAKey.import_key(json.loads(gzip.decompress(packed.read_bytes())))
    with running([server, "-H", "127.0.0.1", "-p", "0"], directory) as child:
        yield Emulator(child, child.find(URL), key)


@contextmanager
def start_cognito_local(directory: Path) -> Iterator[Emulator]:
    package = Path(os.environ["INTEROP_NODE_MODULES"]) / "cognito-local"
    key = RSAKey.import_key(json.loads((package / "lib/keys/cognitoLocal.private.json").read_text())["jwk"])
    config = directory / ".cognito/config.json"
    config.parent.mkdir()
    # Usernames need not be email addresses. The issuer is a name that does not resolve.
    config.write_text(
        '{"UserPoolDefaults": {"UsernameAttributes": []}, "TokenConfig": {"IssuerDomain": "http://cognito.test"}}'
    )
    with running(["node", package / "lib/bin/start.js"], directory, HOST="127.0.0.1", PORT="0") as child:
        yield Emulator(child, child.find(URL), key)


EMULATORS: dict[str, Callable[[Path], AbstractContextManager[Emulator]]] = {
    "moto": start_moto,
    "cognito-local": start_cognito_local,
}
