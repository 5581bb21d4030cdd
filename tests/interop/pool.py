"""A user pool in an emulator, managed through boto3."""

import base64
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import canary

PASSWORD = "Correct-Horse-7"


@dataclass(frozen=True)
class User:
    """A user of the pool."""

    username: str
    sub: str


@dataclass(frozen=True)
class Tokens:
    """The tokens of one sign-in."""

    access: str
    id: str


class Pool:
    """A pool with three app clients.

    `web` has an access rule. `unruled` is accepted but has no access rule. `stranger` is not accepted.
    """

    def __init__(self, cognito: Any, endpoint_url: str) -> None:
        self._cognito = cognito
        plan = {"Name": "plan", "AttributeDataType": "String", "Mutable": True}
        self.id: str = cognito.create_user_pool(PoolName="interop", Schema=[plan])["UserPool"]["Id"]
        self.endpoint_url = endpoint_url
        self.jwks_url = f"{endpoint_url}/{self.id}/.well-known/jwks.json"
        self.web, self.unruled, self.stranger = map(self._app_client, ["web", "unruled", "stranger"])
        self.ada = self.user("ada", name="Ada Lovelace", email="ada@example.com", **{"custom:plan": "gold"})
        self.issuer: str = claims(self.sign_in(self.ada).access)["iss"]

    def user(self, username: str = "", **attributes: str) -> User:
        """Creates a confirmed user, by default with a random username."""
        username = username or f"user-{uuid4().hex[:12]}"
        return self.user_with(username, pairs(attributes))

    def user_with(self, username: str, attributes: list[dict[str, str]]) -> User:
        """Creates a confirmed user with a list of attributes as `AdminCreateUser` takes it."""
        key = {"UserPoolId": self.id, "Username": username}
        self._cognito.admin_create_user(
            **key, MessageAction="SUPPRESS", TemporaryPassword=PASSWORD, UserAttributes=attributes
        )
        self._cognito.admin_set_user_password(**key, Password=PASSWORD, Permanent=True)
        stored = self._cognito.admin_get_user(**key)["UserAttributes"]
        user = User(username, next(pair["Value"] for pair in stored if pair["Name"] == "sub"))
        canary.mark(user.username, user.sub, *(pair["Value"] for pair in attributes if pair.get("Value")))
        return user

    def update(self, user: User, **attributes: str) -> None:
        canary.mark(*attributes.values())
        self._cognito.admin_update_user_attributes(
            UserPoolId=self.id, Username=user.username, UserAttributes=pairs(attributes)
        )

    def delete(self, user: User) -> None:
        self._cognito.admin_delete_user(UserPoolId=self.id, Username=user.username)

    def disable(self, user: User) -> None:
        self._cognito.admin_disable_user(UserPoolId=self.id, Username=user.username)

    def join(self, user: User, group: str) -> None:
        """Creates a group with this user as its only member."""
        self._cognito.create_group(UserPoolId=self.id, GroupName=group)
        self._cognito.admin_add_user_to_group(UserPoolId=self.id, Username=user.username, GroupName=group)

    def groups_of(self, token: str) -> list[str]:
        """Returns the groups in the claims of a token."""
        return claims(token).get("cognito:groups") or []

    def sign_in(self, user: User, app_client: str = "") -> Tokens:
        """Signs a user in through an app client, by default `web`."""
        result = self._cognito.initiate_auth(
            AuthFlow="USER_PASSWORD_AUTH",
            ClientId=app_client or self.web,
            AuthParameters={"USERNAME": user.username, "PASSWORD": PASSWORD},
        )["AuthenticationResult"]
        tokens = Tokens(result["AccessToken"], result["IdToken"])
        canary.mark_token(tokens.access)
        canary.mark_token(tokens.id)
        return tokens

    def _app_client(self, name: str) -> str:
        flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
        response = self._cognito.create_user_pool_client(UserPoolId=self.id, ClientName=name, ExplicitAuthFlows=flows)
        return response["UserPoolClient"]["ClientId"]


def claims(token: str) -> dict[str, Any]:
    """Returns the claims of a token without verifying it."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def pairs(attributes: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in attributes.items()]
