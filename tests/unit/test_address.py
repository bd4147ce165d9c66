"""The URLs of stores are read by SQLAlchemy: options, drivers and SQLite's own URIs."""

from pathlib import Path

import pytest

from daso.errors import UserError
from daso.track.address import absolute, flaw, reveal, same_store, sqlite_file
from daso.track.mlflow import resolve_uri


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:////abs/x.db", "/abs/x.db"),
        ("sqlite:///mlflow.db?timeout=60", "mlflow.db"),
        ("sqlite+pysqlite:///mlflow.db?timeout=60&check_same_thread=false", "mlflow.db"),
        ("sqlite:////a b/ü@x.db", "/a b/ü@x.db"),
        ("sqlite:///file:/abs/a%20b.db?uri=true", "/abs/a b.db"),
        ("sqlite:///file:x.db?mode=rwc&uri=true", "x.db"),
        ("sqlite:///file:x.db", "file:x.db"),  # without uri=true a name like any other
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///file:x?mode=memory&uri=true", None),
        ("sqlite://host/x.db/", "x.db/"),
        ("postgresql://u@h/d", None),
        ("http://host:5000", None),
        ("sqlite:mlflow.db", None),
    ],
)
def test_the_file_of_a_database(uri, path):
    assert sqlite_file(uri) == (None if path is None else Path(path))


def test_a_relative_file_becomes_absolute_and_keeps_driver_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite+pysqlite:///x.db?timeout=60") == f"sqlite+pysqlite:///{tmp_path}/x.db?timeout=60"
    assert absolute("sqlite:///file:x.db?uri=true") == f"sqlite:///{tmp_path}/x.db"
    assert sqlite_file(absolute("sqlite:///file:x.db?mode=rwc&uri=true")) == tmp_path / "x.db"
    for uri in ("http://host:5000", "postgresql://u@h/d", "sqlite:////abs/x.db?timeout=60", "sqlite://"):
        assert absolute(uri) == uri


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sqlite:///x.db", "sqlite+pysqlite:///./x.db?timeout=60", True),
        ("sqlite:///x.db", "sqlite:///file:x.db?uri=true", True),
        ("sqlite:///x.db", "sqlite:///y.db", False),
        ("postgresql://a:1@h/d", "postgresql+psycopg2://b:2@H:5432/d?sslmode=require", True),
        ("postgresql://h/d", "postgresql://h/e", False),
        ("postgresql://h/d", "mysql://h/d", False),
        ("http://h:5000", "sqlite:///x.db", False),
        ("nonsense", "nonsense", False),
    ],
)
def test_two_urls_of_one_database(one, other, same, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert same_store(one, other) is same


@pytest.mark.parametrize("uri", ["sqlite:mlflow.db", "sqlite://mlflow.db", "http:/host", "http://host:50x", "http://"])
def test_a_url_that_means_nothing_is_refused(uri, monkeypatch):
    assert flaw(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"MLFLOW_TRACKING_URI=.* is not possible"):
        resolve_uri("")


def test_every_store_that_mlflow_knows_may_be_named():
    for uri in ("", "sqlite://", "sqlite+pysqlite:///x.db", "https://u:p@[::1]:80/x", "databricks", "file:///x"):
        assert not uri or flaw(uri) == ""


def test_a_recorded_url_takes_its_credentials_from_the_environment(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:s3cret@host/db")
    assert reveal("postgresql://ann:***@host/db") == "postgresql://ann:s3cret@host/db"
    with pytest.raises(UserError, match=r"http://\*\*\*@host is not possible: .* or in MLFLOW_TRACKING_URI"):
        reveal("http://***@host")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    assert reveal("http://***@host") == "http://host"  # MLflow reads name and password by itself


def test_a_password_that_cannot_be_read_is_refused_without_a_piece_of_it():
    wrong = flaw("http://ann:s3cret/x@host")
    assert "%2F" in wrong
    assert "s3cret" not in wrong
    assert "%40" in flaw("postgresql://ann:s3@cret@host/db")
