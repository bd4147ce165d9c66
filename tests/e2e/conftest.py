"""Stores and servers, as they are on good days and on bad ones."""

import shutil
import socket
import threading

import pytest

from daso.track.mlflow import init_store
from tests.e2e.mirrored import folder_of_a_run


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The file of a store without a run, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    init_store(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def uri(tmp_path_factory, empty_store):
    """A store of a module's own."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('store'))}"


@pytest.fixture(scope="module")
def client(uri):
    """Who reads it."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a run that is in no MLflow yet."""
    monkeypatch.chdir(tmp_path)
    return folder_of_a_run(tmp_path / "outputs")


@pytest.fixture
def silent_server():
    """Host and port of a server that accepts every connection and never answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    taken = []

    def accept():
        while True:
            try:
                taken.append(listening.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    for connection in [listening, *taken]:
        connection.close()
