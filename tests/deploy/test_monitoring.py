"""Checks alerts and dashboard against the metrics of a running service and a real Prometheus."""

import json
import os
import re
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from alerts import CASES, HEALTHY
from child import poll, run, running
from rendered import render
from service import binary
from test_chart import VALUES
from tool import DEPLOY, check

RULES = DEPLOY / "prometheus/rules.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
GROUPED = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in GROUPED if "alert" in rule}
RECORDS = {rule["record"]: rule for rule in GROUPED if "record" in rule}
# The labels that Prometheus adds to what it scrapes.
TARGET = {"namespace", "job", "pod", "instance"}
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
EPHEMERAL_PORTS = [part for flag in ["--listen", "--admin-listen", "--cognito"] for part in [flag, "127.0.0.1:0"]]
# Seconds. Short, so that rates are available soon.
INTERVAL = 1


@dataclass(frozen=True)
class Sample:
    """One sample of /metrics."""

    name: str
    labels: dict[str, str]


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The admin address of a sandbox with a shared cache, whose user is read and changed in the background."""
    store, directory = (tmp_path_factory.mktemp(name) for name in ["store", "sandbox"])
    socket = store / "socket"
    options = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", store]
    sandbox = [binary(), "sandbox", *EPHEMERAL_PORTS, "--shared-cache", f"unix:{socket}"]
    with running([os.environ["DEPLOY_STORE"], *options], store), running(sandbox, directory) as child:
        child.find("(the shared cache is used)")
        line = json.loads(child.find(r'(?m)^(\{.*"message":\s*"listening".*\})$'))
        child.find(r"(admin-update-user-attributes)")
        (token,) = re.findall(r"(?m)^export ADA_TOKEN=(\S+)$", child.output())
        call = [binary(), "get", "--address", f"http://{line['address']}"]
        poll(lambda: run(call, directory, COGNITO_LOOKUP_TOKEN=token).returncode == 0, "a user found")
        cognito = child.find(r"Cognito emulator (http://\S+)")
        with BackgroundCalls(call, directory, token), BackgroundChanges(cognito):
            yield line["admin.address"]


class BackgroundCalls:
    """Calls the service every 0.3 s, so that rates are not 0."""

    def __init__(self, call: list[str | Path], directory: Path, token: str) -> None:
        command = " ".join(f"'{word}'" for word in call)
        loop = f"while {command} >/dev/null 2>&1; do sleep 0.3; done"
        self._start = lambda: subprocess.Popen(
            ["bash", "-c", loop], cwd=directory, env={"PATH": "/usr/bin:/bin", "COGNITO_LOOKUP_TOKEN": token}
        )

    def __enter__(self) -> None:
        self._loop = self._start()

    def __exit__(self, *_: object) -> None:
        self._loop.kill()
        self._loop.wait()


class BackgroundChanges:
    """Changes a user every 0.3 s, so that there are change events."""

    def __init__(self, cognito: str) -> None:
        headers = {"x-amz-target": "AWSCognitoIdentityProviderService.AdminUpdateUserAttributes"}
        attributes = [{"Name": "locale", "Value": "en-GB"}]
        change = {"UserPoolId": "eu-west-1_Sandbox01", "Username": "ada", "UserAttributes": attributes}
        self._request = urllib.request.Request(cognito, json.dumps(change).encode(), headers)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.wait(0.3):
            urllib.request.urlopen(self._request, timeout=10).close()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture(scope="module")
def exported(admin: str) -> list[Sample]:
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as response:
        text = response.read().decode()
    lines = re.findall(r"(?m)^([a-z_]+)(?:\{(.*)\})? \S+$", text)
    return [Sample(name, dict(re.findall(r'(\w+)="([^"]*)"', labels))) for name, labels in lines]


@pytest.mark.parametrize("expression", [rule["expr"] for rule in GROUPED], ids=[*ALERTS, *RECORDS][: len(GROUPED)])
def test_an_alert_selects_exported_series(expression: str, exported: list[Sample]) -> None:
    assert_exported(expression, exported)


@pytest.mark.parametrize("title, expression", QUERIES)
def test_a_panel_selects_exported_series(title: str, expression: str, exported: list[Sample]) -> None:
    assert_exported(substitute_variables(expression), exported)


def assert_exported(expression: str, exported: list[Sample]) -> None:
    """Asserts that each selector matches an exported series, and that the grouping labels exist."""
    found: list[Sample] = []
    parts = list(walk(promql_parser.parse(expression)))
    for part in parts:
        if isinstance(part, promql_parser.VectorSelector):
            if part.name in RECORDS:
                continue
            matching = [sample for sample in exported if selects(part, sample)]
            assert matching, f"nothing is exported for {part.prettify()}"
            found += matching
    known = {label for sample in found for label in sample.labels} | TARGET
    for part in parts:
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            assert set(part.modifier.labels) <= known, part.modifier.labels


def walk(part: Any) -> Iterator[Any]:
    """Returns an expression and all its subexpressions."""
    yield part
    children = [getattr(part, name, None) for name in ["expr", "lhs", "rhs", "vector_selector", "param"]]
    for child in [*children, *(getattr(part, "args", None) or [])]:
        if child is not None:
            yield from walk(child)


def selects(selector: Any, sample: Sample) -> bool:
    return selector.name == sample.name and all(
        satisfies(matcher, sample.labels) for matcher in selector.matchers.matchers if matcher.name not in TARGET
    )


def satisfies(matcher: Any, labels: dict[str, str]) -> bool:
    assert matcher.name in labels, f"no label {matcher.name} among {labels}"
    value = labels[matcher.name]
    return {
        "MatchOp.Equal": value == matcher.value,
        "MatchOp.NotEqual": value != matcher.value,
        "MatchOp.Re": bool(re.fullmatch(matcher.value, value)),
    }[str(matcher.op)]


def substitute_variables(expression: str) -> str:
    """Replaces the variables of Grafana."""
    expression = expression.replace("$__rate_interval", f"{10 * INTERVAL}s")
    return re.sub(r"\$(namespace|job|instance)", ".*", expression)


@pytest.fixture(scope="module")
def prometheus(admin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that has scraped the service at least five times."""
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": f"{INTERVAL}s", "evaluation_interval": f"{INTERVAL}s"},
                "rule_files": [str(RULES.resolve())],
                "scrape_configs": [{"job_name": "lookup", "static_configs": [{"targets": [admin]}]}],
            }
        )
    )
    store = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]
    with running(["prometheus", *store], directory) as child:
        url = "http://" + child.find(r"msg=\"Listening on\" address=(127\.0\.0\.1:\d+)")
        child.find("(Server is ready to receive web requests)")
        poll(lambda: len(query(url, "cognito_lookup_build_info[1m]", "values")) > 4, "five scrapes")
        yield url


def query(url: str, expression: str, key: str = "value") -> list[Any]:
    """Returns the value of each series, or with `key="values"` all samples of all series."""
    parameters = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=10) as response:
        series = json.load(response)["data"]["result"]
    return [one["value"][1] for one in series] if key == "value" else [point for one in series for point in one[key]]


@pytest.mark.parametrize("title, expression", QUERIES)
def test_a_panel_returns_data(title: str, expression: str, prometheus: str) -> None:
    """A rate needs several scrapes, so the data may come late."""
    poll(
        lambda: [value for value in query(prometheus, substitute_variables(expression)) if value != "NaN"],
        f"data of {title}: {expression}",
        90,
    )


def test_no_alert_is_active_on_a_healthy_service(prometheus: str) -> None:
    """Polls, because CognitoLookupAbsent is pending until the first scrape."""

    def states() -> dict[str, tuple[str, str]]:
        with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as response:
            groups = json.load(response)["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"] if rule["type"] == "alerting"]
        return {rule["name"]: (rule["state"], rule["health"]) for rule in rules}

    assert set(states()) == set(ALERTS)
    poll(lambda: set(states().values()) == {("inactive", "ok")}, "every alert evaluated and inactive")


def test_promtool_check_passes() -> None:
    check("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_each_alert_fires_in_its_case_but_not_when_healthy(tmp_path: Path) -> None:
    assert set(CASES) == set(ALERTS)
    tests = [promtool_test("healthy", HEALTHY, {})]
    for alert, (series, labels) in CASES.items():
        tests.append(promtool_test(alert, HEALTHY | series if series is not None else {}, {alert: labels}))
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES.resolve())], "evaluation_interval": "1m", "tests": tests}))
    check("promtool", "test", "rules", file)


def promtool_test(name: str, series: dict[str, str], firing: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    """Returns a promtool test: after 90 min of these series, exactly the alerts of `firing` fire.

    With an empty `firing` it checks that no alert fires. Otherwise it ignores other alerts.
    """
    expected = firing or {alert: [] for alert in ALERTS}
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": scraped(selector), "values": values} for selector, values in series.items()],
        "alert_rule_test": [
            {
                "alertname": alert,
                "eval_time": "90m",
                "exp_alerts": [
                    {
                        "exp_labels": {**ALERTS[alert]["labels"], **target_labels(alert), **each},
                        "exp_annotations": {key: text.strip() for key, text in ALERTS[alert]["annotations"].items()},
                    }
                    for each in labels
                ],
            }
            for alert, labels in expected.items()
        ],
    }


def scraped(selector: str) -> str:
    """Returns a series as Prometheus stores it, of a pod in a namespace."""
    labels = 'namespace="identity",job="lookup",pod="lookup-1"'
    return selector.replace("{", f"{{{labels},") if "{" in selector else f"{selector}{{{labels}}}"


def target_labels(alert: str) -> dict[str, str]:
    """Returns the labels by which an alert says where it comes from: those of a pod, if it is about one."""
    if alert == "CognitoLookupAbsent":
        return {}
    pod = {"pod": "lookup-1"} if "pod, instance" in ALERTS[alert]["expr"] else {}
    return {"namespace": "identity", "job": "lookup", **pod}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_runbook_and_a_severity(alert: str) -> None:
    annotations = ALERTS[alert]["annotations"]
    assert set(annotations) == {"summary", "runbook", "runbook_url"}
    assert annotations["runbook_url"] == f"docs/alerts.md#{alert.lower()}"
    assert f"### {alert}\n" in (DEPLOY.parent / "docs/alerts.md").read_text()
    assert ALERTS[alert]["labels"]["severity"] in {"critical", "warning"}


@pytest.mark.parametrize("title, expression", QUERIES)
def test_a_panel_shows_one_deployment(title: str, expression: str) -> None:
    """Each selector has the three variables, so that two environments in one Prometheus do not mix."""
    for selector in walk(promql_parser.parse(substitute_variables(expression))):
        if not isinstance(selector, promql_parser.VectorSelector):
            continue
        assert {"namespace", "job", "instance"} <= {matcher.name for matcher in selector.matchers.matchers}, title


def test_the_chart_makes_links_of_the_runbooks(tmp_path: Path) -> None:
    (values,) = [file for file in VALUES if "everything" in file.name]
    rendering = render(values, "--set", "prometheusRule.runbooks=https://git.example.com/lookup/blob/main/")
    (rule,) = rendering.objects_of("PrometheusRule")
    links = [each["annotations"]["runbook_url"] for each in rule["spec"]["groups"][0]["rules"]]
    assert links and all(link.startswith("https://git.example.com/lookup/blob/main/docs/alerts.md#") for link in links)


def test_the_chart_ships_the_same_rules_and_dashboard(tmp_path: Path) -> None:
    (values,) = [file for file in VALUES if "everything" in file.name]
    rendering = render(values)
    (rule,) = rendering.objects_of("PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    check("promtool", "check", "rules", file)
    config_maps = [manifest["data"] for manifest in rendering.objects_of("ConfigMap")]
    shipped = [data for data in config_maps if "cognito-lookup.json" in data]
    assert [json.loads(data["cognito-lookup.json"]) for data in shipped] == [DASHBOARD]
