"""What a person does to a workflow: answer its question, end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.argo.client_state import is_over, questions_of
from tierflow.errors import ConfigError, TryAgainError

if TYPE_CHECKING:
    from rich.console import Console

    from tierflow.argo.client import Argo


def approve(argo: Argo, name: str, value: str, console: Console, *, dry_run: bool = False) -> None:
    """Answer everything that a workflow waits for, and say what was answered.

    Args:
        argo: The cluster.
        name: Name of the workflow.
        value: The answer.
        console: Where to say it.
        dry_run: Only say what it waits for.

    Raises:
        ConfigError: if it has ended, or doesn't take this answer.
        TryAgainError: if it doesn't wait for anything yet.
    """
    workflow = argo.workflow(name)
    if is_over(workflow):
        raise ConfigError(f"workflow {name} has ended: there is nothing left to answer")
    questions = questions_of(workflow)
    if not questions:
        raise TryAgainError(f"workflow {name} doesn't wait for an answer now: `tierflow argo watch {name}` shows when")
    for question in questions:
        if question.choices and value not in question.choices:
            choices = " or ".join(question.choices)
            raise ConfigError(f"{question.step} of {name} doesn't take {value}: expected {choices}")
        facts = ", ".join(f"{key} {fact}" for key, fact in question.facts.items())
        if not dry_run:
            argo.answer(name, question, value)
        verb = "waits for an answer" if dry_run else f"was answered {value}"
        console.print(f"{question.step} {verb} ({facts})", markup=False, highlight=False)


def stop(argo: Argo, name: str) -> None:
    """Begin no further step of a workflow; its exit handler still runs.

    Raises:
        ConfigError: if it has ended.
    """
    if is_over(argo.workflow(name)):
        raise ConfigError(f"workflow {name} has ended: there is nothing to stop")
    argo.stop(name)
