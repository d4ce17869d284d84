"""Which file system a path lies on, by /proc/self/mountinfo (see proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from pathlib import Path

# File systems whose POSIX locks or mmap are remote, emulated or missing; SQLite needs both.
REMOTE = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "gfs2",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
    }
)
_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def is_remote(kind: str) -> bool:
    """Whether `kind` (ext4, nfs4, …) is a network or shared file system."""
    return kind in REMOTE


def file_system_of(path: Path, mountinfo: Path = _MOUNTINFO) -> str | None:
    """The type of the file system that holds `path` (or its nearest existing folder); None if not known."""
    try:
        text = mountinfo.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    resolved = path.resolve()
    best: tuple[int, str] | None = None
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        words, kinds = fields.split(" "), rest.split(" ")
        if len(words) < 5 or not kinds[0]:
            continue
        point = Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), words[4]))
        # A later mount on the same point hides the earlier one.
        if resolved.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = (len(point.parts), kinds[0])
    return best[1] if best else None
