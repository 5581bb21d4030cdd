"""Fails unless a CycloneDX file names what Cargo.lock does, package by package, and nothing else."""

import json
import sys
import tomllib
from pathlib import Path


def main(sbom: str, lock: str) -> None:
    told = json.loads(Path(sbom).read_text())
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6"), told["bomFormat"]
    named = {component["purl"] for component in told["components"] if component["type"] == "library"}
    locked = {purl(package) for package in tomllib.loads(Path(lock).read_text())["package"]}
    assert named == locked, sorted(named ^ locked)
    print(f"{len(named)} packages in {sbom}")


def purl(package: dict[str, str]) -> str:
    # A build's label (1.0+abc) is escaped in a purl.
    return f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"


main(*sys.argv[1:])
