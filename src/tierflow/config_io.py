"""Read a configuration file, and say what is wrong with it so that a technician can mend it."""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from tierflow.config import Config
from tierflow.errors import ConfigError, InputMissingError
from tierflow.io.atomic import write_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

# The same loader in C, where PyYAML was built with it: every job of a run reads the configuration.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file into plain dictionaries without judging its keys.

    Raises:
        InputMissingError: if there is no such file.
        ConfigError: if it isn't YAML or not a mapping.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_SAFE_LOADER)  # noqa: S506
    except FileNotFoundError as error:
        raise InputMissingError(f"configuration file {path} not found: check the path given to --config") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder: give the path of a YAML file to --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not readable as YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected keys such as `scan:` and `policy:`, found a {type(tree).__name__}")
    return tree


def load(path: Path) -> Config:
    """Read and validate a configuration file.

    Raises:
        InputMissingError: if there is no such file.
        ConfigError: naming every wrong key, its value and the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        # Read again by the function that has the words for it.
        return validate(read_tree(path), where=str(path))
    return _parsed(text, path)


@lru_cache(maxsize=4)
def _parsed(text: str, path: Path) -> Config:  # noqa: ARG001 - the text is the key: a changed file is read again
    """Read and validate a file whose text is known; re-scoring a run asks for the same one once per shard."""
    return validate(read_tree(path), where=str(path))


def validate(tree: Mapping[str, Any], *, where: str = "configuration") -> Config:
    """Turn plain dictionaries into a `Config`.

    Args:
        tree: Keys and values as read from YAML or a command line.
        where: Named in messages.

    Raises:
        ConfigError: naming every wrong key, its value and the remedy.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = [f"{where}: {_explain(problem)}" for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def explain_parameters(error: ValidationError, *, where: str, model: type[BaseModel]) -> str:
    """Say what is wrong with the `parameters` of a plug-in, one line per problem.

    Args:
        error: What pydantic said.
        where: Key of the parameters, such as `score.parameters`.
        model: The plug-in's own parameter model.
    """
    return "\n".join(f"{where}: {_explain(problem, model)}" for problem in error.errors())


def write(path: Path, config: Config) -> None:
    """Write a whole configuration as YAML, unless the file says the same already (its time of change then stays)."""
    text = dump(config)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def dump(config: Config) -> str:
    """Return a configuration as YAML with every key."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def merge(
    base: Mapping[str, Any], changes: Mapping[str, Any], *, whole: Collection[str] = ("tiers", "parameters")
) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, key by key; lists and scalars are replaced whole.

    Args:
        base: Keys and values.
        changes: Keys and values that win.
        whole: Keys whose mappings are replaced, not merged: who names tiers in a file means exactly those.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        deep = isinstance(old, dict) and isinstance(value, dict) and key not in whole
        merged[key] = merge(old, value, whole=whole) if deep and isinstance(old, dict) else value
    return merged


def _explain(problem: ErrorDetails, model: type[BaseModel] = Config) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"unknown key `{place}` (value {value!r}): {_remedy(problem['loc'], model)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"`{place}` is missing: give it a value"
    if problem["type"] == "value_error":
        return f"`{place}`: {message}" if place else message
    shown = repr(value) if len(repr(value)) <= 120 else repr(value)[:117] + "..."
    return f"`{place}` is {shown}: {message[:1].lower()}{message[1:]}{_unit_hint(place, value)}"


def _unit_hint(place: str, value: object) -> str:
    units = {"_um": "micrometres", "_px": "pixels", "_mb": "megabytes", "_s": "seconds"}
    for suffix, unit in units.items():
        if place.rpartition(".")[2].endswith(suffix) and isinstance(value, str):
            return f"; give a plain number in {unit}, without a unit"
    return ""


_UNITS = frozenset(["nm", "um", "mm", "m", "px", "b", "kb", "mb", "gb", "tb", "ms", "s", "min", "h"])


def _unit(key: str) -> str:
    unit = key.rpartition("_")[2]
    return unit if unit in _UNITS else ""


def _remedy(place: Sequence[int | str], root: type[BaseModel]) -> str:
    known = _keys_at(place[:-1], root)
    name = str(place[-1])
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    stem, _, unit = name.rpartition("_")
    # `shard_gb` for `shard_mb`: the same quantity in another unit.
    same_quantity = [key for key in known if unit in _UNITS and key.rpartition("_")[0] == stem and _unit(key)]
    if same_quantity:
        return f"did you mean `{same_quantity[0]}`? The unit is part of the name"
    if near:
        return f"did you mean `{near[0]}`?"
    return f"known keys here are {', '.join(known)}"


def _keys_at(place: Sequence[int | str], root: type[BaseModel]) -> list[str]:
    schema: dict[str, Any] = root.model_json_schema()
    node = schema
    for part in place:
        node = _resolve(node, schema)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(node, dict):
        return {}
    if "$ref" in node:
        found: dict[str, Any] = schema["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    return node
