"""How a step says which of its arguments are files it reads, files it writes, and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

In = Annotated[Path, "input"]
"""A file or folder that the step reads."""

Out = Annotated[Path, "output"]
"""A file that the step writes, whole or not at all."""

Param = Annotated[Path, "params"]
"""A path that is neither: the configuration, or a folder whose files are tracked one by one."""
