"""compose.yaml and what belongs to it, checked as far as it goes without a container engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tierflow.cli import build_app
from tierflow.metrics import PREFIX, Receipt, RunState, ShardState, exposition

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?:(:?[-?])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|API_KEY|TOKEN|SECRET")
KEYS = {"name", "services", "volumes"}
SERVICE_KEYS = {
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "entrypoint",
    "environment",
    "healthcheck",
    "image",
    "mem_limit",
    "network_mode",
    "ports",
    "profiles",
    "read_only",
    "restart",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "ulimits",
    "user",
    "volumes",
}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}
DURATION = re.compile(r"([0-9]+(h|m|s|ms))+")


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that comes twice, which YAML readers otherwise pass over."""


def _mapping(loader, node, deep=False):
    keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    assert len(keys) == len(set(keys)), f"a key comes twice, line {node.start_mark.line + 1}: {keys}"
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


def _construct(loader, node):
    found: dict[Any, Any] = {}
    yield found
    found.update(_mapping(loader, node))


StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct)


def read(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=StrictLoader)


COMPOSE = read(ROOT / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = dict(
    line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")
)
services = pytest.mark.parametrize("name", SERVICES)


def is_one_shot(name: str) -> bool:
    """A service that others wait for until it ends, or that ends by itself."""
    return "restart" not in SERVICES[name]


def mounts(name: str) -> list[tuple[str, str, str]]:
    """Return source, target and mode of every mount; variables have their defaults."""
    found = []
    for text in SERVICES[name].get("volumes", []):
        parts = VARIABLE.sub(lambda m: m[3] or "", text).split(":")
        found.append((parts[0], parts[1], parts[2] if len(parts) > 2 else "rw"))
    return found


def test_only_known_keys():
    assert {key for key in COMPOSE if not key.startswith("x-")} == KEYS
    for name, service in SERVICES.items():
        assert set(service) <= SERVICE_KEYS, name


def test_every_variable_is_explained_and_none_in_vain():
    used = {match[1] for match in VARIABLE.finditer(TEXT)}
    assert TEXT.count("$") == len(VARIABLE.findall(TEXT)), "a $ that is no ${VARIABLE}"
    assert used == set(EXAMPLE)


def test_no_password_has_a_default():
    for match in VARIABLE.finditer(TEXT):
        if SECRET.search(match[1]):
            assert match[2] == ":?", f"{match[0]}: an empty password must stop the start"
        else:
            assert match[2] == ":-", f"{match[0]}: needs a default"
            assert EXAMPLE[match[1]] == match[3]
    for name, value in EXAMPLE.items():
        assert not (SECRET.search(name) and value), f"{name} has a value that many would keep"


def test_the_file_of_passwords_is_never_kept():
    assert "/.env" in (ROOT / ".gitignore").read_text().split()
    ignored = (ROOT / ".containerignore").read_text()
    assert ignored == (ROOT / ".dockerignore").read_text()
    assert next(line for line in ignored.splitlines() if line and line[0] not in "#!") == "*"
    assert "!." not in ignored


@services
def test_secrets_are_in_the_environment_only(name):
    service = SERVICES[name]
    for key, value in service.items():
        if key != "environment":
            assert not SECRET.search(str(value)), f"{name}.{key}"
    for key, value in service.get("environment", {}).items():
        assert isinstance(value, str), f"{name}: {key} must be text"
        if SECRET.search(str(value)):
            assert SECRET.search(key), f"{name}: {key} holds a password under another name"
        assert "@" not in value


def test_scripts_keep_secrets_out_of_arguments():
    script = (ROOT / "config" / "compose" / "accounts.sh").read_text()
    for line in script.splitlines():
        if SECRET.search(line.partition("#")[0]):
            # `printf` and `check` are part of the shell: they start no process whose arguments others could list.
            assert line.lstrip().startswith(("printf", "check ", "--config <(printf")), line
    assert "set -euo pipefail" in script
    assert not re.search(r"--user|\s-u\s|--insecure|\s-k\s|set -x", script)


@pytest.mark.parametrize("script", ["accounts.sh", "certificates.sh"])
def test_scripts_are_bash(script):
    done = subprocess.run(["bash", "-n", ROOT / "config" / "compose" / script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("password", "code"),
    [("short", 78), ('with"quote-and-more', 78), ("with space in it", 78), ("$(touch hacked)xxx", 78), ("", 78)],
)
def test_passwords_that_would_break_out_are_refused(password, code, tmp_path):
    environment = {
        "PATH": "/usr/bin:/bin",
        "ELASTIC_PASSWORD": password,
        "KIBANA_PASSWORD": "",
        "TIERFLOW_PASSWORD": "",
    }
    script = ROOT / "config" / "compose" / "accounts.sh"
    done = subprocess.run(["bash", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert "ELASTIC_PASSWORD must have" in done.stderr
    assert not password or password not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_accounts_calls(tmp_path):
    """With a curl that only takes notes: what is sent where, and that no argument holds a password."""
    fake = tmp_path / "curl"
    fake.write_text(
        '#!/bin/bash\nfor a in "$@"; do printf "arg %s\\n" "$a"; done >>"$NOTES"\n'
        'while [ $# -gt 0 ]; do [ "$1" = --config ] && cat "$2" >>"$NOTES"; shift; done\ncat >>"$NOTES"\n'
    )
    fake.chmod(0o755)
    notes = tmp_path / "notes"
    words = {f"{name}_PASSWORD": f"{name.lower()}-0123456789" for name in ("ELASTIC", "KIBANA", "TIERFLOW")}
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NOTES": str(notes), **words}
    done = subprocess.run(
        ["bash", ROOT / "config" / "compose" / "accounts.sh"], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "accounts are set\n"), done.stderr
    lines = notes.read_text().splitlines()
    arguments = [line for line in lines if line.startswith("arg ")]
    assert not any(word in line for word in words.values() for line in arguments)
    assert [line.rpartition("9200")[2] for line in arguments if "9200" in line] == [
        "/_security/user/kibana_system/_password",
        "/_security/role/tierflow",
        "/_security/user/tierflow",
    ]
    assert lines.count('user = "elastic:elastic-0123456789"') == 3
    assert any('{"password": "kibana-0123456789"}' in line for line in lines)
    assert '"roles": ["tierflow"]' in notes.read_text()


@services
def test_images_are_pinned(name):
    image = SERVICES[name]["image"]
    repository, _, tag = image.rpartition(":")
    assert repository, image
    assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", tag), image


def test_server_and_kibana_have_the_same_version():
    images = [s["image"].split(":") for s in SERVICES.values()]
    versions = {version for name, version in images if name in ("elasticsearch", "kibana")}
    assert {name for name, _ in images} == {"elasticsearch", "kibana", "tierflow"}
    assert len(versions) == 1
    assert versions.pop().startswith("8.19.")


def test_our_image_has_the_package_s_version():
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"', project, re.MULTILINE)[1]
    ours = {service["image"] for service in SERVICES.values() if "build" in service}
    assert ours == {f"tierflow:{version}"}
    for service in SERVICES.values():
        if "build" in service:
            assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


@services
def test_ports_are_this_machine_s_only(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:[0-9]+:[0-9]+", port), f"{name}: {port}"


def test_no_port_twice():
    ports = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["5601", "8600", "9200"]


@services
def test_references_lead_somewhere(name):
    service = SERVICES[name]
    for other, how in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert set(how) == {"condition"}
        assert how["condition"] in CONDITIONS
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], f"{name} waits for the health of {other}, which has no check"
        if how["condition"] == "service_completed_successfully":
            assert is_one_shot(other), f"{name} waits for {other} to end, which is started again and again"
        assert "profiles" not in SERVICES[other], f"{name} needs {other}, which isn't started by itself"
    shared = service.get("network_mode", "")
    assert shared in ("", "none") or shared.removeprefix("service:") in service["depends_on"]
    for source, target, mode in mounts(name):
        assert target.startswith("/")
        assert mode in ("rw", "ro")
        assert (ROOT / source).exists() if source[0] in "./" else source in COMPOSE["volumes"], source


def test_every_volume_is_used_and_written_by_someone():
    writers = {source for name in SERVICES for source, _, mode in mounts(name) if mode == "rw"}
    assert set(COMPOSE["volumes"]) <= writers


def test_nobody_waits_in_a_circle():
    done: set[str] = set()
    while len(done) < len(SERVICES):
        ready = {name for name in SERVICES if name not in done and set(SERVICES[name].get("depends_on", {})) <= done}
        assert ready, f"wait for each other: {set(SERVICES) - done}"
        done |= ready


@services
def test_bounds(name):
    assert re.fullmatch(r"[0-9]+[mg]", SERVICES[name]["mem_limit"])
    check = SERVICES[name].get("healthcheck")
    assert check is not None or is_one_shot(name), "what keeps running is looked at"
    if check is not None:
        assert set(check) == {"test", "interval", "timeout", "retries", "start_period"}
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert all(DURATION.fullmatch(check[key]) for key in ("interval", "timeout", "start_period"))


def test_only_the_authority_is_made_by_root():
    assert [name for name, service in SERVICES.items() if service.get("user") == "0"] == ["certificates"]
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["user"] == "${TIERFLOW_UID:-1000}:${TIERFLOW_GID:-1000}", name
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]


def test_images_are_never_written_and_only_a_run_writes_results():
    for name in SERVICES:
        for _, target, mode in mounts(name):
            assert target != "/images" or mode == "ro", name
            assert target != "/results" or mode == ("rw" if name == "plate" else "ro"), name


def test_paths_of_certificates_agree():
    script = (ROOT / "config" / "compose" / "certificates.sh").read_text()
    assert {target: source for source, target, _ in mounts("certificates")}["/ca"] == "authority"
    assert "/ca/ca.crt" in script
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if key.endswith(("CA_FILE", "CERTIFICATEAUTHORITIES")):
                assert value == "/ca/ca.crt"
    for name in ("template", "plate", "kibana", "accounts"):
        assert ("authority", "/ca", "ro") in mounts(name)
    settings = SERVICES["elasticsearch"]["environment"]
    for key in ("key", "certificate"):
        assert settings[f"xpack.security.http.ssl.{key}"] == f"certificates/node/node.{key[:3].replace('cer', 'crt')}"
    assert {settings[f"xpack.security.{part}"] for part in ("enabled", "http.ssl.enabled")} == {"true"}


def parse(arguments: list[str]) -> None:
    """Let the real command line read arguments, without doing anything."""
    _, bound, _ = build_app().parse_args(arguments, exit_on_error=False, print_error=False)
    assert bound is not None


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_commands_are_the_command_line_s(name):
    parse(SERVICES[name]["command"])


def test_the_parser_would_notice():
    from cyclopts.exceptions import CycloptsError

    for wrong in (["run", "/images", "--outptu", "x"], ["serve", "x", "--prot", "1"], ["serve", "x", "--port", "many"]):
        with pytest.raises(CycloptsError):
            parse(wrong)


def test_prometheus_reads_what_is_served():
    scrape = read(ROOT / "config" / "prometheus" / "scrape.yaml")
    [job] = scrape["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8600"]}]
    assert scrape["rule_files"] == ["alerts.yaml"]


def test_alerts_name_metrics_that_there_are():
    state = RunState(run="a", publishes=True, shards=[ShardState(1, 0.0, Receipt(1.0))])
    known = {line.split()[2] for line in exposition([state], now=2.0).splitlines() if line.startswith("# TYPE")}
    [group] = read(ROOT / "config" / "prometheus" / "alerts.yaml")["groups"]
    assert set(group) == {"name", "rules"}
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        named = set(re.findall(rf"{PREFIX}\w+", rule["expr"]))
        assert named <= known, rule["alert"]
        assert named or rule["expr"] == 'up{job="tierflow"} == 0'
        assert rule["annotations"]["summary"]
        assert DURATION.fullmatch(rule.get("for", "1m"))
    names = [rule["alert"] for rule in group["rules"]]
    assert len(names) == len(set(names))
    docs = (ROOT / "docs" / "elasticsearch.md").read_text()
    for name in names:
        assert f"`{name}`" in docs, f"docs/elasticsearch.md doesn't say what to do about {name}"
