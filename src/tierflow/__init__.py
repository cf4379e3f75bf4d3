"""tierflow measures scientific images, scores how interesting they are and routes the files to storage tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tierflow.api import Found, Results, open  # noqa: A004

__version__ = "0.1.0"
__all__ = ["Found", "Results", "__version__", "open"]


def __getattr__(name: str) -> Any:
    # The catalogue's libraries take half a second to import; steps and `tierflow --help` needn't wait for them.
    if name in __all__:
        from tierflow import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
