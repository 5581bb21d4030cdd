"""The CloudFormation template: valid, accepted by the binary, and with minimal permissions."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from child import run
from policy import allowed, lint
from service import binary
from stack import Stack, container, task, template
from tool import TEMPLATE, check


def test_cfn_lint_passes() -> None:
    check("cfn-lint", TEMPLATE)


def test_the_binary_accepts_the_environment(tmp_path: Path) -> None:
    service = container(SERVICE)
    environment = local_environment(service, tmp_path)
    checked = run([binary(), "config", "check"], tmp_path, **environment)
    assert checked.returncode == 0, checked.stderr
    printed = run([binary(), "config", "print"], tmp_path, **environment).stdout
    table = printed.partition("[shutdown]\n")[2].partition("\n[")[0]
    (delay, grace) = re.findall(r"(?m)^(?:delay|grace) = \"(\d+)s\"  # environment", table)
    assert service["StopTimeout"] == int(delay) + int(grace) + 5 <= 120


SERVICE = "cognito-lookup"
AUDIT_FOLDER = "/var/log/audit"


def local_environment(service: dict[str, Any], folder: Path) -> dict[str, str]:
    """Returns the variables of the service, with a folder in place of those of the task."""
    values = {variable["Name"]: str(variable["Value"]) for variable in service["Environment"]}
    return {name: re.sub("/(run/shared-cache|var/log/audit)", str(folder), value) for name, value in values.items()}


KEYS = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:lookup-keys-AbCdEf"
PASSWORD = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:lookup-store-AbCdEf"
SHARED = {"SharedCacheUrl": "rediss://cache.example.com:6379", "SharedCacheKeysArn": KEYS}
SHARED_BY_IAM = {**SHARED, "SharedCacheMode": "cluster", "SharedCacheIamCache": "lookup", "SharedCacheUser": "reader"}


@pytest.mark.parametrize(
    "parameters, secrets, files",
    [
        (SHARED, {"INDEX": f"{KEYS}:index::", "VALUE": f"{KEYS}:value::"}, {"index", "value"}),
        (
            {**SHARED, "SharedCacheHasOtherKey": "true", "SharedCacheUser": "me", "SharedCachePasswordArn": PASSWORD},
            {
                "INDEX": f"{KEYS}:index::",
                "VALUE": f"{KEYS}:value::",
                "OTHER": f"{KEYS}:other::",
                "PASSWORD": PASSWORD,
            },
            {"index", "value", "other", "password"},
        ),
        (SHARED_BY_IAM, {"INDEX": f"{KEYS}:index::", "VALUE": f"{KEYS}:value::"}, {"index", "value"}),
    ],
)
def test_the_keys_of_the_shared_cache_reach_the_service_as_files(
    parameters: dict[str, str], secrets: dict[str, str], files: set[str], tmp_path: Path
) -> None:
    """Runs the script of the first container, and then the binary with the environment of the second one."""
    service, keys = container(SERVICE, **parameters), container("shared-cache-keys", **parameters)
    assert {"ContainerName": keys["Name"], "Condition": "SUCCESS"} in service["DependsOn"]
    (mounted,) = {mount["ContainerPath"] for mount in keys["MountPoints"]}
    assert mounted in {mount["ContainerPath"] for mount in service["MountPoints"]}
    assert {secret["Name"]: secret["ValueFrom"] for secret in keys["Secrets"]} == secrets
    folder, tools = tmp_path / "folder", tmp_path / "tools"
    for directory in [folder, tools]:
        directory.mkdir()
    # Only root may give files away.
    (tools / "chown").symlink_to("/bin/true")
    (script,) = keys["Command"]
    values = {name: os.urandom(32).hex() for name in secrets}
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = run([*keys["EntryPoint"], script.replace(mounted, str(folder))], tmp_path, **values, **path)
    assert done.returncode == 0, done.stderr
    assert {file.name: file.read_text() for file in folder.iterdir()} == {
        name.lower(): value for name, value in values.items()
    }
    assert {file.name for file in folder.iterdir()} == files
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in folder.iterdir())
    environment = local_environment(service, folder)
    checked = run([binary(), "config", "check", "--strict"], tmp_path, **environment)
    # Neither the cache nor the limit that the tasks share is unwise.
    assert "shared_cache" not in checked.stderr and "budget" not in checked.stderr, checked.stderr


def test_the_stack_connects_tasks_and_shared_cache_but_nothing_else() -> None:
    stack = Stack(**SHARED, SharedCacheSecurityGroup="sg-1", SharedCachePort=6380)
    out, into = stack.resource("ToSharedCache"), stack.resource("SharedCacheFromTasks")
    assert (out["DestinationSecurityGroupId"], into["GroupId"]) == ("sg-1", "sg-1")
    assert out["GroupId"] == into["SourceSecurityGroupId"] == "<TaskSecurityGroup>"
    assert {rule[port] for rule in [out, into] for port in ["FromPort", "ToPort"]} == {6380}


def test_iam_allows_one_user_of_one_cache() -> None:
    account = "arn:aws:elasticache:eu-west-1:123456789012"
    for serverless, cache in [("false", "replicationgroup:lookup"), ("true", "serverlesscache:lookup")]:
        (policy,) = Stack(**SHARED_BY_IAM, SharedCacheIsServerless=serverless).resource("TaskRole")["Policies"]
        lint(policy["PolicyDocument"])
        (statement,) = [
            each for each in policy["PolicyDocument"]["Statement"] if each.get("Action") == "elasticache:Connect"
        ]
        assert statement["Resource"] == [f"{account}:{cache}", f"{account}:user:reader"]


QUEUE = "arn:aws:sqs:eu-west-1:123456789012:cognito-lookup-events"
EVENTS = {
    "EventsQueueUrl": "https://sqs.eu-west-1.amazonaws.com/123456789012/cognito-lookup-events",
    "EventsQueueArn": QUEUE,
}


def test_the_service_receives_the_events_of_one_queue(tmp_path: Path) -> None:
    stack = Stack(**EVENTS, **SHARED)
    (policy,) = stack.resource("TaskRole")["Policies"]
    lint(policy["PolicyDocument"])
    actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    (statement,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Sid"] == "ReceiveChangeEvents"]
    assert (statement["Action"], statement["Resource"]) == (actions, QUEUE)
    for name in ["index", "value"]:
        (tmp_path / name).write_text(os.urandom(32).hex())
    environment = local_environment(container(SERVICE, **EVENTS, **SHARED), tmp_path)
    printed = run([binary(), "config", "print"], tmp_path, **environment)
    assert f'queue_url = "{EVENTS["EventsQueueUrl"]}"' in printed.stdout, printed.stderr
    assert run([binary(), "config", "check"], tmp_path, **environment).returncode == 0
    # Without the shared cache, which the stack requires too, the binary refuses it.
    alone = {name: value for name, value in environment.items() if "SHARED_CACHE" not in name}
    assert "events.scope" in run([binary(), "config", "check"], tmp_path, **alone).stderr
    assert not any("EVENTS" in variable["Name"] for variable in container(SERVICE)["Environment"])


CATCH_UP = {**EVENTS, **SHARED, "EventsCatchUp": "cloudtrail"}


@pytest.mark.parametrize(("parameters", "may"), [({**EVENTS, **SHARED}, False), (CATCH_UP, True)])
def test_the_role_may_look_up_events_only_if_the_service_does(parameters: dict[str, str], may: bool) -> None:
    stack = Stack(**parameters)
    (policy,) = stack.resource("TaskRole")["Policies"]
    lint(policy["PolicyDocument"])
    assert ("cloudtrail:LookupEvents" in allowed(policy["PolicyDocument"])) == may
    environment = {each["Name"]: each["Value"] for each in container(SERVICE, **parameters)["Environment"]}
    assert environment["COGNITO_LOOKUP_EVENTS__CATCH_UP"] == ("cloudtrail" if may else "off")


def test_every_setting_of_revocation_is_a_parameter(tmp_path: Path) -> None:
    parameters = {
        "RevocationOn": ["password", "signed_out"],
        "RevocationTokenLifetime": "1h",
        "RevocationMaxBytes": "32MiB",
        "RevocationOnline": "always",
        "RevocationOnlineEvery": "30s",
    }
    for name, value in parameters.items():
        declared = template()["Parameters"][name]
        assert "AllowedPattern" not in declared or re.fullmatch(declared["AllowedPattern"], value), name
    names = ["on", "token_lifetime", "max_bytes", "online", "online_every"]
    defaults = ['["signed_out","disabled","erased"]', '"24h"', '"16MiB"', '"off"', '"1min"']
    changed = ['["password","signed_out"]', '"1h"', '"32MiB"', '"always"', '"30s"']
    for of, expected in [({}, defaults), (parameters, changed)]:
        environment = local_environment(container(SERVICE, **of), tmp_path)
        shown = run([binary(), "config", "print"], tmp_path, **environment)
        table = shown.stdout.partition("[revocation]\n")[2].partition("\n[")[0]
        printed = dict(re.findall(r"(?m)^(\w+) = (.*?)  # environment", table))
        assert printed == dict(zip(names, expected, strict=True)), shown.stderr


def test_the_replicas_of_a_deployment_are_expected() -> None:
    stack = Stack()
    assert stack.parameter("SharedCacheReplicasAtMost") == 2 * stack.parameter("MaxTasks")
    deployment = stack.resource("Service")["DeploymentConfiguration"]
    assert deployment["MaximumPercent"] == 200


def test_the_container_is_hardened() -> None:
    """The linters check this only for Kubernetes."""
    containers = task(**SHARED)["ContainerDefinitions"]
    assert all(each["ReadonlyRootFilesystem"] is True and "Privileged" not in each for each in containers)
    lasting = [each for each in containers if each["Essential"]]
    assert {each["Name"] for each in lasting} == {SERVICE, "audit-records"}
    for each in lasting:
        assert each["User"].split(":")[0].isdigit() and not each["User"].startswith("0")
        assert each["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


def test_all_tasks_together_stay_within_the_quota() -> None:
    # A deployment starts the new tasks before it stops the old ones.
    tasks = 2 * Stack().parameter("MaxTasks")
    own = {**SHARED, "BudgetScope": "own"}
    for parameters, parts, scope in [({}, tasks, None), (SHARED, 1, "shared"), (own, tasks, "own")]:
        environment = {each["Name"]: each["Value"] for each in container(SERVICE, **parameters)["Environment"]}
        assert environment.get("COGNITO_LOOKUP_BUDGET__SCOPE") == scope
        for name, quota in [("USER_READS", 96), ("LISTS", 24), ("GROUP_READS", 40)]:
            rate = int(environment[f"COGNITO_LOOKUP_BUDGET__{name}_PER_SECOND"])
            assert quota * 0.9 <= rate * parts <= quota, (name, parameters)


def test_the_load_balancer_checks_readiness() -> None:
    group = Stack(CertificateArn="arn").resource("TargetGroup")
    assert (group["HealthCheckPath"], group["Matcher"]) == ("/AWS.ALB/healthcheck", {"GrpcCode": "0"})


def test_the_task_role_allows_only_the_reads_it_needs() -> None:
    pool = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbCdEfGhI"
    for federated, actions in [("false", {"AdminGetUser"}), ("true", {"AdminGetUser", "ListUsers"})]:
        (policy,) = Stack(Federated=federated).resource("TaskRole")["Policies"]
        lint(policy["PolicyDocument"])
        assert allowed(policy["PolicyDocument"]) == {f"cognito-idp:{action}" for action in actions}
        granted = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
        assert {statement["Resource"] for statement in granted} == {pool}


def test_each_parameter_brings_its_permissions_and_nothing_else() -> None:
    events = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    for parameters, actions in [
        ({}, set()),
        ({"ReadsGroups": "true"}, {"cognito-idp:AdminListGroupsForUser"}),
        ({**EVENTS, **SHARED}, events),
        ({**EVENTS, **SHARED, "EventsCatchUp": "cloudtrail"}, events | {"cloudtrail:LookupEvents"}),
        (SHARED_BY_IAM, {"elasticache:Connect"}),
    ]:
        (policy,) = Stack(**parameters).resource("TaskRole")["Policies"]
        lint(policy["PolicyDocument"])
        assert allowed(policy["PolicyDocument"]) == {"cognito-idp:AdminGetUser"} | actions, parameters
        # Whatever the role is granted later, the deny holds.
        later = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        statements = [*policy["PolicyDocument"]["Statement"], later]
        assert allowed({"Statement": statements}) == {"cognito-idp:AdminGetUser"} | actions, parameters


def test_the_audit_records_have_a_log_group_of_their_own() -> None:
    service, records = container(SERVICE), container("audit-records")
    log, audit = (each["LogConfiguration"]["Options"] for each in [service, records])
    assert (log["awslogs-group"], audit["awslogs-group"]) == ("<LogGroup>", "<AuditLogGroup>")
    # The log may be lost rather than stop the service; a record may not.
    assert (log["mode"], audit["mode"]) == ("non-blocking", "blocking")
    # It is stopped after the service, whose last records it sends.
    assert {"ContainerName": "audit-records", "Condition": "START"} in service["DependsOn"]
    assert Stack(AuditRetentionDays=90).resource("AuditLogGroup")["RetentionInDays"] == 90


AUDIT_KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:lookup-audit-AbCdEf"


def test_the_audit_keys_reach_the_service_as_variables(tmp_path: Path) -> None:
    assert "Secrets" not in container(SERVICE)
    parameters = {"AuditKeyArn": AUDIT_KEY, "AuditHasPreviousKey": "true"}
    service = container(SERVICE, **parameters)
    named = {secret["Name"]: secret["ValueFrom"] for secret in service["Secrets"]}
    assert named == {
        "COGNITO_LOOKUP_AUDIT_KEY": f"{AUDIT_KEY}:current::",
        "COGNITO_LOOKUP_AUDIT_PREVIOUS_KEY": f"{AUDIT_KEY}:previous::",
    }
    (policy,) = Stack(**parameters).resource("ExecutionRole")["Policies"]
    (statement,) = [each for each in policy["PolicyDocument"]["Statement"] if "secrets" in str(each.get("Action"))]
    assert statement["Resource"] == AUDIT_KEY
    keys = {name: os.urandom(32).hex() for name in named}
    environment = local_environment(service, tmp_path) | keys
    checked = run([binary(), "config", "check"], tmp_path, **environment)
    assert checked.returncode == 0 and "audit.key_file" not in checked.stderr, checked.stderr
    printed = run([binary(), "config", "print"], tmp_path, **environment)
    assert not any(key in printed.stdout + printed.stderr for key in keys.values())
    hashes = run([binary(), "audit-hash", "ada"], tmp_path, **environment).stdout.split()
    assert len(set(hashes)) == 2


def test_the_router_of_audit_records_sends_all_of_them_once(tmp_path: Path) -> None:
    """Runs its script with a small limit, beside a writer that reopens its file as the service does."""
    records = container("audit-records")
    (script,) = records["Command"]
    writer = subprocess.Popen(["python3", "-c", WRITER, str(tmp_path / "audit.jsonl")])
    for task, local in [
        ("cd /var/log/audit", f"cd {tmp_path}"),
        ("most=104857600", "most=20000"),
        ("$(pidof cognito-lookup)", str(writer.pid)),
        ("sleep 1 ", "sleep 0.1 "),
    ]:
        assert task in script
        script = script.replace(task, local)
    with (tmp_path / "sent").open("wb") as sent:
        router = subprocess.Popen([*records["EntryPoint"], script], stdout=sent)
        assert writer.wait(60) == 0
        router.terminate()
        assert router.wait(60) == 0
    lines = (tmp_path / "sent").read_text().splitlines()
    assert lines == [f"record {n}" for n in range(4000)]
    assert not (tmp_path / "audit.old").exists() and (tmp_path / "audit.jsonl").stat().st_size < 40_000


WRITER = """
import signal, sys, time
path = sys.argv[1]
file = open(path, "a", buffering=1)
def reopen(*_):
    global file
    file = open(path, "a", buffering=1)
signal.signal(signal.SIGHUP, reopen)
for n in range(4000):
    print(f"record {n}", file=file)
    time.sleep(0.002)
"""


@pytest.mark.parametrize(
    ("partition", "region"),
    [
        ("aws", "mx-central-1"),
        ("aws", "ap-southeast-12"),
        ("aws-cn", "cn-north-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-iso", "us-iso-east-1"),
        ("aws-iso-b", "us-isob-east-1"),
        ("aws-iso-e", "eu-isoe-west-1"),
        ("aws-iso-f", "us-isof-south-1"),
    ],
)
def test_a_pool_of_any_partition_is_accepted(partition: str, region: str, tmp_path: Path) -> None:
    pool = f"{region}_AbCdEfGhI"
    assert re.fullmatch(template()["Parameters"]["UserPoolId"]["AllowedPattern"], pool)
    role = Stack(UserPoolId=pool, **{"AWS::Partition": partition}).resource("TaskRole")
    (statement, _) = role["Policies"][0]["PolicyDocument"]["Statement"]
    assert statement["Resource"] == f"arn:{partition}:cognito-idp:{region}:123456789012:userpool/{pool}"
    environment = local_environment(container(SERVICE, UserPoolId=pool), tmp_path)
    checked = run([binary(), "config", "check"], tmp_path, **environment)
    assert checked.returncode == 0, checked.stderr


def test_the_execution_role_reads_the_secrets_of_the_shared_cache_only() -> None:
    (policy,) = Stack(**SHARED, SharedCachePasswordArn=PASSWORD).resource("ExecutionRole")["Policies"]
    (statement,) = [each for each in policy["PolicyDocument"]["Statement"] if "secrets" in str(each.get("Action"))]
    assert statement["Action"] == "secretsmanager:GetSecretValue" and statement["Resource"] == [KEYS, PASSWORD]


def test_the_execution_role_is_limited_to_one_image_and_its_log_groups() -> None:
    (policy,) = Stack(ImageRepositoryArn="arn:aws:ecr:eu-west-1:123456789012:repository/lookup").resource(
        "ExecutionRole"
    )["Policies"]
    document = policy["PolicyDocument"]
    assert document["Statement"][0]["Resource"] == ["<LogGroup.Arn>", "<AuditLogGroup.Arn>"]
    document["Statement"][0]["Resource"] = "arn:aws:logs:eu-west-1:123456789012:log-group:lookup:*"
    lint(document)
    assert not any("secretsmanager" in str(statement["Action"]) for statement in document["Statement"])
    unrestricted = [statement["Action"] for statement in document["Statement"] if statement["Resource"] == "*"]
    assert unrestricted == ["ecr:GetAuthorizationToken"]
