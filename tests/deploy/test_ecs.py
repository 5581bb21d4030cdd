"""The CloudFormation template: valid, accepted by the binary, and with minimal permissions."""

import re
from pathlib import Path

import pytest

from child import run
from policy import allowed, lint
from service import binary
from stack import Stack, task, template
from tool import TEMPLATE, check


def test_cfn_lint_passes() -> None:
    check("cfn-lint", TEMPLATE)


def test_the_binary_accepts_the_environment(tmp_path: Path) -> None:
    (container,) = task()["ContainerDefinitions"]
    environment = {variable["Name"]: str(variable["Value"]) for variable in container["Environment"]}
    checked = run([binary(), "config", "check"], tmp_path, **environment)
    assert checked.returncode == 0, checked.stderr
    printed = run([binary(), "config", "print"], tmp_path, **environment).stdout
    table = printed.partition("[shutdown]\n")[2].partition("\n[")[0]
    (delay, grace) = re.findall(r"(?m)^(?:delay|grace) = \"(\d+)s\"  # environment", table)
    assert container["StopTimeout"] == int(delay) + int(grace) + 5 <= 120


def test_the_container_is_hardened() -> None:
    """The linters check this only for Kubernetes."""
    (container,) = task()["ContainerDefinitions"]
    assert container["User"].split(":")[0].isdigit() and not container["User"].startswith("0")
    assert container["ReadonlyRootFilesystem"] is True and "Privileged" not in container
    assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}


def test_all_tasks_together_stay_within_the_quota() -> None:
    stack = Stack()
    for name, quota in [("UserReadsPerSecond", 96), ("ListsPerSecond", 24), ("GroupReadsPerSecond", 40)]:
        assert stack.parameter(name) * stack.parameter("MaxTasks") <= quota


def test_the_load_balancer_checks_readiness() -> None:
    group = Stack(CertificateArn="arn").resource("TargetGroup")
    assert (group["HealthCheckPath"], group["Matcher"]) == ("/AWS.ALB/healthcheck", {"GrpcCode": "0"})


def test_the_task_role_allows_only_the_reads_it_needs() -> None:
    pool = "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_AbCdEfGhI"
    for federated, actions in [("false", {"AdminGetUser"}), ("true", {"AdminGetUser", "ListUsers"})]:
        (policy,) = Stack(Federated=federated).resource("TaskRole")["Policies"]
        lint(policy["PolicyDocument"])
        assert allowed(policy["PolicyDocument"]) == {f"cognito-idp:{action}" for action in actions}
        assert {statement["Resource"] for statement in policy["PolicyDocument"]["Statement"]} == {pool}


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
    (statement,) = role["Policies"][0]["PolicyDocument"]["Statement"]
    assert statement["Resource"] == f"arn:{partition}:cognito-idp:{region}:123456789012:userpool/{pool}"
    (container,) = task(UserPoolId=pool)["ContainerDefinitions"]
    environment = {variable["Name"]: str(variable["Value"]) for variable in container["Environment"]}
    checked = run([binary(), "config", "check"], tmp_path, **environment)
    assert checked.returncode == 0, checked.stderr


def test_the_execution_role_is_limited_to_one_image_and_one_log_group() -> None:
    (policy,) = Stack(ImageRepositoryArn="arn:aws:ecr:eu-west-1:123456789012:repository/lookup").resource(
        "ExecutionRole"
    )["Policies"]
    document = policy["PolicyDocument"]
    document["Statement"][0]["Resource"] = "arn:aws:logs:eu-west-1:123456789012:log-group:lookup:*"
    lint(document)
    unrestricted = [statement["Action"] for statement in document["Statement"] if statement["Resource"] == "*"]
    assert unrestricted == ["ecr:GetAuthorizationToken"]
