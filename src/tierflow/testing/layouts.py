"""Contract suite of naming layouts: subclass `LayoutContract`, set `layout`, and pytest runs it.

```python
class TestMyLayout(LayoutContract):
    layout = my_package.LAYOUT
```
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from tierflow.io.layouts.base import LAST_COLUMN, LAST_ROW, Names, well_name

if TYPE_CHECKING:
    from tierflow.io.layouts.base import Layout

HOSTILE = (
    "",
    "a",
    ".tif",
    "/",
    "a/b/",
    "_.tif",
    "plate_A00_s1_w1.tif",
    "plate_ZZ99_s1_w1.tif",
    "plate_A01_s\u0663_w\u0661.tif",
    "new\nline_B03_s1_w1.tif",
    "tab\t/ünï/😀_B03f00d0.tif",
    "back\\slash\\xff_B03_s1_w1.tif",
    "'; DROP TABLE x; --_B03_s1_w1.tif",
    "plate_B03_s" + "9" * 5000 + "_w1.tif",
    "r99c99f01p01-ch1sk1fk1fl1.tiff",
    "_" * 5000 + ".tif",
    "A01_" * 2000 + ".tif",
    "--" * 2000 + ".tif",
    "d/" * 2000 + "x.tif",
)
"""Paths that broke a parser somewhere, or may."""

ORDINARY = ("DSC_0001.JPG", "holiday/2024-04-22/IMG_20240422_101500.jpg", "scan_A01.tif", "stack1/00.tif", "-1.bmp")
"""Names that no instrument's layout should claim."""

_INT32 = 2**31


class LayoutContract:
    """What every layout keeps. `layout` is the object that the entry point names."""

    layout: ClassVar[Layout]

    def test_describes_itself(self) -> None:
        """A user sees name, one line and an example; the specificity is a share."""
        assert self.layout.name.isidentifier()
        assert self.layout.about
        assert "\n" not in self.layout.about
        assert self.layout.example
        assert 0 < self.layout.specificity <= 1

    def test_reads_its_example(self) -> None:
        """The example is one that it reads; a layout of headers reads none."""
        assert (self.layout.parse(self.layout.example) is None) == (self.layout.from_header is not None)

    def test_hostile_paths_never_raise(self) -> None:
        """Any text is either read validly or refused with None, quickly."""
        for path in HOSTILE:
            check_names(self.layout.parse(path))

    def test_is_pure(self) -> None:
        """The same path always reads the same, whatever was read between."""
        before = self.layout.parse(self.layout.example)
        for path in (*HOSTILE, *ORDINARY):
            self.layout.parse(path)
        assert self.layout.parse(self.layout.example) == before

    def test_leaves_ordinary_names_alone(self) -> None:
        """Names of cameras and single scans aren't claimed; only a layout of low specificity takes everything."""
        claimed = [path for path in ORDINARY if self.layout.parse(path) is not None]
        assert not claimed or self.layout.specificity < 0.1

    def test_header_of_another_kind_is_refused(self) -> None:
        """A layout of headers reads its own kind only."""
        if self.layout.from_header is not None:
            assert self.layout.from_header({}, "a.tif") is None
            assert self.layout.from_header({"kind": "another"}, "a.tif") is None


def check_names(names: Names | None) -> None:
    """Fail unless names could stand in the tables: valid text, small numbers, a well of that row and column."""
    if names is None:
        return
    assert names.plate
    for value in names:
        if isinstance(value, str):
            value.encode("utf-8")
        elif value is not None:
            assert -_INT32 <= value < _INT32
    if names.well is not None:
        assert names.row is not None
        assert names.column is not None
        assert 1 <= names.row <= LAST_ROW
        assert 1 <= names.column <= LAST_COLUMN
        assert names.well == well_name(names.row, names.column)
    if names.acquired_at is not None:
        datetime.fromisoformat(names.acquired_at)
