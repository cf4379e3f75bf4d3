"""Who may do what."""

from __future__ import annotations

import pytest
import yaml

from tierflow.cli import run_cli
from tierflow.errors import ConfigError, InputMissingError
from tierflow.serve import access as access_module
from tierflow.serve.access import Access, Person, Role, Token, digest_of, line_of, make_token, read_tokens, role_of


def write(folder, text):
    path = folder / "tokens.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_token_that_was_made_is_known_by_its_line(tmp_path):
    token = make_token()
    path = write(tmp_path, f"operator:\n{line_of(token, name='anna')}\n")
    assert token not in path.read_text()
    found = Access(read_tokens(path), without=Role.NOBODY)
    assert found.of_token(token) == Person("anna", Role.OPERATOR)
    assert found.of_token(token + "x") is None
    assert found.of_token("") is None
    assert found.of_token("\udcff") is None
    assert found.nobody.role == Role.NOBODY


def test_tokens_differ():
    assert len({make_token() for _ in range(50)}) == 50
    assert len(make_token()) > 40


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected roles"),
        ("[1]", "expected roles"),
        ("viewer: []", "holds no token"),
        ("boss: []", "expected one of viewer, operator, admin"),
        ("nobody: []", "expected one of viewer, operator, admin"),
        ("viewer: anna", "expected a list"),
        ("viewer: [{name: anna}]", "`name` and `sha256`"),
        ("viewer: [{name: anna, sha256: abc}]", "64 hex digits"),
        (f"viewer: [{{name: '<b>', sha256: {'0' * 64}}}]", "expected letters"),
        (f"viewer: [{{name: a, sha256: {'0' * 64}}}, {{name: b, sha256: {'0' * 64}}}]", "twice"),
        ("viewer: [", "can't be read as YAML"),
    ],
)
def test_files_that_cannot_be_understood(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read_tokens(write(tmp_path, text.replace(": " + "0" * 64, ": '" + "0" * 64 + "'")))


def test_a_file_that_others_may_change(tmp_path):
    path = write(tmp_path, yaml.safe_dump({"viewer": [{"name": "anna", "sha256": digest_of("x")}]}))
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod go-w"):
        read_tokens(path)
    with pytest.raises(InputMissingError, match="--make-token"):
        read_tokens(tmp_path / "nothing")


def test_a_name_is_readable():
    for name in ("", "a\nb", "x: y", "'", "a" * 65):
        with pytest.raises(ConfigError):
            line_of("t", name=name)
    assert role_of("admin") > role_of("operator") > role_of("viewer") > Role.NOBODY


def test_sessions_end(monkeypatch):
    person = Person("anna", Role.OPERATOR)
    found = Access([Token(person, digest_of("t"))])
    secret = found.begin_session(person)
    assert found.of_session(secret) == person
    assert found.of_session(secret[:-1]) is None
    found.end_session(secret)
    assert found.of_session(secret) is None
    monkeypatch.setattr(access_module, "SESSION_S", -1.0)
    assert found.of_session(found.begin_session(person)) is None


def test_there_are_never_too_many_sessions(monkeypatch):
    monkeypatch.setattr(access_module, "MOST_SESSIONS", 3)
    found, person = Access(), Person("anna", Role.VIEWER)
    secrets = [found.begin_session(person) for _ in range(5)]
    assert [found.of_session(secret) is not None for secret in secrets] == [False, False, True, True, True]


def test_a_token_without_a_name_asks_for_the_name(capsys):
    assert run_cli(["serve", "--make-token", "operator"]) == 78
    assert "Add --name, such as --name anna" in capsys.readouterr().err
