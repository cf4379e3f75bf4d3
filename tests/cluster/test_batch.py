"""The example plate through the template `tierflow-batch` gives what Snakemake gives, to the last byte."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from argo_installation import Installation, as_text, copy_plate, files_below, installed, nodes_of, sha256
from pods import writable

from comparing import same_tables

# Small shards, so that parts of several jobs come together; one tier by copies, the others by links.
CONFIG = {"scan": {"shard_objects": 4}, "catalogue": {"run": "same"}, "tiers": {
    "A": {}, "B": {}, "C": {"driver": "copy"}, "D": {},
}}  # fmt: skip


@dataclass(frozen=True)
class Both:
    """The outputs of the same run by both engines, at the same place as pods see it."""

    at: Installation
    name: str
    argo: Path
    snakemake: Path


@pytest.fixture(scope="module")
def both(module_kubectl, tierflow_image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    with installed(module_kubectl, folder) as at:
        copy_plate(at.images / "plate")
        (at.images / "config.yaml").write_text(as_text(CONFIG))
        name = at.submit(input="/images/plate", config=as_text(CONFIG))
        reference = writable(folder / "reference")
        run = ("tierflow", "run", "/images/plate", "--output", "/results/plate-tierflow", "--cores", "2")
        code, said = at.in_pod("reference", *run, "--config", "/images/config.yaml", results=reference)
        assert code == 0, said
        at.succeeded(name)
        yield Both(at, name, at.results / "plate-tierflow", reference / "plate-tierflow")


def test_tables_are_those_of_snakemake(both):
    assert len(same_tables(both.argo, both.snakemake)) > 20
    ours, theirs = (json.loads((folder / "policy.json").read_text()) for folder in (both.argo, both.snakemake))
    assert ours == theirs


def test_tiers_hold_the_same_files(both):
    names = files_below(both.snakemake / "tiers")
    assert len(names) == 19
    assert files_below(both.argo / "tiers") == names
    copies = 0
    for name in names:
        ours, theirs = both.argo / "tiers" / name, both.snakemake / "tiers" / name
        assert ours.is_symlink() == theirs.is_symlink(), name
        if ours.is_symlink():
            assert ours.readlink() == theirs.readlink(), name
            # The link leads to where pods see the images.
            ours = theirs = both.at.images / ours.readlink().relative_to("/images")
        else:
            copies += 1
        assert sha256(ours) == sha256(theirs), name
    assert copies


def test_the_run_used_a_pod_per_part_and_reported(both):
    workflow = both.at.workflow(both.name)
    assert len(nodes_of(workflow, "extract")) >= 5
    assert not nodes_of(workflow, "publish")
    outputs = {p["name"]: p["value"] for p in workflow["status"]["nodes"][both.name]["outputs"]["parameters"]}
    assert outputs["objects"] == "19"
    assert sum(json.loads(outputs["tiers"]).values()) == 19
    assert (both.argo / "report.html").stat().st_size > 10_000


def test_the_same_run_again_finds_all_up_to_date(both):
    before = {
        name: (both.argo / name).stat().st_mtime_ns for name in files_below(both.argo) if name.suffix == ".parquet"
    }
    done = both.at.tierflow_argo(
        "submit", "/images/plate", "--config", str(both.at.images / "config.yaml"), "--parallelism", "3", "--wait"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "extract  5 of 5 done" in done.stdout
    assert {name: (both.argo / name).stat().st_mtime_ns for name in before} == before
