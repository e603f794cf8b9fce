"""What holds for the package as a whole: direction of imports, what importing it needs, the shape of its files."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import underfire as uf
from tools.rooms import LAYERS, PICTURE, draw, imported, module_name, room_of

SOURCE = Path(uf.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
HEAVY = ("torchvision", "timm", "sklearn", "scipy.stats", "skimage", "kornia", "pyarrow", "pydantic", "typer", "rich")


def test_the_walk_finds_what_it_should() -> None:
    assert len(FILES) > 40
    assert ("underfire.metrics", True) in {(name, line > 0) for name, line in imported(SOURCE / "runs" / "summary.py")}
    inside = {name for name, _ in imported(SOURCE / "cli" / "train.py")}
    assert "underfire.zoo.train" in inside  # imported in a function
    assert {room_of(module_name(path)) for path in FILES} - {""} <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=[module_name(path) for path in FILES])
def test_imports_go_one_way(path: Path) -> None:
    own = module_name(path)
    if not room_of(own):
        return
    wrong = []
    for name, line in imported(path):
        if name.split(".")[0] != "underfire":
            continue
        other, mine = room_of(name), room_of(own)
        if not other:
            wrong.append(f"line {line}: the package itself, which imports everything")
        elif LEVEL[other] > LEVEL[mine]:
            wrong.append(f"line {line}: {name} lies above {mine}")
    assert not wrong, f"{own}: {wrong}"


def test_rooms_of_one_layer_do_not_import_each_other_in_a_circle() -> None:
    edges = {(room_of(module_name(path)), room_of(name)) for path in FILES for name, _ in imported(path)}
    for layer in LAYERS:
        inside = {(a, b) for a, b in edges if a in layer and b in layer and a != b}
        assert not {(a, b) for a, b in inside if (b, a) in inside}


def test_no_two_files_import_each_other() -> None:
    """Also not in functions, and not for types alone. A package's ``__init__`` gathers its files, and is left out."""
    names = {module_name(path) for path in FILES if path.name != "__init__.py"}
    edges = {(module_name(path), name) for path in FILES for name, _ in imported(path)}
    inside = {(a, b) for a, b in edges if a in names and b in names and a != b}
    assert not {(a, b) for a, b in inside if (b, a) in inside}


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), "make it again: python -m tools.rooms"


@pytest.mark.parametrize("path", FILES, ids=[module_name(path) for path in FILES])
def test_no_print_eval_or_pickle(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else ""
            assert name not in ("print", "eval", "exec", "compile", "__import__"), f"line {node.lineno}: {name}"
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                if (called.value.id, called.attr) == ("torch", "load"):
                    given = {key.arg: key.value for key in node.keywords}
                    safe = given.get("weights_only")
                    assert isinstance(safe, ast.Constant), f"line {node.lineno}"
                    assert safe.value is True, f"line {node.lineno}"
                if (called.value.id, called.attr) == ("np", "load"):
                    assert "allow_pickle" not in {key.arg for key in node.keywords}, f"line {node.lineno}"
    roots = {name.split(".")[0] for name, _ in imported(path)}
    assert not roots & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def reads_of_error_texts(code: str) -> list[int]:
    """The lines where a comparison or a search looks at the text of an error: ``str(error)``, ``error.args``.

    Errors are what ``except`` names, what a constructor of an error returns, and what ``unknown_name`` returns.
    """
    tree = ast.parse(code)
    errors = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = ast.unparse(node.value.func).split(".")[-1]
            if made.endswith("Error") or made == "unknown_name":
                errors |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    texts = "|".join(sorted(errors - {None}))
    text = re.compile(rf"\b(str|repr)\(({texts})\)|\b({texts})\.(args|message|strerror)\b|{{({texts})[!}}]")
    looks = ("startswith", "endswith", "find", "index", "match", "search", "fullmatch", "findall", "count")
    found = []
    for node in ast.walk(tree):
        searches = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in looks
        if texts and (isinstance(node, ast.Compare) or searches) and text.search(ast.unparse(node)):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", FILES, ids=[module_name(path) for path in FILES])
def test_no_code_reads_the_text_of_an_error(path: Path) -> None:
    assert reads_of_error_texts(path.read_text()) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("if 'second' in str(error): pass", True),
        ("if str(error) == 'x': pass", True),
        ("if error.args[0].startswith('x'): pass", True),
        ("if re.search('x', f'{error}'): pass", True),
        ("if 'x' in str(other): pass", False),
        ("raise ValueError(str(error)) from error", False),
        ("if isinstance(error, ValueError): pass", False),
    ],
)
def test_the_search_for_such_code_finds_it(line: str, found: bool) -> None:
    assert bool(reads_of_error_texts(f"try:\n    pass\nexcept ValueError as error:\n    {line}\n")) is found
    made = line.replace("(error)", "(made)").replace("error.", "made.").replace("{error}", "{made}")
    assert bool(reads_of_error_texts(f"made = unknown_name('a', 'b', [])\n{made}\n")) is (found and "made" in made)


@pytest.mark.parametrize("path", FILES, ids=[module_name(path) for path in FILES])
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < 300
    if lines:
        assert ast.get_docstring(ast.parse("\n".join(lines)))


def python(code: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` in a fresh interpreter, with ``path`` before everything else on the import path."""
    first = f"import sys; sys.path.insert(0, {str(path)!r})\n" if path else "import sys\n"
    return subprocess.run([sys.executable, "-c", first + code], capture_output=True, text=True, timeout=120)


USE = """
import torch, underfire as uf
classifier = uf.classifiers.load("digits-resnet")
batch = uf.data.open_data("digits:test").load((16, 16), 1, range(8))
system = uf.System(classifier, uf.interpreters.create("cam"))
result = uf.attacks.preset("adv2", eps=0.2, steps=(1, 1))(system, batch.images, batch.labels)
assert result.correct_before.all()
"""


def test_it_works_without_torchvision() -> None:
    done = python("sys.modules['torchvision'] = None; sys.modules['timm'] = None\n" + USE)
    assert done.returncode == 0, done.stderr


def test_it_works_beside_a_broken_torchvision(tmp_path: Path) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    broken = python("import torchvision", tmp_path)
    assert "operator torchvision::nms does not exist" in broken.stderr
    done = python(USE, tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_it_imports_no_torch() -> None:
    """Public names are imported when they are first asked for, so that the shell completes names without delay."""
    done = python("import underfire\nsys.stdout.write(' '.join(set(sys.modules) & {'torch', 'numpy', 'PIL'}))")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["underfire", "underfire.campaigns"])
def test_importing_it_is_light(name: str) -> None:
    """Importing the package imports no slow library. ``Campaign``, ``Run`` and ``transfer`` need pyarrow."""
    code = (
        "import torch\n"
        "before = set(sys.modules)\n"
        f"import underfire, {name}\n"
        "light = set(underfire.__all__) - {'Campaign', 'Run', 'transfer'}\n"
        "assert all(hasattr(underfire, name) for name in light)\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules and name not in before]\n"
        "sys.stdout.write(' '.join(found))\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_the_command_line_loads_what_runs_need_only_for_a_run() -> None:
    heavy = ("torchvision", "sklearn", "scipy.stats", "skimage", "kornia", "pyarrow", "pydantic")
    done = python(f"import underfire.cli.commands\nsys.stdout.write(' '.join(set({heavy!r}) & set(sys.modules)))")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_importing_it_changes_nothing_global() -> None:
    code = (
        "import torch, random, warnings, numpy\n"
        "state = lambda: (torch.get_default_dtype(), torch.initial_seed(), torch.get_num_threads(),\n"
        "    random.getstate(), str(numpy.random.get_state()),\n"
        "    list(warnings.filters), warnings.showwarning, torch.is_grad_enabled(),\n"
        "    torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)\n"
        "before = state()\n"
        "import underfire, underfire.attacks.plain\n"
        "assert state() == before\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_every_public_name_is_there() -> None:
    assert set(uf.__all__) <= set(dir(uf))
    with pytest.raises(AttributeError, match="no attribute 'attak'"):
        _ = uf.attak
    for module in [uf, uf.attacks, uf.classifiers, uf.data, uf.interpreters, uf.metrics]:
        assert sorted(set(module.__all__)) == sorted(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)


def test_whatever_takes_a_path_takes_its_text() -> None:
    """Regression: some functions took a folder as ``Path`` alone, and ended in a TypeError for ``"runs/mine"``."""
    seen = 0
    for module in [uf, *(getattr(uf, name) for name in uf.__all__ if inspect.ismodule(getattr(uf, name)))]:
        for name in getattr(module, "__all__", ()):
            part = getattr(module, name)
            own = [part, *(vars(part).values() if inspect.isclass(part) else ())]
            for each in own:
                ours = str(getattr(each, "__module__", "")).startswith("underfire")
                if not ours or not (inspect.isfunction(each) or inspect.isclass(each)) or each.__name__.startswith("_"):
                    continue
                for parameter in inspect.signature(each).parameters.values():
                    kind = str(parameter.annotation)
                    if re.search(r"\bPath\b", kind):
                        seen += 1
                        assert re.search(r"\bstr\b", kind), (module.__name__, name, each.__name__, parameter)
    assert seen > 10


def test_the_version_is_that_of_the_distribution() -> None:
    try:
        installed = importlib.metadata.version("underfire")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("underfire is on the path without being installed")
    assert uf.__version__ == installed


def test_type_checkers_are_told_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").exists()
