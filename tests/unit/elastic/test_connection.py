"""Addresses, credentials and certificates: what is refused, and that no secret is ever shown."""

from __future__ import annotations

import base64

import elastic_transport
import pytest

from tierflow.catalogue.elastic.connection import connect, mapped, settings_of
from tierflow.catalogue.elastic.credentials import credentials
from tierflow.config import Elasticsearch
from tierflow.errors import ConfigError, TryAgainError

SECRET = "Moss-under-ice-33"


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ("API_KEY", "USER", "PASSWORD", "CA_FILE", "FINGERPRINT", "URL"):
        monkeypatch.delenv(f"TIERFLOW_ES_{name}", raising=False)
        monkeypatch.delenv(f"TIERFLOW_ES_{name}_FILE", raising=False)


def header(settings: Elasticsearch) -> str | None:
    with connect(settings) as client:
        return client._headers.get("authorization")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("url", "address", "alias"),
    [
        ("http://host:9200", "http://host:9200", "tierflow-objects"),
        ("http://host:9200/", "http://host:9200", "tierflow-objects"),
        ("http://host:9200/lab-objects", "http://host:9200", "lab-objects"),
        ("https://host/search/lab-objects", "https://host:443/search", "lab-objects"),
        ("https://host/search/", "https://host:443/search", "tierflow-objects"),
        ("http://[::1]:9200/lab-objects", "http://[::1]:9200", "lab-objects"),
    ],
)
def test_address_with_alias(url, address, alias):
    found = settings_of(url)
    assert (found.url, found.alias) == (address, alias)


def test_address_keeps_other_settings():
    base = Elasticsearch(alias="lab-objects", patience_s=7)
    assert settings_of("http://host:9200", base) == base.model_copy(update={"url": "http://host:9200"})


@pytest.mark.parametrize(
    "url", ["host:9200", "ftp://host", "http://", "http://host:port", "http://host:9200/typo", "http://host:1/?a=b"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError):
        settings_of(url)


@pytest.mark.parametrize(
    "url", [f"http://elastic:{SECRET}@host:9200", f"elastic:{SECRET}@host", f"http://a:{SECRET}@h:x"]
)
def test_password_in_the_address_is_refused_and_not_shown(url):
    for make in (settings_of, lambda text: connect(Elasticsearch(url=text))):
        with pytest.raises(ConfigError) as caught:
            make(url)
        assert SECRET not in str(caught.value)


def test_no_address():
    with pytest.raises(ConfigError, match="TIERFLOW_ES_URL"):
        connect(Elasticsearch())


def test_credentials_of_the_environment(monkeypatch, tmp_path):
    here = Elasticsearch(url="http://localhost:9200")
    assert header(here) is None
    monkeypatch.setenv("TIERFLOW_ES_PASSWORD", SECRET)
    assert header(here) == basic("elastic", SECRET)
    monkeypatch.setenv("TIERFLOW_ES_USER", "writer")
    assert header(here) == basic("writer", SECRET)
    path = tmp_path / "key"
    path.write_text("a-key\n")
    monkeypatch.setenv("TIERFLOW_ES_API_KEY_FILE", str(path))
    assert header(here) == "ApiKey a-key"


def test_credentials_are_never_shown():
    found = credentials(Elasticsearch(), {"TIERFLOW_ES_PASSWORD": SECRET})
    assert found
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "variables",
    [
        {"TIERFLOW_ES_USER": "writer"},
        {"TIERFLOW_ES_PASSWORD": SECRET, "TIERFLOW_ES_PASSWORD_FILE": "/dev/null"},
        {"TIERFLOW_ES_PASSWORD_FILE": "/nowhere/at/all"},
        {"TIERFLOW_ES_PASSWORD_FILE": "/dev/null"},
    ],
)
def test_half_credentials_are_refused(variables):
    with pytest.raises(ConfigError) as caught:
        credentials(Elasticsearch(), variables)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (f"password: {SECRET}", 0o644, "chmod 600"),
        (f"pasword: {SECRET}", 0o600, "must hold"),
        (f"password: {SECRET}\napi_key: x", 0o600, "must hold"),
        (f"password: '{SECRET}\n: [", 0o600, "YAML"),
    ],
)
def test_bad_credentials_file(tmp_path, text, mode, words):
    path = tmp_path / "credentials.yaml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=words) as caught:
        credentials(Elasticsearch(credentials_file=str(path)), {})
    assert SECRET not in str(caught.value)


def test_credentials_file(tmp_path):
    path = tmp_path / "credentials.yaml"
    path.write_text(f"username: writer\npassword: {SECRET}\n")
    path.chmod(0o600)
    found = credentials(Elasticsearch(credentials_file=str(path)), {})
    assert (found.username, found.password) == ("writer", SECRET)


def test_credentials_go_unencrypted_to_this_machine_only(monkeypatch):
    monkeypatch.setenv("TIERFLOW_ES_PASSWORD", SECRET)
    with pytest.raises(ConfigError, match="unencrypted") as caught:
        connect(Elasticsearch(url="http://search.lab:9200"))
    assert SECRET not in str(caught.value)
    for url in ("http://127.0.0.1:9200", "http://localhost:9200", "http://[::1]:9200", "https://search.lab:9200"):
        connect(Elasticsearch(url=url)).close()
    connect(Elasticsearch(url="http://search.lab:9200", allow_plain_http=True)).close()


def test_certificate_that_cannot_be_one(tmp_path, monkeypatch):
    path = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match="can't be read"):
        connect(Elasticsearch(url="https://host:9200", ca_file=str(path)))
    path.write_text("hello")
    with pytest.raises(ConfigError, match="PEM"):
        connect(Elasticsearch(url="https://host:9200", ca_file=str(path)))
    monkeypatch.setenv("TIERFLOW_ES_FINGERPRINT", "12:34")
    with pytest.raises(ConfigError, match="64 hex digits"):
        connect(Elasticsearch(url="https://host:9200"))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (elastic_transport.ConnectionError("<x.Y object at 0x7f>: refused"), TryAgainError, r"\(refused\)"),
        (elastic_transport.ConnectionTimeout("timed out"), TryAgainError, "same command"),
        (elastic_transport.TlsError("[SSL: CERTIFICATE_VERIFY_FAILED]"), ConfigError, "TIERFLOW_ES_CA_FILE"),
        (elastic_transport.TlsError("Fingerprints did not match"), ConfigError, "TIERFLOW_ES_FINGERPRINT"),
        (elastic_transport.TlsError("[SSL: WRONG_VERSION_NUMBER]"), ConfigError, "http://"),
        (elastic_transport.TlsError("EOF occurred in violation of protocol"), TryAgainError, "doesn't answer"),
        (elastic_transport.SerializationError("no JSON"), ConfigError, "Kibana"),
    ],
)
def test_every_error_of_the_transport_is_mapped(error, kind, words):
    with pytest.raises(kind, match=words), mapped(Elasticsearch(url="https://host:9200")):
        raise error
