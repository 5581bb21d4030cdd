"""Fails unless a CycloneDX SBOM lists exactly the packages of Cargo.lock."""

import json
import sys
import tomllib
from pathlib import Path


def main(sbom: str, lock: str) -> None:
    document = json.loads(Path(sbom).read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6"), document["bomFormat"]
    named = {component["purl"] for component in document["components"] if component["type"] == "library"}
    locked = {purl(package) for package in tomllib.loads(Path(lock).read_text())["package"]}
    assert named == locked, sorted(named ^ locked)
    print(f"{len(named)} packages in {sbom}")


def purl(package: dict[str, str]) -> str:
    # The + before build metadata (1.0+abc) is percent-encoded in a package URL.
    return f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"


main(*sys.argv[1:])
