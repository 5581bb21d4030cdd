"""Makes the files of a release from what `tests/run release` has built, the same from the same commit every time.

python3 tests/supply/release.py TRIPLE BUILD OUT, with SOURCE_DATE_EPOCH and TOOLS (target/tools)
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ["TOOLS"])
TIME = int(os.environ["SOURCE_DATE_EPOCH"])
NAME = "cognito-lookup"


def main(triple: str, build: str, out: str) -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    shutil.rmtree(out, ignore_errors=True)
    files = Path(out)
    files.mkdir(parents=True)
    binary = Path(build) / triple / "release" / NAME
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        notices = [ROOT / "LICENSE", ROOT / "THIRD_PARTY_LICENSES.md"]
        contents = {path.name: path for path in [binary, *notices]}
        archive(files / f"{NAME}-{version}-{triple}.tar.gz", {f"{NAME}-{version}/{name}": contents[name] for name in contents})
        sbom(files / f"{NAME}-{version}.cdx.json", scratch)
        image(files / f"{NAME}-{version}-{triple.split('-')[0]}-image.tar", binary, version, scratch)
        chart(files / f"{NAME}-chart-{version}.tgz", scratch)
        proto(files / f"{NAME}-proto-{version}.tar.gz")
        shutil.copy(Path(build) / "package" / f"{NAME}-client-{version}.crate", files)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files.iterdir())}
    (files / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    statement = provenance(digests, version, triple)
    (files / "provenance.intoto.json").write_text(json.dumps(statement, indent=2) + "\n")
    print((files / "SHA256SUMS").read_text(), end="")


def archive(path: Path, files: dict[str, Path]) -> None:
    """Writes a tar.gz whose bytes follow from the names, contents and modes of the files alone."""
    entries = [(name, file.read_bytes(), file.stat().st_mode & 0o111 != 0) for name, file in sorted(files.items())]
    pack(path, entries)


def pack(path: Path, entries: Iterable[tuple[str, bytes, bool]]) -> None:
    with path.open("wb") as output, gzip.GzipFile("", "wb", 9, output, mtime=0) as compressed:
        with tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            fill(tar, entries)


def fill(tar: tarfile.TarFile, entries: Iterable[tuple[str, bytes, bool]]) -> None:
    for name, content, is_program in entries:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = len(content), TIME, 0o755 if is_program else 0o644
        tar.addfile(entry, io.BytesIO(content))


def sbom(path: Path, scratch: Path) -> None:
    """Lists the packages of Cargo.lock as CycloneDX, as the stage deps does. Syft adds a time and a random number."""
    made = scratch / "sbom.json"
    arguments = ["scan", "--quiet", "file:Cargo.lock", "--source-name", NAME, "--output", f"cyclonedx-json={made}"]
    run(TOOLS / "supply/bin/syft", *arguments, SYFT_CHECK_FOR_APP_UPDATE="false")
    run(sys.executable, "tests/supply/sbom.py", made, "Cargo.lock")
    document = json.loads(made.read_text())
    document["metadata"]["timestamp"] = datetime.fromtimestamp(TIME, UTC).isoformat()
    del document["serialNumber"]
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}"
    path.write_text(json.dumps(document, sort_keys=True, indent=1) + "\n")


def image(path: Path, binary: Path, version: str, scratch: Path) -> None:
    """Builds the last stage of the Dockerfile around the binary, as an archive for `docker load`."""
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    root = scratch / "build/image"
    for source, target, mode in [
        (binary, "usr/local/bin/cognito-lookup", 0o755),
        (certificates, "etc/ssl/certs/ca-certificates.crt", 0o644),
    ]:
        file = root / target
        file.parent.mkdir(parents=True)
        shutil.copyfile(source, file)
        file.chmod(mode)
    store = ["--root", scratch / "store", "--runroot", scratch / "run", "--storage-driver", "vfs"]
    arguments = ["--build-arg", f"VERSION={version}", "--build-arg", f"REVISION={revision()}"]
    how = ["--isolation", "chroot", "--format", "docker", "--timestamp", TIME, "--build-context", f"build={root.parent}"]
    tag, made = f"{NAME}:{version}", scratch / "image.tar"
    run("buildah", *store, "build", "--quiet", *how, *arguments, "--file", "deploy/Dockerfile", "--tag", tag, root)
    run("buildah", *store, "push", "--quiet", tag, f"docker-archive:{made}:{tag}")
    # The configuration names the container that it was made in, which nothing reads.
    with tarfile.open(made) as tar:
        read = lambda name: tar.extractfile(name).read()
        (manifest,) = json.loads(read("manifest.json"))
        config = json.loads(read(manifest["Config"]))
        for name in ["container", "container_config"]:
            config.pop(name, None)
        config["config"]["Hostname"] = ""
        content = json.dumps(config, sort_keys=True).encode()
        manifest |= {"Config": f"{hashlib.sha256(content).hexdigest()}.json", "RepoTags": [tag]}
        layers = [(name, read(name), False) for name in manifest["Layers"]]
    parts = [(manifest["Config"], content, False), *layers, ("manifest.json", json.dumps([manifest]).encode(), False)]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        fill(tar, parts)


def chart(path: Path, scratch: Path) -> None:
    """Packages the chart with Helm, which checks it, and again with the time of the commit."""
    run(TOOLS / "deploy/helm", "package", "deploy/helm/cognito-lookup", "--destination", scratch)
    (made,) = scratch.glob("*.tgz")
    with tarfile.open(made) as tar:
        members = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
        pack(path, [(name, file.read(), False) for name, file in members if file])


def proto(path: Path) -> None:
    """Packs the module for buf, which then reads it from the archive. Only files of the commit are in it."""
    listed = run("git", "ls-files", "-z", "--", "proto", "LICENSE").split("\0")
    archive(path, {name.removeprefix("proto/"): ROOT / name for name in listed if name})
    run(TOOLS / "python/bin/buf", "build", f"{path}#format=tar,compression=gzip", "--output", os.devnull)


def provenance(digests: dict[str, str], version: str, triple: str) -> dict:
    """Returns an in-toto statement with a SLSA v1 predicate, for a builder to sign. It is no proof unless signed."""
    lock = hashlib.sha256((ROOT / "Cargo.lock").read_bytes()).hexdigest()
    toolchain = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:cognito-lookup:tests-run-release:v1",
                "externalParameters": {"version": version, "target": triple},
                "internalParameters": {"SOURCE_DATE_EPOCH": TIME, "rustToolchain": toolchain},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": revision()}},
                    {"name": "Cargo.lock", "digest": {"sha256": lock}},
                ],
            },
            "runDetails": {"builder": {"id": "urn:cognito-lookup:tests-run-release:v1"}},
        },
    }


def revision() -> str:
    return run("git", "rev-parse", "HEAD").strip()


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
