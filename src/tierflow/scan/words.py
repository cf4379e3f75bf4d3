"""Say in words what a walk left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierflow.io import selection, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS = {
    selection.HIDDEN: "hidden",
    selection.THUMBNAIL: "thumbnails",
    selection.SIDE_FILE: "side files",
    selection.NOT_IMAGE: "not named like an image",
    selection.EXCLUDED: "matched by scan.exclude",
    selection.NOT_INCLUDED: "not matched by scan.include",
    walk.LINKED_FOLDER: "linked folders (scan.follow_links enters them)",
    walk.SEEN_FOLDER: "folders reached before by another path",
    walk.UNREADABLE_FOLDER: "folders without read access",
    walk.OWN_FOLDER: "folders of tierflow's own results",
    walk.ZARR_FOLDER: "OME-Zarr folders",
    walk.SPECIAL_FILE: "pipes, sockets or devices",
    walk.VANISHED: "gone while scanning",
    walk.UNSAFE_KEY: "keys with an empty part (//)",
}
"""What each reason of `Walk.skipped` means, to follow a number."""

_ENDINGS = 6


def skipped_in_words(skipped: Mapping[str, int], extensions: Mapping[str, int]) -> str:
    """Return one phrase such as `12 skipped (10 .txt, 2 thumbnails)`.

    Args:
        skipped: Entries left out, by reason.
        extensions: Side files and files not named like an image, by ending.

    >>> skipped_in_words({"side_file": 10, "thumbnail": 2}, {".txt": 10})
    '12 skipped (10 .txt, 2 thumbnails)'
    """
    if not skipped:
        return "nothing skipped"
    ranked = sorted(extensions.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{n} {ending}" for ending, n in ranked[:_ENDINGS]]
    if more := sum(n for _, n in ranked[_ENDINGS:]):
        parts.append(f"{more} of other endings")
    by_ending = {selection.SIDE_FILE, selection.NOT_IMAGE}
    parts += [f"{n} {WORDS.get(reason, reason)}" for reason, n in sorted(skipped.items()) if reason not in by_ending]
    return f"{sum(skipped.values())} skipped ({', '.join(parts)})"
