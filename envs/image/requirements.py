"""Print what an image needs beside tierflow: `requirements.py PYPROJECT [build]`.

Without `build`, the dependencies at run time, those of object stores and of Snakemake in pods; with it, what builds the
package. Files of their own, so that other changes of pyproject.toml leave the layers of dependencies as they are.
"""

import sys
import tomllib
from pathlib import Path

EXTRAS = ("s3", "kubernetes")

tree = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
if sys.argv[2:] == ["build"]:
    wanted = tree["build-system"]["requires"]
else:
    wanted = list(tree["project"]["dependencies"])
    for extra in EXTRAS:
        wanted += tree["project"]["optional-dependencies"].get(extra, [])
    # What starts pods isn't needed in one, and has a client of 40 MB.
    wanted = [line for line in wanted if not line.startswith("snakemake-executor-")]
sys.stdout.write("\n".join(wanted) + "\n")
