"""What is shipped for deploying holds together.

Rules and dashboards ask for metrics that a worker really exposes, containers run without rights, and every page that is
named exists. No container engine is needed. Where `helm` is on the path the chart is rendered, else its structure is
checked and the rendering is reported as left out.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from prometheus_client import generate_latest

from detector.config import parse
from detector.enforce.client import DecisionClient
from detector.enforce.standing import told_of
from detector.runtime.kafka.connection import Connection, connection_from
from detector.runtime.kafka.http import http_settings_from
from detector.runtime.kafka.metrics import ENFORCER_FAMILIES, FAMILIES, PREFIX, SINK_FAMILIES, registry_of
from tests.conftest import ROOT
from tests.unit.watched import process

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "stillwatch"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULE_NAMES = (
    "ConsumerLagGrowing",
    "EventTimeLagHigh",
    "NoEvents10m",
    "DeadLetterRate",
    "SignatureInactive",
    "AlertStorm",
    "BlastRadiusCapHit",
    "DecisionApplyLag",
    "CheckpointStale",
    "ShadowEnforceDivergence",
)
# Labels that Prometheus or a histogram brings.
FOREIGN_LABELS = {"le", "instance", "job", "namespace", "pod"}
ROOT_USER = re.compile(r"^USER\s+(root|0)(:|\s|$)", re.MULTILINE)
MINIMUM = ("--set", "kafka.bootstrap=k:9092", "--set", "fingerprintKey.secretName=fingerprint")
EVERYTHING = (
    *MINIMUM,
    *("--set", "kafka.securityProtocol=SASL_SSL", "--set", "kafka.username=u", "--set", "kafka.passwordSecret.name=p"),
    *("--set", "kafka.tlsSecretName=t", "--set", "kafka.clientCertificate=true", "--set", "http.tokenSecret.name=h"),
    *("--set", "serviceMonitor.enabled=true", "--set", "prometheusRule.enabled=true"),
)


@cache
def exposed() -> frozenset[str]:
    """The names that scrapes of a worker and of an enforcer have, those of families without samples too."""
    enforcer = told_of(DecisionClient(Connection())).registry
    text = "".join(generate_latest(one).decode() for one in (registry_of(process()), enforcer))
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    endings = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
    return frozenset(name + end for name, kind in kinds.items() for end in endings.get(kind, ("",)))


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def queries(dashboard: Path) -> Iterator[str]:
    for panel in json.loads(dashboard.read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def names_in(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    return set(re.findall(rf"\b{PREFIX}\w+", expression))


def labels_in(expression: str) -> set[str]:
    """The labels that an expression selects or groups by."""
    selected = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
    grouped = re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", expression)
    return {*selected, *(label.strip() for labels in grouped for label in labels.split(",") if label.strip())}


def labels_of(names: set[str]) -> set[str]:
    """The labels that these metrics' families have."""
    bare = {re.sub(r"_(bucket|count|sum|total)$", "", name.removeprefix(PREFIX)) for name in names}
    families = ENFORCER_FAMILIES | FAMILIES
    return {label for name in bare & set(families) for label in families[name].labels} | FOREIGN_LABELS


def checked(expression: str) -> None:
    names = names_in(expression)
    assert names, expression
    assert names <= exposed(), expression
    assert labels_in(expression) <= labels_of(names), expression
    for opened, closed in ("()", "{}", "[]"):
        assert expression.count(opened) == expression.count(closed), expression


# --- Prometheus and Grafana ------------------------------------------------------


def test_the_rules_are_the_operators_ten_and_ask_for_what_is_exposed() -> None:
    assert [rule["alert"] for rule in rules()] == list(RULE_NAMES)
    for rule in rules():
        checked(rule["expr"])
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert used <= labels_in(rule["expr"]), rule["alert"]


def test_every_rule_has_a_page_of_its_own_and_no_page_is_left_over() -> None:
    named = [rule["annotations"]["runbook_url"] for rule in rules()]
    pages = {str(path.relative_to(ROOT)) for path in (DEPLOY / "runbooks").glob("rule_*.md")}
    assert sorted(named) == sorted(pages)
    for rule in rules():
        title = (ROOT / rule["annotations"]["runbook_url"]).read_text().splitlines()[0]
        assert f"(`{rule['alert']}`)" in title


def test_what_sinks_and_enforcers_say_is_listed() -> None:
    page = (DEPLOY / "README.md").read_text()
    own = (SINK_FAMILIES | ENFORCER_FAMILIES).keys() - FAMILIES.keys()
    assert own
    for name in own:
        family = (SINK_FAMILIES | ENFORCER_FAMILIES)[name]
        assert f"`{PREFIX}{name}{'_total' if family.kind == 'counter' else ''}`" in page


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_only_for_what_is_exposed(dashboard: Path) -> None:
    board = json.loads(dashboard.read_text())
    asked = list(queries(dashboard))
    for expression in asked:
        checked(expression)
    for panel in board["panels"]:
        for target in panel["targets"]:
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= labels_in(target["expr"]), target
        assert panel["datasource"]["uid"] == "prometheus"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_both_dashboards_together_show_every_metric() -> None:
    assert [path.stem for path in DASHBOARDS] == ["detection", "pipeline"]
    shown = {name for path in DASHBOARDS for query in queries(path) for name in names_in(query)}
    bare = {re.sub(r"_(bucket|count|sum|total)$", "", name.removeprefix(PREFIX)) for name in shown}
    assert bare == {*FAMILIES, "decision_apply_lag_seconds"}


def test_grafana_finds_its_data_and_its_dashboards() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/stillwatch.yaml").read_text())["providers"]
    mounts = compose()["services"]["grafana"]["volumes"]
    assert source["uid"] == "prometheus"
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts


# --- containers ------------------------------------------------------------------


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_the_image_runs_without_rights_from_pinned_parts() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(stages) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", stage) for stage in stages)
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["65532:65532"]
    assert not ROOT_USER.search(text)
    assert "--require-hashes -r /src/requirements.lock" in text
    assert "HEALTHCHECK" in text
    for source in re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / path).exists() for path in source.split()), source
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert all((ROOT / line[1:]).exists() for line in ignored if line.startswith("!"))


def test_the_images_lock_is_part_of_the_tested_one() -> None:
    def pins(lock: Path) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[\w.]+", lock.read_text(), re.MULTILINE))

    image = pins(DEPLOY / "requirements.lock")
    assert pins(ROOT / "requirements.lock") <= image <= pins(ROOT / "requirements-dev.lock")
    assert {name.split("==")[0] for name in image} >= {"aiokafka", "faust-streaming", "prometheus-client", "structlog"}


def test_the_compose_stack_is_pinned_closed_and_complete() -> None:
    services = compose()["services"]
    assert set(services) == {"kafka", "topics", "worker", "traffic", "prometheus", "grafana"}
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:(local|v?\d+\.\d+\.\d+)", service["image"]), name
        assert set(service.get("depends_on", {})) <= set(services), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name
        if service["image"] == "stillwatch:local":
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose()["volumes"] or (DEPLOY / source).exists(), volume
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (target,) = scraped["scrape_configs"][0]["static_configs"][0]["targets"]
    assert target == "worker:" + services["worker"]["environment"]["STILLWATCH_HTTP"].split(":")[1]
    assert scraped["rule_files"] == [RULES.name]


def test_no_secret_stands_in_what_is_shipped() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            assert not re.search(r"\b[0-9a-f]{64}\b", path.read_text()), path


# --- the chart -------------------------------------------------------------------


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_the_charts_values_fit_their_schema_once_what_is_asked_for_is_given() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    given = values()
    refused = sorted(".".join(map(str, error.instance_path)) for error in validator.iter_errors(given))
    assert refused == ["fingerprintKey.secretName", "kafka.bootstrap"]
    given["kafka"]["bootstrap"], given["fingerprintKey"]["secretName"] = "a:9092,b:9092", "fingerprint"
    assert validator.is_valid(given)
    given["image"]["tag"] = "latest"
    assert not validator.is_valid(given)


def test_the_charts_templates_use_what_the_values_have() -> None:
    templates = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
    whole = "".join(templates.values())
    defined = set(re.findall(r'define "([\w.]+)"', whole))
    assert set(re.findall(r'include "([\w.]+)"', whole)) == defined
    for path in set(re.findall(r"\.Values((?:\.\w+)+)", whole)):
        node: Any = values()
        for name in path.split(".")[1:]:
            assert name in node, path
            node = node[name]
    for name, text in templates.items():
        opened = re.findall(r"\{\{-?\s*(?:if|range|with|define)\b", text)
        assert len(opened) == len(re.findall(r"\{\{-?\s*end\b", text)), name
    for right in ("runAsUser: 65532", "runAsNonRoot: true", "seccompProfile: {type: RuntimeDefault}"):
        assert right in templates["_helpers.tpl"]
    for right in ("capabilities: {drop: [ALL]}", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false"):
        assert right in templates["_helpers.tpl"]
    assert (CHART / "files" / "rules.yml").read_bytes() == RULES.read_bytes()


def rendered(*options: str) -> list[dict[str, Any]]:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not on the path: the chart's structure is checked, its rendering is not")
    command = [helm, "template", "sw", str(CHART), "--kube-version", "1.31.0", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def pods(documents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if document["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield document["spec"]["template"]["spec"]


@pytest.mark.parametrize("options", [MINIMUM, EVERYTHING], ids=["minimum", "everything"])
def test_the_rendered_chart_runs_without_rights(options: tuple[str, ...]) -> None:
    documents = rendered(*options)
    kinds = [document["kind"] for document in documents]
    assert {"Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Service", "Job"} <= set(kinds)
    assert ("ServiceMonitor" in kinds) == ("PrometheusRule" in kinds) == (options is EVERYTHING)
    for pod in pods(documents):
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {mount["name"] for mount in container["volumeMounts"]} - {"state"} <= volumes


def test_the_rendered_configuration_is_one_that_a_worker_reads() -> None:
    settings = ("--set-string", "settings=pane_ms = 5000\n[decision]\nstale_ms = 1", "--set", "mode=enforce")
    (text,) = {
        document["data"]["stillwatch.toml"]
        for document in rendered(*EVERYTHING, *settings)
        if document["kind"] == "ConfigMap"
    }
    said = parse(text)
    assert (said.mode, said.pane_ms, said.decision.stale_ms) == ("enforce", 5_000, 1)
    connection = connection_from(text)
    assert (connection.bootstrap, connection.sasl, connection.tls) == ("k:9092", True, True)
    assert http_settings_from(text).bind == "0.0.0.0:9464"
