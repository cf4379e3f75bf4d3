"""The plan of a run, kept in its output folder until the run is over and can be compared with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from tierflow.errors import ConfigError
from tierflow.io.atomic import write_text
from tierflow.output_folder import STATE
from tierflow.sizing.plan_table import Plan

if TYPE_CHECKING:
    from pathlib import Path

FILE = "plan.json"


def keep(plan: Plan, output: Path) -> None:
    """Write a plan to `.tierflow/plan.json` of an output folder, whole or not at all."""
    write_text(output / STATE / FILE, plan.model_dump_json(indent=1) + "\n")


def kept(output: Path) -> Plan | None:
    """Return the plan that was kept; None if there is none.

    Raises:
        ConfigError: if it can't be read.
    """
    path = output / STATE / FILE
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is no plan of this version of tierflow: delete it, or make the plan again"
        ) from error
