"""Run CellProfiler's own MeasureImageQuality in process on one image; for the python of a CellProfiler environment.

Usage: python cellprofiler_module.py PIXELS.npy REPEATS SCALE [SCALE ...]

Prints one JSON object: `seconds` (one per repeat) and `values` (feature without the image name -> number). Pixels are
raw counts; they are divided by their type's full scale before the clock starts, as CellProfiler's loader does.
"""

import json
import sys
import time

import numpy as np
from cellprofiler_core.preferences import set_headless

set_headless()

from cellprofiler.modules.measureimagequality import MeasureImageQuality  # noqa: E402
from cellprofiler_core.image import Image, ImageSetList  # noqa: E402
from cellprofiler_core.measurement import Measurements  # noqa: E402
from cellprofiler_core.object import ObjectSet  # noqa: E402
from cellprofiler_core.pipeline import Pipeline  # noqa: E402
from cellprofiler_core.workspace import Workspace  # noqa: E402

FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
RGB_WEIGHTS = (0.2125, 0.7154, 0.0721)


def build_module(scales):
    """Return the module with all groups on, the given blur scales and the two-class Otsu threshold."""
    module = MeasureImageQuality()
    module.images_choice.value = "Select..."
    group = module.image_groups[0]
    group.image_names.value = "image"
    for _ in scales[1:]:
        module.add_scale_group(group)
    for scale_group, scale in zip(group.scale_groups, scales, strict=True):
        scale_group.scale.value = scale
    return module


def run_module(module, pixels, scale):
    """Run the module once; return the seconds it took and the values it found."""
    images = ImageSetList().get_image_set(0)
    images.add("image", Image(pixels, scale=scale))
    measurements = Measurements()
    pipeline = Pipeline()
    pipeline.add_module(module)
    workspace = Workspace(pipeline, module, images, ObjectSet(), measurements, None)
    start = time.perf_counter()
    module.run(workspace)
    seconds = time.perf_counter() - start
    values = {
        name.replace("_image", ""): float(np.asarray(measurements.get_current_measurement("Image", name)).ravel()[0])
        for name in measurements.get_feature_names("Image")
        if name.startswith("ImageQuality_")
    }
    return seconds, values


def main():
    """Read the arguments, run the module, print the result."""
    path, repeats, *scales = sys.argv[1:]
    raw = np.load(path)
    scale = FULL_SCALE[raw.dtype.name]
    pixels = raw.astype(np.float32) / scale
    if pixels.ndim == 3:
        pixels = sum(pixels[..., k] * np.float32(w) for k, w in enumerate(RGB_WEIGHTS))
    module = build_module([int(s) for s in scales])
    found = [run_module(module, pixels, scale) for _ in range(int(repeats))]
    print(json.dumps({"seconds": [seconds for seconds, _ in found], "values": found[-1][1]}))


if __name__ == "__main__":
    main()
