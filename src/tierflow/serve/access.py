"""Who may do what: roles, tokens of a file, sessions of browsers. Knows nothing of HTTP.

A token is 256 random bits; the file holds only its SHA-256, so that who reads the file can't use it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import yaml

from tierflow.errors import ConfigError, InputMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SESSION_S = 12 * 3600.0
MOST_SESSIONS = 1000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[^\W_][\w .@-]{0,63}")


class Role(IntEnum):
    """What someone may do; each includes those before."""

    NOBODY = 0
    VIEWER = 1
    """Look at everything."""
    OPERATOR = 2
    """Pause, resume and drain a stream, retry objects, decide about them."""
    ADMIN = 3
    """Begin and cancel runs."""

    @property
    def word(self) -> str:
        """Its name in the file of tokens."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who asks.

    Attributes:
        name: Name, kept with everything that they change.
        role: What they may do.
    """

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Token:
    """A line of the file of tokens.

    Attributes:
        person: Whom it stands for.
        digest: SHA-256 of the token, 64 hex digits.
    """

    person: Person
    digest: str


class Access:
    """Tells who someone is; safe between threads.

    Args:
        tokens: Those that are accepted.
        without: What everyone may do who shows no token.
    """

    def __init__(self, tokens: Sequence[Token] = (), *, without: Role = Role.VIEWER) -> None:
        self._tokens = tuple(tokens)
        self.nobody = Person("", without)
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, tuple[Person, float]] = OrderedDict()

    @property
    def has_tokens(self) -> bool:
        """Whether anyone can log in."""
        return bool(self._tokens)

    def of_token(self, token: str) -> Person | None:
        """Return whom a token stands for, None if it isn't known. Takes as long for every token."""
        digest = digest_of(token)
        found = None
        for known in self._tokens:
            if hmac.compare_digest(known.digest, digest):
                found = known.person
        return found

    def begin_session(self, person: Person) -> str:
        """Return the secret of a new session, for a cookie."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[digest_of(secret)] = (person, time.monotonic() + SESSION_S)
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return secret

    def of_session(self, secret: str) -> Person | None:
        """Return whose session it is; None if it isn't known, or over."""
        with self._lock:
            person, until = self._sessions.get(digest_of(secret), (None, 0.0))
            return person if time.monotonic() < until else None

    def end_session(self, secret: str) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(digest_of(secret), None)


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token as the file holds it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def make_token() -> str:
    """Return a new token."""
    return f"tf_{secrets.token_urlsafe(32)}"


def role_of(word: str) -> Role:
    """Return a role by its name.

    Raises:
        ConfigError: if there is none.
    """
    found = {role.word: role for role in Role if role != Role.NOBODY}
    if word not in found:
        raise ConfigError(f"role {word!r}: expected one of {', '.join(found)}")
    return found[word]


def check_name(name: str) -> str:
    """Return the name of a person.

    Raises:
        ConfigError: if it couldn't be read without doubt where it is shown.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name {name!r}: expected letters, digits, spaces and . @ - _, 64 at most")
    return name


def line_of(token: str, *, name: str) -> str:
    """Return the line of a token for the file, below its role."""
    return f"  - {{name: {check_name(name)!r}, sha256: {digest_of(token)}}}"


def read_tokens(path: Path) -> list[Token]:
    """Read a file of tokens: a role, then a list of `name` and `sha256` each.

    Raises:
        InputMissingError: if it isn't there.
        ConfigError: if it can't be understood, others may change it, or a token stands in it twice.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise InputMissingError(f"{path}: no such file; make tokens by `tierflow serve --make-token viewer`") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} can't be read as YAML ({error}): expected `viewer:` and a list below it") from error
    if mode & 0o022:
        raise ConfigError(f"{path}: others may write to it and give themselves any role; `chmod go-w {path}`")
    if not isinstance(tree, dict) or not tree:
        raise ConfigError(f"{path}: expected roles (viewer, operator, admin), each with a list of tokens")
    roles = {role_of(str(word)): _list(path, entries) for word, entries in tree.items()}
    found = [_token(path, role, entry) for role, entries in roles.items() for entry in entries]
    if not found:
        raise ConfigError(f"{path} holds no token: nobody could log in; make one by --make-token")
    twice = {token.digest for token in found if sum(other.digest == token.digest for other in found) > 1}
    if twice:
        raise ConfigError(f"{path}: the token {min(twice)[:12]}... stands there twice; give everyone their own")
    return found


def _list(path: Path, entries: object) -> list[object]:
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: below a role stands {entries!r}, expected a list of name and sha256")
    return entries


def _token(path: Path, role: Role, entry: object) -> Token:
    if not isinstance(entry, dict) or set(entry) != {"name", "sha256"}:
        raise ConfigError(
            f"{path}: an entry of {role.word} is {entry!r}, expected `name` and `sha256` and nothing else"
        )
    digest = str(entry["sha256"])
    if not _DIGEST.fullmatch(digest):
        raise ConfigError(f"{path}: sha256 of {entry['name']!r} is {digest!r}, expected 64 hex digits in lower case")
    return Token(Person(check_name(str(entry["name"])), role), digest)
