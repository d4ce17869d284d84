"""What every workflow is given besides its own arguments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nasmigrate.core.config import Config
    from nasmigrate.core.progress import Reporter


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Settings and surroundings of one command.

    `base` is the folder that holds `nasmigrate.toml` and `.nasmigrate`; relative paths of the config are
    taken from it. `show_values` lets row values into findings and differences. `no_input` forbids questions.
    `isolated` = a source is examined in a child process with limits; False for a process that is limited itself.
    """

    config: Config
    base: Path
    reporter: Reporter
    show_values: bool = False
    no_input: bool = True
    isolated: bool = True
