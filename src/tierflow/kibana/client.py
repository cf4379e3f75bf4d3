"""The way to a Kibana: one function that sends a request, and every failure of it in words for a technician."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlunsplit

import urllib3

from tierflow.catalogue.elastic.connection import certificate, checked_address, refuse_plain_http
from tierflow.catalogue.elastic.credentials import credentials
from tierflow.catalogue.elastic.patience import Patience
from tierflow.errors import ConfigError, TryAgainError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tierflow.catalogue.elastic.credentials import Credentials
    from tierflow.config import Elasticsearch

_PASSING = (408, 429, 502, 503, 504)
_CREDENTIALS = "TIERFLOW_ES_API_KEY, or TIERFLOW_ES_USER and TIERFLOW_ES_PASSWORD, or the credentials file"
_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What Kibana said.

    Attributes:
        status: HTTP status.
        body: The JSON of the answer.
    """

    status: int
    body: Any


class Kibana:
    """A Kibana at an address, perhaps one space of it.

    Args:
        url: Address; a path is Kibana's `server.basePath`.
        settings: Where credentials and certificate come from, and how long to wait.
        space: Identifier of the space; None is the default one.

    Raises:
        ConfigError: if address, credentials or certificate can't be used.
    """

    def __init__(self, url: str, settings: Elasticsearch, *, space: str | None = None) -> None:
        parts = checked_address(url)
        known = credentials(settings)
        refuse_plain_http(parts, known, settings)
        self.url = urlunsplit(parts).rstrip("/")
        self.home = f"{self.url}/s/{quote(space)}" if space else self.url
        self._headers = {"kbn-xsrf": "true", "Accept": "application/json", **_authorization(known)}
        self._patience = Patience(settings.patience_s)
        self._pool = urllib3.PoolManager(
            timeout=settings.timeout_s, retries=False, **(_tls(settings) if parts.scheme == "https" else {})
        )

    def get(self, path: str) -> Answer:
        """Return Kibana's answer to a GET of a path such as `/api/status`, which belongs to no space."""
        return self._send("GET", f"{self.url}{path}")

    def post_file(self, path: str, *, name: str, text: str) -> Answer:
        """Return Kibana's answer to a file that is posted to the space as a form's field `file`."""
        fields = {"file": (name, text.encode(), "application/ndjson")}
        return self._send("POST", f"{self.home}{path}", fields=fields)

    def _send(self, method: str, where: str, **options: Any) -> Answer:
        while True:
            try:
                found = self._pool.request(method, where, headers=self._headers, redirect=False, **options)
            except urllib3.exceptions.SSLError as error:
                raise self._untrusted(error) from error
            except urllib3.exceptions.HTTPError as error:
                if not self._patience.wait():
                    raise self._away(error) from error
                continue
            if found.status not in _PASSING:
                self._patience.succeeded()
                return self._answer(found.status, found.data, found.headers)
            if not self._patience.wait():
                raise TryAgainError(
                    f"Kibana at {self.url} isn't ready ({found.status}: {_short(found.data)}); nothing was changed: "
                    "run the same command again later"
                )

    def _answer(self, status: int, data: bytes, headers: Mapping[str, str]) -> Answer:
        if 300 <= status < 400:
            raise ConfigError(
                f"{self.url} sends us on to {headers.get('Location', 'another page')!r}: expected Kibana's own "
                "address, with its base path where it has one, and not that of a login page or proxy"
            )
        try:
            body = json.loads(data)
        except ValueError:
            self._not_kibana(status, data)
        if status == 401:
            raise ConfigError(
                f"Kibana at {self.url} doesn't accept the user, password or API key (401: {_short(data)}): check "
                f"{_CREDENTIALS}"
            )
        if status == 403:
            raise ConfigError(
                f"Kibana at {self.url} doesn't allow this (403: {_short(data)}): its administrator must give this user "
                "or key the Kibana privilege `Saved Objects Management: All` in this space"
            )
        return Answer(status, body)

    def _not_kibana(self, status: int, data: bytes) -> NoReturn:
        raise ConfigError(
            f"what answers at {self.url} isn't Kibana ({status}: {_short(data)}): expected its address, such as "
            "http://localhost:5601"
        )

    def _untrusted(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"the certificate of Kibana at {self.url} isn't trusted, or it doesn't speak TLS there "
            f"({_innermost(error)}): set TIERFLOW_ES_CA_FILE (or catalogue.elasticsearch.ca_file) to the certificate "
            "of the authority that signed it, or TIERFLOW_ES_FINGERPRINT to its SHA-256"
        )

    def _away(self, error: Exception) -> TryAgainError:
        return TryAgainError(
            f"Kibana at {self.url} doesn't answer ({_innermost(error)}): start it or check the address, then run the "
            "same command again"
        )


def _authorization(known: Credentials) -> dict[str, str]:
    if known.api_key is not None:
        return {"Authorization": f"ApiKey {known.api_key}"}
    if known.password is None:
        return {}
    pair = base64.b64encode(f"{known.username}:{known.password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _tls(settings: Elasticsearch) -> dict[str, Any]:
    found = certificate(settings)
    if "ssl_assert_fingerprint" in found:
        # The fingerprint says which certificate it must be; who signed that one doesn't matter then.
        return {"cert_reqs": "CERT_NONE", "assert_fingerprint": found["ssl_assert_fingerprint"]}
    return {"cert_reqs": "CERT_REQUIRED", **found}


def _innermost(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    inner = reason if isinstance(reason, BaseException) else error
    return _short(str(inner).encode())


def _short(data: bytes) -> str:
    text = " ".join(data.decode("utf-8", "replace").split())
    return text if len(text) <= _LENGTH else text[: _LENGTH - 3] + "..."
