"""News fragments are where and what `towncrier` expects."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_fragment_has_a_kind_and_tells_something():
    for path in (ROOT / "changes").iterdir():
        if path.name == "README.md":
            continue
        assert re.fullmatch(r"\+?[\w-]+\.(feature|bugfix|doc|removal)\.md", path.name), path.name
        assert len(path.read_text().split()) >= 5, f"{path.name}: say what a user gains"
