"""Which names are images: globs of the configuration, hidden names, thumbnails and side files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierflow.config import Scan

HIDDEN = "hidden"
THUMBNAIL = "thumbnail"
SIDE_FILE = "side_file"
NOT_IMAGE = "not_image"
EXCLUDED = "excluded"
NOT_INCLUDED = "not_included"


def _endings(text: str) -> frozenset[str]:
    return frozenset(text.split())


IMAGE_EXTENSIONS = _endings(
    ".tif .tiff .btf .tf2 .tf8 .png .jpg .jpeg .jpe .jp2 .j2k .jpx .jxl .bmp .stk .lsm .gif .webp .svs "
    ".ndpi .scn .bif .qptiff .flex "
)

# Written beside the images by instruments, analysis programs and operating systems.
SIDE_EXTENSIONS = _endings(
    ".htd .xml .txt .csv .tsv .json .yaml .yml .log .db .mes .mrf .xdce .wpi .wpp .icr .ini .cfg .nd "
    ".scan .exp .rtf .doc .docx .xls .xlsx .pdf .html .htm .md .md5 .sha1 .sha256 .sqlite .mdb .dat .dib "
    ".cppipe .cpproj .ijm .roi .zip .gz .tar .part .tmp .bak .lnk .url "
)

# Microscope formats that hold images but that no reader of tierflow opens: worth a word, unlike a .txt.
FOREIGN_EXTENSIONS = _endings(
    ".czi .nd2 .lif .lof .xlef .oib .oif .vsi .ets .dv .r3d .ims .zvi .mvd2 .sld .mrxs .dcm .h5 .c01 .mrc "
    ".dm3 .dm4 .nii .hdr .img "
)

# Folders that network stores and operating systems make; what lies in them are their copies, not the user's images.
_SYSTEM_FOLDERS = frozenset({"@eaDir", "#recycle", "__MACOSX", "$RECYCLE.BIN", "System Volume Information"})

# ImageXpress glues a GUID to `_thumb`. `left_thumb_01.tif` is somebody's image and stays.
_THUMBNAIL = re.compile(
    r"_thumb(nail)?s?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$", re.IGNORECASE | re.ASCII
)


def extension(name: str) -> str:
    """Return what follows the last dot in lower case, dot included; "" without one.

    >>> extension("a.ome.TIF"), extension("Makefile")
    ('.tif', '')
    """
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is hidden or belongs to the operating system."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def is_thumbnail(name: str) -> bool:
    """Tell whether a file is an instrument's thumbnail (`..._thumb.tif`, `..._thumb<GUID>.tif`)."""
    return bool("_thumb" in name.lower() and _THUMBNAIL.search(name[: name.rfind(".")] if "." in name else name))


def glob_regex(pattern: str) -> str:
    """Translate a glob to a regular expression for the whole of a "/"-separated path.

    `*` and `?` stay within a name, `**` crosses folders, `**/` also matches nothing, `[a-c]` and `[!a-c]` are sets.

    >>> bool(re.fullmatch(glob_regex("**/w1/*.tif"), "w1/a.tif"))
    True
    """
    out, i = [], 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif pattern.startswith("**", i):
            out.append(".*")
            i += 2
        elif pattern[i] == "[" and (end := pattern.find("]", i + 2)) > 0:
            body = pattern[i + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"(?!/)[{'^' + body[1:] if body[0] in '!^' else body}]")
            i = end + 1
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(pattern[i], re.escape(pattern[i])))
            i += 1
    return "".join(out)


@dataclass(frozen=True, slots=True)
class Globs:
    """Compiled glob patterns: those without "/" match a name, the others the whole relative path."""

    names: re.Pattern[str] | None
    paths: re.Pattern[str] | None

    @classmethod
    def of(cls, patterns: Sequence[str]) -> Globs:
        """Compile patterns; a leading "./" or "/" and a trailing "/" mean nothing."""
        cleaned = [pattern.removeprefix("./").strip("/") for pattern in patterns]
        return cls(
            names=_any([p for p in cleaned if p and "/" not in p]), paths=_any([p for p in cleaned if p and "/" in p])
        )

    def match(self, name: str, path: str) -> bool:
        """Tell whether any pattern matches."""
        return bool((self.names and self.names.fullmatch(name)) or (self.paths and self.paths.fullmatch(path)))


def _any(patterns: Sequence[str]) -> re.Pattern[str] | None:
    # DOTALL: a file name may hold a newline.
    return re.compile("|".join(map(glob_regex, patterns)), re.DOTALL) if patterns else None


class Selection:
    """Decides by name alone; nothing is opened."""

    def __init__(self, scan: Scan) -> None:
        """Compile the configuration's patterns."""
        self._include = Globs.of(scan.include) if scan.include else None
        self._exclude = Globs.of(scan.exclude) if scan.exclude else None

    def skip_folder(self, name: str, path: str) -> str | None:
        """Return why a folder is left out, or None to enter it."""
        if is_hidden(name):
            return HIDDEN
        return EXCLUDED if self._exclude and self._exclude.match(name, path) else None

    def skip_file(self, name: str, path: str) -> str | None:
        """Return why a file is left out, or None to take it.

        Hidden names and thumbnails are never taken; side files and unknown endings are when `scan.include` names them.
        """
        if is_hidden(name):
            return HIDDEN
        if self._exclude and self._exclude.match(name, path):
            return EXCLUDED
        if self._include and not self._include.match(name, path):
            return NOT_INCLUDED
        if is_thumbnail(name):
            return THUMBNAIL
        ending = extension(name)
        if self._include or ending in IMAGE_EXTENSIONS:
            return None
        return SIDE_FILE if ending in SIDE_EXTENSIONS else NOT_IMAGE
