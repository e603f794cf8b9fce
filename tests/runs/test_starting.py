"""The command line says that it starts before it imports anything that takes long."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import sys, types
commands = types.ModuleType("underfire.cli.commands")
commands.main = lambda: print("torch" in sys.modules)
sys.modules["underfire.cli.commands"] = commands
from underfire.cli import main
main()
"""


def test_a_terminal_shows_at_once_that_something_happens() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env={**os.environ, "FORCE_COLOR": "1"}
    )
    assert ended.stdout.strip() == "False"
    assert "starting" in ended.stderr
