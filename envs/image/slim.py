"""Remove from an environment what nothing uses at run time: `slim.py SITE_PACKAGES`.

Tests, headers, sources of compiled parts, programs for other machines. The example's run in the finished image shows
that nothing is missed (tests/cluster/test_image.py).
"""

import platform
import shutil
import sys
from pathlib import Path

SOURCES = (".pyx", ".pxd", ".pxi", ".h", ".hpp", ".c", ".cc", ".cpp", ".cu", ".cuh", ".a", ".pyi")
# Arrow's remote procedure calls. Its libraries of query plans are linked to what everything needs: they stay.
ARROW = ("libarrow_flight*", "libarrow_python_flight*", "_flight*.so")

site = Path(sys.argv[1])
solvers = site / "pulp" / "solverdir" / "cbc"
# What PuLP's own names for machines are; Snakemake's scheduler uses this solver.
mine = {"x86_64": "i64", "aarch64": "arm64"}.get(platform.machine(), "")
unwanted = [
    *(folder for name in ("tests", "test") for folder in site.glob(f"*/**/{name}") if folder.is_dir()),
    *(site / "pyarrow" / name for name in ("include", "src")),
    *(file for pattern in ARROW for file in (site / "pyarrow").glob(pattern)),
    *(file for file in site.rglob("*") if file.suffix in SOURCES and file.is_file()),
    *(folder for folder in solvers.glob("*") if folder.name != "linux"),
    *(folder for folder in solvers.glob("linux/*") if mine and folder.name != mine),
]
for path in unwanted:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
