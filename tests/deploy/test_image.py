"""The image: its final stage built from the Dockerfile, around a binary that was built here in the same way."""

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
from stack import task
from test_chart import VALUES
from tool import DEPLOY, check, run

DOCKERFILE = DEPLOY / "Dockerfile"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Image:
    """As an archive, and unpacked."""

    archive: Path
    root: Path
    config: dict


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """No registry is asked: what the first stage would have made is handed over as its result."""
    directory = tmp_path_factory.mktemp("image")
    built = directory / "build/image"
    for source, target, mode in [
        (os.environ["DEPLOY_IMAGE_BINARY"], "usr/local/bin/cognito-lookup", 0o755),
        ("/etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/ca-certificates.crt", 0o644),
    ]:
        file = built / target
        file.parent.mkdir(parents=True)
        shutil.copyfile(source, file)
        file.chmod(mode)
        assert f"/image/{target}" in DOCKERFILE.read_text(), "where the first stage puts it"
    store = ["--root", directory / "store", "--runroot", directory / "run", "--storage-driver", "vfs"]
    arguments = ["--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=0123456"]
    context = ["--build-context", f"build={built.parent}", "--isolation", "chroot", "--format", "docker"]
    check("buildah", *store, "build", *context, *arguments, "--file", DOCKERFILE, "--tag", "lookup:test", built)
    archive, unpacked = directory / "image.tar", directory / "unpacked"
    check("buildah", *store, "push", "lookup:test", f"docker-archive:{archive}:lookup:test")
    shutil.rmtree(directory / "store")
    check("tar", "--extract", "--one-top-level", "--directory", directory, "--file", archive)
    (manifest,) = json.loads((directory / "image/manifest.json").read_text())
    for layer in manifest["Layers"]:
        check("tar", "--extract", f"--one-top-level={unpacked}", "--file", directory / "image" / layer)
    return Image(archive, unpacked, json.loads((directory / "image" / manifest["Config"]).read_text())["config"])


def test_hadolint_finds_no_fault() -> None:
    check("hadolint", DOCKERFILE)


def test_it_is_what_it_should_be(image: Image) -> None:
    said = check(
        "container-structure-test", "test", "--driver", "tar", "--image", image.archive, "--config", HERE / "image.yaml"
    )
    assert "Failures:    0" in said, said


def test_it_holds_two_files(image: Image) -> None:
    files = {str(file.relative_to(image.root)) for file in image.root.rglob("*") if not file.is_dir()}
    assert files == {"usr/local/bin/cognito-lookup", "etc/ssl/certs/ca-certificates.crt"}


def test_its_health_command_is_the_binarys(image: Image) -> None:
    """The structure test cannot see it. ECS and Kubernetes pass it over; Docker and compose do not."""
    assert image.config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/cognito-lookup", "healthcheck"]
    (container,) = task()["ContainerDefinitions"]
    assert container["User"] == image.config["User"]
    for pod in render(VALUES[0]).pods():
        who = pod["securityContext"]
        assert f"{who['runAsUser']}:{who['runAsGroup']}" == image.config["User"]


def test_the_sandbox_is_left_out(image: Image) -> None:
    done = run(image.root / "usr/local/bin/cognito-lookup", "sandbox")
    assert done.returncode == 2 and "unrecognized subcommand 'sandbox'" in done.stderr


def test_the_allocator_is_set_as_cargo_was_told(image: Image) -> None:
    settings = tomllib.loads((DEPLOY.parent / ".cargo/config.toml").read_text())["env"]
    binary = image.root / "usr/local/bin/cognito-lookup"
    done = run("env", "_RJEM_MALLOC_CONF=confirm_conf:true", binary, "version")
    assert settings["JEMALLOC_SYS_WITH_MALLOC_CONF"] in done.stderr, done.stderr


def test_cargo_finds_all_it_needs_in_the_context(tmp_path: Path) -> None:
    """The lines of .dockerignore that let something in, and the command of the Dockerfile."""
    lines = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert "*" in lines and "!.cargo" in lines, "the allocator's settings are part of what is built"
    for line in lines:
        source = DEPLOY.parent / line.removeprefix("!")
        if line.startswith("!") and source.exists():
            (tmp_path / source.name).symlink_to(source)
    # A binary that is not there, so that cargo looks for every target but builds none.
    done = run("cargo", "build", "--locked", "--offline", "--bin", "none", "--manifest-path", tmp_path / "Cargo.toml")
    assert "no bin target named `none`" in done.stderr, done.stderr
    command = re.search(r"cargo rustc .*", DOCKERFILE.read_text())
    assert command and command[0].rstrip(" \\").replace(" --release", "") in (DEPLOY.parent / "tests/run").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its root directory and serve port 53")
def test_it_runs_alone_as_nobody_and_resolves_names(image: Image, tmp_path: Path) -> None:
    """With glibc inside, names are looked up without the libraries that glibc usually loads for that."""
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
    with resolver() as asked, running(command, tmp_path, **CREDENTIALS | variables | settings) as child:
        child.find(r'("message":"listening")')
        poll(lambda: {"cognito.test", "keys.test"} <= asked, "both names looked up")


@contextmanager
def resolver() -> Iterator[set[str]]:
    """A DNS server that knows no name, and tells which ones it was asked for."""
    asked: set[str] = set()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.77.0.53", 53))

    def serve() -> None:
        while True:
            try:
                query, client = server.recvfrom(512)
            except OSError:
                return
            asked.add(name(query[12:]))
            # Not found, with the question repeated.
            server.sendto(query[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + query[12:], client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield asked
    finally:
        server.close()


def name(question: bytes) -> str:
    labels = []
    while size := question[0]:
        labels.append(question[1 : 1 + size].decode())
        question = question[1 + size :]
    return ".".join(labels)
