"""Detects personal data and tokens in the output of a process."""

# A shorter value could occur by chance as part of another word.
MIN_LENGTH = 8
_marked: set[str] = set()


def mark(*secrets: str) -> None:
    """Registers secrets that no service may print from now on."""
    _marked.update(secret for secret in secrets if len(secret) >= MIN_LENGTH)


def mark_token(token: str) -> None:
    """Marks the claims and the signature of a token. Its header is the same in every token."""
    mark(*token.split(".")[1:])


def leaks(output: str) -> list[str]:
    """Returns the lines that contain a marked secret or the start of any token."""
    # A JWT starts with `{"` in base64url.
    secrets = _marked | {"eyJ"}
    return [line for line in output.splitlines() if any(secret in line for secret in secrets)]
