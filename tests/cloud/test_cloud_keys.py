"""A key comes from where the user put it, and is never shown."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from mccomd.cloud.keys import find_key
from mccomd.errors import CloudError


def test_from_the_environment() -> None:
    assert find_key("env:MY_KEY", {"MY_KEY": " abc\n"}) == "abc"
    assert find_key("", {}) == ""


def test_from_a_private_file_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("abc\n")
    path.chmod(0o600)
    assert find_key(f"file:{path}", {}) == "abc"
    path.chmod(0o640)
    with pytest.raises(CloudError, match=r"others may read .* chmod 600 it") as caught:
        find_key(f"file:{path}", {})
    assert "abc" not in str(caught.value)


def test_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A named fake: the library is optional, and a test machine has no keyring."""
    fake = types.ModuleType("keyring")
    kept = {("mccomd-cloud", "ada"): "abc"}
    fake.get_password = lambda service, user: kept.get((service, user))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", fake)
    assert find_key("keyring:mccomd-cloud/ada", {}) == "abc"
    with pytest.raises(CloudError, match="the keyring has nothing for mccomd-cloud/bob"):
        find_key("keyring:mccomd-cloud/bob", {})


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("env:MY_KEY", "the variable MY_KEY is not set"),
        ("file:/no/such/file", "cannot be read: No such file"),
        ("file:/", "is not a file"),
        ("sk-abc", "env:NAME, file:PATH or keyring:SERVICE/USER"),
    ],
)
def test_no_key(place: str, said: str) -> None:
    with pytest.raises(CloudError, match=said):
        find_key(place, {})


def test_what_cannot_be_a_header_is_no_key() -> None:
    with pytest.raises(CloudError, match="what stands at env:K is no key") as caught:
        find_key("env:K", {"K": "abc\ndef"})
    assert "abc" not in str(caught.value)
