"""Interestingness `random`: a fixed but meaningless value per object, the control of an experiment."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tierflow.config_section import Section

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from tierflow.interestingness.base import PlaneTable, Values


class RandomParameters(Section):
    """Nothing to set."""


class Random:
    """MD5 of the object's id, modulo 1000, divided by 1000: the same for the same object in every run.

    The rule is the one of the HASTE toolkit's control function. Values are 0, .001 ... .999.
    """

    name: ClassVar[str] = "random"
    Parameters: ClassVar[type[BaseModel]] = RandomParameters

    def __init__(self, parameters: RandomParameters) -> None:
        pass

    def needs(self) -> list[str]:
        """Return no feature."""
        return []

    def score(self, planes: PlaneTable) -> Values:
        """Return one value per object, repeated for its planes, shape (plane,)."""
        return np.array([_draw(object_id) for object_id in planes.object_id], dtype=np.float64)

    def explain(self, planes: PlaneTable, rows: NDArray[np.int64], values: Values) -> list[str]:  # noqa: ARG002
        """Say that the value means nothing."""
        return ["drawn from the object's id; says nothing about the image"] * len(rows)


def _draw(object_id: str) -> float:
    digest = hashlib.md5(object_id.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") % 1000 / 1000
