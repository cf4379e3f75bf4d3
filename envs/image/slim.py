"""Remove from an environment what nothing uses at run time: `slim.py SITE_PACKAGES`; needs binutils.

Ends badly if a library that could be loaded before can't be loaded afterwards. That nothing else is missed, the tests
in a pod show (tests/cluster/test_image.py).
"""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCES = (".pyx", ".pxd", ".pxi", ".h", ".hpp", ".c", ".cc", ".cpp", ".cu", ".cuh", ".a", ".pyi")
UNUSED = {
    "tests and tools of the packages' own developers": (
        "*/**/tests/",
        "*/**/test/",
        "numpy/_core/*_tests.*.so",
        "numpy/_core/_simd.*.so",
        "numpy/distutils/",
        "numpy/f2py/",
        "pyarrow/_pyarrow_cpp_tests.*",
        "snakemake/unit_tests/",
        "sqlalchemy/testing/",
    ),
    "headers and sources of Arrow": ("pyarrow/include/", "pyarrow/src/"),
    # Its library of query plans (libarrow_substrait) stays: everything else is linked to it.
    "Arrow's remote procedure calls": (
        "pyarrow/libarrow_flight*",
        "pyarrow/libarrow_python_flight*",
        "pyarrow/_flight*.so",
    ),
    "Arrow's own S3 client: tierflow has botocore": ("pyarrow/libarrow_s3.so*", "pyarrow/_s3fs*.so"),
    "solvers of Snakemake's other scheduler: tierflow's profiles have the greedy one": ("pulp/solverdir/cbc/",),
    "Pillow's codec of AVIF, a format that tierflow neither reads nor writes": ("PIL/_avif.*", "pillow.libs/libavif-*"),
}
# What tierflow's readers accept (io/readers/tiff_pixels.py, raster.py), and what those are made of.
CODECS = frozenset(
    {"imcd", "shared", "shared_cython", "zlib", "zlibng", "deflate", "lzma", "zstd", "ccitt", "png"}
    | {"jpeg8", "jpegsof3", "ljpeg", "jpeg2k"}
)
# What S3 and its ways to sign in need of all of Amazon's services.
SERVICES = frozenset({"s3", "sts", "sso", "sso-oidc", "signin"})
LOAD = """
import ctypes, sys
for name in sys.stdin.read().splitlines():
    try:
        ctypes.CDLL(name)
    except OSError:
        continue
    print(name)
"""
STRIP, READELF = "/usr/bin/strip", "/usr/bin/readelf"
_SEGMENT_TO_LOAD = 1


def unwanted(site: Path) -> list[Path]:
    """Return the files and folders to remove; some lie within others."""
    found = [path for patterns in UNUSED.values() for pattern in patterns for path in site.glob(pattern)]
    found += [file for file in site.rglob("*") if file.suffix in SOURCES and file.is_file()]
    found += [path for path in site.glob("botocore/data/*") if path.is_dir() and path.name not in SERVICES]
    found += [path for path in site.glob("imagecodecs/_*.so") if path.name.split(".")[0][1:] not in CODECS]
    return found


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that it holds."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def shared_libraries(site: Path) -> list[Path]:
    """Return all compiled files, links left out."""
    found = (path for pattern in ("*.so", "*.so.*") for path in site.rglob(pattern))
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def remove_orphans(site: Path) -> None:
    """Remove the codecs' libraries that no codec which is left needs, nor another library that is left."""
    folder = site / "imagecodecs.libs"
    needed, waiting = set(), list(site.glob("imagecodecs/*.so"))
    while waiting:
        listed = subprocess.run([READELF, "-d", waiting.pop()], capture_output=True, text=True, check=True).stdout
        names = {line.split("[")[1].split("]")[0] for line in listed.splitlines() if "(NEEDED)" in line}
        new = {folder / name for name in names if (folder / name).exists()} - needed
        needed |= new
        waiting += new
    for library in folder.glob("*"):
        if library not in needed:
            library.unlink()


def link_copies(libraries: list[Path]) -> None:
    """Make links of a library's further names, for which a wheel has copies."""
    first: dict[tuple[Path, bytes], Path] = {}
    for library in libraries:
        known = first.setdefault((library.parent, library.read_bytes()), library)
        if known is not library:
            library.unlink()
            library.symlink_to(known.name)


def is_mappable(library: Path) -> bool:
    """Tell whether the parts of a 64-bit library lie in the file as they must in memory, page by page.

    `strip` moves those that another tool has appended when the wheel was made.
    """
    content = library.read_bytes()
    (start,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for k in range(count):
        kind, _, offset, address, _, _, _, alignment = struct.unpack_from("<IIQQQQQQ", content, start + k * size)
        if kind == _SEGMENT_TO_LOAD and (offset - address) % alignment:
            return False
    return True


def strip(library: Path) -> None:
    """Remove the names of inner functions, which only debuggers read."""
    small = library.with_name(f"{library.name}.small")
    subprocess.run([STRIP, "--strip-unneeded", "-o", small, library], check=True)
    if is_mappable(small):
        shutil.copymode(library, small)
        small.replace(library)
    else:
        small.unlink()


def loadable(libraries: list[Path]) -> set[str]:
    """Return the libraries that a process can load."""
    names = "\n".join(map(str, libraries))
    done = subprocess.run([sys.executable, "-c", LOAD], input=names, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def main(site: Path) -> None:
    """Make the environment small."""
    before = loadable(shared_libraries(site))
    for path in unwanted(site):
        remove(path)
    remove_orphans(site)
    link_copies(shared_libraries(site))
    libraries = shared_libraries(site)
    for library in libraries:
        strip(library)
    broken = before & {str(library) for library in libraries} - loadable(libraries)
    if broken:
        sys.exit(f"slim.py: can't be loaded any more: {', '.join(sorted(broken))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
