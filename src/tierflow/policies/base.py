"""What a policy is, and the cut-offs that every policy resolves to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Cut:
    """One tier's half-open range of the ranked units: from `minimum` (included) up to the next better cut.

    Attributes:
        tier: Name of the tier.
        minimum: Smallest interestingness that belongs to it; the last cut's is 0.
        last_unit: Where units of interestingness equal to `minimum` are shared with the next cut (ties of quantile,
            top_k and budget): the last unit_id, in ascending order, that still belongs here. None: all of them do;
            the empty string: none of them does.
    """

    tier: str
    minimum: float
    last_unit: str | None = None


class Taken(NamedTuple):
    """What flags have put into a tier before the policy ranks the rest.

    Attributes:
        units: Number of units.
        size: Their size in bytes.
    """

    units: int
    size: int


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
        self,
        *,
        unit_id: NDArray[np.object_],
        interestingness: NDArray[np.float64],
        size: NDArray[np.int64],
        taken: Mapping[str, Taken],
    ) -> list[Cut]:
        """Return the cuts, best range first, that together cover [0, 1] whole.

        Args:
            unit_id: Units that could be scored and that no flag forces elsewhere, shape (unit,).
            interestingness: Their values in [0, 1].
            size: Their sizes in bytes (sum over the unit's objects that could be scored).
            taken: What flags have already put into each tier; a tier that is absent has nothing.
        """
