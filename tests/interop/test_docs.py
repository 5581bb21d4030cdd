"""Checks docs/ against the code, the proto files and the binary."""

import json
import re
import secrets
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import metrics_page
import pages
import settings_page
from authority import Authority
from service import command

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [*ROOT.glob("*.md"), *(text for folder in ["docs", "examples", "benches", "fuzz"] for text in ROOT.glob(f"{folder}/*.md"))]


@pytest.mark.parametrize("name", pages.PAGES)
def test_generated_pages_are_up_to_date(name: str, tmp_path: Path) -> None:
    """To update them, run `tests/run pages`. They cover every setting, call, field, reason and metric."""
    assert (ROOT / name).read_text() == pages.PAGES[name](tmp_path)


def test_troubleshooting_lists_every_error_reason_with_its_code() -> None:
    proto = (ROOT / "proto/userlookup/v1/error_reason.proto").read_text()
    reasons = re.findall(r"(?m)^  // ([A-Z_]+): (?:(?!\n  E).|\n)*?\n  ERROR_REASON_(\w+) = ", proto)
    known = {reason: code for code, reason in reasons if reason != "UNSPECIFIED"}
    assert len(known) == len(re.findall(r"ERROR_REASON_\w+ = [1-9]", proto))
    text = (ROOT / "docs/troubleshooting.md").read_text()
    documented = dict(re.findall(r"(?m)^### (\w+)\n\*\*(\w+)\.\*\* \w", text))
    assert documented == known


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_page_that_names_a_reason_links_what_to_do_about_it(text: Path) -> None:
    proto = (ROOT / "proto/userlookup/v1/error_reason.proto").read_text()
    reasons = re.findall(r"(?m)^  ERROR_REASON_(\w+) = [1-9]", proto)
    # The changelog, a diagram that names one reason, and the alerts, which have runbooks.
    if text.name not in {"CHANGELOG.md", "alerts.md", "architecture.md", "errors.md"}:
        named = [reason for reason in reasons if re.search(rf"\b{reason}\b", text.read_text())]
        assert not named or re.search(r"\]\([\w/.]*errors\.md", text.read_text()), named


def test_only_the_page_of_errors_says_when_a_session_ends() -> None:
    """Any other text that mentions a user's session refers to that page."""
    files = [path for path in TEXTS if path.name not in {"errors.md", "CHANGELOG.md"} and path.parent.name != "benches"]
    files += [path for path in ROOT.glob("examples/*/**/*") if path.suffix in {".go", ".java", ".mjs", ".py", ".rs"}]
    files += [*ROOT.glob("proto/userlookup/**/*.proto"), *ROOT.glob("src/cli/**/*.rs")]
    rule = r"(?i)\b(?:log|sign)(?:s|ged|ed)? (?:\S+ ){0,2}out\b|\blog-?out\b|\b(?:the|their|users?'s?) sessions?\b"
    for path in files:
        for paragraph in path.read_text().split("\n\n"):
            if re.search(rule, paragraph.replace("TagSession", "").replace("SESSION_TOKEN", "")):
                assert "errors.md" in paragraph, f"{path}: {paragraph}"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_link_targets_exist(text: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text.read_text()):
        path, _, anchor = target.partition("#")
        file = (text.parent / path).resolve() if path else text
        assert file.exists(), target
        if anchor:
            assert anchor in set(anchors(file)), target


def test_every_metric_named_in_the_docs_is_exported(tmp_path: Path) -> None:
    exported = metrics_page.exported(tmp_path)
    known = set(re.findall(r"(?m)^(\w+)(?:\{| )", exported)) | set(re.findall(r"(?m)^# TYPE (\S+)", exported))
    for text in TEXTS:
        named = set(re.findall(r"\b(?:cognito_lookup|grpc_server)_[a-z_]+\b", text.read_text()))
        assert named <= known, (text, named - known)
        for name, label, value in re.findall(r'`(\w+)\{(\w+)="(\w+)"\}`', text.read_text()):
            assert re.search(rf'(?m)^{name}\{{.*{label}="{value}"', exported), (text, name, value)


def test_every_setting_named_in_the_docs_exists(tmp_path: Path) -> None:
    known = dict(keys(schema(tmp_path)))
    tables = {key.split(".")[0] for key in known if "." in key}
    for text in TEXTS:
        for key in re.findall(r"`([a-z_]+(?:\[\])?(?:\.[a-z_]+)+)(?: = [^`]*)?`", text.read_text()):
            assert key in known or key.split(".")[0] not in tables, (text, key)


def test_described_defaults_match_the_schema(tmp_path: Path) -> None:
    checked = 0
    for key, field in keys(schema(tmp_path)):
        words = settings_page.split(settings_page.text(field))[1]
        if spelled := re.fullmatch(r"`([^`]+)`", words):
            assert spelled[1] == toml_value(field["default"]), key
            checked += 1
        else:
            assert field.get("default") in (None, "", []), (key, words)
    assert checked > 30


def test_settings_files_in_the_docs_are_valid(tmp_path: Path) -> None:
    assert len(settings_files()) >= 2
    authority = Authority(tmp_path, "ca")
    certificate, key = authority.issue("tls")
    files = {"tls/tls.crt": certificate, "tls/tls.key": key, "tls/ca.crt": authority.pem}
    for name in ["index", "value-1", "password"]:
        files[f"shared-cache/{name}"] = tmp_path / name
        (tmp_path / name).write_text(secrets.token_hex(32))
    for block in settings_files():
        for name, path in files.items():
            block = block.replace(f"/etc/cognito-lookup/{name}", str(path))
        file = tmp_path / "settings.toml"
        file.write_text(block)
        done = command(tmp_path, "config", "check", "--config", file)
        assert done.returncode == 0, done.stderr


def test_the_schema_accepts_valid_settings_and_rejects_invalid_ones(tmp_path: Path) -> None:
    document = schema(tmp_path)
    Draft202012Validator.check_schema(document)
    validator = Draft202012Validator(document)
    for block in settings_files():
        settings = tomllib.loads(block)
        assert not list(validator.iter_errors(settings)), block
        assert list(validator.iter_errors(settings | {"listne": "127.0.0.1:1"}))
    for key, field in keys(document):
        described = field | {"$defs": document["$defs"]}
        assert not list(Draft202012Validator(described).iter_errors(field["default"])), key
    for wrong in [{"cache": {"fresh_for": 60}}, {"callers": [{"reads": "all"}]}, {"limits": {"streams": "many"}}]:
        assert list(validator.iter_errors(wrong)), wrong


def test_the_version_is_that_of_the_workspace_everywhere() -> None:
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    version = manifest["workspace"]["package"]["version"]
    for member in [".", *manifest["workspace"]["members"]]:
        package = tomllib.loads((ROOT / member / "Cargo.toml").read_text())["package"]
        assert package["version"] == {"workspace": True}, member
    chart = (ROOT / "deploy/helm/cognito-lookup/Chart.yaml").read_text()
    assert re.findall(r"(?m)^(?:version|appVersion): (\S+)$", chart) == [version, version]
    assert re.findall(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text())[0] == version
    for text in TEXTS:
        assert set(re.findall(r"\bcognito-lookup:(\d\S*)", text.read_text())) <= {version}, text


def test_every_claim_about_security_names_tests_that_exist() -> None:
    text = (ROOT / "docs/security.md").read_text()
    rows = re.findall(r"(?m)^\| [A-Z].* \| (`[a-z_:0-9]+::.*) \|$", text)
    assert len(rows) >= 25
    for row in rows:
        for name in re.findall(r"`([^`]+)`", row):
            assert is_test(name), name
    assert not is_test("authentication::every_token_is_accepted")


def is_test(name: str) -> bool:
    """Returns whether `cargo test` has a test of this name, such as `tls::files::tests::a_key_is_read`."""
    *modules, function = name.split("::")
    inline = modules[:-1] if modules[-1] == "tests" else modules
    files = [ROOT.joinpath("tests/integration", *modules), ROOT.joinpath("src", *modules), ROOT.joinpath("src", *inline)]
    definition = rf"#\[(?:tokio::)?test\b[^\n]*\n(?:\s*#\[[^\n]*\n)*\s*(?:async )?fn {function}\("
    return any(re.search(definition, file.with_suffix(".rs").read_text()) for file in files if file.with_suffix(".rs").exists())


def settings_files() -> list[str]:
    return [block for text in TEXTS for block in re.findall(r"(?ms)^```toml\n(.*?)^```$", text.read_text())]


def schema(directory: Path) -> dict[str, Any]:
    return json.loads(command(directory, "config", "schema").stdout)


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Returns each key, such as `pools[].id`, with its schema."""
    return inner_keys("", schema["properties"], schema)


def inner_keys(prefix: str, fields: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in fields.items():
        field = settings_page.resolved(schema, field)
        match settings_page.table_kind(field):
            case "":
                yield f"{prefix}{name}", field
            case kind:
                separator = "[]." if kind == "array" else "."
                yield from inner_keys(f"{prefix}{name}{separator}", settings_page.members(schema, field), schema)


def anchors(text: Path) -> Iterator[str]:
    """Returns the anchors that GitHub generates for the headings."""
    for heading in re.findall(r"(?m)^#+ (.*)$", text.read_text()):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def toml_value(default: Any) -> str:
    """Spells a default as TOML does, but a text without quotes."""
    if isinstance(default, list):
        return json.dumps(default)
    return str(default).lower() if isinstance(default, bool) else str(default)
