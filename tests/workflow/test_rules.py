"""The rules and the step table say the same; a difference is printed with the place to mend it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from tierflow.render.snakemake import prepare, resolve, snakefile
from tierflow.steps import STEPS, declared_ports

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "workflows" / "rules"


def rule_text(step: str) -> str:
    return (RULES / f"{step}.smk").read_text()


def named(step: str, section: str) -> set[str]:
    """Names in one section (input, output, params) of a step's rule."""
    first_rule = rule_text(step).split("\n\n\n")[0]
    body = re.search(rf"^    {section}:\n((?:        .*\n)+)", first_rule, re.MULTILINE)
    return set(re.findall(r"^        (\w+)=", body.group(1), re.MULTILINE)) if body else set()


@pytest.mark.parametrize("step", STEPS)
def test_a_rule_gives_its_step_every_port(step):
    for kind in ("input", "output", "params"):
        missing = set(STEPS[step].ports(kind)) - named(step, kind)
        assert not missing, f"add {sorted(missing)} to `{kind}:` in workflows/rules/{step}.smk"


@pytest.mark.parametrize("step", STEPS)
def test_a_rule_says_nothing_that_the_table_should_say(step):
    text = rule_text(step)
    assert f'STEPS["{step}"].shell()' in text
    assert f'threads: STEPS["{step}"].threads' in text
    assert f'mem_mb=STEPS["{step}"].mem_mb_of' in text
    assert f'runtime=STEPS["{step}"].runtime_of' in text
    assert f'disk_mb=STEPS["{step}"].disk_mb' in text
    # The engine that a job was sent by, the batch script and the step in it would each try again: 27 times for 3.
    assert "retries" not in text, "how often to try again is said by a profile"
    assert f'settings=run.settings_files["{step}"]' in text
    assert not re.search(r"^\s*def ", text, re.MULTILINE), "functions belong into the package, where they are tested"


def test_every_rule_file_is_a_step_and_included():
    assert {path.stem for path in RULES.glob("*.smk")} == set(STEPS)
    included = set(re.findall(r'include: "workflows/rules/(\w+)\.smk"', (ROOT / "Snakefile").read_text()))
    assert included == set(STEPS)


def test_small_files_stay_small():
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 40
    for script in (ROOT / "scripts").iterdir():
        assert len(script.read_text().splitlines()) <= 40, f"{script.name}: move its logic into the package"
    for module in (ROOT / "src").rglob("*.py"):
        assert len(module.read_text().splitlines()) <= 400, f"{module}: look for the seam"


def test_a_settings_file_keeps_its_time_until_its_content_changes(tmp_path):
    tree = {"input": str(tmp_path / "plate"), "output": str(tmp_path / "out")}
    files = prepare(tree, mode="write").settings_files
    before = {step: (tmp_path / "out" / name).stat().st_mtime_ns for step, name in files.items()}
    other = tree | {"score": {"function": "haste"}}
    planned = prepare(other, mode="plan").settings_files
    assert {step for step in STEPS if planned[step] != files[step]} == {"score"}
    assert {step: (tmp_path / "out" / name).stat().st_mtime_ns for step, name in files.items()} == before
    prepare(other, mode="write")
    after = {step: (tmp_path / "out" / name).stat().st_mtime_ns for step, name in files.items()}
    assert {step for step in STEPS if after[step] != before[step]} == {"score"}
    assert prepare(other | {"score": {"function": "random"}}, mode="read").settings_files == files


def test_settings_change_exactly_the_steps_that_depend_on_them(tmp_path):
    plain = resolve({"input": str(tmp_path)})
    other = resolve({"input": str(tmp_path), "score": {"function": "haste"}, "report": {"title": "x"}})
    changed = {step for step in STEPS if plain.settings(step) != other.settings(step)}
    assert changed == {"score", "report"}


def test_snakemake_plans_the_run_without_tierflow_run(tmp_path):
    """`snakemake` typed by hand beside the Snakefile; a dry run writes nothing."""
    (tmp_path / "plate").mkdir()
    (tmp_path / "plate" / "a.tif").write_bytes(b"x")
    argv = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), "--cores", "1", "--dry-run", "--config"]
    done = subprocess.run(
        [*argv, f"input={tmp_path / 'plate'}", f"output={tmp_path / 'out'}"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "checkpoint scan" in done.stderr + done.stdout
    assert not list((tmp_path / "out").rglob("*.parquet")) if (tmp_path / "out").exists() else True


@pytest.mark.parametrize("step", STEPS)
def test_ports_read_from_the_source_are_those_of_the_function(step):
    hints = get_type_hints(STEPS[step].function, include_extras=True)
    kinds = {name: get_args(hints[name])[1] for name in signature(STEPS[step].function).parameters}
    assert declared_ports(step) == kinds
    assert all(p.kind is p.KEYWORD_ONLY for p in signature(STEPS[step].function).parameters.values())
