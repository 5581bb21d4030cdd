"""Follows docs/replicas.md: its manifest of a store, with its ACL, and the values and secrets of docs/deploy.md."""

import os
import re
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from child import poll, run, running
from deployed import POOL, emulator_pool, serving, sign_in
from rendered import render
from service import binary
from test_chart import KUBERNETES, MINIMUM
from tool import DEPLOY, check

GUIDE = (DEPLOY.parent / "docs/replicas.md").read_text()
(SHOWN,) = re.findall(r"(?ms)^```yaml\n(.*?)^```$", GUIDE)
(ACL,) = re.findall(r"(?ms)^```acl\n(.*?)^```$", GUIDE)
DEPLOYING = (DEPLOY.parent / "docs/deploy.md").read_text()


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_objects_of_the_store_are_valid(version: str, tmp_path: Path) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(SHOWN)
    output = check("kubernetes-validate", "--strict", "--kubernetes-version", version, file)
    assert output.count(" passed ") == 2, output


@pytest.fixture
def store(ports: list[int], tmp_path: Path) -> Iterator[str]:
    """The password of a store with the arguments of the manifest, whose ACL has only the user shown."""
    deployment = next(yaml.safe_load_all(SHOWN))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    password, acl = secrets.token_hex(16), tmp_path / "users.acl"
    acl.write_text(f"user default off\n{ACL.replace('>PASSWORD', f'>{password}')}")
    arguments = [argument.replace("/run/acl/users.acl", str(acl)) for argument in container["args"]]
    folder = tmp_path / "store"
    folder.mkdir()
    local = ["--port", str(ports[2]), "--bind", "127.0.0.1", "--dir", folder]
    with running([os.environ["DEPLOY_STORE"], *arguments, *local], folder) as child:
        child.find("(Ready to accept connections)")
        yield password


def test_the_service_works_as_the_user_shown(store: str, cognito: str, ports: list[int], tmp_path: Path) -> None:
    files = {"index": secrets.token_hex(32), "value-1": secrets.token_hex(32), "password": f"{store}\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    prefix = "COGNITO_LOOKUP_SHARED_CACHE__"
    environment = {
        "COGNITO_LOOKUP_LISTEN": f"127.0.0.1:{ports[0]}",
        "COGNITO_LOOKUP_ADMIN_LISTEN": f"127.0.0.1:{ports[1]}",
        "COGNITO_LOOKUP_USER_POOL_ID": POOL,
        "COGNITO_LOOKUP_APP_CLIENTS": "local_client",
        "COGNITO_LOOKUP_ATTRIBUTES": "name",
        f"{prefix}URL": f"redis://127.0.0.1:{ports[2]}",
        f"{prefix}USERNAME": ACL.split()[1],
        f"{prefix}PASSWORD_FILE": str(tmp_path / "password"),
        f"{prefix}INDEX_KEY_FILE": str(tmp_path / "index"),
        f"{prefix}VALUE_KEY_FILES": str(tmp_path / "value-1"),
    }
    folder = tmp_path / "service"
    folder.mkdir()
    token = {"COGNITO_LOOKUP_TOKEN": sign_in(cognito)}
    with serving(folder, environment | emulator_pool(cognito)) as child:
        child.find("(the shared cache is used)")
        call = [binary(), "get", "--address", f"http://127.0.0.1:{ports[0]}"]
        poll(lambda: run(call, tmp_path, **token).returncode == 0, "a user found")
        for script in ["look", "put", "position"]:
            counter = f'cognito_lookup_shared_cache_calls_total{{script="{script}",outcome="Ok"}} [1-9]'
            poll(lambda counter=counter: re.search(counter, metrics(ports[1])), counter)
        assert "NOPERM" not in child.output()


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        return response.read().decode()


def test_the_values_of_the_shared_cache_are_sufficient(tmp_path: Path) -> None:
    (shown,) = [block for block in re.findall(r"(?ms)^```yaml\n(.*?)^```$", DEPLOYING) if "sharedCache" in block]
    file = tmp_path / "values.yaml"
    file.write_text(shown)
    rendering = render(MINIMUM, "--values", file)
    assert rendering.settings()["shared_cache"]["value_key_files"] == ["/run/shared-cache/value-1"]
    (projected,) = [volume for volume in next(rendering.pods())["volumes"] if "projected" in volume]
    named = {source["secret"]["name"] for source in projected["projected"]["sources"]}
    created = set(re.findall(r"create secret generic (lookup-s\S+)", DEPLOYING))
    assert named == created


def test_the_secret_of_the_keys_is_what_the_template_reads() -> None:
    members = []
    for shown in re.findall(r"--secret-string (\"\$\(printf .*\")$", DEPLOYING, re.MULTILINE):
        done = subprocess.run(["bash", "-c", f"echo {shown}"], capture_output=True, text=True, timeout=30, check=True)
        keys = yaml.safe_load(done.stdout)
        assert all(len(key) == 64 for key in keys.values())
        members.append(set(keys))
    # Those of the shared cache and of the audit records.
    assert members == [{"index", "value"}, {"current"}]


def test_the_commands_that_make_keys_work(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^ +(\(umask 077;.*\))$", GUIDE, re.MULTILINE)
    assert run(["bash", "-ec", shown], tmp_path).returncode == 0
    assert {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {"index": 0o600, "value-1": 0o600}
