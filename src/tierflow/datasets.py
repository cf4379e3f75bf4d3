"""Data sets that are registered under a name: a described schema, and a table of what is known about the objects.

Each version is a folder of its own, `datasets/NAME/VERSION` in `home.home()`, never written again; VERSION is a digest
of schema and table.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tierflow import metadata_table
from tierflow.clock import utc_now
from tierflow.config_io import read_tree, validate
from tierflow.errors import ConfigError
from tierflow.home import home, no_version, require_name, unknown, write_synced
from tierflow.io.atomic import fsync_dir
from tierflow.metadata_cells import PARQUET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tierflow.config import Metadata

_ABOUT_FILE = "dataset.yaml"
_REMEDY = "there is none yet: register one by `tierflow dataset register NAME --schema FILE --table FILE`"


@dataclass(frozen=True, slots=True)
class DataSet:
    """One version of a registered data set.

    Attributes:
        name: Its name, which becomes the run's data set.
        version: 12 hex digits over schema and table.
        registered_at: When, as `clock.utc_now` gives it.
        about: What it is, in words.
        rows: Rows of the table that say something.
        sha256: SHA-256 of the table's bytes.
        table: The table.
        schema: `key` and `fields`, as in the section `metadata`.
    """

    name: str
    version: str
    registered_at: str
    about: str
    rows: int
    sha256: str
    table: Path
    schema: Mapping[str, Any]


def read_schema(path: Path) -> Metadata:
    """Read a YAML file with `key` and `fields` (or a whole section `metadata`).

    Raises:
        InputMissingError: if it isn't there.
        ConfigError: naming every wrong key, its value and the remedy.
    """
    tree = read_tree(path)
    section = tree.get("metadata", tree)
    found = validate({"metadata": section}, where=str(path)).metadata
    if not found.fields:
        raise ConfigError(f"{path} declares no field: add `fields:` with a name and a type for each column")
    return found


def register(name: str, *, schema: Path, table: Path, about: str = "") -> tuple[DataSet, bool]:
    """Check a table against its schema and keep both; what is there already stays as it is.

    Returns:
        The data set, and whether it is new.

    Raises:
        InputMissingError: if a file isn't there.
        ConfigError: if the name, the schema or the table is wrong.
    """
    declared = read_schema(schema)
    rows = metadata_table.load(table, declared).num_rows
    if not rows:
        raise ConfigError(f"{table} holds no row below its header: there is nothing to register")
    data = table.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    kept = declared.model_dump(mode="json", exclude={"table"})
    version = hashlib.sha256(f"{yaml.safe_dump(kept)}{sha256}".encode()).hexdigest()[:12]
    made = {"name": require_name(name), "version": version, "registered_at": utc_now(), "about": about}
    file = "table.parquet" if table.suffix.lower() in PARQUET else "table.csv"
    text = yaml.safe_dump(
        {**made, "rows": rows, "file": file, "sha256": sha256, "schema": kept}, sort_keys=False, allow_unicode=True
    )
    folder = _folder() / name / version
    is_new = _add_folder(folder, {file: data, _ABOUT_FILE: text.encode()})
    return _read(folder), is_new


def find(reference: str) -> DataSet:
    """Return a data set by NAME (its newest version) or NAME@VERSION.

    Raises:
        ConfigError: if there is none, or its files were changed.
    """
    name, _, wanted = reference.partition("@")
    versions = list(_versions(require_name(name)))
    if not versions:
        raise unknown("data set", name, names(), remedy=_REMEDY)
    fitting = [made for made in versions if wanted in ("", made.version)]
    if not fitting:
        raise no_version("data set", name, wanted, [made.version for made in versions])
    newest = max(fitting, key=lambda made: (made.registered_at, made.version))
    if hashlib.sha256(newest.table.read_bytes()).hexdigest() != newest.sha256:
        raise ConfigError(f"{newest.table} was changed after it was registered: register the changed table anew")
    return newest


def all_datasets() -> list[DataSet]:
    """Return every version of every data set, by name and then the oldest first."""
    found = [made for name in names() for made in _versions(name)]
    return sorted(found, key=lambda made: (made.name, made.registered_at, made.version))


def names() -> list[str]:
    """Return the names of all data sets, sorted."""
    return sorted(path.name for path in _folder().glob("*") if path.is_dir())


def laid_over(tree: Mapping[str, Any], made: DataSet) -> dict[str, Any]:
    """Return a configuration with the name, schema and table of a data set."""
    return {**tree, "dataset": made.name, "metadata": {**made.schema, "table": str(made.table)}}


def _folder() -> Path:
    return home() / "datasets"


def _versions(name: str) -> Iterator[DataSet]:
    for path in sorted((_folder() / name).glob(f"[!.]*/{_ABOUT_FILE}")):
        yield _read(path.parent)


def _read(folder: Path) -> DataSet:
    path = folder / _ABOUT_FILE
    tree = read_tree(path)
    try:
        return DataSet(
            name=folder.parent.name,
            version=folder.name,
            registered_at=str(tree["registered_at"]),
            about=str(tree["about"]),
            rows=int(tree["rows"]),
            sha256=str(tree["sha256"]),
            table=folder / str(tree["file"]),
            schema=tree["schema"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is damaged ({error!r}): remove its folder, and register the data set anew"
        ) from error


def _add_folder(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Make a folder with files whole unless there is one; tell whether it was made."""
    if folder.exists():
        return False
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    part.mkdir(parents=True)
    try:
        for name, data in files.items():
            write_synced(part / name, data)
        try:
            part.rename(folder)
        except OSError:
            # Another process was first: a folder that isn't empty can't be renamed to.
            if not folder.exists():
                raise
            return False
        fsync_dir(folder.parent)
        return True
    finally:
        shutil.rmtree(part, ignore_errors=True)
