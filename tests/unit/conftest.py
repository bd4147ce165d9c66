"""Data sets that stand in for the published ones, on a server of the test's own."""

from functools import partial
from http.server import ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torchvision.datasets.utils as tv_utils

from tests.published import FASHION_FILES, Published, QuietHandler, cifar_files, idx, images, publish_fashion


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder and the address of a server that hands out its files."""
    folder = tmp_path / "server"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def cifar10(monkeypatch, published):
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]
    return Published(monkeypatch, published, "cifar10", cifar_files(names, "labels", 10))


@pytest.fixture
def cifar100(monkeypatch, published):
    return Published(monkeypatch, published, "cifar100", cifar_files(["train", "test"], "fine_labels", 100))


@pytest.fixture
def stl10(monkeypatch, published):
    files = {f"{part}_X.bin": images(n, 3, 96).tobytes() for part, n in [("train", 20), ("test", 10), ("unlabeled", 6)]}
    files["train_y.bin"] = bytes(range(1, 11)) * 2
    files["test_y.bin"] = bytes(range(1, 11))
    return Published(monkeypatch, published, "stl10", files)


@pytest.fixture
def fashion(monkeypatch):
    """The unpacked content of four small files: 30 training and 10 test images."""
    sizes = {name: 30 if "train" in name else 10 for name in FASHION_FILES}
    contents = {
        name: idx(images(n, 1, 28)[:, 0] if "images" in name else np.arange(n) % 10) for name, n in sizes.items()
    }
    publish_fashion(monkeypatch, contents)
    return contents


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, *_):
        raise AssertionError(f"{url} asked for, although every file is there")

    monkeypatch.setattr(tv_utils, "download_url", refuse)
