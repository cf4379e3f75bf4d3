"""The image of CellProfiler, built and run: its own MeasureImageQuality says of a real image what tierflow says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from pods import ROOT, pod, writable

from tierflow.features.base import FeatureSettings
from tierflow.features.image_quality import ImageQuality
from tierflow.io.plane import Plane
from tierflow.io.readers import load, planes

CELLPROFILER = "tierflow-cellprofiler:4.2.8.1"
SCALE_PX = 20


@pytest.fixture(scope="module")
def cellprofiler_image(cluster) -> str:
    """Name of the image, built and known to the cluster."""
    file = ROOT / "envs" / "Containerfile.cellprofiler"
    cluster.run(cluster.scripts / "build-image", ROOT, CELLPROFILER, file, timeout=1800)
    return CELLPROFILER


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_it_measures_what_tierflow_measures(cellprofiler_image, module_kubectl, tmp_path):
    images = sorted((ROOT / "examples" / "plate").rglob("*w1*.tif"))
    (plane,) = planes(load(images[0]), max_plane_mb=100)
    shared = writable(tmp_path / "shared")
    np.save(shared / "plane.npy", plane.pixels)
    shutil.copy(ROOT / "benchmarks" / "cellprofiler_module.py", shared)
    command = ["python", "/io/cellprofiler_module.py", "/io/plane.npy", "1", str(SCALE_PX)]
    spec = pod(command, image=cellprofiler_image, volumes={"/io": shared})
    code, log = module_kubectl.run_pod("cellprofiler", spec, timeout_s=300)
    assert code == 0, log
    theirs = json.loads(log.strip().splitlines()[-1])["values"]
    ours = ImageQuality(FeatureSettings(scales_px=(SCALE_PX,))).measure(Plane(pixels=plane.pixels)).features
    for name in ("ImageQuality_PowerLogLogSlope", f"ImageQuality_Correlation_{SCALE_PX}"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
