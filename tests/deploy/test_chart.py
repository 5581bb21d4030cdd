"""The Helm chart: valid however it is set, clear about what is missing, and in step with the binary."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from child import run as run_binary
from rendered import Rendering, render, tables
from service import binary
from tool import CHART, check, run

VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
MINIMUM = CHART / "ci/minimum-values.yaml"
# The oldest that Chart.yaml admits, and the newest that the validator knows.
KUBERNETES = ["1.27", "1.37"]


@pytest.fixture(params=VALUES, ids=lambda file: file.stem)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    return render(request.param)


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_helm_finds_no_fault(values: Path) -> None:
    check("helm", "lint", "--strict", CHART, "--values", values)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(rendering: Rendering, version: str, tmp_path: Path) -> None:
    objects = [thing for thing in rendering.objects if not thing["apiVersion"].startswith("monitoring.coreos.com/")]
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget"} <= {thing["kind"] for thing in objects}
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    said = check("kubernetes-validate", "--strict", "--kubernetes-version", version, file)
    assert said.count(" passed ") == len(objects), said


def test_the_binary_takes_its_settings(rendering: Rendering, tmp_path: Path) -> None:
    """Also the environment: a variable that the service does not know keeps it from starting."""
    file = tmp_path / "settings.toml"
    file.write_text(rendering.one("ConfigMap", "lookup")["data"]["settings.toml"])
    environment = rendering.environment() | {"COGNITO_LOOKUP_CONFIG": str(file)}
    checked = run_binary([binary(), "config", "check"], tmp_path, **environment)
    # The Secrets are not here.
    unmounted = [line for line in checked.stderr.splitlines() if "/run/tls/" not in line and "/run/audit/" not in line]
    assert checked.returncode == 0 or (rendering.tls() and unmounted == ["cognito-lookup: the settings are wrong:"]), (
        checked
    )


def test_no_service_link_reaches_the_binary(rendering: Rendering) -> None:
    """They would be called COGNITO_LOOKUP_SERVICE_HOST and so on."""
    for pod in rendering.pods():
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False


def test_it_may_drain_before_it_is_killed(rendering: Rendering) -> None:
    shutdown = rendering.settings()["shutdown"]
    needed = sum(int(value.removesuffix("s")) for value in shutdown.values())
    (pod,) = [pod for pod in rendering.pods() if "terminationGracePeriodSeconds" in pod]
    assert len(shutdown) == 2 and pod["terminationGracePeriodSeconds"] == needed + 5


def test_all_replicas_together_keep_to_the_budget(rendering: Rendering) -> None:
    replicas = rendering.values(
        "autoscaling.maxReplicas" if rendering.objects_of("HorizontalPodAutoscaler") else "replicaCount"
    )
    budget = rendering.settings()["budget"]
    assert (
        replicas > 1
        and budget["user_reads_per_second"] * replicas <= 96
        and budget["lists_per_second"] * replicas <= 24
    )


def test_services_and_the_monitor_select_what_is_there(rendering: Rendering) -> None:
    pod = rendering.one("Deployment", "lookup")["spec"]["template"]
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    services = rendering.objects_of("Service")
    assert len(services) == 2
    for service in services:
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for monitor in rendering.objects_of("ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        (selected,) = [service for service in services if labels <= service["metadata"]["labels"].items()]
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= {
            port["name"] for port in selected["spec"]["ports"]
        }


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "image.repository: name the image that you built"),
        ([], "settings: name a pool and who may read what"),
        (["--values", MINIMUM, "--set", "settings.listen=0.0.0.0:1"], "settings.listen: set service.address"),
        (["--values", MINIMUM, "--set", "settings.shutdown.delay=9s"], "settings.shutdown: set shutdown.delaySeconds"),
        (["--values", MINIMUM, "--set", "settings.budget.lists_per_second=1"], "settings.budget: set budget"),
        (["--values", MINIMUM, "--set", "settings.tls.key=/k"], "settings.tls.key: set tls.secretName"),
        (
            ["--values", MINIMUM, "--set", "settings.audit.key_file=/k"],
            "settings.audit.key_file: set audit.keySecretName",
        ),
        (
            ["--values", MINIMUM, "--set", "tls.clientCertificate=required"],
            "tls.clientCertificate: needs tls.secretName",
        ),
        (["--values", MINIMUM, "--set", "replicas=3"], "additional properties 'replicas' not allowed"),
        (["--values", MINIMUM, "--set", "image.digest=latest"], "'/image/digest'"),
    ],
)
def test_a_wrong_value_is_named(arguments: list[str | Path], message: str) -> None:
    done = run("helm", "template", "lookup", CHART, *arguments)
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if not line.startswith("level=")]
    assert message in "\n".join(told), done.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_the_notes_are_whole(values: Path) -> None:
    said = check("helm", "install", "lookup", CHART, "--values", values, "--namespace", "identity", "--dry-run=client")
    notes = said[said.index("NOTES:") :]
    assert "cognito-lookup-headless" not in notes or "identity.svc:50051" in notes
    assert "userlookup.v1.UserService/GetUser" in notes and "<no value>" not in notes


def test_toml_survives_what_yaml_can_hold(tmp_path: Path) -> None:
    awkward: dict[str, Any] = {
        "a": 'quote " back \\ <tag> & é',
        "b": 1000000,
        "c": True,
        "d": [],
        "e": {"f": {"g": ["one", "two"]}},
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"settings": {"user_pool_id": "eu-west-1_A", **awkward}}))
    settings = tables(render(MINIMUM, "--values", values).one("ConfigMap", "lookup")["data"]["settings.toml"])
    assert {key: settings[key] for key in awkward} == awkward
