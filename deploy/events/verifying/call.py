"""One call of an operation, and its event."""

from dataclasses import dataclass, field

# Their events name no user: DeleteGroup is about many, and RevokeToken's token is hidden.
WITHOUT_SUB = {"RevokeToken", "DeleteGroup"}


@dataclass
class Call:
    """One call, and its event once that has arrived."""

    operation: str
    request_id: str = ""
    ended: float = 0.0
    error: str = ""
    event: dict = field(default_factory=dict)
    delay: float = 0.0

    def line(self) -> str:
        if self.error:
            return f"{self.operation:28} {self.error}"
        if not self.event:
            return f"{self.operation:28} no event"
        detail = self.event["detail"]
        pool = "userPoolId" in (detail.get("requestParameters") or {})
        facts = [f"after {self.delay:.1f} s", f"sub {'yes' if find_sub(detail) else 'NO'}"]
        facts.append(f"pool {'yes' if pool else 'no'}")
        if challenge(detail):
            facts.append(f"challengeName {challenge(detail)}")
        return f"{self.operation:28} {', '.join(facts)}"

    def is_good(self) -> bool:
        """Returns whether the shipped rules would pass the event, and the service could use it."""
        if not self.event:
            return False
        detail = self.event["detail"]
        if self.operation == "RespondToAuthChallenge" and challenge(detail) != "NEW_PASSWORD_REQUIRED":
            return False
        return self.operation in WITHOUT_SUB or bool(find_sub(detail))


def challenge(detail: dict) -> str:
    return (detail.get("requestParameters") or {}).get("challengeName", "")


def find_sub(detail: dict) -> str:
    """Returns the sub from the places where the service looks for it."""
    additional = detail.get("additionalEventData") or {}
    hosted = (additional.get("requestParameters") or {}).get("sub") or [""]
    return additional.get("sub") or hosted[0] or (detail.get("responseElements") or {}).get("userSub") or ""
