"""The image, in pods as strict as tierflow's own: it runs the example, ends when told to, and holds what it should."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from pods import ROOT, pod, writable

from comparing import same_rows

MB = 1e6
LARGEST_MB = 600
# Compressions of TIFF that tierflow takes, as tifffile names them.
COMPRESSIONS = ("none", "lzw", "deflate", "adobe_deflate", "packbits", "lzma", "zstd", "png", "jpeg2000")
# Prints the SHA-256 of each file's pixels, or why there are none.
READ = """
import hashlib, json, pathlib, sys
from tierflow.errors import TierflowError
from tierflow.io.readers import load, planes
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    digest = hashlib.sha256()
    try:
        for plane in planes(load(path), max_plane_mb=100):
            digest.update(plane.pixels.tobytes())
        found[path.name] = digest.hexdigest()
    except TierflowError as error:
        found[path.name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
LOOK = r"""
import json, os, pathlib, stat, sys
from importlib.metadata import distributions
writable, foreign = [], []
for folder, folders, files in os.walk("/", topdown=True):
    if folder == "/":
        # What the kernel and the pod mount there is no part of the image.
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev", "tmp")]
    for name in [*folders, *files]:
        path = os.path.join(folder, name)
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            continue
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            writable.append(path)
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID) and path.startswith("/opt"):
            foreign.append(path)
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
levels = pathlib.Path(sys.prefix, "share/tierflow/kernels")
try:
    open("/opt/written", "w")
    root = "writable"
except OSError as error:
    root = error.strerror
print(json.dumps({
    "writable": writable, "special": foreign, "user": [os.getuid(), os.getgid()], "root": root,
    "capabilities": status["CapEff"], "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "packages": sorted(d.name.lower() for d in distributions()),
    "levels": sorted(path.name for path in levels.iterdir()),
}))
"""
# Measures all kinds of pixels, and tells how many files of machine code were there before and after.
COMPILE = """
import os, pathlib
from tierflow.features import ahead, compiled
folder = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
before = len(list(folder.rglob("*.nbc")))
ahead.measure_all_kinds()
new = [path.name for path in folder.rglob("*.nb?") if not path.is_symlink()]
print(before, new)
"""


def compressed_files(folder: Path) -> Path:
    """Write a small image in every way that microscopes do and this machine can."""
    folder.mkdir()
    spots = np.random.default_rng(0).integers(0, 4000, (64, 80)).astype(np.uint16)
    small = (spots >> 4).astype(np.uint8)
    for name in COMPRESSIONS:
        tifffile.imwrite(folder / f"{name}.tif", spots, compression=name)
    tifffile.imwrite(folder / "jpeg.tif", small, compression="jpeg")
    tifffile.imwrite(folder / "differences.tif", spots, compression="zstd", predictor=True)
    tifffile.imwrite(folder / "real.tif", spots.astype(np.float32), compression="deflate", predictor=True)
    for name in ("group3", "group4"):
        Image.fromarray(small > 100).save(folder / f"{name}.tif", compression=name)
    (folder / "lossless.jpg").write_bytes(imagecodecs.ljpeg_encode(spots, bitspersample=12))
    (folder / "plain.jpg").write_bytes(imagecodecs.jpeg8_encode(small))
    (folder / "plain.jp2").write_bytes(imagecodecs.jpeg2k_encode(spots, level=0))
    (folder / "plain.png").write_bytes(imagecodecs.png_encode(spots))
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "BMP")
    (folder / "plain.bmp").write_bytes(stream.getvalue())
    return folder


@pytest.fixture(scope="module")
def look(tierflow_image, module_kubectl) -> dict:
    """What a pod sees of itself."""
    code, log = module_kubectl.run_pod("look", pod(["python", "-c", LOOK]))
    assert code == 0, log
    return json.loads(log)


def test_it_is_small(tierflow_image, module_kubectl):
    """Unpacked, as nodes keep it: all files that a pod finds, but for those of mounts. No builder is needed to know."""
    command = "du --summarize --one-file-system --apparent-size --block-size=1 / 2>/dev/null | cut -f 1"
    code, log = module_kubectl.run_pod("size", pod(["sh", "-c", command]))
    assert code == 0, log
    assert 100 * MB < int(log) < LARGEST_MB * MB


def test_it_runs_without_rights(look):
    assert look["user"] == [1000, 1000]
    assert look["root"] == "Read-only file system"
    assert int(look["capabilities"], 16) == 0
    assert not look["token"]


def test_nothing_in_it_is_writable_by_all(look):
    assert look["writable"] == []
    assert look["special"] == []


def test_it_holds_no_tools_of_tests_or_installers(look):
    assert {"tierflow", "snakemake", "numba"} <= set(look["packages"])
    assert not {"pytest", "hypothesis", "scipy", "mypy", "ruff", "hatchling", "pip"} & set(look["packages"])


def test_no_pod_makes_bytecode_for_what_every_step_imports(tierflow_image, module_kubectl):
    """Python would have to do it in each process, and could not keep it."""
    verbose = pod(["tierflow", "job", "--help"], env=[{"name": "PYTHONVERBOSE", "value": "1"}])
    code, log = module_kubectl.run_pod("bytecode", verbose)
    assert code == 0, log
    sources = [line.rsplit(" ", 1)[1] for line in log.splitlines() if line.startswith("# code object from ")]
    assert not [path for path in sources if not path.strip("'").endswith(".pyc")]
    assert log.count(".pyc matches ") > 100


def test_no_pod_compiles_what_the_image_brings(look, module_kubectl):
    assert look["levels"]
    code, log = module_kubectl.run_pod("compile", pod(["python", "-c", COMPILE]))
    assert code == 0, log
    before, new = log.strip().split(" ", 1)
    assert int(before) > 20
    assert new == "[]"


def test_it_reads_every_kind_of_file_that_this_machine_reads(tierflow_image, module_kubectl, tmp_path):
    """Codecs that no reader uses aren't in the image; all others are."""
    folder = compressed_files(tmp_path / "images")
    here = subprocess.run([sys.executable, "-c", READ, folder], capture_output=True, text=True, check=True).stdout
    code, log = module_kubectl.run_pod("codecs", pod(["python", "-c", READ, "/images"], volumes={"/images": folder}))
    assert code == 0, log
    assert json.loads(log) == json.loads(here)
    assert all(len(found) == 64 for found in json.loads(here).values()), here


def test_the_example_gives_the_same_tables_as_on_this_machine(tierflow_image, module_kubectl, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(ROOT / "examples" / "plate", images)
    shutil.copy(ROOT / "examples" / "plate.yaml", images.with_suffix(".yaml"))
    results = writable(tmp_path / "results")
    volumes = {"/images": images, "/results": results, "/etc/tierflow": writable(tmp_path / "config")}
    shutil.copy(ROOT / "examples" / "plate.yaml", tmp_path / "config" / "config.yaml")
    command = ["tierflow", "run", "/images", "--config", "/etc/tierflow/config.yaml", "--output", "/results/plate"]
    code, log = module_kubectl.run_pod("example", pod(command, volumes=volumes), timeout_s=300)
    assert code == 0, log
    assert (results / "plate" / "report.html").stat().st_size > 10_000
    rows = (results / "plate" / "objects.csv").read_text().splitlines()
    assert len(rows) == 1 + len([path for path in images.rglob("*") if path.is_file()])
    here = [sys.executable, "-m", "tierflow", "run", images, "--config", images.with_suffix(".yaml")]
    subprocess.run([*here, "--output", tmp_path / "here"], check=True, capture_output=True)
    for step in ("extract", "score"):
        ours, theirs = (pq.read_table(folder / step) for folder in (results / "plate", tmp_path / "here"))
        assert theirs.num_rows > 0
        same_rows(ours, theirs)


def test_sigterm_ends_it_at_once(tierflow_image, module_kubectl, tmp_path):
    results = writable(tmp_path / "results")
    spec = pod(["tierflow", "serve", "/results", "--host", "0.0.0.0", "--port", "8600"], volumes={"/results": results})
    # Kubernetes itself would kill it after this, with exit code 137.
    spec["terminationGracePeriodSeconds"] = 100
    module_kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "serve"}, "spec": spec})
    module_kubectl("wait", "--for=condition=Ready", "pod/serve", "--timeout=60s")
    for _ in range(200):
        if "8600" in module_kubectl("logs", "serve"):
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"it doesn't serve: {module_kubectl('logs', 'serve')}")
    module_kubectl("delete", "pod", "serve", "--timeout=50s", timeout=60)
