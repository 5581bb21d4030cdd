"""The image: the final stage of the Dockerfile, with a binary that the deploy stage builds in the same way."""

import json
import os
import re
import shutil
import socket
import struct
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from child import poll, running
from rendered import render
from service import CREDENTIALS
from stack import container
from test_chart import VALUES
from tool import DEPLOY, check, run

DOCKERFILE = DEPLOY / "Dockerfile"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Image:
    """The image as an archive and as an unpacked root file system."""

    archive: Path
    root: Path
    config: dict


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    files = [
        (os.environ["DEPLOY_IMAGE_BINARY"], "usr/local/bin/cognito-lookup", 0o755),
        ("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt", 0o644),
    ]
    return build_image(tmp_path_factory.mktemp("image"), "build", files)


def build_image(directory: Path, stage: str, files: list[tuple[str, str, int]], *options: str) -> Image:
    """Builds an image without a registry: a build context replaces the stage that compiles."""
    built = directory / "build/image"
    for source, target, mode in files:
        file = built / target
        file.parent.mkdir(parents=True)
        shutil.copyfile(source, file)
        file.chmod(mode)
        assert f"/image/{target}" in DOCKERFILE.read_text(), "the first stage must install the file at this path"
    store = ["--root", directory / "store", "--runroot", directory / "run", "--storage-driver", "vfs"]
    arguments = ["--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=0123456"]
    context = ["--build-context", f"{stage}={built.parent}", "--isolation", "chroot", "--format", "docker"]
    check("buildah", *store, "build", *context, *arguments, *options, "--file", DOCKERFILE, "--tag", "lookup:test", built)
    archive, unpacked = directory / "image.tar", directory / "unpacked"
    check("buildah", *store, "push", "lookup:test", f"docker-archive:{archive}:lookup:test")
    shutil.rmtree(directory / "store")
    check("tar", "--extract", "--one-top-level", "--directory", directory, "--file", archive)
    (manifest,) = json.loads((directory / "image/manifest.json").read_text())
    for layer in manifest["Layers"]:
        check("tar", "--extract", f"--one-top-level={unpacked}", "--file", directory / "image" / layer)
    return Image(archive, unpacked, json.loads((directory / "image" / manifest["Config"]).read_text())["config"])


def test_hadolint_passes() -> None:
    check("hadolint", DOCKERFILE)


def test_the_image_has_the_expected_structure(image: Image) -> None:
    output = check(
        "container-structure-test", "test", "--driver", "tar", "--image", image.archive, "--config", HERE / "image.yaml"
    )
    assert "Failures:    0" in output, output


def test_the_image_contains_two_files(image: Image) -> None:
    files = {str(file.relative_to(image.root)) for file in image.root.rglob("*") if not file.is_dir()}
    assert files == {"usr/local/bin/cognito-lookup", "etc/ssl/certs/ca-certificates.crt"}


def test_the_health_command_and_the_user_are_those_of_the_deployments(image: Image) -> None:
    """container-structure-test cannot check the health command. Only Docker and compose use it."""
    assert image.config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/cognito-lookup", "healthcheck"]
    assert container("cognito-lookup")["User"] == image.config["User"]
    for pod in render(VALUES[0]).pods():
        context = pod["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == image.config["User"]


def test_the_binary_has_no_sandbox(image: Image) -> None:
    done = run(image.root / "usr/local/bin/cognito-lookup", "sandbox")
    assert done.returncode == 2 and "unrecognized subcommand 'sandbox'" in done.stderr


def test_the_allocator_has_the_settings_of_the_cargo_config(image: Image) -> None:
    settings = tomllib.loads((DEPLOY.parent / ".cargo/config.toml").read_text())["env"]
    binary = image.root / "usr/local/bin/cognito-lookup"
    done = run("env", "_RJEM_MALLOC_CONF=confirm_conf:true", binary, "version")
    assert settings["JEMALLOC_SYS_WITH_MALLOC_CONF"] in done.stderr, done.stderr


def test_the_build_context_contains_what_cargo_needs(tmp_path: Path) -> None:
    """Uses only the files that .dockerignore includes. Also compares the build command of the Dockerfile."""
    lines = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert "*" in lines and "!.cargo" in lines, "the build needs the settings of the allocator"
    for line in lines:
        source = DEPLOY.parent / line.removeprefix("!")
        if line.startswith("!") and source.exists():
            (tmp_path / source.name).symlink_to(source)
    # With an unknown binary, cargo resolves all targets but builds none.
    done = run("cargo", "build", "--locked", "--offline", "--bin", "none", "--manifest-path", tmp_path / "Cargo.toml")
    assert "no bin target named `none`" in done.stderr, done.stderr
    command = re.search(r"cargo rustc .*", DOCKERFILE.read_text())
    assert command and command[0].rstrip(" \\").replace(" --release", "") in (DEPLOY.parent / "tests/stages/deploy.sh").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root directory and serve port 53")
def test_the_binary_runs_unprivileged_in_a_chroot_and_resolves_names(image: Image, tmp_path: Path) -> None:
    """Statically linked glibc must resolve names without the NSS libraries that it usually loads."""
    root = tmp_path / "root"
    shutil.copytree(image.root, root)
    (root / "etc/resolv.conf").write_text("nameserver 127.77.0.53\n")
    variables = dict(variable.split("=", 1) for variable in image.config["Env"])
    settings = {
        "COGNITO_LOOKUP_LISTEN": "127.0.0.1:0",
        "COGNITO_LOOKUP_ADMIN_LISTEN": "127.0.0.1:0",
        "COGNITO_LOOKUP_USER_POOL_ID": "eu-west-1_AbCdEfGhI",
        "COGNITO_LOOKUP_APP_CLIENTS": "3n4b5urk1ft4fl3mg5e62d9ado",
        "COGNITO_LOOKUP_ATTRIBUTES": "name",
        "COGNITO_LOOKUP_POOLS__0__ENDPOINT_URL": "http://cognito.test:1",
        "COGNITO_LOOKUP_POOLS__0__JWKS_URL": "http://keys.test:1/jwks.json",
    }
    command = ["chroot", f"--userspec={image.config['User']}", root, *image.config["Entrypoint"], *image.config["Cmd"]]
    with resolver() as queried, running(command, tmp_path, **CREDENTIALS | variables | settings) as child:
        child.find(r'("message":"listening")')
        poll(lambda: {"cognito.test", "keys.test"} <= queried, "both names looked up")


@contextmanager
def resolver() -> Iterator[set[str]]:
    """Runs a DNS server that answers NXDOMAIN, and yields the names that it was queried for."""
    queried: set[str] = set()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.77.0.53", 53))

    def serve() -> None:
        while True:
            try:
                query, client = server.recvfrom(512)
            except OSError:
                return
            queried.add(domain_name(query[12:]))
            # NXDOMAIN, with a copy of the question (RFC 1035, section 4.1).
            server.sendto(query[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + query[12:], client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield queried
    finally:
        server.close()


def domain_name(question: bytes) -> str:
    """Parses the name of a DNS question (RFC 1035, section 4.1.2)."""
    labels = []
    while size := question[0]:
        labels.append(question[1 : 1 + size].decode())
        question = question[1 + size :]
    return ".".join(labels)
