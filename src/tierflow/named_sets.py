"""Parameter sets under a name: `score`, `baseline` and `policy` of a configuration, kept for later runs.

Each version is a file of its own, `params/NAME/VERSION.yaml` in `home.home()`, never written again. VERSION is the
digest of `score`, which every record points to, a hyphen, and the digest of the other sections.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tierflow import __version__
from tierflow.catalogue.provenance import SET_DIGITS
from tierflow.clock import utc_now
from tierflow.config_io import read_tree
from tierflow.errors import ConfigError
from tierflow.home import add_text, home, no_version, require_name, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tierflow.config import Config

SECTIONS = ("score", "baseline", "policy")
_REMEDY = "there is none yet: save one by `tierflow params save NAME --from OUTPUT`"


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """One version of a named parameter set.

    Attributes:
        name: Its name.
        version: Digest of `score`, "-", digest of the other sections.
        saved_at: When, as `clock.utc_now` gives it.
        made_by: Version of tierflow that saved it.
        about: What it is for, in words.
        sections: `score`, `baseline` and `policy` with all keys.
    """

    name: str
    version: str
    saved_at: str
    made_by: str
    about: str
    sections: Mapping[str, Any]

    @property
    def pointer(self) -> str:
        """NAME@DIGEST as records hold it: the digest is over `score` alone."""
        return f"{self.name}@{self.version.partition('-')[0]}"


def save(name: str, config: Config, *, about: str = "") -> tuple[ParameterSet, bool]:
    """Keep the parameters of a configuration under a name; what is there already stays as it is.

    Returns:
        The set, and whether it is new.

    Raises:
        ConfigError: if the name can't be one.
    """
    tree = config.model_dump(mode="json")
    sections = {section: tree[section] for section in SECTIONS}
    made = ParameterSet(
        name=require_name(name),
        version=version_of(sections),
        saved_at=utc_now(),
        made_by=__version__,
        about=about,
        sections=sections,
    )
    path = _folder() / name / f"{made.version}.yaml"
    is_new = add_text(path, dump(made))
    return (made, True) if is_new else (_read(path), False)


def version_of(sections: Mapping[str, Any]) -> str:
    """Return the version of a set with these sections; `provenance.set_digest` is its first part."""
    rest = {name: sections[name] for name in SECTIONS[1:]}
    return "-".join(_digest(part) for part in ({"score": sections["score"]}, rest))


def dump(made: ParameterSet) -> str:
    """Return a set as YAML."""
    head = {"name": made.name, "version": made.version, "saved_at": made.saved_at, "tierflow": made.made_by}
    tree = {**head, "about": made.about, **made.sections}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def find(reference: str) -> ParameterSet:
    """Return a set by NAME (its newest version), NAME@DIGEST as in records (the newest with it) or NAME@VERSION.

    Raises:
        ConfigError: if there is none, or its file was changed.
    """
    name, _, wanted = reference.partition("@")
    versions = list(_versions(require_name(name)))
    if not versions:
        raise unknown("parameter set", name, names(), remedy=_REMEDY)
    fitting = [made for made in versions if wanted in ("", made.version, made.version.partition("-")[0])]
    if not fitting:
        raise no_version("parameter set", name, wanted, [made.version for made in versions])
    return max(fitting, key=lambda made: (made.saved_at, made.version))


def all_sets() -> list[ParameterSet]:
    """Return every version of every set, by name and then the oldest first."""
    found = [made for name in names() for made in _versions(name)]
    return sorted(found, key=lambda made: (made.name, made.saved_at, made.version))


def names() -> list[str]:
    """Return the names of all sets, sorted."""
    return sorted(path.name for path in _folder().glob("*") if path.is_dir())


def laid_over(tree: Mapping[str, Any], made: ParameterSet) -> dict[str, Any]:
    """Return a configuration with the sections of a set in place of its own, and the pointer to the set."""
    catalogue = {**(tree.get("catalogue") or {}), "parameter_set": made.pointer}
    return {**tree, **made.sections, "catalogue": catalogue}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return key, old and new value as JSON of everything that differs; "" where a side lacks the key.

    >>> differences({"score": {"function": "focus"}}, {"score": {"function": "haste"}})
    [('score.function', '"focus"', '"haste"')]
    """
    left, right = dict(_leaves(old)), dict(_leaves(new))
    keys = dict.fromkeys([*left, *right])
    return [(key, left.get(key, ""), right.get(key, "")) for key in keys if left.get(key) != right.get(key)]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False)


def _folder() -> Path:
    return home() / "params"


def _versions(name: str) -> Iterator[ParameterSet]:
    for path in sorted((_folder() / name).glob("[!.]*.yaml")):
        yield _read(path)


def _read(path: Path) -> ParameterSet:
    tree = read_tree(path)
    try:
        sections = {section: tree[section] for section in SECTIONS}
        made = ParameterSet(
            name=path.parent.name,
            version=version_of(sections),
            saved_at=str(tree["saved_at"]),
            made_by=str(tree["tierflow"]),
            about=str(tree["about"]),
            sections=sections,
        )
    except KeyError as error:
        raise ConfigError(f"{path} lacks the key {error}: it was changed; restore or remove it") from error
    if made.version != path.stem:
        raise ConfigError(
            f"{path} was changed after it was saved (its parameters give {made.version}): restore or remove it, and "
            "save other parameters as a set of their own"
        )
    return made


def _digest(tree: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:SET_DIGITS]
