"""The way to the server: address, credentials and certificate checked before a byte is sent."""

from __future__ import annotations

import ipaddress
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import orjson
from elasticsearch import Elasticsearch as Client
from elasticsearch.serializer import CompatibilityModeJsonSerializer, JsonSerializer
from pydantic import ValidationError

from tierflow.catalogue.elastic.credentials import credentials
from tierflow.catalogue.elastic.problems import mapped
from tierflow.config import Elasticsearch
from tierflow.errors import ConfigError

if TYPE_CHECKING:
    from tierflow.catalogue.elastic.credentials import Credentials

__all__ = ["address_of", "certificate", "checked_address", "connect", "mapped", "refuse_plain_http", "settings_of"]

URL = "TIERFLOW_ES_URL"
CA_FILE = "TIERFLOW_ES_CA_FILE"
FINGERPRINT = "TIERFLOW_ES_FINGERPRINT"
_PORTS = {"http": 80, "https": 443}

# The transport warns of every failed request; without a handler Python writes that between our own messages.
logging.getLogger("elastic_transport").addHandler(logging.NullHandler())


class _Json(JsonSerializer):
    """Reads answers with orjson, three times as fast; writes as the client does, because orjson turns NaN into null."""

    def json_loads(self, data: bytes) -> Any:
        return orjson.loads(data)


class _CompatibleJson(_Json):
    mimetype = CompatibilityModeJsonSerializer.mimetype


def connect(settings: Elasticsearch) -> Client:
    """Return a client of the configured server. Nothing is sent yet.

    The client never tries a request twice by itself: whoever sends decides. Certificates are always checked.

    Raises:
        ConfigError: if there is no address or it can't be one, credentials or certificate can't be read, or credentials
            would go unencrypted to another machine.
    """
    parts = checked_address(address_of(settings))
    known = credentials(settings)
    refuse_plain_http(parts, known, settings)
    return Client(
        urlunsplit(parts),
        request_timeout=settings.timeout_s,
        max_retries=0,
        retry_on_timeout=False,
        serializers={kind.mimetype: kind() for kind in (_Json, _CompatibleJson)},
        **_authentication(known),
        **(certificate(settings) if parts.scheme == "https" else {}),
    )


def address_of(settings: Elasticsearch) -> str:
    """Return the configured address, or that of `TIERFLOW_ES_URL`.

    Raises:
        ConfigError: if there is neither.
    """
    found = settings.url or os.environ.get(URL)
    if not found:
        raise ConfigError(f"no Elasticsearch is configured: set catalogue.elasticsearch.url or {URL}")
    return found


def settings_of(url: str, base: Elasticsearch | None = None) -> Elasticsearch:
    """Return the settings for an address that may end with an alias, such as `http://host:9200/lab-objects`.

    A path that is a prefix of a proxy's ends with a slash: `https://host/search/` or `https://host/search/lab-objects`.

    Args:
        url: The address.
        base: All other settings, and the alias where the address has none.

    Raises:
        ConfigError: if it isn't such an address.
    """
    parts = checked_address(url)
    prefix, _, alias = parts.path.rpartition("/")
    changes = {"url": urlunsplit(parts._replace(path=prefix))} | ({"alias": alias} if alias else {})
    try:
        return Elasticsearch.model_validate((base or Elasticsearch()).model_dump() | changes)
    except ValidationError:
        raise ConfigError(
            f"{urlunsplit(parts)} ends with {alias!r}, which isn't an alias of tierflow: expected an address such as "
            "http://host:9200 or http://host:9200/tierflow-objects (a proxy's prefix ends with a slash)"
        ) from None


def checked_address(url: str) -> SplitResult:
    """Return the parts of an address, with its port; a message never shows what may be a password.

    Raises:
        ConfigError: if it isn't an http(s) address, or holds a user or password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{_without_user(url)!r} isn't an address: expected one such as https://host:9200") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigError(f"{_without_user(url)!r} isn't an address: expected one such as https://host:9200")
    if "@" in parts.netloc:
        raise ConfigError(
            f"the address of {parts.hostname} holds a user or password, which would end up in logs: take it out and "
            "set TIERFLOW_ES_USER and TIERFLOW_ES_PASSWORD instead"
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"{url!r} goes on after the path: expected an address such as https://host:9200")
    netloc = parts.netloc if port is not None else f"{parts.netloc.rstrip(':')}:{_PORTS[parts.scheme]}"
    return parts._replace(netloc=netloc)


def _without_user(url: str) -> str:
    scheme, mark, rest = url.rpartition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _is_here(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _authentication(known: Credentials) -> dict[str, Any]:
    if known.api_key is not None:
        return {"api_key": known.api_key}
    return {} if known.password is None else {"basic_auth": (known.username, known.password)}


def refuse_plain_http(parts: SplitResult, known: Credentials, settings: Elasticsearch) -> None:
    """Raise ConfigError where credentials would cross the network unencrypted and nobody has allowed it."""
    if known and parts.scheme == "http" and not (_is_here(parts.hostname) or settings.allow_plain_http):
        raise ConfigError(
            f"credentials for {urlunsplit(parts)} would be sent unencrypted to another machine: use https://, or, in a "
            "closed network, set catalogue.elasticsearch.allow_plain_http to true"
        )


def certificate(settings: Elasticsearch) -> dict[str, Any]:
    """Return what the server's certificate is checked against: `ca_certs` or `ssl_assert_fingerprint`, or nothing.

    Nothing means the authorities that this machine trusts.

    Raises:
        ConfigError: if the file can't be read, or the fingerprint isn't one.
    """
    fingerprint = os.environ.get(FINGERPRINT) or settings.fingerprint
    if fingerprint:
        digits = fingerprint.replace(":", "")
        if len(digits) != 64 or set(digits.lower()) - set("0123456789abcdef"):
            raise ConfigError(f"fingerprint {fingerprint!r}: expected the 64 hex digits of a SHA-256, colons allowed")
        return {"ssl_assert_fingerprint": digits}
    ca_file = os.environ.get(CA_FILE) or settings.ca_file
    if not ca_file:
        return {}
    path = Path(ca_file).expanduser()
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"CA certificate {path} can't be read ({type(error).__name__}): correct the path") from error
    if "BEGIN CERTIFICATE" not in text:
        raise ConfigError(f"CA certificate {path} isn't a certificate in PEM form: expected `-----BEGIN CERTIFICATE`")
    return {"ca_certs": str(path)}
