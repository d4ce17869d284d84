"""A Node application of tests/apps with its libraries, which are kept outside the tree and made anew where absent."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

INSTALL_LIMIT = 1_200.0
"""Seconds: better-sqlite3 is compiled where there is no ready-made one."""
_HEADERS = Path("/usr")
"""Where a Node that came as a package has its headers, so that nothing has to be fetched to compile against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeApp:
    """An application whose libraries are there."""

    folder: Path
    libraries: Path

    def run(self, script: str, *words: str, environment: dict[str, str]) -> str:
        """Run one of its scripts to the end; what it wrote on stdout."""
        # The scripts look for libraries beside themselves, so they stand beside the libraries.
        for file in self.folder.glob("*.js"):
            shutil.copy(file, self.libraries / file.name)
        done = subprocess.run(
            ["node", str(self.libraries / script), *words],
            cwd=self.libraries,
            env={**_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout


def install(folder: Path) -> NodeApp:
    """The application in `folder`, with the libraries that its package-lock.json names."""
    lock = (folder / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nasmigrate-tests"
    libraries = cache / f"{folder.name}-{hashlib.sha256(lock).hexdigest()[:12]}"
    libraries.mkdir(parents=True, exist_ok=True)
    with (cache / f"{libraries.name}.lock").open("w") as guard:
        # Two test runs at once: the second waits for what the first installs.
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (libraries / "installed").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(folder / name, libraries / name)
            done = subprocess.run(
                ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],
                cwd=libraries,
                env=_environment(),
                capture_output=True,
                text=True,
                timeout=INSTALL_LIMIT,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-4000:]
            (libraries / "installed").touch()
    return NodeApp(folder=folder, libraries=libraries)


def _environment() -> dict[str, str]:
    here = {name: value for name, value in os.environ.items() if not name.startswith(("NASMIGRATE_", "PG"))}
    if (_HEADERS / "include/node/node.h").exists():
        here.setdefault("npm_config_nodedir", str(_HEADERS))
    return here
