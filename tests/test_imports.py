"""Who imports whom: by level and never in a circle, frameworks only where they belong, and at what cost."""

import ast
import configparser
import graphlib
import subprocess
import sys

import pytest

from helpers.processes import ROOT

FILES = sorted(p for folder in ("semi_anogan", "export", "configs") for p in (ROOT / folder).rglob("*.py"))
HEAVY = ("tensorflow", "keras", "jax", "sklearn", "matplotlib")

# Each line is a level, from low to high, and each string in it a group of files and folders. A module imports
# from its own group and from the lines before it, at the top of the file or inside a function. Of two names
# that fit a module the longer one counts. The public package itself, semi_anogan, stands outside.
LEVELS = (
    ("errors image_shape files listening versions whole_batches progress components config backend",),
    ("networks", "data", "configs"),
    ("runs",),
    ("scoring",),
    ("training", "evaluation"),
    ("export",),
    ("serve", "review", "beam"),
    ("benchmarks",),
    (
        "cli train evaluate score score_beam benchmark inspect "
        "export.__main__ export.runtime.__main__ serve.__main__ review.__main__",
    ),
)

# Imports that break these rules and are still to go: (importer, imported).
KNOWN = {}


def module_name(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] in ("export", "configs"):
        parts.insert(0, "semi_anogan")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """Full names of everything a file imports, at the top or inside functions: modules, or names in them."""
    package = module_name(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


TREES = {path: ast.parse(path.read_text()) for path in FILES}
IMPORTS = {module_name(path): imports_of(path) for path in FILES}


def is_part_of(name, group):
    return any(name == whole or name.startswith(f"{whole}.") for whole in group)


def importers(package):
    """The modules that import `package` or something in it."""
    return {
        module for module, names in IMPORTS.items() if any(is_part_of(name, (package,)) for name in names)
    }


def internal(module):
    """The modules of ours that a module imports, or imports a name from."""
    found = {name if name in IMPORTS else name.rpartition(".")[0] for name in IMPORTS[module]}
    return {name for name in found if name in IMPORTS and name != module}


def reached(modules):
    """These modules of ours and all that they import, straight or around."""
    found, new = set(), set(modules)
    while new:
        found |= new
        new = {name for module in new for name in internal(module)} - found
    return found


def ours(*names):
    return tuple(f"semi_anogan.{name}" for name in names)


def short(module):
    return module.removeprefix("semi_anogan.")


def places():
    """Name of each file and folder in LEVELS -> (level, group)."""
    return {
        name: (level, group)
        for level, groups in enumerate(LEVELS)
        for group in groups
        for name in group.split()
    }


def place_of(module):
    """(level, group) of a module of ours."""
    names = [name for name in places() if is_part_of(module, ours(name))]
    return places()[max(names, key=len)] if names else None


def is_known(module, name):
    return (short(module), short(name)) in KNOWN


def test_the_check_sees_imports():
    assert set(ours("backend.tensorflow", "networks.gan", "configs.smoke", "export.runtime")) <= set(IMPORTS)
    assert "semi_anogan.networks.layers" in internal("semi_anogan.networks.gan")
    assert "semi_anogan.evaluate" in internal("semi_anogan.train")  # inside a function, from the package
    assert "semi_anogan.errors" in internal("semi_anogan.data.catalog")  # a name in a module
    assert "semi_anogan.networks.layers" in reached({"semi_anogan.train"})


def test_each_module_is_in_exactly_one_group():
    names = [name for groups in LEVELS for group in groups for name in group.split()]
    assert len(names) == len(set(names))
    modules = set(IMPORTS) - {"semi_anogan"}
    assert [module for module in sorted(modules) if place_of(module) is None] == []
    gone = [name for name in names if not any(is_part_of(module, ours(name)) for module in modules)]
    assert gone == []


@pytest.mark.parametrize("group", [group for groups in LEVELS for group in groups])
def test_imports_never_go_upward(group):
    modules = [module for module in IMPORTS if module != "semi_anogan" and place_of(module)[1] == group]
    assert modules
    wrong = []
    for module in modules:
        level, _ = place_of(module)
        for name in internal(module) - {"semi_anogan"}:
            other_level, other_group = place_of(name)
            if other_group != group and other_level >= level and not is_known(module, name):
                wrong.append(f"{short(module)} imports {short(name)}")
    assert sorted(wrong) == []


def test_no_file_imports_one_that_imports_it():
    graph = {module: {name for name in internal(module) if not is_known(module, name)} for module in IMPORTS}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(short(module) for module in reversed(error.args[1])))


def test_imported_modules_exist():
    """A name from a package that holds a docstring only is a module."""
    for module, names in IMPORTS.items():
        for name in names:
            if is_part_of(name, ("semi_anogan",)) and name not in IMPORTS:
                package = name.rpartition(".")[0]
                assert package in IMPORTS and package not in EMPTY, f"{module} imports {name}"


def test_of_the_public_package_only_the_version_is_used_inside():
    used = {name for names in IMPORTS.values() for name in names if name.rpartition(".")[0] == "semi_anogan"}
    assert used - set(IMPORTS) <= {"semi_anogan.__version__"}


PACKAGES = {path: module_name(path) for path in FILES if path.name == "__init__.py"}
NOT_EMPTY = ("semi_anogan", *ours("backend", "export.runtime"))
EMPTY = set(PACKAGES.values()) - set(NOT_EMPTY)


def test_packages_hold_a_docstring_only():
    for path, package in PACKAGES.items():
        body = TREES[path].body
        assert ast.get_docstring(TREES[path]), package
        assert (len(body) == 1) == (package in EMPTY), package


def test_the_packages_of_setup_cfg_are_the_folders():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    assert sorted(listed) == sorted(PACKAGES.values())
    assert {path.parent for path in FILES} == {path.parent for path in PACKAGES}


def test_tensorflow_only_where_it_belongs():
    allowed = ours("backend.tensorflow", "data.sources.tfds", "export")
    assert "semi_anogan.backend.tensorflow" in importers("tensorflow")
    assert [m for m in sorted(importers("tensorflow")) if not is_part_of(m, allowed)] == []
    assert importers("tensorflow_datasets") == {"semi_anogan.data.sources.tfds"}


def test_jax_only_in_its_backend():
    assert importers("jax") == {"semi_anogan.backend.jax"}


def test_backends_are_chosen_in_one_place():
    chosen = importers("semi_anogan.backend.tensorflow") | importers("semi_anogan.backend.jax")
    assert chosen == {"semi_anogan.backend"}


def test_the_edge_runtime_needs_neither_framework_nor_networks():
    forbidden = ("tensorflow", "keras", "jax", "apache_beam", *ours("backend", "networks"))
    runtime = {module for module in IMPORTS if is_part_of(module, ours("export.runtime"))}
    assert len(runtime) >= 5
    for module in reached(runtime):
        assert [n for n in sorted(IMPORTS[module]) if is_part_of(n, forbidden)] == [], module


WITHOUT_KERAS = (
    *(
        "errors",
        "files",
        "whole_batches",
        "progress",
        "components",
        "config",
        "configs",
        "data",
        "evaluation",
    ),
    *(
        "networks.schedule",
        "scoring.calibration",
        "scoring.fit_calibration",
        "scoring.threshold",
        "training.events",
    ),
    "benchmarks.baselines.classical",
    "benchmarks.baselines.subspace",
)


@pytest.mark.parametrize("part", WITHOUT_KERAS)
def test_data_and_statistics_know_no_keras(part):
    modules = [module for module in IMPORTS if is_part_of(module, ours(part))]
    assert modules
    for module in modules:
        assert [n for n in sorted(IMPORTS[module]) if is_part_of(n, ("keras",))] == [], module


def test_no_pickle():
    for package in ("pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"):
        assert importers(package) == set()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "safe_mode"):
                wanted = node.arg == "safe_mode"
                assert isinstance(node.value, ast.Constant) and node.value.value is wanted, (
                    f"{path}: {node.arg}"
                )
            if isinstance(node, ast.Attribute) and node.attr in (
                "enable_unsafe_deserialization",
                "object_hook",
            ):
                raise AssertionError(f"{path}:{node.lineno}: {node.attr}")


# Refuses the heavy packages, so that an import of one fails where it stands.
BLOCKED = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError("refused: " + name)

sys.meta_path.insert(0, Refuse())
"""


def run_blocked(code, folder):
    command = [sys.executable, "-c", BLOCKED + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)


def test_the_refusal_works(tmp_path):
    done = run_blocked("import semi_anogan.networks.gan", tmp_path)
    assert done.returncode and "refused: keras" in done.stderr


@pytest.mark.parametrize(
    "module", ["semi_anogan", *ours("config", "cli", "data.catalog", "runs.folder", "runs.checkpoint")]
)
def test_import_is_light(module, tmp_path):
    done = run_blocked(f"import {module}; print([m for m in {HEAVY!r} if m in sys.modules])", tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_public_names_are_listed_before_they_are_loaded(tmp_path):
    done = run_blocked(
        "import semi_anogan as s; print(set(s.__all__) <= set(dir(s)), 'Detector' in dir(s))", tmp_path
    )
    assert done.stdout == "True True\n", done.stderr
    done = run_blocked("import semi_anogan\nsemi_anogan.Detektor", tmp_path)
    assert "AttributeError: module 'semi_anogan' has no attribute 'Detektor'" in done.stderr
    done = run_blocked("import semi_anogan as s; print(s.Schedule(8, 1.0).total_images)", tmp_path)
    assert done.stdout == "1000\n", done.stderr


def test_the_review_page_loads_no_framework(tmp_path):
    done = run_blocked(
        f"import semi_anogan.review.app\nprint([m for m in {HEAVY!r} if m in sys.modules])", tmp_path
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "command, flags",
    [
        ("train", ["config", "workdir"]),
        ("evaluate", ["workdir"]),
        ("inspect", ["config", "output"]),
        ("score", ["workdir", "input", "output"]),
        ("score_beam", ["workdir", "bundle", "input", "output"]),
        ("benchmark", ["config"]),
        ("export", ["workdir", "formats", "output", "check"]),
        ("export.runtime", ["bundle", "engine", "input", "output"]),
        ("review", ["workdir", "scored", "port"]),
    ],
)
def test_help_is_light(command, flags, tmp_path):
    code = f"""
import runpy
sys.argv = ["{command}", "--help"]
try:
    runpy.run_module("semi_anogan.{command}", run_name="__main__", alter_sys=True)
finally:
    print("loaded:", [m for m in {HEAVY!r} if m in sys.modules])
"""
    done = run_blocked(code, tmp_path)
    assert "loaded: []" in done.stdout and "refused" not in done.stderr and "Traceback" not in done.stderr, (
        done.stderr
    )
    for flag in flags:
        assert f"--{flag}" in done.stdout
    assert f"python -m semi_anogan.{command}" in done.stdout
    assert list(tmp_path.iterdir()) == []
