"""Keeps a copy of one user fresh with WatchUsers: python watch.py TARGET SUB

It prints the user whenever its copy changes. The caller's rule needs watch = true. To generate the stubs,
see client.py. docs/watch.md has the recipe.
"""

import sys
import threading
import time

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from userlookup.v1.user_service_pb2 import GetUserRequest, GetUserResponse, WatchUsersRequest
from userlookup.v1.user_service_pb2_grpc import UserServiceStub

TIMEOUT = 3.0
# How long a copy is used while changes may be missed.
TTL = 60.0
# Three intervals of checkpoints.
SILENCE = 90.0
# The most copies, and the most changes, that are kept. When there are more, all are dropped.
MAX_USERS = 10_000


class Mirror:
    """Copies of users, each with the time at which it was read."""

    def __init__(self, users: UserServiceStub) -> None:
        self._users = users
        self._lock = threading.Lock()
        self._copies: dict[str, tuple[GetUserResponse, float]] = {}
        self._changed: dict[str, Timestamp] = {}
        # The `not_older_than` of users whose change was dropped.
        self._changed_before: Timestamp | None = None
        self._heard = 0.0
        self._healthy = False
        # Changes whenever a read in flight must not be kept.
        self._version = 0

    def get(self, sub: str) -> GetUserResponse:
        """Returns the copy of a user, or reads the user."""
        with self._lock:
            copy, read = self._copies.get(sub, (None, 0.0))
            now = time.monotonic()
            hears = self._healthy and now - self._heard < SILENCE
            if copy and (hears or now - read < TTL):
                return copy
            version, changed = self._version, self._changed.get(sub, self._changed_before)
        reply = self._users.GetUser(GetUserRequest(sub=sub, not_older_than=changed), timeout=TIMEOUT)
        with self._lock:
            if version == self._version and self._heard:
                self._changed.pop(sub, None)
                if len(self._copies) >= MAX_USERS:
                    self._copies.clear()
                self._copies[sub] = (reply, time.monotonic())
        return reply

    def watch(self) -> None:
        """Drops the copies of users that change. Ends for a reason that no retry helps."""
        token = ""
        while True:
            try:
                for message in self._users.WatchUsers(WatchUsersRequest(resume_token=token)):
                    self._hear(message)
                    token = message.resume_token
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                    self._forget()
                    token = ""
                elif error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                    self._forget()
                    raise
                else:
                    time.sleep(1)

    def _hear(self, message) -> None:
        with self._lock:
            if message.HasField("change"):
                self._version += 1
                self._copies.pop(message.change.sub, None)
                if len(self._changed) >= MAX_USERS:
                    self._changed.clear()
                    self._changed_before = message.change.seen_at
                self._changed[message.change.sub] = message.change.seen_at
            else:
                # What was read before the first checkpoint may be older than the stream.
                self._version += not self._heard
                self._healthy = message.checkpoint.source_healthy
            self._heard = time.monotonic()

    def _forget(self) -> None:
        with self._lock:
            self._version += 1
            self._copies.clear()
            self._heard, self._healthy = 0.0, False


def main(target: str, sub: str) -> None:
    with grpc.insecure_channel(target) as channel:
        mirror = Mirror(UserServiceStub(channel))
        threading.Thread(target=mirror.watch, daemon=True).start()
        shown = None
        while True:
            user = mirror.get(sub).user.attributes
            line = f"{user['name']} <{user['email']}>"
            if line != shown:
                print(line, flush=True)
            shown = line
            time.sleep(0.1)


main(*sys.argv[1:])
