"""Telling one hook: a signed POST, or a program that gets the same JSON."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
import time
from typing import TYPE_CHECKING

import urllib3

from tierflow.errors import ConfigError, TryAgainError

if TYPE_CHECKING:
    from tierflow.config_stream import Hook

SIGNATURE = "X-Tierflow-Signature"
_TAIL = 300


def secret_of(hook: Hook) -> bytes | None:
    """Return the key that signs a hook's requests, None where nothing is signed.

    Raises:
        ConfigError: if the environment variable isn't set.
    """
    if hook.secret_env is None:
        return None
    value = os.environ.get(hook.secret_env)
    if not value:
        raise ConfigError(f"stream.hooks: environment variable {hook.secret_env} isn't set; it must hold the secret")
    return value.encode()


def signature(secret: bytes, body: bytes, *, at: int) -> str:
    """Return the header that proves who sent a request, and when.

    The receiver computes HMAC-SHA256 with the shared secret over the time, a dot and the body, compares it in constant
    time, and refuses times that are minutes away.

    Args:
        secret: The shared key.
        body: The request's content.
        at: Seconds since 1970.

    >>> signature(b"key", b"{}", at=1)[:20]
    't=1,v1=1ba6b8171186e'
    """
    code = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={code}"


def send(hook: Hook, body: bytes, *, key: str, pool: urllib3.PoolManager) -> None:
    """Tell a hook once.

    Args:
        hook: Whom to tell.
        body: JSON.
        key: The same for every repetition of this request.
        pool: Connections.

    Raises:
        TryAgainError: if it didn't take it: nobody answers, an answer other than 2xx, a command that failed.
    """
    if hook.url:
        _post(hook, body, key=key, pool=pool)
    else:
        _start(hook, body, key=key)


def _post(hook: Hook, body: bytes, *, key: str, pool: urllib3.PoolManager) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": "tierflow"}
    secret = secret_of(hook)
    if secret is not None:
        headers[SIGNATURE] = signature(secret, body, at=int(time.time()))
    try:
        answer = pool.request(
            "POST",
            hook.url or "",
            body=body,
            headers=headers,
            timeout=urllib3.Timeout(total=hook.timeout_s),
            retries=False,
            redirect=False,
        )
    except urllib3.exceptions.HTTPError as error:
        raise TryAgainError(f"hook {hook.url} doesn't answer ({type(error).__name__}): {error}") from error
    if not 200 <= answer.status < 300:
        said = answer.data[:_TAIL].decode(errors="replace").strip()
        raise TryAgainError(f"hook {hook.url} answered {answer.status}: {said}; expected 2xx")


def _start(hook: Hook, body: bytes, *, key: str) -> None:
    name = hook.command[0]
    try:
        done = subprocess.run(
            hook.command,
            input=body,
            capture_output=True,
            timeout=hook.timeout_s,
            check=False,
            env={**os.environ, "TIERFLOW_IDEMPOTENCY_KEY": key},
        )
    except subprocess.TimeoutExpired as error:
        raise TryAgainError(
            f"hook {name} was ended after {hook.timeout_s:g} s: raise stream.hooks.timeout_s"
        ) from error
    except OSError as error:
        raise TryAgainError(f"hook {name} can't be started ({error.strerror}): give its full path") from error
    if done.returncode:
        said = (done.stderr or done.stdout)[-_TAIL:].decode(errors="replace").strip()
        raise TryAgainError(f"hook {name} ended with {done.returncode}: {said}; expected 0")
