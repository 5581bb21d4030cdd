"""Tests the backend against a running sandbox; SANDBOX_URL is its control port."""

import os
from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient

SANDBOX = os.environ.get("SANDBOX_URL", "http://127.0.0.1:9229/sandbox")


@pytest.fixture(scope="session")
def backend() -> Iterator[TestClient]:
    sandbox = httpx.get(SANDBOX).raise_for_status().json()
    os.environ.setdefault("LOOKUP_TARGET", sandbox["replicas"][0]["grpc"])
    from app import app

    with TestClient(app) as client:
        yield client


@pytest.fixture(autouse=True)
def _reset() -> None:
    httpx.post(f"{SANDBOX}/reset").raise_for_status()


def bearer(user: str, **flaws: bool) -> dict[str, str]:
    token = httpx.post(f"{SANDBOX}/token", json={"user": user, **flaws}).raise_for_status().json()
    return {"authorization": f"Bearer {token['access_token']}"}


def test_the_user_is_returned(backend: TestClient) -> None:
    assert backend.get("/me", headers=bearer("ada")).json() == {"name": "Ada Lovelace", "email": "ada@example.com"}


@pytest.mark.parametrize(
    ("user", "flaws", "status", "reason"),
    [
        ("ada", {"expired": True}, 401, "TOKEN_EXPIRED"),
        ("ada", {"forged": True}, 401, "TOKEN_INVALID"),
        ("ada", {"id": True}, 400, "ID_TOKEN_REFUSED"),
        ("bob", {}, 403, "USER_DISABLED"),
    ],
)
def test_a_refused_token(backend: TestClient, user: str, flaws: dict, status: int, reason: str) -> None:
    answer = backend.get("/me", headers=bearer(user, **flaws))
    assert (answer.status_code, answer.json()) == (status, {"error": reason})


def test_a_missing_header_asks_for_a_token(backend: TestClient) -> None:
    answer = backend.get("/me")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_throttled_cognito_is_a_503_with_a_delay(backend: TestClient) -> None:
    httpx.put(f"{SANDBOX}/fault/throttle").raise_for_status()
    answer = backend.get("/me", headers=bearer("ada"))
    assert (answer.status_code, answer.json()) == (503, {"error": "UPSTREAM_THROTTLED"})
    assert int(answer.headers["retry-after"]) >= 1


def test_a_cached_user_survives_an_outage_of_cognito(backend: TestClient) -> None:
    assert backend.get("/me", headers=bearer("ada")).status_code == 200
    httpx.put(f"{SANDBOX}/fault/denied").raise_for_status()
    assert backend.get("/me", headers=bearer("ada")).status_code == 200
