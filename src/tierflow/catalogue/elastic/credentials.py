"""Who we are to the server: from the environment or a file, never from a command line or the run's configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tierflow.config_io import read_tree
from tierflow.errors import ConfigError, InputMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.config import Elasticsearch

API_KEY = "TIERFLOW_ES_API_KEY"
USER = "TIERFLOW_ES_USER"
PASSWORD = "TIERFLOW_ES_PASSWORD"  # noqa: S105 - the name of a variable
DEFAULT_USER = "elastic"
_KEYS = {"api_key", "username", "password"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key, or a user and a password, or nothing. Never shown by `repr`.

    Attributes:
        api_key: Encoded key, as the server gave it.
        username: User of `password`.
        password: Password; None without one.
    """

    api_key: str | None = field(default=None, repr=False)
    username: str = DEFAULT_USER
    password: str | None = field(default=None, repr=False)

    def __bool__(self) -> bool:
        """Tell whether there is anything to send."""
        return self.api_key is not None or self.password is not None


def credentials(settings: Elasticsearch, environment: Mapping[str, str] | None = None) -> Credentials:
    """Return the credentials for a server: the environment's, else those of `settings.credentials_file`.

    `TIERFLOW_ES_API_KEY` goes before `TIERFLOW_ES_USER` (`elastic` without one) and `TIERFLOW_ES_PASSWORD`. Each may
    instead be named with `_FILE` at the end and hold the path of a file with the value, as secrets are mounted.

    Args:
        settings: Where the file is.
        environment: Variables by name; the process's own without it.

    Raises:
        ConfigError: if a file can't be read or says something else, or a user comes without password.
    """
    variables = os.environ if environment is None else environment
    api_key, user, password = (_variable(name, variables) for name in (API_KEY, USER, PASSWORD))
    if api_key is not None:
        return Credentials(api_key=api_key)
    if password is not None:
        return Credentials(username=user or DEFAULT_USER, password=password)
    if settings.credentials_file is not None:
        return _from_file(Path(settings.credentials_file).expanduser())
    if user is not None:
        raise ConfigError(f"{USER} is {user!r} but there is no password: set {PASSWORD} or {PASSWORD}_FILE as well")
    return Credentials()


def _variable(name: str, variables: Mapping[str, str]) -> str | None:
    value, path = variables.get(name), variables.get(f"{name}_FILE")
    if value and path:
        raise ConfigError(f"both {name} and {name}_FILE are set: unset one of them")
    if not path:
        return value or None
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE is {path!r}, which can't be read ({_short(error)}): correct the path") from None
    if not text:
        raise ConfigError(f"{name}_FILE is {path!r}, which is empty: write the value into it")
    return text


def _from_file(path: Path) -> Credentials:
    where = f"catalogue.elasticsearch.credentials_file {path}"
    try:
        mode = path.stat().st_mode
        # The parser's own message quotes the line that it stumbles over: the password, most likely.
        tree = read_tree(path)
    except (InputMissingError, FileNotFoundError):
        raise ConfigError(f"{where} is missing: correct the path, or set {API_KEY}") from None
    except (ConfigError, OSError):
        raise ConfigError(f"{where} can't be read as YAML: expected a line such as `api_key: ...`") from None
    if mode & 0o077:
        raise ConfigError(f"{where} can be read by others (mode {mode & 0o777:o}): run `chmod 600 {path}`")
    found = {name: str(value) for name, value in tree.items() if name in _KEYS and value}
    if set(tree) - _KEYS or ("api_key" in found) == ("password" in found):
        raise ConfigError(f"{where} must hold `api_key`, or `username` and `password`, and nothing else")
    if "api_key" in found:
        return Credentials(api_key=found["api_key"])
    return Credentials(username=found.get("username", DEFAULT_USER), password=found["password"])


def _short(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
