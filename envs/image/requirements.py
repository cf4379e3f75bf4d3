"""Print what an image needs beside tierflow: `requirements.py PYPROJECT [build]`.

Without `build`, the dependencies at run time and those of object stores; with it, what builds the package. Files of
their own, so that other changes of pyproject.toml leave the layers of dependencies as they are.
"""

import sys
import tomllib
from pathlib import Path

EXTRAS = ("s3",)

tree = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
if sys.argv[2:] == ["build"]:
    wanted = tree["build-system"]["requires"]
else:
    wanted = list(tree["project"]["dependencies"])
    for extra in EXTRAS:
        wanted += tree["project"]["optional-dependencies"].get(extra, [])
sys.stdout.write("\n".join(wanted) + "\n")
