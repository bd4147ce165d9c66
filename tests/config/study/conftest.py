"""A study of the quickstart's knobs in a folder of its own, and its trials."""

import optuna
import pytest

from tests.config.study.told import value

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def search(sweep):
    def call(*arguments, run=value, **machine):
        return sweep("experiment=tune_quickstart", "tune.n_trials=3", *arguments, run=run, **machine)

    return call


@pytest.fixture
def trials(tmp_path):
    """The trials of the study in its storage, by number."""

    def call(name="quickstart", storage=None):
        storage = storage or f"sqlite:///{tmp_path}/out/studies.db"
        return optuna.load_study(study_name=name, storage=storage).trials

    return call


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path, request):
    """In a folder of its own; figures, which take longer than the search, are drawn where a test asks for them."""
    monkeypatch.chdir(tmp_path)
    if "figures" not in request.fixturenames:
        monkeypatch.setattr("daso.report.tuning.figures", lambda study, folder: [])


@pytest.fixture
def figures():
    """Drawn."""
