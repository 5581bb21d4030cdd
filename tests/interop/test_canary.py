"""Logs and audit records contain no personal data, at any log level."""

from pathlib import Path

import canary
import health
from client import Grpcio
from pool import Pool
from service import serving, settings

VALUES = {"name": "Canary Bird", "email": "canary@cage.example", "custom:plan": "canary-seed"}


def test_leaks_finds_marked_values(pool: Pool) -> None:
    user = pool.user(name="Marked Person")
    token = pool.sign_in(user).access
    for secret in [user.sub, user.username, "Marked Person", token, *token.split(".")[1:]]:
        assert canary.leaks(f'first\n{{"message":"{secret}"}}\n') == [f'{{"message":"{secret}"}}']
    assert not canary.leaks("no personal data")


def test_logs_contain_no_token_attribute_value_or_sub(pool: Pool, tmp_path: Path) -> None:
    user = pool.user("canary-in-a-mine", **VALUES)
    tokens = pool.sign_in(user)
    stranger = pool.sign_in(user, pool.stranger)
    with serving(tmp_path, settings(pool, log={"level": "trace"})) as service:
        health.await_serving(service.address)
        get_user = Grpcio().get_user
        assert get_user(service.address, tokens.access).code == "OK"
        assert get_user(service.address, tokens.access, maxAge="0s").code == "OK"
        assert get_user(service.address, sub=user.sub).code == "OK"
        assert get_user(service.address, tokens.access, attributes=["custom:plan"]).code == "PERMISSION_DENIED"
        for bad in [tokens.id, stranger.access, tokens.access[:-9]]:
            assert get_user(service.address, bad).code == "UNAUTHENTICATED"
        assert get_user(service.address, accessToken=tokens.access).code == "OK"
        assert get_user(service.address, sub=user.username).code == "NOT_FOUND"
        assert service.child.stop() == 0
        log = service.child.output()
    assert '"outcome":"released"' in log
    assert '"level":"TRACE"' in log
    # Every token has the same header, so only its claims and its signature are secret.
    parts = [part for token in [tokens.access, tokens.id, stranger.access] for part in token.split(".")[1:]]
    for secret in [user.sub, user.username, *VALUES.values(), *parts]:
        assert secret not in log, next(line for line in log.splitlines() if secret in line)
