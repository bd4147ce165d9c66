"""A study is searched by one process at a time, wherever its database is."""

import signal
import time

import optuna
import pytest

from daso.errors import Interrupted, UserError
from daso.machine.signals import StopRequest
from hydra_plugins.daso_study import _owner
from tests.config.study.told import states, value


@pytest.fixture(params=["a file", "a server"])
def database(request, tmp_path, monkeypatch):
    """A database that is opened as a file, and one that cannot be locked: SQLite's URI stands for a server's."""
    for name, seconds in [("PATIENCE", 0.2), ("BEAT", 0.3), ("SILENCE", 1.5), ("SETTLE", 0.2)]:
        monkeypatch.setattr(_owner, name, seconds)
    path = tmp_path / "shared.db"
    return f"sqlite:///{path}" if request.param == "a file" else f"sqlite:///file:{path}?uri=true"


def test_a_study_is_searched_by_one_process_whatever_its_folder(search, trials, database):
    opened = lambda: optuna.create_study(storage=database, study_name="quickstart", direction="maximize")  # noqa: E731
    with _owner.alone(database, "quickstart", opened) as study:
        study.ask()
        code, _, err, jobs = search(f"tune.storage='{database}'", "out_root=elsewhere")
        assert (code, jobs, err.count("\n")) == (2, [], 1)
        assert "tune.study=quickstart is not possible now: " in err
        assert states(trials(storage=database)) == ["RUNNING"]
        assert search(f"tune.storage='{database}'", "plan=true")[0] == 0
    code, _, _, jobs = search(f"tune.storage='{database}'", "tune.n_trials=1", "out_root=elsewhere")
    assert (code, len(jobs)) == (0, 1)
    assert states(trials(storage=database)) == ["FAIL", "COMPLETE"]


def test_a_study_that_could_not_be_opened_is_free_again(tmp_path):
    def broken():
        raise UserError("broken")

    storage = f"sqlite:///{tmp_path}/studies.db"
    with pytest.raises(UserError, match="broken") as kept, _owner.alone(storage, "quickstart", broken):
        pass
    with _owner.alone(storage, "quickstart", lambda: "open") as study:  # while the error still holds its frames
        assert (study, str(kept.value)) == ("open", "broken")


def test_a_study_whose_owner_fell_silent_is_taken_over(search, trials, database):
    study = optuna.create_study(storage=database, study_name="quickstart", direction="maximize")
    study.set_user_attr(_owner.OWNER, {"host": "gone", "pid": 1, "token": "x", "beats": 7})
    code, _, _, jobs = search(f"tune.storage='{database}'", "tune.n_trials=1")
    assert (code, len(jobs)) == (0, 1)
    assert states(trials(storage=database)) == ["COMPLETE"]


@pytest.mark.parametrize("database", ["a server"], indirect=True)
def test_who_loses_a_study_stops(search, database):
    def lose(config, provenance):
        mine = optuna.load_study(study_name="quickstart", storage=database)
        with StopRequest() as stop:
            for beat in range(600):
                if beat % 50 == 0:  # again and again, as an owner does: one sign may fall into the other's own
                    mine.set_user_attr(_owner.OWNER, {"host": "h", "pid": 1, "token": "x", "beats": beat})
                if stop() is not None:
                    raise Interrupted(stop())
                time.sleep(0.1)
        return value(config)

    code, _, err, jobs = search(f"tune.storage='{database}'", "tune.n_trials=1", run=lose)
    assert (code, len(jobs)) == (128 + signal.SIGTERM, 1)
    assert "process 1 on h searches it" in err
