"""A password or token is masked wherever it is shown or stored, and found again by who needs it."""

import os
import pickle

import pytest
import yaml

from daso.credentials import HELD, MASK, held, hold, mask, mask_all, mask_url, withhold
from daso.errors import CannotCompile, RunFailed, UserError
from daso.settings.identity import to_yaml
from daso.sweep.grid import labels
from daso.track.console import Console
from tests.compose import config_of

SECRETS = [  # (a text, what is shown of it)
    ("http://user:s3cret@host:5000/x", "http://***@host:5000/x"),
    ("https://s3cret@host", "https://***@host"),
    ("https://s3cret:x-oauth-basic@host", "https://***@host"),
    ("postgresql://ann:s3cret@host/db?sslmode=require", "postgresql://ann:***@host/db?sslmode=require"),
    ("postgresql+psycopg2://ann:p@s3cret@host/db", "postgresql+psycopg2://ann:***@host/db"),
    ("postgresql://ann:p/s3cret@host/db", "postgresql://ann:***@host/db"),
    ("mysql+pymysql://ann:p#s3cret?@host/db", "mysql+pymysql://ann:***@host/db"),
    ("mysql://ann:a:s3cret@[::1]:3306/db", "mysql://ann:***@[::1]:3306/db"),
    ("redis://:s3cret@host", "redis://:***@host"),
    ("http://host?token=s3cret&x=1", "http://host?token=***&x=1"),
    ("http://host/?x=1&api_key=s3cret", "http://host/?x=1&api_key=***"),
    ("postgresql://host/db?user=ann&password=s3cret", "postgresql://host/db?user=ann&password=***"),
    ("mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BUID%3Dann%3BPWD%3Ds3cret", "mssql+pyodbc:///?odbc_connect=***"),
    ("DRIVER=X;UID=ann;PWD={s3;cret}", "DRIVER=X;UID=ann;PWD=***"),
    ("MLFLOW_TRACKING_PASSWORD=s3cret python train.py", "MLFLOW_TRACKING_PASSWORD=*** python train.py"),
    ("+hydra.job.env_set.MLFLOW_TRACKING_TOKEN=s3cret", "+hydra.job.env_set.MLFLOW_TRACKING_TOKEN=***"),
    ("{WANDB_API_KEY: 's3cret'}", "{WANDB_API_KEY: ***}"),
    ("-m 'track.uri=http://u:s3cret@h' seed=1", "-m 'track.uri=http://***@h' seed=1"),
    (r"track.uri=http\://ann\:s3cret@h", r"track.uri=http\://***@h"),  # as Hydra writes it
    (r"tune.storage=mysql\://ann\:s3cret@h", r"tune.storage=mysql\://ann\:***@h"),
    ("track.uri=http://a:s3cret@h1,http://b:s3cret@h2", "track.uri=http://***@h1,http://***@h2"),
]
PLAIN = [
    "sqlite:////home/me@lab/mlflow.db?timeout=60",
    "sqlite+pysqlite:///mlflow.db",
    "postgresql://ann@host/db",
    "http://host:5000",
    "databricks://profile",
    "an argument has the form key=value",
    "run_key=abc optim.lr=0.1 daso.t_dist=0.3 dataset.root=/data/me@lab",
]


@pytest.mark.parametrize(("text", "shown"), SECRETS)
def test_credentials_are_masked_and_the_rest_is_kept(text, shown):
    assert mask(text) == shown
    assert mask(shown) == shown


@pytest.mark.parametrize("text", PLAIN)
def test_what_holds_no_credentials_is_shown_as_it_is(text):
    assert mask(text) == mask_url(text) == text


@pytest.mark.parametrize("password", ["my s3cret", "a://s3cret", "s3'cret", 's3"cret', "s3,cret"])
def test_a_url_is_masked_whatever_its_password_and_then_in_every_text(password):
    url = f"postgresql://ann:{password}@host/db"
    assert mask_all({"a": [url]}) == {"a": ["postgresql://ann:***@host/db"]}
    assert hold(url) == "postgresql://ann:***@host/db"
    assert mask(f"it failed: {url} is away") == "it failed: postgresql://ann:***@host/db is away"


@pytest.mark.parametrize("kind", [UserError, RunFailed, CannotCompile])
def test_no_sentence_holds_a_password(kind):
    error = pickle.loads(pickle.dumps(kind("track.uri=http://u:s3cret@h is not possible.")))
    assert str(error) == "track.uri=http://***@h is not possible."
    assert "s3cret" not in repr(error)


def test_a_command_line_loses_its_credentials_before_it_is_read():
    arguments = [
        "-m",
        "track.uri=http://ann:s3cret@host:5000",
        "tune.storage='mysql://ann:s3,c#ret@host/db?x=1'",
        "seed=0,1",
    ]
    withhold(arguments)
    assert arguments == [
        "-m",
        "track.uri=http://***@host:5000",
        "tune.storage='mysql://ann:***@host/db?x=1'",
        "seed=0,1",
    ]
    assert held("http://***@host:5000") == "http://ann:s3cret@host:5000"
    assert held("mysql://ann:***@host/db?x=1") == "mysql://ann:s3,c#ret@host/db?x=1"


def test_each_of_several_urls_is_withheld():
    arguments = ["track.uri=http://a:1s3cret@h1,sqlite:///x.db,http://b:2s3cret@h2"]
    withhold(arguments)
    assert arguments == ["track.uri=http://***@h1,sqlite:///x.db,http://***@h2"]
    assert held("http://***@h2") == "http://b:2s3cret@h2"


@pytest.mark.parametrize("value", ["sqlite:///x.db", "http://${oc.env:USER_AND_PASSWORD}@host", ""])
def test_what_holds_no_credentials_yet_stays_on_the_command_line(value):
    arguments = [f"track.uri={value}"]
    withhold(arguments)
    assert arguments == [f"track.uri={value}"]


def test_the_recorded_configuration_holds_no_credentials():
    config = config_of("track.uri='http://ann:s3cret@host'", "tune.storage='mysql://ann:s3cret@host/db'")
    text = to_yaml(config)
    assert "s3cret" not in text
    recorded = yaml.safe_load(text)
    assert (recorded["track"]["uri"], recorded["tune"]["storage"]) == ("http://***@host", "mysql://ann:***@host/db")


def test_jobs_are_not_called_by_a_password():
    jobs = [[f"track.uri=http://u:s3cret@h{k}", "seed=0"] for k in (1, 2)]
    assert labels(jobs) == ["uri=http://***@h1", "uri=http://***@h2"]


def test_the_console_shows_no_password(capsys):
    console = Console()
    console.note("MLflow at http://u:s3cret@h")
    console.warn("MLflow at http://u:s3cret@h")
    assert capsys.readouterr().out == "MLflow at http://***@h\nWarning: MLflow at http://***@h\n"


def test_what_is_held_passes_on_to_processes_that_are_started():
    hold("http://u:s3cret@h")
    assert MASK in os.environ[HELD]
