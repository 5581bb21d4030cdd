"""The probes of every file, asked of the real binary run with that file's own settings."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from child import poll, run
from deployed import elsewhere, serving, status
from rendered import Rendering, render
from service import binary
from stack import task
from test_chart import MINIMUM
from tool import INSTALLED

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def rendering(ports: dict[str, int]) -> Rendering:
    pool = ["--set", "settings.user_pool_id=local_Example"]
    at = [f"--set=service.{name}Port={port}" for name, port in ports.items()]
    return render(MINIMUM, *pool, *at)


def chart_environment(rendering: Rendering, directory: Path) -> dict[str, str]:
    file = directory / "settings.toml"
    file.write_text(rendering.one("ConfigMap", "lookup")["data"]["settings.toml"])
    return rendering.environment() | {"COGNITO_LOOKUP_CONFIG": str(file)}


def probes(rendering: Rendering) -> Iterator[tuple[str, str]]:
    """The URL of each probe of the chart."""
    container = rendering.container()
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name in ["startupProbe", "livenessProbe", "readinessProbe"]:
        asked = container[name]["httpGet"]
        yield name, f"http://127.0.0.1:{named[asked['port']]}{asked['path']}"


def test_the_charts_probes_pass_once_it_is_ready(rendering: Rendering, cognito: str, tmp_path: Path) -> None:
    environment = chart_environment(rendering, tmp_path) | elsewhere(cognito)
    with serving(tmp_path, environment):
        for name, url in probes(rendering):
            poll(lambda: status(url) == 200, f"{name} at {url}")


def test_the_charts_readiness_alone_waits_for_cognito(rendering: Rendering, tmp_path: Path) -> None:
    environment = chart_environment(rendering, tmp_path) | elsewhere(NOWHERE)
    with serving(tmp_path, environment):
        answers = {name: status(url) for name, url in probes(rendering)}
    assert answers == {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 503}


def test_the_charts_own_test_passes_and_can_fail(rendering: Rendering, cognito: str, tmp_path: Path) -> None:
    (pod,) = rendering.objects_of("Pod")
    arguments = pod["spec"]["containers"][0]["args"]
    service = rendering.one("Service", "lookup")
    (port,) = service["spec"]["ports"]
    name = f"{service['metadata']['name']}.identity.svc"
    there = f"http://{name}:{port['port']}"
    assert arguments == ["healthcheck", "--address", there]
    here = ["healthcheck", "--address", there.replace(name, "127.0.0.1")]
    for pool, expected in [(cognito, 0), (NOWHERE, 4)]:
        environment = chart_environment(rendering, tmp_path) | elsewhere(pool)
        with serving(tmp_path, environment):
            poll(lambda: asked(here, tmp_path).returncode == expected, f"status {expected} of {here}")


def test_the_charts_own_test_trusts_the_secrets_authority_and_has_no_key(tmp_path: Path) -> None:
    rendering = render(MINIMUM, "--set=tls.secretName=lookup-tls")
    (pod,) = rendering.objects_of("Pod")
    (volume,) = pod["spec"]["volumes"]
    assert (volume["secret"]["secretName"], volume["secret"]["items"]) == (
        "lookup-tls",
        [{"key": "ca.crt", "path": "ca.crt"}],
    )
    (container,) = pod["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    command, *flags = container["args"]
    options = dict(zip(flags[::2], flags[1::2], strict=True))
    assert options == {
        "--address": "https://lookup-cognito-lookup.identity.svc:50051",
        "--ca-file": f"{mount['mountPath']}/ca.crt",
    }
    done = asked([command, *flags], tmp_path)
    assert done.returncode != 0 and options["--ca-file"] in done.stderr, done


def test_the_chart_has_no_test_of_its_own_where_it_would_need_a_certificate() -> None:
    required = ["--set=tls.secretName=lookup-tls", "--set=tls.clientCertificate=required"]
    assert not render(MINIMUM, *required).objects_of("Pod")


def asked(command: list[str], directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run([binary(), *command], directory, **environment)


def test_the_health_command_of_ecs_tells_ready_from_not(cognito: str, ports: dict[str, int], tmp_path: Path) -> None:
    """As ECS runs it: in the container, with the container's environment."""
    container = task(UserPoolId="local_Example")["ContainerDefinitions"][0]
    how, program, *command = container["HealthCheck"]["Command"]
    assert (how, program) == ("CMD", INSTALLED)
    given = {variable["Name"]: str(variable["Value"]) for variable in container["Environment"]}
    # What the image sets, elsewhere.
    at = {f"COGNITO_LOOKUP_{name}": f"0.0.0.0:{port}" for name, port in zip(["LISTEN", "ADMIN_LISTEN"], ports.values())}
    for pool, expected in [(cognito, 0), (NOWHERE, 4)]:
        environment = given | at | elsewhere(pool)
        with serving(tmp_path, environment):
            poll(lambda: asked(command, tmp_path, **environment).returncode == expected, f"status {expected}")
    assert asked(command, tmp_path, **environment).returncode == 3, "nobody is there any more"
