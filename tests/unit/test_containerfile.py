"""envs/Containerfile and what belongs to it, checked as far as it goes without a builder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tierflow import __version__

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"
CONTAINERFILE = (ENVS / "Containerfile").read_text()
DEFINITION = (ENVS / "apptainer.def").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Where a stage of the Containerfile keeps what lies in one place when Apptainer builds.
SAME_PLACE = {
    "/requirements.py": "envs/image/requirements.py",
    "/slim.py": "envs/image/slim.py",
    "/base.sh": "envs/image/base.sh",
    "/bytecode.py": "envs/image/bytecode.py",
    "/pyproject.toml": "pyproject.toml",
    "/constraints.txt": "envs/constraints.txt",
    "/staged": "/",
    "/opt/kernels": "/opt/tierflow/share/tierflow/kernels",
}


def instructions(text: str) -> list[tuple[str, str]]:
    """Return (name, arguments) of each instruction; continued lines are joined."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages(text: str) -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage; what stands before the first FROM is left out."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions(text):
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def commands(script: str) -> list[str]:
    """Return the single commands of a shell script, blanks evened out."""
    joined = re.sub(r"\\\n\s*", " ", script)
    return [" ".join(part.split()) for line in joined.splitlines() for part in line.split("&&") if part.strip()]


def section(name: str) -> str:
    """Return a section of the Apptainer definition, comments left out."""
    found = re.search(rf"^%{name}\n(.*?)(?=^%|\Z)", DEFINITION, re.MULTILINE | re.DOTALL)
    assert found, f"no %{name}"
    return "\n".join(line for line in found[1].splitlines() if not line.lstrip().startswith("#"))


STAGES = stages(CONTAINERFILE)
FINAL = STAGES[-1]


def final(name: str) -> list[str]:
    return [rest for instruction, rest in FINAL if instruction == name]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for rest in final("ENV") for word in shlex.split(rest))


def test_the_user_is_a_number_and_not_root():
    # Kubernetes' runAsNonRoot can't look up a name.
    assert final("USER") == ["1000:1000"]
    # Nothing runs in the last stage as anybody else.
    assert final("RUN") == []


def test_the_base_can_be_replaced_and_is_pinned():
    (default,) = re.findall(r"^ARG BASE=(\S+)$", CONTAINERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", default)
    assert all(stage[0][1].split()[0] in {"${BASE}", "dependencies"} for stage in STAGES[:-1])
    # What a layer of the base holds can't be removed by a later one.
    assert FINAL[0] == ("FROM", "scratch")
    assert ("COPY", "--from=root / /") in FINAL
    assert "From: {{ BASE }}\n" in DEFINITION
    assert section("arguments").split() == [f"BASE={default}"]


def test_no_secret_and_no_installer_in_the_result():
    assert not re.search(r"PASSWORD|API_KEY|TOKEN|SECRET", CONTAINERFILE)
    assert "COPY . " not in CONTAINERFILE
    assert not any("pip" in rest or "apt-get" in rest for _, rest in FINAL)


def test_everything_installed_is_pinned():
    installs = [c for stage in STAGES for n, rest in stage if n == "RUN" for c in commands(rest) if " install " in c]
    installs = [c for c in installs if "pip" in c.split(" install ")[0]]
    assert len(installs) == 3
    assert all("--constraint /constraints.txt" in command or "--no-index" in command for command in installs)


def test_sources_come_after_dependencies():
    """A change of tierflow's source must not install the dependencies again."""
    slow = next(stage for stage in STAGES if stage[0][1].endswith("AS dependencies"))
    copied = [rest for name, rest in slow if name == "COPY"]
    assert copied == ["--from=requirements /requirements.txt /", "envs/constraints.txt envs/image/slim.py /"]


def test_version_and_labels():
    assert re.search(r"^ARG VERSION=(\S+)$", CONTAINERFILE, re.MULTILINE)[1] == __version__ == PROJECT["version"]
    labels = dict(word.split("=", 1) for rest in final("LABEL") for word in shlex.split(rest))
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert {"title", "description", "version"} <= {name.rsplit(".", 1)[1] for name in labels}
    assert f"org.opencontainers.image.version {__version__}\n" in DEFINITION


def test_the_entry_point_runs_below_tini():
    assert final("ENTRYPOINT") == ['["tierflow"]']
    first, second = environment()["PATH"].split(":")[:2]
    assert (first, second) == ("/opt/tierflow/command", "/opt/tierflow/bin")
    launcher = ENVS / "image" / "tierflow"
    assert launcher.stat().st_mode & 0o111 == 0o111
    assert launcher.read_text().splitlines()[-1] == 'exec tini -s -g -- /opt/tierflow/bin/tierflow "$@"'


def test_requirements_are_those_of_the_project_and_no_tests(tmp_path):
    def wanted(*arguments: str) -> list[str]:
        argv = [sys.executable, str(ENVS / "image" / "requirements.py"), str(ROOT / "pyproject.toml"), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    extras = PROJECT["optional-dependencies"]
    in_pods = [line for line in extras["kubernetes"] if "executor" not in line]
    assert wanted() == [*PROJECT["dependencies"], *extras["s3"], *in_pods]
    assert not {"pytest", "scipy", "hypothesis"} & {re.split(r"[<>=\[]", line)[0] for line in wanted()}
    assert wanted("build") == ["hatchling>=1.25"]


def test_every_requirement_is_pinned_exactly():
    pins = dict(line.split("==") for line in (ENVS / "constraints.txt").read_text().splitlines())
    names = [
        re.split(r"[<>=\[]", line)[0] for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["s3"]]
    ]
    assert {name.lower() for name in names} <= {name.lower() for name in pins}


def test_only_what_is_copied_goes_to_the_builder():
    text = (ROOT / ".containerignore").read_text()
    assert text == (ROOT / ".dockerignore").read_text()
    allowed = {line[1:] for line in text.splitlines() if line.startswith("!")}
    sources = {
        word
        for stage in STAGES
        for name, rest in stage
        if name == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in sources)
    assert {source for source in sources if not any(is_below(source, folder) for folder in allowed)} == set()
    assert {folder for folder in allowed if folder not in sources} == set()
    assert {line.split()[0] for line in section("files").splitlines() if line.strip()} == allowed
    # What the wheel takes along must be there when it is built.
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {f for f in wheel["force-include"] if not any(is_below(f, folder) for folder in allowed)} == set()


def is_below(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def test_apptainer_takes_the_same_steps():
    """The definition has the Containerfile's commands, in an order of its own, and only housekeeping beside them."""
    ours = {c for stage in STAGES for name, rest in stage if name == "RUN" for c in commands(rest)}
    ours = {" ".join(SAME_PLACE.get(word, word) for word in command.split()) for command in ours}
    # What only a container with stages needs.
    ours -= {
        "mkdir /results",
        "chown 1000:1000 /results",
        "rm envs/image/base.sh",
        "ln -s /early/tierflow /opt/tierflow/lib/python3.*/site-packages/",
        'find /usr -name "*.pyc" -delete',
        "touch /before",
        "mkdir /bytecode",
        'find /opt/tierflow /usr -name "*.pyc" -newer /before -exec cp --parents --preserve '
        "--target-directory /bytecode {} +",
    }
    theirs = set(commands(section("post")))
    assert ours <= theirs, f"missing in envs/apptainer.def: {sorted(ours - theirs)}"
    assert {command.split()[0] for command in theirs - ours} == {"set", "cd", "mkdir", "cp", "rm"}


@pytest.mark.parametrize("name", ["PATH", "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"])
def test_apptainer_has_the_same_environment(name):
    # HOME and the user's name are those of the person who runs it.
    assert f"export {name}={environment()[name]}" in section("environment")


def test_apptainer_starts_and_is_labelled_the_same():
    # Its own way of starting knows no tini: signals reach the program itself.
    assert section("runscript").split() == ["exec", "tierflow", '"$@"']
    labels = dict(word.split("=", 1) for rest in final("LABEL") for word in shlex.split(rest))
    theirs = dict(line.split(maxsplit=1) for line in section("labels").splitlines() if line.strip())
    assert theirs == {
        name: value.replace("${VERSION}", __version__) for name, value in labels.items() if name in theirs
    }
    assert {"title", "version", "licenses"} == {name.rsplit(".", 1)[1] for name in theirs}


def test_apptainer_cleans_up_when_nothing_is_installed_any_more():
    order = [command.split()[0] for command in commands(section("post"))]
    assert order.index("envs/image/base.sh") > max(k for k, word in enumerate(order) if word in {"apt-get", "python"})
    assert order[-1] == "rm"


def test_no_reader_loses_a_codec():
    """The image's selection has all that the readers name themselves; what TIFF needs is decoded in a pod."""
    source = (ENVS / "image" / "slim.py").read_text()
    codecs = set(re.findall(r'"(\w+)"', re.search(r"^CODECS = (.*?)^\)", source, re.MULTILINE | re.DOTALL)[1]))
    readers = ROOT / "src" / "tierflow" / "io"
    named = {name for path in readers.rglob("*.py") for name in re.findall(r"imagecodecs\.(\w+)_", path.read_text())}
    # imagecodecs' own names of the compiled parts behind a codec.
    parts = {"jpeg": {"jpeg8", "ljpeg", "jpegsof3"}}
    assert named
    assert set().union(*(parts.get(name, {name}) for name in named)) <= codecs
