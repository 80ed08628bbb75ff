"""The import rule (never upward, frameworks only where they belong) and what importing costs."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted(p for folder in ("semi_anogan", "export", "configs") for p in (ROOT / folder).rglob("*.py"))
HEAVY = ("tensorflow", "keras", "jax", "sklearn", "matplotlib")


def module_name(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] in ("export", "configs"):
        parts.insert(0, "semi_anogan")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """Full names of everything a file imports, at the top or inside functions."""
    package = module_name(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


TREES = {path: ast.parse(path.read_text()) for path in FILES}
IMPORTS = {module_name(path): imports_of(path) for path in FILES}


def importers(package):
    """The modules that import `package` or something in it."""
    return {
        module for module, names in IMPORTS.items() if any(is_part_of(name, (package,)) for name in names)
    }


def internal(module):
    """The modules of ours that a module imports."""
    return {name for name in IMPORTS[module] if name in IMPORTS and name != module}


def is_part_of(module, group):
    return any(module == name or module.startswith(f"{name}.") for name in group)


def ours(*names):
    return tuple(f"semi_anogan.{name}" for name in names)


def test_the_check_sees_imports():
    assert {"semi_anogan.backend.tensorflow", "semi_anogan.networks", "semi_anogan.configs.smoke"} <= set(
        IMPORTS
    )
    assert "semi_anogan.layers" in internal("semi_anogan.networks")
    assert "semi_anogan.evaluate" in internal("semi_anogan.train")  # inside a function, from the package


def test_tensorflow_only_where_it_belongs():
    allowed = ours("backend.tensorflow", "data.tfds", "export")
    assert "semi_anogan.backend.tensorflow" in importers("tensorflow")
    assert [m for m in sorted(importers("tensorflow")) if not is_part_of(m, allowed)] == []
    assert importers("tensorflow_datasets") == {"semi_anogan.data.tfds"}


def test_jax_only_in_its_backend():
    assert importers("jax") == {"semi_anogan.backend.jax"}


def test_backends_are_chosen_in_one_place():
    chosen = importers("semi_anogan.backend.tensorflow") | importers("semi_anogan.backend.jax")
    assert chosen == {"semi_anogan.backend"}


def test_the_edge_runtime_needs_neither_framework_nor_networks():
    ours_above = ours(
        "backend", "layers", "networks", "losses", "scores", "model", "latent_search", "detector"
    )
    ours_above += ours(
        "pretrained", "patches", "memory", "likeness", "classifier", "measure", "augmentation", "objective"
    )
    forbidden = ("tensorflow", "keras", "jax", *ours_above)
    for module in IMPORTS:
        if is_part_of(module, ours("export.runtime")):
            assert [n for n in sorted(IMPORTS[module]) if is_part_of(n, forbidden)] == [], module


# From low to high; a module imports from its own level and those before.
LEVELS = [
    ours("data", "schedule", "components", "metrics", "calibration", "threshold", "report", "report_plots")
    + ours("events", "baselines", "config", "progress"),
    ours(
        "layers",
        "networks",
        "losses",
        "scores",
        "pretrained",
        "patches",
        "memory",
        "likeness",
        "classifier",
        "augmentation",
    ),
    ours("backend", "latent_search", "objective"),
    ours("model", "checkpoint"),
]


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_imports_never_go_upward(level):
    allowed = [name for names in LEVELS[: level + 1] for name in names]
    modules = [m for m in IMPORTS if is_part_of(m, LEVELS[level])]
    assert len(modules) >= 2
    for module in modules:
        assert [
            n for n in sorted(internal(module)) if n != "semi_anogan" and not is_part_of(n, allowed)
        ] == [], module


def test_data_and_statistics_know_no_keras():
    for module in IMPORTS:
        if is_part_of(module, LEVELS[0]):
            assert [n for n in sorted(IMPORTS[module]) if is_part_of(n, ("keras",))] == [], module


def test_data_stands_alone():
    for module in IMPORTS:
        if is_part_of(module, ours("data")):
            assert [
                n for n in internal(module) if not is_part_of(n, ours("data")) and n != "semi_anogan"
            ] == [], module


def test_networks_losses_and_scores_know_nothing_above():
    commands = ours("train", "evaluate", "score", "benchmark", "benchmarks", "cli")
    above = commands + ours(
        "runs", "training", "monitor", "model", "detector", "checkpoint", "suspicion", "export"
    )
    for name in LEVELS[1]:
        assert [n for n in sorted(IMPORTS[name]) if is_part_of(n, above)] == [], name


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
    done = run_blocked("import semi_anogan.networks", tmp_path)
    assert done.returncode and "refused: keras" in done.stderr


@pytest.mark.parametrize(
    "module", ["semi_anogan", "semi_anogan.data", "semi_anogan.runs", "semi_anogan.checkpoint"]
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


@pytest.mark.parametrize(
    "command, flags",
    [
        ("train", ["config", "workdir"]),
        ("evaluate", ["workdir"]),
        ("score", ["workdir", "input", "output"]),
        ("benchmark", ["config"]),
        ("export", ["workdir", "formats", "output", "check"]),
        ("export.runtime", ["bundle", "engine", "input", "output"]),
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
