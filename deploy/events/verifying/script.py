"""Calls each operation once, about two users."""

import secrets
import time
import urllib.parse
import urllib.request
from datetime import datetime

from botocore.exceptions import ClientError, ParamValidationError

from verifying.account import Account
from verifying.call import Call

# The mailbox simulator of Amazon SES.
MAIL = "success@simulator.amazonses.com"
NOT_CALLED = {
    "ConfirmSignUp": "needs a code from a mail",
    "ConfirmForgotPassword": "needs a code from a mail",
    "VerifyUserAttribute": "needs a code from a mail",
    "AdminLinkProviderForUser": "needs an identity provider",
    "AdminDisableProviderForUser": "needs an identity provider",
    "AdminRespondToAuthChallenge": "as RespondToAuthChallenge",
}


class Script:
    """The calls, in an order in which each can succeed."""

    def __init__(self, account: Account, pause: float) -> None:
        self.cognito = account.cognito
        self.pool, self.client = account.create_pool()
        self.domain = account.create_domain(self.pool)
        self.pause = pause
        self.calls: list[Call] = []
        self.password = secrets.token_urlsafe(16) + "aA1-"

    def call(self, operation: str, method: str, **parameters: object) -> dict:
        """Records a call. A failed one is reported and does not end the script."""
        call = Call(operation)
        self.calls.append(call)
        try:
            output = getattr(self.cognito, method)(**parameters)
        except (ClientError, ParamValidationError) as error:
            call.error = f"failed: {error}"
            return {}
        finally:
            call.ended = time.time()
            # CloudTrail's times are whole seconds.
            time.sleep(self.pause)
        call.request_id = output["ResponseMetadata"]["RequestId"]
        return output

    def admin(self, operation: str, method: str, **parameters: object) -> dict:
        user = {} if operation == "DeleteGroup" else {"Username": "one"}
        return self.call(operation, method, UserPoolId=self.pool, **user, **parameters)

    def sign_in(self, username: str = "one") -> dict:
        parameters = {"USERNAME": username, "PASSWORD": self.password}
        try:
            output = self.cognito.initiate_auth(
                AuthFlow="USER_PASSWORD_AUTH", ClientId=self.client, AuthParameters=parameters
            )
        except ClientError as error:
            print(f"sign-in failed: {error}")
            return {}
        return output.get("AuthenticationResult") or output

    def show_get_user(self, cause: str, tokens: dict) -> None:
        """Prints what GetUser says of a token after this cause."""
        try:
            self.cognito.get_user(AccessToken=tokens.get("AccessToken", "none"))
            said = "answers"
        except ClientError as error:
            said = str(error)
        print(f"GetUser after {cause}: {said}")

    def run(self) -> list[Call]:
        self.first_password()
        self.attributes()
        self.groups()
        self.passwords()
        self.sign_outs()
        self.second_user()
        tokens = self.sign_in()
        self.admin("AdminDeleteUser", "admin_delete_user")
        self.show_get_user("AdminDeleteUser", tokens)
        return self.calls

    def first_password(self) -> None:
        mail = [{"Name": "email", "Value": MAIL}, {"Name": "email_verified", "Value": "true"}]
        create = {"TemporaryPassword": self.password, "MessageAction": "SUPPRESS", "UserAttributes": mail}
        self.admin("AdminCreateUser", "admin_create_user", **create)
        challenge = self.sign_in()
        answer = {"USERNAME": "one", "NEW_PASSWORD": self.password}
        self.call(
            "RespondToAuthChallenge",
            "respond_to_auth_challenge",
            ClientId=self.client,
            ChallengeName="NEW_PASSWORD_REQUIRED",
            Session=challenge.get("Session", "none, because the sign-in failed"),
            ChallengeResponses=answer,
        )

    def attributes(self) -> None:
        token = {"AccessToken": self.sign_in().get("AccessToken", "none")}
        change, names = [{"Name": "name", "Value": "One"}], ["name"]
        self.admin("AdminUpdateUserAttributes", "admin_update_user_attributes", UserAttributes=change)
        self.admin("AdminDeleteUserAttributes", "admin_delete_user_attributes", UserAttributeNames=names)
        self.call("UpdateUserAttributes", "update_user_attributes", UserAttributes=change, **token)
        self.call("DeleteUserAttributes", "delete_user_attributes", UserAttributeNames=names, **token)

    def groups(self) -> None:
        self.cognito.create_group(UserPoolId=self.pool, GroupName="staff")
        self.admin("AdminAddUserToGroup", "admin_add_user_to_group", GroupName="staff")
        self.admin("AdminRemoveUserFromGroup", "admin_remove_user_from_group", GroupName="staff")
        self.admin("DeleteGroup", "delete_group", GroupName="staff")

    def passwords(self) -> None:
        token, previous = self.sign_in().get("AccessToken", "none"), self.password
        self.password = secrets.token_urlsafe(16) + "aA1-"
        change = {"PreviousPassword": previous, "ProposedPassword": self.password, "AccessToken": token}
        self.call("ChangePassword", "change_password", **change)
        self.admin("AdminResetUserPassword", "admin_reset_user_password")
        self.admin("AdminSetUserPassword", "admin_set_user_password", Password=self.password, Permanent=True)

    def sign_outs(self) -> None:
        tokens = self.sign_in()
        refresh = {"Token": tokens.get("RefreshToken", "none"), "ClientId": self.client}
        self.call("RevokeToken", "revoke_token", **refresh)
        self.show_get_user("RevokeToken", tokens)
        if self.domain:
            self.revoke_by_oauth()
        tokens = self.sign_in()
        self.call("GlobalSignOut", "global_sign_out", AccessToken=tokens.get("AccessToken", "none"))
        self.show_get_user("GlobalSignOut", tokens)
        for operation, method in [
            ("AdminUserGlobalSignOut", "admin_user_global_sign_out"),
            ("AdminDisableUser", "admin_disable_user"),
        ]:
            tokens = self.sign_in()
            self.admin(operation, method)
            self.show_get_user(operation, tokens)
        self.admin("AdminEnableUser", "admin_enable_user")
        self.show_get_user("AdminEnableUser", tokens)

    def revoke_by_oauth(self) -> None:
        tokens = self.sign_in()
        form = urllib.parse.urlencode({"token": tokens.get("RefreshToken", ""), "client_id": self.client})
        try:
            urllib.request.urlopen(f"{self.domain}/oauth2/revoke", form.encode(), timeout=10).close()
        except OSError as error:
            print(f"/oauth2/revoke failed: {error}")
            return
        print(f"/oauth2/revoke called at {datetime.now().isoformat(timespec='seconds')}")
        self.show_get_user("/oauth2/revoke", tokens)

    def second_user(self) -> None:
        new = {"ClientId": self.client, "Username": "two", "Password": self.password}
        self.call("SignUp", "sign_up", **new)
        self.call("AdminConfirmSignUp", "admin_confirm_sign_up", UserPoolId=self.pool, Username="two")
        self.call("DeleteUser", "delete_user", AccessToken=self.sign_in("two").get("AccessToken", "none"))
