"""The Helm chart: valid objects, clear errors, and settings that the binary accepts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from child import run as run_binary
from rendered import Rendering, parse_toml, render
from service import binary
from tool import CHART, check, run

VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
MINIMUM = CHART / "ci/minimum-values.yaml"
# The oldest version that Chart.yaml allows, and the newest one that the validator supports.
KUBERNETES = ["1.27", "1.37"]
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/cognito-lookup-events"
# The folders of Secrets under /run.
MOUNTED = ["tls", "audit", "shared-cache"]


@pytest.fixture(params=VALUES, ids=lambda file: file.stem)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    return render(request.param)


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_helm_lint_passes(values: Path) -> None:
    check("helm", "lint", "--strict", CHART, "--values", values)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid(rendering: Rendering, version: str, tmp_path: Path) -> None:
    objects = [
        manifest for manifest in rendering.objects if not manifest["apiVersion"].startswith("monitoring.coreos.com/")
    ]
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget"} <= {manifest["kind"] for manifest in objects}
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    output = check("kubernetes-validate", "--strict", "--kubernetes-version", version, file)
    assert output.count(" passed ") == len(objects), output


def test_the_binary_accepts_the_settings(rendering: Rendering, tmp_path: Path) -> None:
    """Includes the environment, because the service does not start with an unknown variable."""
    file = tmp_path / "settings.toml"
    file.write_text(rendering.object("ConfigMap", "lookup")["data"]["settings.toml"])
    environment = rendering.environment() | {"COGNITO_LOOKUP_CONFIG": str(file)}
    checked = run_binary([binary(), "config", "check"], tmp_path, **environment)
    # The Secrets are not mounted here, so the files that they contain are missing.
    lines = checked.stderr.splitlines()
    other_errors = [line for line in lines if not any(f"/run/{name}/" in line for name in MOUNTED)]
    assert checked.returncode == 0 or (
        rendering.has_tls() and other_errors == ["cognito-lookup: the settings are wrong:"]
    ), checked


def test_every_file_that_the_settings_name_is_mounted(rendering: Rendering) -> None:
    named = re.findall(r'"(/run/[^"]+)"', rendering.object("ConfigMap", "lookup")["data"]["settings.toml"])
    pod = next(rendering.pods())
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = {}
    for mount in rendering.container()["volumeMounts"]:
        match volumes[mount["name"]]:
            case {"secret": _}:
                mounted[mount["mountPath"]] = ["tls.crt", "tls.key", "ca.crt", "key", "previous"]
            case {"projected": {"sources": sources}}:
                items = [item for source in sources for item in source["secret"]["items"]]
                mounted[mount["mountPath"]] = [item["path"] for item in items]
    assert bool(named) == rendering.has_tls()
    for path in named:
        folder, _, file = path.rpartition("/")
        assert file in mounted[folder], path


def test_the_store_is_reached_on_its_ports_only(tmp_path: Path) -> None:
    for shared_cache, ports in [
        ("", None),
        ("url: unix:/run/valkey.sock", None),
        ("url: rediss://cache.example.com", [6379]),
        ("url: rediss://cache.example.com:6380/", [6380]),
        ("url: 'redis://[fd00::6]'", [6379]),
        ("{urls: ['redis://a:7000', 'redis://b:7000', 'redis://c:7001'], mode: cluster}", [7000, 7001]),
        ("{urls: ['redis://a', 'redis://b:26380'], mode: sentinel, sentinel_name: main}", [6379, 26379, 26380]),
    ]:
        values = tmp_path / "values.yaml"
        table = shared_cache if shared_cache.startswith("{") else f"{{{shared_cache}}}"
        secret = "sharedCache: {keySecretName: keys}\n" if shared_cache else ""
        values.write_text(f"settings: {{shared_cache: {table}}}\n{secret}")
        policy = render(MINIMUM, "--values", values).object("NetworkPolicy", "lookup")
        rules = policy["spec"]["egress"][3:]
        assert [[port["port"] for port in rule["ports"]] for rule in rules] == ([ports] if ports else []), shared_cache


def test_one_pod_may_have_the_queue_of_changes_for_itself(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(f"replicaCount: 1\nsettings: {{events: {{queue_url: {QUEUE}, scope: own}}}}\n")
    rendering = render(MINIMUM, "--values", values)
    assert rendering.settings()["events"] == {"queue_url": QUEUE, "scope": "own"}


def test_service_links_are_disabled(rendering: Rendering) -> None:
    """The service ignores COGNITO_LOOKUP_SERVICE_HOST and others, which are of no use to it."""
    for pod in rendering.pods():
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False


def test_the_termination_grace_period_covers_the_drain(rendering: Rendering) -> None:
    shutdown = rendering.settings()["shutdown"]
    needed = sum(int(value.removesuffix("s")) for value in shutdown.values())
    (pod,) = [pod for pod in rendering.pods() if "terminationGracePeriodSeconds" in pod]
    assert len(shutdown) == 2 and pod["terminationGracePeriodSeconds"] == needed + 5


def test_all_replicas_together_stay_within_the_quota(rendering: Rendering) -> None:
    replicas = rendering.values(
        "autoscaling.maxReplicas" if rendering.objects_of("HorizontalPodAutoscaler") else "replicaCount"
    )
    budget = rendering.settings()["budget"]
    # Those that share a cache share the limit. Of the others, a rollout adds one and drains one.
    parts = 1 if rendering.shares_cache() else replicas + 2
    assert replicas > 1 and "scope" not in budget
    for rate, quota in [("user_reads_per_second", 96), ("lists_per_second", 24)]:
        assert quota * 0.8 <= budget[rate] * parts <= quota, rate


@pytest.mark.parametrize(
    "rollout, most",
    [
        ("", 4),
        ("rollout.maxSurge=2", 6),
        ("rollout.maxSurge=50%", 4),
        ("rollout.maxSurge=51%", 6),
        ("rollout.maxSurge=0,rollout.maxUnavailable=1", 3),
        ("replicaCount=8,rollout.maxSurge=25%,rollout.maxUnavailable=25%", 12),
        ("autoscaling.enabled=true,autoscaling.maxReplicas=10", 12),
    ],
)
def test_a_rollout_is_counted_with_the_replicas(rollout: str, most: int) -> None:
    """All pods that run at once: the replicas, those that are added, and those that drain."""
    rendering = render(MINIMUM, "--set", f"{rollout},budget.userReadsPerSecond=9600".lstrip(","))
    assert rendering.settings()["budget"]["user_reads_per_second"] == 9600 // most
    shutdown = rendering.settings()["shutdown"]
    drain = sum(int(value.removesuffix("s")) for value in shutdown.values())
    # Or more pods could drain at once.
    assert rendering.object("Deployment", "lookup")["spec"]["minReadySeconds"] == drain


def test_the_test_pod_passes_the_network_policy(rendering: Rendering) -> None:
    """Whatever clients the policy admits."""
    labels = [pod["metadata"]["labels"].items() for pod in rendering.objects_of("Pod")]
    rules = rendering.object("NetworkPolicy", "lookup")["spec"]["ingress"]
    admitted = [
        peer["podSelector"]["matchLabels"].items()
        for rule in rules
        if rule["ports"] == [{"port": "grpc", "protocol": "TCP"}]
        for peer in rule["from"]
        if set(peer) == {"podSelector"} and peer["podSelector"]
    ]
    assert labels and all(any(selector <= pod for selector in admitted) for pod in labels)
    service = rendering.object("Deployment", "lookup")["spec"]["template"]["metadata"]["labels"].items()
    assert not any(selector <= service for selector in admitted), "it admits the test pod only"


@pytest.mark.parametrize(
    "limit, cache", [("512Mi", "256MiB"), ("2Gi", "1024MiB"), ("256Mi", None), ("null", None), ("500M", None)]
)
def test_half_of_the_memory_is_for_users(limit: str, cache: str | None, tmp_path: Path) -> None:
    rendering = render(MINIMUM, "--set", f"resources.limits.memory={limit}")
    assert rendering.settings().get("cache", {}).get("max_bytes") == cache
    own = render(MINIMUM, "--set", f"resources.limits.memory={limit},settings.cache.max_bytes=64MiB")
    assert own.settings()["cache"]["max_bytes"] == "64MiB"
    if limit.endswith("i"):
        file = tmp_path / "settings.toml"
        file.write_text(rendering.object("ConfigMap", "lookup")["data"]["settings.toml"])
        check_memory = [binary(), "config", "check", "--config", file, "--memory", f"{limit}B"]
        checked = run_binary(check_memory, tmp_path)
        assert "more than the memory limit" not in checked.stderr, checked.stderr


def test_traces_reach_their_collector() -> None:
    for endpoint, port in [
        ("http://collector.observability:4317", 4317),
        ("https://otel.example.com", 443),
        ("http://collector:4318/", 4318),
    ]:
        rendering = render(MINIMUM, "--set", f"traces.endpoint={endpoint}")
        assert rendering.environment()["OTEL_EXPORTER_OTLP_ENDPOINT"] == endpoint
        (rule,) = rendering.object("NetworkPolicy", "lookup")["spec"]["egress"][3:]
        assert [each["port"] for each in rule["ports"]] == [port]
    plain = render(MINIMUM)
    assert not any(name.startswith("OTEL") for name in plain.environment())
    assert len(plain.object("NetworkPolicy", "lookup")["spec"]["egress"]) == 3


def test_what_is_extra_is_in_the_pod(tmp_path: Path) -> None:
    extra = {
        "extraEnvFrom": [{"secretRef": {"name": "lookup-audit-key"}}],
        "extraContainers": [{"name": "shipper", "image": "example.com/shipper:1"}],
        "extraInitContainers": [{"name": "wait", "image": "example.com/wait:1"}],
        "topologySpreadConstraints": [{"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}],
        "deploymentAnnotations": {"example.com/owner": "identity"},
        "probes": {"readiness": {"periodSeconds": 11}},
        "service": {"type": "LoadBalancer"},
        "podDisruptionBudget": {"minAvailable": "50%"},
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(extra))
    rendering = render(MINIMUM, "--values", values)
    deployment = rendering.object("Deployment", "lookup")
    pod = deployment["spec"]["template"]["spec"]
    assert deployment["metadata"]["annotations"] == extra["deploymentAnnotations"]
    assert pod["containers"][1:] == extra["extraContainers"] and pod["initContainers"] == extra["extraInitContainers"]
    assert pod["topologySpreadConstraints"] == extra["topologySpreadConstraints"]
    assert pod["containers"][0]["envFrom"] == extra["extraEnvFrom"]
    readiness = pod["containers"][0]["readinessProbe"]
    assert (readiness["periodSeconds"], readiness["httpGet"]["path"]) == (11, "/readyz")
    assert rendering.object("Service", "lookup")["spec"]["type"] == "LoadBalancer"
    budget = rendering.object("PodDisruptionBudget", "lookup")["spec"]
    assert budget["minAvailable"] == "50%" and "maxUnavailable" not in budget


def test_pods_are_scaled_by_cpu_or_by_metrics(tmp_path: Path) -> None:
    metric = {"type": "Pods", "pods": {"metric": {"name": "calls"}, "target": {"type": "AverageValue", "averageValue": "100"}}}
    values = tmp_path / "values.yaml"
    for cpu, metrics, kinds in [(70, [], ["Resource"]), (70, [metric], ["Resource", "Pods"]), (None, [metric], ["Pods"])]:
        autoscaling = {"enabled": True, "targetCPUUtilizationPercentage": cpu, "metrics": metrics}
        values.write_text(yaml.safe_dump({"autoscaling": autoscaling}))
        scaler = render(MINIMUM, "--values", values).object("HorizontalPodAutoscaler", "lookup")
        assert [each["type"] for each in scaler["spec"]["metrics"]] == kinds


def test_the_limit_is_divided_where_each_replica_has_its_own(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        "settings: {shared_cache: {url: 'rediss://cache.example.com'}}\nsharedCache: {keySecretName: keys}\n"
    )
    for scope, expected in [("shared", {"user_reads_per_second": 96}), ("own", {"user_reads_per_second": 24})]:
        rendering = render(MINIMUM, "--values", values, "--set", f"budget.scope={scope}")
        budget = rendering.settings()["budget"]
        assert budget.items() >= expected.items() and budget.get("scope", "shared") == scope, budget


def test_selectors_and_ports_match_the_pods(rendering: Rendering) -> None:
    pod = rendering.object("Deployment", "lookup")["spec"]["template"]
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
        (["--values", MINIMUM, "--set", "audit.hasPreviousKey=true"], "audit.hasPreviousKey: needs audit.keySecretName"),
        (
            ["--values", MINIMUM, "--set", "autoscaling.enabled=true,autoscaling.targetCPUUtilizationPercentage=null"],
            "autoscaling: set targetCPUUtilizationPercentage",
        ),
        (
            ["--values", MINIMUM, "--set", "tls.clientCertificate=required"],
            "tls.clientCertificate: needs tls.secretName",
        ),
        (
            ["--values", MINIMUM, "--set", "settings.shared_cache.index_key_file=/k"],
            "settings.shared_cache.index_key_file: set sharedCache.keySecretName",
        ),
        (
            ["--values", MINIMUM, "--set", "settings.shared_cache.url=rediss://cache.example.com"],
            "sharedCache.keySecretName: name the Secret",
        ),
        (
            ["--values", MINIMUM, "--set", "sharedCache.keySecretName=keys"],
            "sharedCache: set settings.shared_cache.url",
        ),
        (
            ["--values", MINIMUM, "--set", f"settings.events.queue_url={QUEUE}"],
            "settings.events.queue_url: needs settings.shared_cache",
        ),
        (
            ["--values", MINIMUM, "--set", f"settings.events.queue_url={QUEUE},settings.events.scope=own"],
            'settings.events.scope: "own" is for one pod only',
        ),
        (["--values", MINIMUM, "--set", "sharedCache.valueKeys[0]=a/b"], "'/sharedCache/valueKeys/0'"),
        (["--values", MINIMUM, "--set", "budget.scope=all"], "'/budget/scope'"),
        (["--values", MINIMUM, "--set", "replicas=3"], "additional properties 'replicas' not allowed"),
        (["--values", MINIMUM, "--set", "image.digest=latest"], "'/image/digest'"),
        (["--values", MINIMUM, "--set", "extraEnv[0].name=A,extraEnv[0].value=5"], "'/extraEnv/0/value'"),
    ],
)
def test_an_invalid_value_is_named_in_the_error(arguments: list[str | Path], message: str) -> None:
    done = run("helm", "template", "lookup", CHART, *arguments)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if not line.startswith("level=")]
    assert message in "\n".join(errors), done.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_the_notes_render_completely(values: Path) -> None:
    options = ["--values", values, "--namespace", "identity", "--dry-run=client"]
    output = check("helm", "install", "lookup", CHART, *options)
    notes = output[output.index("NOTES:") :]
    assert "cognito-lookup-headless" not in notes or "identity.svc:50051" in notes
    assert "userlookup.v1.UserService/GetUser" in notes and "<no value>" not in notes


def test_yaml_values_survive_the_conversion_to_toml(tmp_path: Path) -> None:
    awkward: dict[str, Any] = {
        "workers": 12,
        "reflection": False,
        "attributes": ["one", "two"],
        "audit": {"max_bytes": 5000000},
        "callers": [{"name": 'quote " back \\ <tag> & é', "network": []}],
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"settings": {"user_pool_id": "eu-west-1_A", **awkward}}))
    settings = parse_toml(render(MINIMUM, "--values", values).object("ConfigMap", "lookup")["data"]["settings.toml"])
    assert {key: settings[key] for key in awkward} == awkward


@pytest.mark.parametrize(
    "settings, place",
    [
        # YAML reads these as numbers, the second in octal.
        ("pools: [{id: eu-west-1_A, account: 123456789012}]", "/settings/pools/0/account"),
        ("pools: [{id: eu-west-1_A, account: 012345670123}]", "/settings/pools/0/account"),
        ("pools: [{id: eu-west-1_A, external_id: 12345}]", "/settings/pools/0/external_id"),
        ("app_clients: [12345678901234567890123456]", "/settings/app_clients/0"),
        ("socket_mode: 0660", "/settings/socket_mode"),
        # YAML 1.1 reads this as a boolean.
        ("audit: {sink: off}", "/settings/audit/sink"),
        ("colour: red", "colour"),
        ("cache: {fresh_fro: 1min}", "fresh_fro"),
        ("pools: [{id: eu-west-1_A, clients: [a]}]", "clients"),
        ("log: {level: loud}", "/settings/log/level"),
        ("cache: {fresh_for: 60}", "/settings/cache/fresh_for"),
        ("workers: many", "/settings/workers"),
        ("callers: [{name: web, reads: all}]", "/settings/callers/0/reads"),
    ],
)
def test_helm_refuses_settings_that_the_binary_would_refuse(settings: str, place: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(f"settings: {{{settings}}}\n")
    done = run("helm", "template", "lookup", CHART, "--values", MINIMUM, "--values", values)
    assert done.returncode != 0 and place in done.stderr, done.stderr
