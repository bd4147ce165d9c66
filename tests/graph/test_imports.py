"""Who may import whom: the plan of the house, floor by floor, and the boundaries that keep a method in its own file."""

import ast
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "daso"
SHARED = {  # what stands in a method's folder without being a method
    "learners": {"base", "mixing", "ramp"},
    "slots": {
        *("anchors", "base", "contrast", "linear", "losses", "priors", "prototypes", "slots", "strength", "tails"),
        *("thresholds", "windows"),
    },
    "protocol": {"base"},
}
# Places and features that carry the name of no single method.
COMMON_WORDS = {"supervised", "align", "pseudolabel"}
# From the roof down. A wing or a loose module of `daso/` builds on floors below its own and on nothing else.
HOUSE = (
    ("train.py", "hydra_plugins"),  # the door: the program, and what Hydra finds by itself
    ("__main__",),  # the same program, installed: daso
    ("command", "predict", "runs"),  # how the program starts and ends; a network's answers, runs: as commands
    ("sweep", "report", "trained"),  # many runs: training them, telling of them; what a finished one is good for
    ("run",),  # one run, from its configuration to DONE
    ("train", "splits", "store"),  # the loop and its step
    ("settings", "protocol"),  # what a run can be told; what happens between its phases
    ("learners",),  # a method's own losses
    ("slots", "data", "machine", "track"),  # the places of a step; images; torch and devices; journal and its mirrors
    ("nn", "outputs", "published"),  # networks; a run's folder; what papers printed
    ("schema", "types"),  # the knobs; what travels through a step
    ("errors",),
    ("credentials",),  # what no sentence, file or tracker may show
)
LOOSE = {
    "__init__",
    "__main__",
    "credentials",
    "errors",
    "types",
    "predict",
    "runs",
    "splits",
    "store",
}  # what two wings share, and commands: python -m daso.runs
CONFIGURATION = {
    "daso/command/program.py",
    "daso/settings/compose.py",
    "daso/command/launch.py",
    "daso/command/guard.py",
    "daso/sweep/callback.py",
}


def modules():
    """Every module of the project, as path relative to its root."""
    found = [ROOT / "train.py", *PACKAGE.rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py")]
    return sorted(str(p.relative_to(ROOT)) for p in found if p.exists())


def tree(path):
    return ast.parse((ROOT / path).read_text())


def type_checking_only(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path, lazy=True, typing=True):
    """Dotted names that a module imports.

    Args:
        lazy: also those inside functions.
        typing: also those under `if TYPE_CHECKING`.
    """

    def walk(node):
        for child in ast.iter_child_nodes(node):
            if type_checking_only(child) and not typing:
                continue
            if isinstance(child, ast.FunctionDef) and not lazy:
                continue
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are absolute"
                yield from (f"{child.module}.{alias.name}" for alias in child.names)
            else:
                yield from walk(child)

    return set(walk(tree(path)))


def importing(path, *packages, **kinds):
    return sorted(n for n in imports(path, **kinds) if any(n == p or n.startswith(f"{p}.") for p in packages))


def of_folder(*folders):
    return [m for m in modules() if any(m.startswith(f"daso/{folder}/") for folder in folders)]


def methods(folder):
    """Files of `folder` that each hold methods, by dotted name."""
    stems = {Path(m).stem for m in of_folder(folder)} - SHARED[folder] - {"__init__"}
    return {f"daso.{folder}.{stem}" for stem in stems}


def room(name):
    """The wing or loose module that a dotted name, or a path, belongs to."""
    parts = name.removesuffix(".py").replace("/", ".").split(".")
    return f"{parts[0]}.py" if parts[0] == "train" else parts[0] if parts[0] != "daso" else parts[1]


def floor(name):
    """How far up a room is."""
    return next(height for height, rooms in enumerate(reversed(HOUSE)) if name in rooms)


@pytest.mark.parametrize("module", [m for m in modules() if m != "daso/__init__.py"])
def test_no_room_builds_on_one_above_it_or_beside_it(module):
    own = room(module)
    used = {room(n) for n in importing(module, "daso", typing=False)} - {own}
    assert {name for name in used if floor(name) >= floor(own)} == set()


def test_nothing_lies_loose_in_the_hall():
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE
    wings = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert wings | LOOSE == {name for rooms in HOUSE for name in rooms} - {"train.py", "hydra_plugins"} | {"__init__"}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("hydra", CONFIGURATION),
        ("omegaconf", CONFIGURATION),
        ("mlflow", {"daso/track/mlflow.py"}),
        ("tensorboard", {"daso/track/tensorboard.py"}),
        ("wandb", {"daso/track/wandb.py"}),
        ("optuna", set()),
    ],
)
def test_a_framework_stays_where_it_belongs(package, allowed):
    plugins = (
        {m for m in modules() if m.startswith("hydra_plugins/")}
        if package in ("hydra", "omegaconf", "optuna")
        else set()
    )
    report = {m for m in modules() if m.startswith("daso/report/")} if package in ("mlflow", "optuna") else set()
    assert {m for m in modules() if importing(m, package)} <= allowed | plugins | report


@pytest.mark.parametrize("module", of_folder("schema"))
def test_the_schema_needs_nothing_heavy(module):
    found = importing(module, "daso", "torch", "numpy")
    assert [n for n in found if not n.startswith("daso.schema")] in ([], ["daso.errors.UserError"])


def test_the_types_need_nothing_of_the_project_to_run():
    assert importing("daso/types.py", "daso", typing=False) == []


@pytest.mark.parametrize("module", of_folder("nn"))
def test_networks_know_only_the_types(module):
    assert [n for n in importing(module, "daso") if not n.startswith(("daso.types", "daso.nn"))] == []


@pytest.mark.parametrize("module", of_folder("learners"))
def test_a_learner_knows_neither_other_learners_nor_concrete_slots_nor_the_machinery(module):
    own = module.removesuffix(".py").replace("/", ".")
    others = (methods("learners") | methods("slots")) - {own}
    assert importing(module, *others, "daso.data", "daso.train", "daso.track", "daso.protocol", "daso.run.build") == []


@pytest.mark.parametrize("module", of_folder("slots"))
def test_a_slot_knows_neither_learners_nor_other_slots_nor_the_machinery(module):
    own = module.removesuffix(".py").replace("/", ".")
    others = methods("slots") - {own}
    machinery = ("daso.learners", "daso.data", "daso.train", "daso.track", "daso.protocol", "daso.run.build")
    assert importing(module, *others, *machinery) == []


@pytest.mark.parametrize("module", of_folder("data"))
def test_data_knows_no_method_and_no_training(module):
    assert importing(module, "daso.learners", "daso.slots", "daso.train", "daso.track", "daso.run.build") == []


def test_nobody_imports_a_concrete_class():
    concrete = methods("learners") | methods("slots") | methods("protocol")
    assert {m: found for m in modules() if (found := importing(m, *concrete))} == {}


def words(source):
    """Words, and pairs of them run together, of the identifiers and one-word strings of a module, imports left out."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.alias):
            continue
        values = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "value")]
        for name in (v for v in values if isinstance(v, str) and " " not in v):
            split = re.findall(r"[a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())
            found |= {*split, *map("".join, itertools.pairwise(split))}
    return found


@pytest.mark.parametrize("module", of_folder("learners", "slots", "train"))
def test_a_method_is_named_in_no_other_file(module):
    stems = {name.rsplit(".", 1)[1] for name in methods("learners") | methods("slots")} - COMMON_WORDS
    others = {stem for stem in stems if stem not in Path(module).stem}  # one name may be part of another
    assert words((ROOT / module).read_text()) & others == set()


@pytest.mark.parametrize(
    "code", ["FixMatchConfig()", "x.fixmatch", "'fixmatch'", "def fix_match(): 0", "fixmatch_loss"]
)
def test_a_method_name_is_found(code):
    assert "fixmatch" in words(code)
