"""An environment like a stranger's, offline: what is installed here, and whatever a test installs beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

# What no test may fetch: packages come from here, and so does what builds them.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    # pip's way to say --no-build-isolation.
    "PIP_NO_BUILD_ISOLATION": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
COMMANDS = ("vocabkit", "pip", "pytest")


class Environment:
    """A virtual environment that sees this one's packages, and of which a test may do what it likes."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
        self._bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self._bin / "python"
        names = {"base": str(folder), "platbase": str(folder)}
        site = Path(sysconfig.get_path("purelib", "venv", vars=names))
        parents = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        # addsitedir reads the .pth files there as well: vocabkit itself may be an editable installation.
        lines = [f"import site; site.addsitedir({parent!r})\n" for parent in parents]
        (site / "parent.pth").write_text("".join(lines), encoding="utf-8")
        for name in COMMANDS:
            script = self._bin / name
            script.write_text(f'#!/bin/sh\nexec "{self.python}" -m {name} "$@"\n', encoding="utf-8")
            script.chmod(0o755)

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command whose first word may be vocabkit, pip or pytest, as they are in this environment."""
        path = os.pathsep.join([str(self._bin), os.environ["PATH"]])
        return subprocess.run(
            command, cwd=cwd, env={**os.environ, **OFFLINE, "PATH": path},
            capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
