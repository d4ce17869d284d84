"""Whose a file is: what one user's run has made, another user's run is not let into."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def hint_of_owner(error: OSError, *paths: Path) -> str | None:
    """What to do where one of the paths belongs to another user, and that is the trouble; None where it is not."""
    if not isinstance(error, PermissionError):
        return None
    for path in paths:
        try:
            user = path.lstat().st_uid
        except OSError:
            continue
        if user != os.geteuid():
            try:
                name = pwd.getpwuid(user).pw_name
            except KeyError:
                name = f"#{user}"
            how = "sudo" if user == 0 else f"sudo -u {name}"
            return f"{path} belongs to {name}: run this command as that user ({how} nasmigrate …)"
    return None
