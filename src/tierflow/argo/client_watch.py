"""Watch a workflow to its end: a tree of its steps with counts, not a line per pod."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from tierflow.argo.client_state import failure_of, is_over, name_of, phase_of, questions_of, steps_of
from tierflow.catalogue.elastic.patience import Patience
from tierflow.errors import TryAgainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from tierflow.argo.client import Argo, Workflow
    from tierflow.argo.client_state import Step

_EVERY_S = 2.0
# A server that is being upgraded comes back within minutes; the workflow goes on meanwhile.
_PATIENCE_S = 300.0
_MESSAGE = 160


def watch(argo: Argo, name: str, console: Console, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Show a workflow until it ends.

    On a terminal the tree is drawn anew in place; elsewhere there is a line whenever a step changes.

    Returns:
        0 if it succeeded, else the exit code of the pod that failed, or 75 if it was stopped.

    Raises:
        TryAgainError: if the cluster stays away.
        InputMissingError: if there is no such workflow.
    """
    patience = Patience(_PATIENCE_S, sleep=sleep)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            workflow = _until_over(argo, name, patience, sleep, lambda now: live.update(tree_of(now), refresh=True))
    else:
        lines = _Lines(console)
        workflow = _until_over(argo, name, patience, sleep, lines.show)
    return conclude(workflow, argo.namespace, console)


def conclude(workflow: Workflow, namespace: str, console: Console) -> int:
    """Say how a workflow ended and what to do next; return the exit code of `watch`."""
    name, failure = name_of(workflow), failure_of(workflow)
    if failure is None:
        console.print(f"{name} succeeded", markup=False, highlight=False)
        return 0
    console.print(
        f"{name} failed in {failure.step}: {failure.message}\n"
        f"See `tierflow argo logs {name} --namespace {namespace}`; after mending: `tierflow argo retry {name} "
        f"--namespace {namespace}`, or submit again for the same output",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    return failure.exit_code


def tree_of(workflow: Workflow) -> Tree:
    """Return the steps of a workflow as a tree, and what a person must answer."""
    root = Tree(Text.assemble((name_of(workflow), "bold"), "  ", _state(phase_of(workflow), _message(workflow))))
    branches = [root]
    for step in steps_of(workflow):
        del branches[step.depth + 1 :]
        branches.append(branches[-1].add(_row(step)))
    for line in _questions(workflow):
        root.add(Text(line, style="bold yellow"))
    return root


class _Lines:
    """Prints a line whenever a step or the workflow changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: dict[str, str] = {}

    def show(self, workflow: Workflow) -> None:
        self._say("", f"{name_of(workflow)}  {_state(phase_of(workflow), _message(workflow))}")
        for step in steps_of(workflow):
            self._say(f"{step.depth} {step.name}", f"  {_row(step).plain}")
        for line in _questions(workflow):
            self._say(line, line)

    def _say(self, key: str, line: str) -> None:
        if self._said.get(key) != line:
            self._said[key] = line
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _until_over(
    argo: Argo, name: str, patience: Patience, sleep: Callable[[float], None], show: Callable[[Workflow], None]
) -> Workflow:
    # Whoever gave a wrong address wants to know at once; patience is for a server that was there.
    workflow = argo.workflow(name)
    while True:
        show(workflow)
        if is_over(workflow):
            return workflow
        sleep(_EVERY_S)
        workflow = _asked_again(argo, name, patience)


def _asked_again(argo: Argo, name: str, patience: Patience) -> Workflow:
    while True:
        try:
            workflow = argo.workflow(name)
        except TryAgainError:
            if not patience.wait():
                raise
        else:
            patience.succeeded()
            return workflow


def _row(step: Step) -> Text:
    if step.is_skipped:
        return Text(f"{step.name}  not needed", style="dim")
    if step.waits:
        return Text(f"{step.name}  waits for a person", style="bold yellow")
    pending = step.jobs - step.done - step.failed - step.running
    words = [f"{step.done} of {step.jobs} done"]
    words += [f"{n} {word}" for n, word in ((step.running, "running"), (step.failed, "failed")) if n]
    if pending:
        words.append(f"{pending} to come")
    if step.again:
        words.append(f"{step.again} tried again")
    style = "red" if step.failed else "green" if step.done == step.jobs else ""
    text = Text.assemble(f"{step.name}  ", (", ".join(words), style))
    if step.message and step.done < step.jobs:
        text.append(f"  {_short(step.message)}", style="dim")
    return text


def _questions(workflow: Workflow) -> Iterable[str]:
    command = f"tierflow argo approve {name_of(workflow)} --namespace {workflow['metadata'].get('namespace', '')}"
    for question in questions_of(workflow):
        facts = ", ".join(f"{name} {value}" for name, value in question.facts.items())
        yield f"{question.step} waits for your answer ({facts}): `{command}`, or the same with --no"


def _state(phase: str, message: str) -> str:
    return f"{phase}: {_short(message)}" if message else phase


def _message(workflow: Workflow) -> str:
    return str((workflow.get("status") or {}).get("message") or "")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE else line[: _MESSAGE - 3] + "..."
