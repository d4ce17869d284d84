"""pgloader as a second engine: what it can carry, what it is told, and how it is watched.

It is a subprocess whose exit code and counts prove nothing; the digests of the source decide.
"""

from nasmigrate.transfer.pgloader.capability import LIMITS, Limit, limits_of
from nasmigrate.transfer.pgloader.engine import PgloaderEngine
from nasmigrate.transfer.pgloader.program import Program, find_program

__all__ = ["LIMITS", "Limit", "PgloaderEngine", "Program", "find_program", "limits_of"]
