"""How a run on the cluster fails: at once where a person must act, after tries where it may pass; and how it asks."""

from __future__ import annotations

import subprocess

import pytest
from argo_installation import as_text, copy_plate, files_below, installed, nodes_of, waits
from pods import writable


@pytest.fixture(scope="module")
def at(module_kubectl, tierflow_image, tmp_path_factory):
    with installed(module_kubectl, tmp_path_factory.mktemp("failures")) as found:
        copy_plate(found.images / "plate")
        yield found


def test_a_wrong_configuration_fails_at_once_and_says_why(at):
    name = at.submit(input="/images/plate", output="/results/wrong", config="score: {functon: haste}")
    done = at.tierflow_argo("watch", name)
    assert done.returncode == 78
    assert "did you mean `function`?" in done.stdout
    (scan,) = nodes_of(at.workflow(name), "scan")
    assert scan["outputs"]["exitCode"] == "78"
    assert "unknown key `score.functon`" in scan["message"]
    assert "functon" in at.argo("get", name).stdout


def test_a_missing_input_is_not_tried_again(at):
    name = at.submit(input="/images/nothing-here", output="/results/missing")
    done = at.tierflow_argo("watch", name)
    assert done.returncode == 66
    (scan,) = nodes_of(at.workflow(name), "scan")
    assert "/images/nothing-here" in scan["message"]


def test_one_run_per_output_and_a_person_decides(at):
    given = {"input": "/images/plate", "output": "/results/asked", "approve_above": "0.01"}
    config = as_text({"tiers": {name: {"driver": "copy"} for name in "ABCD"}})
    first, second = (at.submit(**given, config=config) for _ in range(2))
    at.until(first, waits)
    held = at.until(second, lambda found: "Waiting for" in found.get("status", {}).get("message", ""))
    assert held["status"]["phase"] == "Pending"
    assert not held["status"].get("nodes")

    no = at.tierflow_argo("approve", first, "--no")
    assert no.returncode == 0, no.stderr
    assert "removed_share 0." in no.stdout
    done = at.tierflow_argo("watch", first)
    assert done.returncode == 76
    assert "a person answered NO" in done.stdout
    assert not nodes_of(at.workflow(first), "place-index")
    assert not (at.results / "asked" / "tiers").exists()

    at.until(second, waits)
    yes = at.tierflow_argo("approve", second)
    assert yes.returncode == 0, yes.stderr
    at.succeeded(second)
    assert len(files_below(at.results / "asked" / "tiers")) == 19


@pytest.fixture
def small_volume(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tierflow-test", folder], check=True)
    yield writable(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_volume_is_tried_again_and_then_named(kubectl, tierflow_image, small_volume, tmp_path):
    config = as_text({"tiers": {name: {"driver": "copy"} for name in "ABCD"}})
    with installed(kubectl, tmp_path, results=small_volume) as at:
        copy_plate(at.images / "plate")
        name = at.submit(input="/images/plate", config=config, retries="2", retry_wait="2s")
        workflow = at.ended(name)
        assert workflow["status"]["phase"] == "Failed"
        tries = nodes_of(workflow, "place-index")
        assert [node["outputs"]["exitCode"] for node in tries] == ["75"] * 3
        assert all("/results/" in node["message"] for node in tries)
        assert "the disk is full, make room there" in tries[-1]["message"]
        assert at.tierflow_argo("watch", name).returncode == 75
        # Nothing half-written is taken for a file: room is made, and the same run goes on.
        subprocess.run(["mount", "-o", "remount,size=64m", small_volume], check=True)
        done = at.tierflow_argo("retry", name, "--wait")
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(files_below(small_volume / "plate-tierflow" / "tiers")) == 19
