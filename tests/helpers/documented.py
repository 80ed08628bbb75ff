"""What README and the guide show, and the run that README's first command trains."""

import json
import re
import subprocess

from helpers.processes import ENVIRONMENT, PATH, ROOT

README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs/guide.md").read_text()
# (language, text) of the blocks that are run: README's first, then the guide's, which go on from them.
IN_README, IN_GUIDE = (
    re.findall(r"<!-- tested -->\n```(\w+)\n(.*?)```", document, re.S) for document in (README, GUIDE)
)
# The guide's commands from a folder to regions.
((_, TOUR),) = re.findall(r"<!-- tested with smaller networks -->\n```(\w+)\n(.*?)```", GUIDE, re.S)
COMMANDS = [line for kind, text in IN_README if kind == "bash" for line in text.strip().splitlines()]


def shell(command, cwd, **environment):
    return subprocess.run(
        command,
        shell=True,
        cwd=cwd,
        env={**ENVIRONMENT, "PATH": PATH, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def train(folder):
    """Runs README's first command in a folder with the checkout's configs/ and tests/; keeps what it said."""
    for name in ("configs", "tests"):
        (folder / name).symlink_to(ROOT / name)
    done = shell(COMMANDS[0], folder)
    assert done.returncode == 0, done.stderr
    said = {"args": COMMANDS[0], "returncode": 0, "stdout": done.stdout, "stderr": done.stderr}
    (folder / "said.json").write_text(json.dumps(said))


def said(folder) -> subprocess.CompletedProcess:
    """What the training in such a folder said."""
    return subprocess.CompletedProcess(**json.loads((folder / "said.json").read_text()))
