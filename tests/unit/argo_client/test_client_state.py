"""What a workflow's JSON says about its steps, failures and questions."""

from __future__ import annotations

import io

import pytest
from argo_workflows import NAME, ask, job, node, scan, workflow
from rich.console import Console

from tierflow.argo.client_state import failure_of, is_over, pods_of, questions_of, steps_of
from tierflow.argo.client_watch import conclude, tree_of


def test_jobs_are_counted_by_step_and_attempts_are_not_jobs():
    found = workflow(
        scan(),
        node(2, "extract", "TaskGroup", "Running"),
        *job(3, "extract(0:1)", "Succeeded", ("Failed", "75", "full"), ("Succeeded", "0", "")),
        *job(4, "extract(1:2)", "Running", ("Running", None, "")),
        *job(5, "extract(2:3)", "Failed", ("Failed", "70", "main: Error (exit code 70): broken")),
    )
    scanned, extract = steps_of(found)
    assert (scanned.name, scanned.done, scanned.jobs) == ("scan", 1, 1)
    assert (extract.name, extract.done, extract.running, extract.failed, extract.again) == ("extract", 1, 1, 1, 1)
    assert extract.jobs == 5, "scan has told how many there will be"
    assert extract.message == "main: Error (exit code 70): broken"
    assert failure_of(found) is None
    assert not is_over(found)


def test_steps_of_a_step_stand_below_it():
    approval = node(7, "approval", "Steps", "Running")
    asking = ask() | {"boundaryID": approval["id"]}
    found = workflow(scan(), approval, node(6, "[0]", "StepGroup", "Running"), asking)
    assert [(step.name, step.depth) for step in steps_of(found)] == [("scan", 0), ("approval", 0), ("ask", 1)]
    assert steps_of(found)[2].waits


def test_a_step_that_is_not_needed_is_no_failure():
    found = workflow(scan(), node(2, "publish", "Skipped", "Omitted", message="omitted"), phase="Succeeded")
    assert steps_of(found)[1].is_skipped
    assert failure_of(found) is None


def test_the_worst_exit_code_wins_and_the_message_is_the_pods():
    found = workflow(
        *job(2, "extract(0:1)", "Failed", ("Failed", "75", "a"), ("Failed", "75", "b")),
        *job(3, "extract(1:2)", "Failed", ("Failed", "78", "main: Error (exit code 78): unknown key")),
        node(4, f"{NAME}.onExit", "Pod", "Failed", message="later", outputs={"exitCode": "66"}, boundaryID=""),
        phase="Failed",
    )
    failure = failure_of(found)
    assert (failure.step, failure.exit_code) == ("extract(1:2)(0)", 78)
    assert "unknown key" in failure.message
    assert "the configuration is wrong" in failure.message


def test_an_attempt_that_was_made_good_is_no_failure():
    found = workflow(
        *job(2, "extract(0:1)", "Succeeded", ("Failed", "78", "by chance"), ("Succeeded", "0", "")),
        *job(3, "place(0:1)", "Failed", ("Failed", "75", "first"), ("Failed", "75", "volume is full")),
        phase="Failed",
    )
    assert failure_of(found).exit_code == 75
    assert "volume is full" in failure_of(found).message


@pytest.mark.parametrize(
    ("message", "code"),
    [("Stopped with strategy 'Stop'", 75), ("exceeded its deadline", 75), ("invalid spec: template missing", 70)],
)
def test_a_workflow_without_a_failed_pod_says_why(message, code):
    failure = failure_of(workflow(phase="Error", message=message))
    assert failure.exit_code == code
    assert message in failure.message


def test_an_exit_code_is_read_from_the_message_where_the_pod_is_gone():
    found = workflow(node(2, "scan", "Pod", "Failed", message="main: OOMKilled (exit code 137)"), phase="Failed")
    assert failure_of(found).exit_code == 137
    assert "memory" in failure_of(found).message


def test_a_question_tells_choices_and_facts():
    (question,) = questions_of(workflow(scan(), ask()))
    assert question.parameter == "approve"
    assert question.choices == ("YES", "NO")
    assert question.facts == {"removed_share": "0.105263"}
    assert questions_of(workflow(scan(), ask("Succeeded"))) == []


def test_pods_are_known_by_their_numbers():
    found = workflow(scan(), *job(3, "extract(0:1)", "Running", ("Failed", "75", ""), ("Running", None, "")))
    assert pods_of(found, "extract") == {"30", "31"}
    assert pods_of(found, "score") == set()


def test_a_workflow_that_argo_has_not_seen_has_no_steps():
    found = {"metadata": {"name": NAME}, "spec": {}}
    assert steps_of(found) == []
    assert not is_over(found)


def _written(show) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    show(console)
    return stream.getvalue()


def test_the_tree_has_a_line_per_step():
    found = workflow(
        scan(),
        *(n for i in range(5) for n in job(3 + i, f"extract({i}:{i})", "Succeeded", ("Succeeded", "0", ""))),
        ask(),
    )
    text = _written(lambda console: console.print(tree_of(found)))
    assert "extract  5 of 5 done" in text
    assert text.count("extract") == 1
    assert f"tierflow argo approve {NAME} --namespace lab" in text
    assert "removed_share 0.105263" in text


def test_the_end_says_what_to_do():
    failed = workflow(*job(2, "place(0:1)", "Failed", ("Failed", "75", "/results is full")), phase="Failed")
    codes = []
    text = _written(lambda console: codes.append(conclude(failed, "lab", console)))
    assert codes == [75]
    assert "/results is full" in text
    assert f"tierflow argo retry {NAME} --namespace lab" in text
    text = _written(lambda console: codes.append(conclude(workflow(phase="Succeeded"), "lab", console)))
    assert codes == [75, 0]
