"""What a policy is, and the cut-offs that every policy resolves to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Cut:
    """One tier's half-open range of the ranked units: from `minimum` (included) up to the next better tier.

    Attributes:
        tier: Name of the tier.
        minimum: Smallest interestingness that belongs to it; the last tier's is 0.
        last_unit: Where units of interestingness equal to `minimum` are shared with the next tier (ties of top_k and
            budget): the last unit_id, in ascending order, that still belongs here. None: all of them do.
    """

    tier: str
    minimum: float
    last_unit: str | None = None


class Policy(Protocol):
    """Resolves a whole data set into cut-offs. `Parameters` is a pydantic model of what a user may set."""

    name: ClassVar[str]
    Parameters: ClassVar[type[BaseModel]]

    def __init__(self, parameters: BaseModel, tiers: Sequence[str]) -> None:
        """Take validated parameters and the tier names, best first.

        Raises:
            ConfigError: when they don't fit together (unknown tier, gap, overlap), naming key, value and remedy.
        """

    def resolve(
        self, *, unit_id: NDArray[np.object_], interestingness: NDArray[np.float64], size: NDArray[np.int64]
    ) -> list[Cut]:
        """Return one `Cut` per tier, best first, that together cover [0, 1] whole.

        Args:
            unit_id: Units that could be scored, shape (unit,).
            interestingness: Their values in [0, 1].
            size: Their sizes in bytes (sum over the unit's objects).
        """
