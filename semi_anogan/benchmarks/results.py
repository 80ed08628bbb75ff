"""Markdown that benchmarks write: tables, a line about the machine, and sections of files.

A section stands between two marks, so that a new result replaces the old one.
"""

import os
import pathlib
import platform

from semi_anogan.errors import RunError
from semi_anogan.files import told_writing


def machine() -> str:
    """One line about the machine: processor, cores, memory, versions of the framework in use."""
    import keras

    name = platform.processor() or platform.machine()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    versions = f"Python {platform.python_version()}, {backend} {version}, Keras {keras.__version__}"
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB; {versions}"


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table; floats with up to three decimals."""

    def text(value):
        return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(text(v) for v in line) + " |" for line in lines) + "\n"


def write_section(path, name: str, text: str):
    """Puts text between the marks of a section, or at the end of the file where it is new."""
    path = pathlib.Path(path)
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    old = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    if begin in old and end in old:
        new = old[: old.index(begin)] + begin + text + old[old.index(end) :]
    else:
        new = old.rstrip("\n") + "\n\n" + begin + text + end
    with told_writing(path, RunError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new, encoding="utf-8")
