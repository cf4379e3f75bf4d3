"""Every error of the Elasticsearch client and server, mapped to ours, in words that a technician can act on."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import elastic_transport
from elasticsearch import ApiError, UnsupportedProductError

from tierflow.errors import ConfigError, TierflowError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tierflow.config import Elasticsearch

SAFE = "nothing is lost: the catalogue is in Parquet"
AGAIN = "run the same command again"
BLOCKED = "cluster_block_exception"
CLOSED = "index_closed_exception"
# What OpenSSL and urllib3 say when the certificate is the wrong one, or there is no TLS at the other end at all.
_WRONG_CERTIFICATE = ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed", "Fingerprint", "doesn't match")
_NO_TLS = ("WRONG_VERSION_NUMBER", "wrong version number", "record layer failure", "UNKNOWN_PROTOCOL")
_OBJECT = re.compile(r"<[^<>]* object at 0x[0-9a-f]+>: |\w+Connection\(host=[^)]*\): ")
_REASON_LENGTH = 500


@contextmanager
def mapped(settings: Elasticsearch) -> Iterator[None]:
    """Turn every error of the client in the body into one of ours.

    Args:
        settings: Names the server and the alias in messages.

    Raises:
        TryAgainError: if the server is away, overloaded, full or doesn't take writes for now.
        ConfigError: if address, credentials, certificate, version or index are wrong.
    """
    try:
        yield
    except (elastic_transport.TransportError, elastic_transport.ApiError) as error:
        raise translated(error, settings) from error


def translated(error: Exception, settings: Elasticsearch) -> TierflowError:
    """Return our error for one of the client's."""
    server = f"Elasticsearch at {settings.url}"
    if isinstance(error, ApiError):
        return refused(status=error.status_code, body=error.body, settings=settings, error=error)
    if isinstance(error, elastic_transport.TlsError) and not is_passing(error):
        return _tls(error, server)
    if isinstance(error, elastic_transport.SerializationError):
        return ConfigError(
            f"{server} answers something that isn't JSON ({_shown(error)}): check that the address is "
            "Elasticsearch's own, not that of Kibana or of a proxy's login page"
        )
    return TryAgainError(
        f"{server} doesn't answer ({_shown(error)}); {SAFE}. Start the server or check "
        f"catalogue.elasticsearch.url, then {AGAIN}"
    )


def refused(
    *, status: int, body: Any, settings: Elasticsearch, error: Exception | None = None
) -> ConfigError | TryAgainError:
    """Return our error for an answer of the server that isn't a success.

    Args:
        status: HTTP status, of a whole answer or of one item of a bulk request.
        body: Body of the answer, or the item's `error`.
        settings: Names the server and the alias.
        error: What the client made of it.
    """
    server = f"Elasticsearch at {settings.url}"
    kind, reason = kind_and_reason(body)
    if kind in (BLOCKED, CLOSED):
        return _blocked(status, reason, server)
    if isinstance(error, UnsupportedProductError):
        return ConfigError(f"what answers at {settings.url} isn't Elasticsearch: check catalogue.elasticsearch.url")
    if kind == "media_type_header_exception":
        return ConfigError(
            f"{server} is older than the installed Python client ({reason}): install the client for it, "
            "`pip install 'elasticsearch>=8.19,<9'`"
        )
    if status == 401:
        return ConfigError(
            f"{server} doesn't accept the user, password or API key (401: {reason}): check TIERFLOW_ES_API_KEY, or "
            "TIERFLOW_ES_USER and TIERFLOW_ES_PASSWORD, or the credentials file"
        )
    if status == 403:
        return ConfigError(
            f"{server} doesn't allow this (403: {reason}): its administrator must give this user or key the "
            f"privileges `monitor` on the cluster and `read`, `write`, `view_index_metadata` and `manage` on the "
            f"indices of {settings.alias!r}"
        )
    if status == 404:
        return ConfigError(
            f"{server} has no {settings.alias!r}, or lacks what was asked for (404: {reason}): check "
            "catalogue.elasticsearch.alias; the first run that publishes makes it"
        )
    if status == 413:
        return ConfigError(
            f"{server}, or a proxy before it, refuses requests of this size (413: {reason}): lower "
            f"catalogue.elasticsearch.chunk_mb, now {settings.chunk_mb}"
        )
    if is_passing_status(status):
        return TryAgainError(
            f"{server} is overloaded or not ready ({status}: {reason}); {SAFE}. {AGAIN.capitalize()} later"
        )
    return ConfigError(f"{server} refuses this request ({status} {kind}: {reason})")


def is_passing(error: Exception) -> bool:
    """Tell whether the same request may succeed a little later: server away, restarting, hanging or overloaded."""
    if isinstance(error, ApiError):
        return is_passing_status(error.status_code) and not is_stopping(error.body)
    if isinstance(error, elastic_transport.TlsError):
        # A server that is killed in the middle of a handshake looks like a fault of TLS, too.
        return not any(word in _shown(error) for word in (*_WRONG_CERTIFICATE, *_NO_TLS))
    return isinstance(error, elastic_transport.ConnectionError | elastic_transport.ConnectionTimeout)


def is_passing_status(status: int) -> bool:
    """Tell whether an HTTP status says "later": 408, 429, and all faults of the server itself."""
    return status in (408, 429) or status >= 500


def is_stopping(body: Any) -> bool:
    """Tell whether an index was closed or made read-only, by hand or by a full disk: that doesn't pass within minutes.

    Args:
        body: Body of an answer, or the `error` of an item of a bulk request.
    """
    kind, reason = kind_and_reason(body)
    # While the cluster elects a master or recovers its state, it blocks too, with SERVICE_UNAVAILABLE.
    return kind == CLOSED or (kind == BLOCKED and "SERVICE_UNAVAILABLE" not in reason)


def kind_and_reason(body: Any) -> tuple[str, str]:
    """Return `type` and `reason` of an error as the server states it, innermost cause included, on one line.

    >>> kind_and_reason({"error": {"type": "a", "reason": "outer", "caused_by": {"type": "b", "reason": "inner"}}})
    ('a', 'outer: inner')
    """
    found = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(found, dict):
        return "", _one_line(str(found))
    reasons: list[str] = []
    cause: Any = found
    while isinstance(cause, dict):
        reasons.append(str(cause.get("reason", "")))
        cause = cause.get("caused_by")
    return str(found.get("type", "")), _one_line(": ".join(dict.fromkeys(text for text in reasons if text)))


def _blocked(status: int, reason: str, server: str) -> TryAgainError:
    if status == 429:
        return TryAgainError(
            f"the disk of {server} is full, so that it takes no more documents ({reason}); {SAFE}. Free disk space "
            f"on the server, then {AGAIN}"
        )
    if status == 503:
        return TryAgainError(
            f"{server} is starting or has lost its master ({reason}); {SAFE}. {AGAIN.capitalize()} later"
        )
    return TryAgainError(
        f"the index on {server} takes no documents for now ({reason}): it is closed or read-only, perhaps because it "
        f"is being migrated; {SAFE}. When that has ended, or the block was removed, {AGAIN}"
    )


def _tls(error: Exception, server: str) -> ConfigError:
    text = _shown(error)
    if any(word in text for word in _NO_TLS):
        return ConfigError(f"{server} doesn't speak TLS there ({text}): give the address with http://, or its TLS port")
    return ConfigError(
        f"the certificate of {server} isn't trusted ({text}): set TIERFLOW_ES_CA_FILE (or "
        "catalogue.elasticsearch.ca_file) to the certificate of the authority that signed it, or "
        "TIERFLOW_ES_FINGERPRINT to its SHA-256. If both are right, something else answers in the server's place"
    )


def _shown(error: Exception) -> str:
    """Return what the client says went wrong; its `str` doesn't."""
    # The text of a connection names the object in memory before it says what went wrong.
    return _one_line(_OBJECT.sub("", str(getattr(error, "message", error)))) or type(error).__name__


def _one_line(text: str) -> str:
    short = " ".join(text.split())
    return short if len(short) <= _REASON_LENGTH else short[: _REASON_LENGTH - 3] + "..."
