"""The permission bits of a fenced file: a second line behind the fence, which only the file's owner may change."""

from __future__ import annotations

import stat
from pathlib import Path


def mode_of(path: Path) -> int:
    """The permission bits.

    Raises:
        OSError: the file is gone.
    """
    return stat.S_IMODE(path.stat().st_mode)


def restore_mode(path: Path, mode: int) -> bool:
    """Set the permission bits where they differ; whether they are as they should be.

    Comes after a commit, which stands whatever happens here, so nothing is raised.
    """
    try:
        if mode_of(path) != mode:
            path.chmod(mode)
    except OSError:
        return False
    return True
