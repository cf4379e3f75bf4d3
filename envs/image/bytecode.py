"""Import all that tierflow's commands and steps import, so that Python writes its bytecode beside it.

No other module gets any: half of the dependencies' files are never imported.
"""

import importlib
import importlib.util
import pkgutil
import py_compile
import subprocess
import sys
from pathlib import Path

import tierflow

# Imported by name, when needed.
LATE = (
    "botocore.session",
    "cyclopts.config",
    "imagecodecs",
    "pyarrow.acero",
    "pyarrow.dataset",
    "rich._emoji_codes",
    "rich.traceback",
    "snakemake.cli",
    "snakemake.executors.local",
    "snakemake_storage_plugin_s3",
    "tifffile",
)
# What the authors of plug-ins test with.
TESTING = "tierflow.testing"

found = [module.name for module in pkgutil.walk_packages(tierflow.__path__, "tierflow.")]
for name in (*(name for name in found if not name.startswith(TESTING)), *LATE):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Parts that need an extra which the image hasn't.
        sys.stderr.write(f"{name} stays without bytecode: {error}\n")

# numba imports most of itself when it loads the first kernel.
importlib.import_module("tierflow.features.ahead").measure_all_kinds()
# Pillow imports its formats when it writes the first picture of a report.
importlib.import_module("PIL.Image").init()
# What only a page of help, and Snakemake's own command line, import.
for command in (("tierflow", "--help"), ("tierflow", "job", "--help"), ("snakemake", "--version")):
    subprocess.run([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, check=True)

# By content, not by time of change: a builder may take the sources from a layer that it made at another time.
unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
for made in (path for root in {sys.prefix, sys.base_prefix} for path in Path(root).rglob("*.pyc")):
    source = importlib.util.source_from_cache(str(made))
    if Path(source).exists():
        py_compile.compile(source, cfile=str(made), doraise=True, invalidation_mode=unchecked)
