"""Stores and servers, as they are on good days and on bad ones."""

import socket
import threading

import pytest

from daso.track.mlflow import init_store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The file of a store without a run, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    init_store(f"sqlite:///{path}")
    return path


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
