"""A template that was rendered is clean; each small damage to one is found, and the message names it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tierflow.argo import render
from tierflow.argo.lint import problems
from tierflow.argo.lint_files import read_defined
from tierflow.argo.lint_variables import Scope, names_of, unresolved
from tierflow.errors import ConfigError, InputMissingError

BASE = Path(__file__).resolve().parents[3] / "argo" / "base"


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(scope="module")
def rendered():
    return render.files()


@pytest.fixture
def folder(tmp_path, rendered):
    for name, text in rendered.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def damage(folder, change, file="tierflow-batch.yaml"):
    path = folder / file
    tree = yaml.load(path.read_text(), Loader=LOADER)
    change(tree)
    path.write_text(json.dumps(tree))
    return problems([folder], defined=read_defined(BASE))


def template(tree, name):
    return next(each for each in tree["spec"]["templates"] if each["name"] == name)


def task(tree, name):
    return next(each for each in template(tree, "main")["dag"]["tasks"] if each["name"] == name)


def test_what_is_rendered_is_clean(folder):
    assert problems([folder], defined=read_defined(BASE)) == []


def rename(mapping, old, new):
    mapping[new] = mapping.pop(old)


DAMAGES = {
    "field of spec": (lambda t: rename(t["spec"], "podGC", "podGc"), "did you mean `podGC`"),
    "field of container": (
        lambda t: rename(template(t, "scan")["container"], "command", "comand"),
        "did you mean `command`",
    ),
    "field in a list": (
        lambda t: rename(template(t, "scan")["container"]["volumeMounts"][0], "mountPath", "mountpath"),
        "did you mean `mountPath`",
    ),
    "field of a retry": (
        lambda t: rename(template(t, "scan")["retryStrategy"], "backoff", "backOff"),
        "did you mean `backoff`",
    ),
    "form that Argo 4 removed": (
        lambda t: t["spec"]["synchronization"].update(mutex={"name": "one"}),
        "use `mutexes`",
    ),
    "list for an object": (lambda t: t["spec"].update(podGC=["OnPodSuccess"]), "expected fields"),
    "object for a list": (lambda t: t["spec"].update(volumes={"name": "tmp"}), "expected a list"),
    "entrypoint": (lambda t: t["spec"].update(entrypoint="mian"), "entrypoint is 'mian'"),
    "onExit": (lambda t: t["spec"].update(onExit="sumary"), "onExit is 'sumary'"),
    "undefined template": (lambda t: task(t, "report").update(template="reprot"), "'reprot' is not defined"),
    "template defined twice": (
        lambda t: t["spec"]["templates"].append(template(t, "report")),
        "two templates are named 'report'",
    ),
    "template of two kinds": (lambda t: template(t, "ask").update(http={}), "suspend and http"),
    "template of no kind": (lambda t: template(t, "ask").pop("suspend"), "no body"),
    "wrong parameter name": (
        lambda t: task(t, "extract")["arguments"]["parameters"][0].update(name="parts"),
        "passes parameter 'parts'",
    ),
    "parameter not passed": (lambda t: task(t, "extract").pop("arguments"), "doesn't pass parameter 'part'"),
    "unknown workflow parameter": (
        lambda t: template(t, "scan")["container"]["args"].append("--x={{workflow.parameters.inpt}}"),
        "{{workflow.parameters.inpt}}",
    ),
    "unknown parameter in an expression": (
        lambda t: template(t, "scan")["container"]["args"].append("{{=workflow.parameters.inpt + 'x'}}"),
        "{{workflow.parameters.inpt}}",
    ),
    "unknown parameter in the mutex": (
        lambda t: t["spec"]["synchronization"]["mutexes"][0].update(name="{{workflow.parameters.outptu}}"),
        "{{workflow.parameters.outptu}}",
    ),
    "unknown input": (
        lambda t: template(t, "score")["container"]["args"].append("{{inputs.parameters.prt}}"),
        "{{inputs.parameters.prt}}",
    ),
    "unknown output of a task": (
        lambda t: task(t, "score")["withSequence"].update(count="{{tasks.scan.outputs.parameters.jobs}}"),
        "no output of scan",
    ),
    "output of a later task": (
        lambda t: task(t, "extract")["withSequence"].update(count="{{tasks.policy.outputs.parameters.tiers}}"),
        "policy isn't done before this",
    ),
    "output of a later step": (
        lambda t: template(t, "approval")["steps"].reverse(),
        "ask isn't done before this",
    ),
    "item without a loop": (lambda t: task(t, "score").pop("withSequence"), "{{item}}: there is no loop"),
    "two loops": (lambda t: task(t, "score").update(withItems=[1]), "only one loop"),
    "retries without a retry": (
        lambda t: template(t, "scan").pop("retryStrategy"),
        "{{retries}}: this template has no retryStrategy",
    ),
    "variable in the retry's expression": (
        lambda t: template(t, "scan")["retryStrategy"].update(expression="asInt(lastRetry.exitcode) == 75"),
        "lastRetry.exitcode",
    ),
    "unclosed variable": (
        lambda t: template(t, "scan")["container"]["args"].append("{{inputs.parameters.x"),
        "without `}}`",
    ),
    "metric of an unknown output": (
        lambda t: template(t, "scan")["metrics"]["prometheus"][0]["counter"].update(
            value="{{outputs.parameters.objcts}}"
        ),
        "{{outputs.parameters.objcts}}",
    ),
    "retry of a dag": (lambda t: template(t, "main").update(retryStrategy={"limit": "2"}), "does all of it again"),
    "limit that is a number": (lambda t: template(t, "scan")["retryStrategy"].update(limit=5), 'write "5"'),
    "cycle": (lambda t: task(t, "scan").update(depends="report"), "tasks wait for each other"),
    "depends on nothing": (lambda t: task(t, "score").update(depends="baselin"), "depends on 'baselin'"),
    "depends on no result": (lambda t: task(t, "score").update(depends="baseline.Suceeded"), "is no result"),
    "skipped task without a default": (
        lambda t: task(t, "policy").update(when="1 > 2"),
        "its output 'removed_share' is read",
    ),
    "command missing": (lambda t: template(t, "score")["container"].pop("command"), "command is missing"),
    "command is a shell": (
        lambda t: template(t, "score")["container"].update(command=["/bin/sh", "-c", "tierflow"]),
        "runs a script",
    ),
    "resources missing": (lambda t: template(t, "score")["container"].pop("resources"), "resources.requests.cpu"),
    "memory limit missing": (
        lambda t: template(t, "score")["container"]["resources"].pop("limits"),
        "resources.limits.memory",
    ),
    "securityContext missing": (
        lambda t: template(t, "score")["container"].pop("securityContext"),
        "securityContext.readOnlyRootFilesystem",
    ),
    "capabilities kept": (
        lambda t: template(t, "score")["container"]["securityContext"].pop("capabilities"),
        "capabilities.drop",
    ),
    "image without a version": (lambda t: template(t, "score")["container"].update(image="tierflow"), "image is"),
    "volume": (
        lambda t: template(t, "score")["container"]["volumeMounts"][0].update(name="imgs"),
        "volumeMount 'imgs'",
    ),
    "secret": (
        lambda t: template(t, "score")["container"]["envFrom"][0]["secretRef"].update(name="tierflow-s4"),
        "Secret 'tierflow-s4'",
    ),
    "config map": (lambda t: t["spec"]["volumes"][2]["configMap"].update(name="tierflow-conf"), "'tierflow-conf'"),
    "semaphore's config map": (
        lambda t: template(t, "publish")["synchronization"]["semaphores"][0]["configMapKeyRef"].update(name="limits"),
        "ConfigMap 'limits'",
    ),
    "account": (lambda t: t["spec"].update(serviceAccountName="default"), "ServiceAccount 'default'"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(folder, name):
    change, words = DAMAGES[name]
    found = damage(folder, change)
    assert any(words in problem for problem in found), found
    assert all("tierflow-batch" in problem for problem in found)


def test_a_schedule_that_calls_what_is_not_there_is_found(folder):
    def change(tree):
        tree["spec"]["workflowSpec"]["workflowTemplateRef"]["name"] = "tierflow-steam-batch"

    assert any("'tierflow-steam-batch'" in each for each in damage(folder, change, "tierflow-sweep.yaml"))


def test_a_schedule_that_passes_a_wrong_parameter_is_found(folder):
    def change(tree):
        tree["spec"]["workflowSpec"]["arguments"]["parameters"][0]["name"] = "folder"

    found = damage(folder, change, "tierflow-sweep.yaml")
    assert any("passes parameter 'folder'" in each for each in found)
    assert any("doesn't pass parameter 'input'" in each for each in found)


def test_a_task_of_another_template_is_followed(folder):
    calls = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "calls-"},
        "spec": {
            "entrypoint": "main",
            "templates": [
                {
                    "name": "main",
                    "steps": [
                        [{"name": "a", "templateRef": {"name": "tierflow-batch", "template": "score"}}],
                        [{"name": "b", "templateRef": {"name": "tierflow-batch", "template": "skore"}}],
                        [{"name": "c", "templateRef": {"name": "other", "template": "score"}}],
                    ],
                }
            ],
        },
    }
    (folder / "calls.yaml").write_text(yaml.safe_dump(calls))
    found = [each for each in problems([folder]) if "calls-" in each]
    assert len(found) == 3
    assert "a: doesn't pass parameter 'part'" in found[0]
    assert "b: tierflow-batch has no 'skore'" in found[1]
    assert "c: templateRef names 'other'" in found[2]


def test_files_that_cannot_be_checked_say_why(tmp_path):
    with pytest.raises(InputMissingError, match="not found"):
        problems([tmp_path / "none.yaml"])
    with pytest.raises(InputMissingError, match="no workflow in"):
        problems([tmp_path])
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        problems([tmp_path])


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("workflow.parameters.output != '' ? 'inputs.parameters.x' : sprig.base(inputs.parameters.y)",
         ["workflow.parameters.output", "inputs.parameters.y"]),
        ("inputs.parameters['shards-per-job'] + asInt(retries)", ["inputs.parameters.shards-per-job", "retries"]),
        ('lastRetry.message matches "tasks.x|y" and true', ["lastRetry.message"]),
        ("tasks.scan?.outputs.parameters.n ?? 0", ["tasks.scan.outputs.parameters.n"]),
    ],
)  # fmt: skip
def test_variables_of_expressions_are_found(expression, names):
    assert list(names_of(expression)) == names


@pytest.mark.parametrize("name", ["workflow.name", " workflow.uid ", "pod.name", "workflow.status"])
def test_what_argo_always_knows_is_no_problem(name):
    assert list(unresolved(f"plain {{{{{name}}}}}", Scope())) == []


@pytest.mark.parametrize("name", ["workflow.nam", "status", "pod.ip", "item", "retries", "input"])
def test_what_argo_does_not_know_is_one(name):
    assert len(list(unresolved(f"plain {{{{{name}}}}}", Scope()))) == 1
