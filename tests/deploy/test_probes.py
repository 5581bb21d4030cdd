"""Runs the probes of each deployment file against the binary with the settings of that file."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from child import poll, run
from deployed import emulator_pool, serving, status
from rendered import Rendering, render
from service import binary
from stack import task
from test_chart import MINIMUM
from tool import INSTALLED

UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture
def rendering(ports: list[int]) -> Rendering:
    pool = ["--set", "settings.user_pool_id=local_Example"]
    port_values = [f"--set=service.{name}Port={port}" for name, port in zip(["grpc", "admin"], ports, strict=False)]
    return render(MINIMUM, *pool, *port_values)


def chart_environment(rendering: Rendering, directory: Path) -> dict[str, str]:
    file = directory / "settings.toml"
    file.write_text(rendering.object("ConfigMap", "lookup")["data"]["settings.toml"])
    return rendering.environment() | {"COGNITO_LOOKUP_CONFIG": str(file)}


def probes(rendering: Rendering) -> Iterator[tuple[str, str]]:
    """Returns the URL of each probe of the chart."""
    container = rendering.container()
    container_ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name in ["startupProbe", "livenessProbe", "readinessProbe"]:
        probe = container[name]["httpGet"]
        yield name, f"http://127.0.0.1:{container_ports[probe['port']]}{probe['path']}"


def test_the_chart_probes_pass_on_a_ready_server(rendering: Rendering, cognito: str, tmp_path: Path) -> None:
    environment = chart_environment(rendering, tmp_path) | emulator_pool(cognito)
    with serving(tmp_path, environment):
        for name, url in probes(rendering):
            poll(lambda: status(url) == 200, f"{name} at {url}")


def test_only_the_readiness_probe_of_the_chart_fails_without_cognito(rendering: Rendering, tmp_path: Path) -> None:
    environment = chart_environment(rendering, tmp_path) | emulator_pool(UNREACHABLE)
    with serving(tmp_path, environment):
        statuses = {name: status(url) for name, url in probes(rendering)}
    assert statuses == {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 503}


def test_helm_test_reflects_readiness(rendering: Rendering, cognito: str, tmp_path: Path) -> None:
    (pod,) = rendering.objects_of("Pod")
    arguments = pod["spec"]["containers"][0]["args"]
    service = rendering.object("Service", "lookup")
    (port,) = service["spec"]["ports"]
    name = f"{service['metadata']['name']}.identity.svc"
    in_cluster = f"http://{name}:{port['port']}"
    assert arguments == ["healthcheck", "--address", in_cluster]
    local = ["healthcheck", "--address", in_cluster.replace(name, "127.0.0.1")]
    for pool, expected in [(cognito, 0), (UNREACHABLE, 4)]:
        environment = chart_environment(rendering, tmp_path) | emulator_pool(pool)
        with serving(tmp_path, environment):
            poll(lambda: run_command(local, tmp_path).returncode == expected, f"status {expected} of {local}")


def test_helm_test_mounts_the_ca_certificate_but_not_the_key(tmp_path: Path) -> None:
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
    done = run_command([command, *flags], tmp_path)
    assert done.returncode != 0 and options["--ca-file"] in done.stderr, done


def test_helm_test_is_omitted_if_client_certificates_are_required() -> None:
    required = ["--set=tls.secretName=lookup-tls", "--set=tls.clientCertificate=required"]
    assert not render(MINIMUM, *required).objects_of("Pod")


def run_command(command: list[str], directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a subcommand of the binary to completion."""
    return run([binary(), *command], directory, **environment)


def test_the_ecs_health_command_reflects_readiness(cognito: str, ports: list[int], tmp_path: Path) -> None:
    """Runs it as ECS does: with the environment of the container."""
    container = task(UserPoolId="local_Example")["ContainerDefinitions"][0]
    form, program, *command = container["HealthCheck"]["Command"]
    assert (form, program) == ("CMD", INSTALLED)
    declared = {variable["Name"]: str(variable["Value"]) for variable in container["Environment"]}
    # These replace the addresses that the image sets.
    addresses = {
        f"COGNITO_LOOKUP_{name}": f"0.0.0.0:{port}" for name, port in zip(["LISTEN", "ADMIN_LISTEN"], ports, strict=False)
    }
    # The volume of the task, which the container mounts.
    volume = {"COGNITO_LOOKUP_AUDIT__PATH": str(tmp_path / "audit.jsonl")}
    for pool, expected in [(cognito, 0), (UNREACHABLE, 4)]:
        environment = declared | addresses | volume | emulator_pool(pool)
        with serving(tmp_path, environment):
            poll(lambda: run_command(command, tmp_path, **environment).returncode == expected, f"status {expected}")
    assert run_command(command, tmp_path, **environment).returncode == 3, "the server has stopped"
