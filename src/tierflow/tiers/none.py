"""Driver `none`: the file stays where it is; only the record says its tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tierflow.tiers.files import look

if TYPE_CHECKING:
    from tierflow.tiers.base import Made, Order, Placed


class Nothing:
    """Makes no destination."""

    name: ClassVar[str] = "none"
    places: ClassVar[bool] = False
    consumes: ClassVar[bool] = False
    folder: ClassVar[str] = "tiers"

    def publish(self, order: Order) -> Made:
        """Refuse: objects of this tier stay where they are.

        Raises:
            ValueError: always; a driver with `places = False` is never asked to.
        """
        raise ValueError(f"the driver `none` makes no destination, asked for {order.destination}")

    def verify(self, placed: Placed, *, hash_files: bool) -> str | None:  # noqa: ARG002
        """Check that the source is still there."""
        return None if look(placed.source) is not None else f"{placed.source} is missing: restore it from a backup"
