"""The workflow templates say what the step table says, and keep what keeps a run safe."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tierflow.argo import render
from tierflow.argo.render_workflows import batch, groups, rescore, stream_batch, sweep
from tierflow.errors import EXIT_CONFIG, EXIT_INPUT_MISSING, EXIT_INTERNAL, EXIT_TOO_MANY_FAILED, EXIT_TRY_AGAIN
from tierflow.steps import STEPS

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = {"batch": batch, "rescore": rescore, "stream": stream_batch}


def pods(template):
    return [each for each in template["spec"]["templates"] if "container" in each]


def test_rendered_files_are_up_to_date():
    difference = render.differences(ROOT / "argo" / "templates")
    assert difference == "", f"{difference}\nmend with: tierflow argo render"


def test_a_changed_file_shows_as_a_difference(tmp_path):
    render.write(tmp_path)
    assert render.differences(tmp_path) == ""
    page = tmp_path / "tierflow-batch.yaml"
    page.write_text(page.read_text().replace("memory: 1000Mi", "memory: 9Mi", 1))
    (tmp_path / "tierflow-sweep.yaml").unlink()
    difference = render.differences(tmp_path)
    assert "-          memory: 9Mi" in difference
    assert "+kind: CronWorkflow" in difference


def test_unchanged_files_keep_their_time(tmp_path):
    render.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    render.write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_every_step_is_done_once_and_in_order():
    assert [step for group in groups() for step in group] == [step for step in STEPS if step != "scan"]
    for build, expected in (
        (batch, set(STEPS)),
        (stream_batch, set(STEPS)),
        (rescore, set(STEPS) - {"scan", "extract"}),
    ):
        arguments = [text for pod in pods(build()) for text in pod["container"]["args"]]
        done = {step for text in arguments if text.startswith("--steps=") for step in text[8:].split(",")}
        assert done | {"scan"} & expected == expected


def test_memory_and_cores_are_those_of_the_step_table(monkeypatch):
    monkeypatch.setitem(STEPS, "index", replace(STEPS["index"], mem_mb=3500, threads=3))
    leaf = next(pod for pod in pods(batch()) if pod["name"] == "place-index")
    assert leaf["container"]["resources"] == {
        "requests": {"cpu": "3", "memory": "3500Mi"},
        "limits": {"memory": "3500Mi"},
    }
    main = json.loads(leaf["podSpecPatch"])["containers"][0]["resources"]
    amount = "{{=3500 * asInt(workflow.parameters['memory-times']) * min(4, 1 + asInt(retries))}}Mi"
    assert main == {"requests": {"memory": amount}, "limits": {"memory": amount}}


@pytest.mark.parametrize("build", TEMPLATES.values(), ids=TEMPLATES)
def test_text_of_a_form_can_be_neither_command_nor_option(build):
    for pod in pods(build()):
        assert pod["container"]["command"][:2] == ["tierflow", "job"]
        assert len(pod["container"]["command"]) == 3
        arguments = pod["container"]["args"]
        numbers = arguments.index("--shards-per-job") if "--shards-per-job" in arguments else None
        for place, text in enumerate(arguments):
            if "{{" in text and (numbers is None or place - numbers not in (1, 2, 3)):
                assert re.match(r"--[a-z-]+=", text) or arguments[place - 1] == "--", text


@pytest.mark.parametrize("build", TEMPLATES.values(), ids=TEMPLATES)
def test_pods_have_few_rights_and_say_why_they_failed(build):
    spec = build()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["podGC"]["strategy"] == "OnPodSuccess"
    label = spec["podGC"]["labelSelector"]["matchExpressions"][0]["key"]
    assert [pod["name"] for pod in pods(build()) if label in pod["metadata"].get("labels", {})] == ["summary"]
    for pod in pods(build()):
        container = pod["container"]
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
        assert mounts["/images"] is ("place" not in pod["name"])


@pytest.mark.parametrize("build", TEMPLATES.values(), ids=TEMPLATES)
def test_only_what_may_pass_is_tried_again(build):
    for template in build()["spec"]["templates"]:
        assert ("retryStrategy" in template) == ("container" in template)
    for pod in pods(build()):
        assert pod["retryStrategy"]["retryPolicy"] == "Always"
        codes = {int(code) for code in re.findall(r"\d+", pod["retryStrategy"]["expression"])}
        assert {EXIT_TRY_AGAIN, 137, 143} == codes
        assert not codes & {EXIT_CONFIG, EXIT_INPUT_MISSING, EXIT_INTERNAL, EXIT_TOO_MANY_FAILED}


@pytest.mark.parametrize("build", TEMPLATES.values(), ids=TEMPLATES)
def test_the_form_explains_every_parameter(build):
    form = build()["spec"]["arguments"]["parameters"]
    for parameter in form:
        assert len(parameter["description"]) > 20
    without_default = [parameter["name"] for parameter in form if "value" not in parameter]
    assert without_default == (["output"] if build is rescore else ["input"])


def test_only_publishing_waits_for_a_place_at_the_server():
    limited = {pod["name"]: pod["synchronization"] for pod in pods(batch()) if "synchronization" in pod}
    limit = {"configMapKeyRef": {"name": "tierflow-limits", "key": "elasticsearch-writers"}}
    assert limited == {"publish": {"semaphores": [limit]}}


def test_nothing_is_placed_before_a_person_answered():
    tasks = {task["name"]: task for task in batch()["spec"]["templates"][0]["dag"]["tasks"]}
    assert tasks["place-index"]["depends"] == "approval"
    assert tasks["approval"]["depends"] == "policy"
    templates = {each["name"]: each for each in batch()["spec"]["templates"]}
    question = templates["ask"]["inputs"]["parameters"][-1]
    assert (question["name"], question["enum"], question["default"]) == ("approve", ["YES", "NO"], "NO")
    assert templates["ask"]["outputs"]["parameters"] == [{"name": "approve", "valueFrom": {"supplied": {}}}]


def test_one_output_has_one_mutex_whatever_the_template():
    names = {build()["spec"]["synchronization"]["mutexes"][0]["name"] for build in (batch, stream_batch)}
    assert len(names) == 1
    assert "sha256sum" in names.pop()


def test_the_sweep_passes_parameters_that_the_stream_batch_has():
    given = sweep()["spec"]["workflowSpec"]["arguments"]["parameters"]
    declared = {parameter["name"] for parameter in stream_batch()["spec"]["arguments"]["parameters"]}
    assert {parameter["name"] for parameter in given} <= declared
    assert sweep()["spec"]["suspend"] is True


def test_the_files_hold_no_anchors_and_read_back_the_same():
    for name, text in render.files().items():
        assert text.startswith("# Generated")
        assert not re.search(r"[&*]id\d", text)
        if name == "tierflow-batch.yaml":
            assert yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == batch()
