"""Sizes and hashes: what is refused, what is remembered, and when it is looked at again."""

import os

import pytest

from agent.models import integrity
from agent.models.integrity import flaw_of, sha256_of
from tests.agent.models.conftest import file_of

CONTENT = b"weights" * 1000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def hashed(monkeypatch):
    """The files that were hashed, in order."""
    seen = []

    def counted(path):
        seen.append(path)
        return sha256_of(path)

    monkeypatch.setattr(integrity, "sha256_of", counted)
    return seen


def check(path, **options):
    file = file_of("model.bin", CONTENT)
    return flaw_of(path, file.size, file.sha256, **options)


def test_the_recorded_file_has_no_flaw(path):
    assert check(path) is None


def test_a_missing_file(tmp_path):
    assert check(tmp_path / "none") == "is missing"


def test_a_half_file_is_told_by_its_size_without_hashing(path, hashed):
    path.write_bytes(CONTENT[:3500])
    assert check(path) == "has 3,500 bytes instead of 7,000"
    assert hashed == []


def test_a_changed_file_of_the_right_size(path):
    path.write_bytes(b"x" + CONTENT[1:])
    assert check(path) == "has been changed (its sha256 differs)"


def test_a_file_is_hashed_once(path, hashed):
    assert [check(path), check(path)] == [None, None]
    assert hashed == [path]


def test_verify_hashes_again(path, hashed):
    check(path)
    assert check(path, verify=True) is None
    assert hashed == [path, path]


def test_a_file_that_was_written_since_is_hashed_again(path):
    check(path)
    path.write_bytes(b"x" + CONTENT[1:])
    os.utime(path, ns=(0, 1))
    assert check(path) == "has been changed (its sha256 differs)"


def test_a_flaw_is_never_remembered(path):
    path.write_bytes(b"x" + CONTENT[1:])
    check(path)
    assert check(path) == "has been changed (its sha256 differs)"


def test_a_broken_stamp_is_no_stamp(path, hashed, cache):
    check(path)
    (stamp,) = (cache / "verified").iterdir()
    stamp.write_text("{half")
    assert check(path) is None
    assert hashed == [path, path]


def test_a_cache_that_cannot_be_written_costs_a_second_hash_and_no_error(path, hashed, cache):
    cache.write_text("a file where the folder should be")
    assert [check(path), check(path)] == [None, None]
    assert hashed == [path, path]
