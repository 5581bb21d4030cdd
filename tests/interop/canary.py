"""What is known of people and their tokens, and the look for it in what a process printed."""

# What is shorter may be a part of something else.
SHORTEST = 8
_known: set[str] = set()


def mark(*secrets: str) -> None:
    """From now on none of these may be printed by any service."""
    _known.update(secret for secret in secrets if len(secret) >= SHORTEST)


def mark_token(token: str) -> None:
    """Marks a token by its claims and its signature; its header is the same for everyone."""
    mark(*token.split(".")[1:])


def leaks(printed: str) -> list[str]:
    """The lines that hold anything marked, or the beginning of any token."""
    secrets = _known | {"eyJ"}
    return [line for line in printed.splitlines() if any(secret in line for secret in secrets)]
