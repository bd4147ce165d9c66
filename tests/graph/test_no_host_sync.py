"""No code that a training step reaches waits for the device."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "daso"
FOLDERS = ("learners", "slots", "nn", "data/views")
ENTRIES = {  # what a step calls in those folders
    "forward",
    "encode",
    "classify",
    "supervised",
    "observe",
    "pseudo",
    "aux",
    "update",
    "augment",
    "normalise",
    "__call__",
}
WAITING_METHODS = {
    "item",
    "cpu",
    "tolist",
    "numpy",
    "nonzero",
    "argwhere",
    "masked_select",
    "is_nonzero",
    "synchronize",
}
WAITING_FUNCTIONS = {"float", "int", "bool", "print"}


def functions(source):
    """Every function of a module by name, methods included."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def called(node):
    """Names that a function calls or passes on."""
    names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    return names | {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def syncs(node):
    """Line and name of everything in a function that reads a tensor on the host."""
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
        if isinstance(call.func, ast.Attribute) and call.func.attr in WAITING_METHODS:
            yield call.lineno, f".{call.func.attr}()"
        elif isinstance(call.func, ast.Name) and call.func.id in WAITING_FUNCTIONS:
            yield call.lineno, f"{call.func.id}()"
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "where" and len(call.args) == 1:
            yield call.lineno, "where() with one argument"


def reached(modules):
    """(file, function) pairs that the entries lead to, following names."""
    by_name = {}
    for path, source in modules.items():
        for name, nodes in functions(source).items():
            by_name.setdefault(name, []).extend((path, node) for node in nodes)
    todo, seen = sorted(ENTRIES), set()
    while todo:
        name = todo.pop()
        if name in seen or name not in by_name:
            continue
        seen.add(name)
        for path, node in by_name[name]:
            yield path, node
            todo.extend(called(node))


def step_modules():
    return {path: path.read_text() for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def test_no_function_of_a_step_waits_for_the_device():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what} in {node.name}"
        for path, node in reached(step_modules())
        for line, what in syncs(node)
    ]
    assert found == []


def test_the_entries_lead_to_every_slot_learner_and_network():
    files = {str(path.relative_to(ROOT)) for path, _ in reached(step_modules())}
    expected = {str(p.relative_to(ROOT)) for p in step_modules() if p.parent.name in ("learners", "slots", "nn")}
    assert files >= {f for f in expected if not f.endswith("__init__.py")}


@pytest.mark.parametrize(
    "body",
    [
        "x.item()",
        "float(x)",
        "print(x)",
        "x.sum().tolist()",
        "torch.where(x)",
        "x.nonzero()",
        "helper(x)",
        "int(x.max())",
    ],
)
def test_a_wait_is_found(body):
    source = f"def forward(x):\n    return {body}\n\n\ndef helper(x):\n    return x.cpu()\n"
    assert [what for _, node in reached({Path("x.py"): source}) for _, what in syncs(node)]


@pytest.mark.parametrize("body", ["x.amax(1)", "torch.where(x, y, z)", "len(x)", "x.to(y.dtype)"])
def test_what_does_not_wait_is_left_alone(body):
    source = f"def forward(x, y, z):\n    return {body}\n\n\ndef unreached(x):\n    return x.item()\n"
    assert not [what for _, node in reached({Path("x.py"): source}) for _, what in syncs(node)]
