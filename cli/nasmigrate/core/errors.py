"""The tree of errors, each with the exit code a script can rely on.

NasmigrateError                         code
├─ UsageProblem                          2   a bad combination found after parsing
├─ ConfigError                           5   file, environment or value
├─ PreflightError                        6   anything found before the first write
│   └─ TargetNotEmpty, RuleRefused, ValueTooLarge, OperatorNotAllowed, TargetMismatch, BackupRefused
├─ SchemaError                           6   the schema cannot be carried as asked
│   ├─ UnmappableColumn
│   ├─ IdentifierClash
│   └─ RevisionConflict
├─ SourceError                           7   the SQLite file
│   ├─ NotSqlite, SourceEmpty, SourceLocked, SourceChanged
│   └─ SourceCorrupt, SourceEncrypted, WalSuspect, SnapshotTooSlow, SourceHostile
├─ TargetError                           8   the Postgres server
│   └─ CannotConnect, Standby, ConnectionLost
├─ TransferError                         9   moving rows
│   └─ CopyFailed, DiskFull
├─ ExternalToolError                    10   a program we started
│   ├─ ToolMissing, ToolFailed, ToolLied, ToolUnfit, KillBillError
│   └─ StackError                             the containers
├─ StateError                           11   runs, locks, resume
│   └─ WrongPhase, RunLocked, ResumeMismatch, NotRehearsed, TakenOver, FenceLost
├─ GateFailed                            3   a gate failed in the middle of a cutover or rollback
├─ OpeningInDoubt                        4   Postgres does not answer at the commit point
├─ RolledBack                           12   failed, and everything was put back
└─ RollbackFailed                       13   failed, and undoing failed too

Otherwise exit 3 (differences, or a failed gate) and 4 (inconclusive) are results, not exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command. See docs/exit-codes.md."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    DIFFERENCES = 3
    INCONCLUSIVE = 4
    CONFIG = 5
    PREFLIGHT = 6
    SOURCE = 7
    TARGET = 8
    TRANSFER = 9
    EXTERNAL_TOOL = 10
    STATE = 11
    ROLLED_BACK = 12
    ROLLBACK_FAILED = 13
    INTERRUPTED = 130


class NasmigrateError(Exception):
    """Base of all errors this tool raises on purpose.

    Attributes:
        message: what is wrong and with which object, one line, no trailing full stop needed.
        hint: what to do about it, or None.
        details: machine-readable facts for `--json` and the run's log; never a secret.
        code: stable identifier `NMccnn`, cc = exit code, nn = number within it.
        exit_code: process exit code.
    """

    code: str = "NM0100"
    exit_code: ExitCode = ExitCode.UNEXPECTED

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross from worker processes whole: hint, details and code included."""
        return _rebuild, (type(self), self.message, self.hint, self.details, self.code, self.__dict__)


def _rebuild(
    kind: type[NasmigrateError],
    message: str,
    hint: str | None,
    details: dict[str, object],
    code: str,
    rest: dict[str, object],
) -> NasmigrateError:
    error = kind(message, hint=hint, details=details, code=code)
    error.__dict__.update(rest)
    return error


class UsageProblem(NasmigrateError):
    """A combination of arguments that makes no sense, found after parsing."""

    code = "NM0201"
    exit_code = ExitCode.USAGE


class ConfigError(NasmigrateError):
    """A bad value in a flag, the environment or nasmigrate.toml; the message names where it came from."""

    code = "NM0501"
    exit_code = ExitCode.CONFIG


class _WithChecks(NasmigrateError):
    """Carries every failed check, not only the first."""

    def __init__(
        self,
        message: str,
        *,
        checks: Sequence[str] = (),
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details={**(details or {}), "checks": list(checks)}, code=code)
        self.checks = tuple(checks)


class PreflightError(_WithChecks):
    """Found before the first write. Carries every failed check, not only the first."""

    code = "NM0601"
    exit_code = ExitCode.PREFLIGHT


class TargetNotEmpty(PreflightError):
    """The target database already holds objects; nothing was touched."""

    code = "NM0602"


class RuleRefused(PreflightError):
    """A mapping rule cannot be applied: a value of its column is outside, or it does not go with other settings."""

    code = "NM0603"


class ValueTooLarge(PreflightError):
    """A value is larger than a field of Postgres can be."""

    code = "NM0604"


class OperatorNotAllowed(PreflightError):
    """The role we connect as may not do what is needed; the checks are the exact SQL to run by one who may."""

    code = "NM0605"


class TableTooWide(PreflightError):
    """A table has more columns, or wider rows, than a table of Postgres can have."""

    code = "NM0606"


class TargetMismatch(PreflightError):
    """The tables that stand in the target do not take the source's rows as they are; nothing was touched."""

    code = "NM0607"


class BackupRefused(PreflightError):
    """A backup is not what its manifest says, or does not fit where it is to go; the checks are the reasons."""

    code = "NM0620"


class SchemaError(NasmigrateError):
    """The schema cannot be carried as asked."""

    code = "NM0610"
    exit_code = ExitCode.PREFLIGHT


class UnmappableColumn(SchemaError):
    """No lossless type exists for a column, or a forced type does not hold its values."""

    code = "NM0611"


class IdentifierClash(SchemaError):
    """Two objects would get one name in Postgres."""

    code = "NM0612"


class RevisionConflict(SchemaError):
    """The migrations folder holds revisions of another schema."""

    code = "NM0613"


class SourceError(NasmigrateError):
    """Something is wrong with the SQLite file."""

    code = "NM0701"
    exit_code = ExitCode.SOURCE


class NotSqlite(SourceError):
    """The file is not a SQLite database."""

    code = "NM0702"


class SourceEmpty(SourceError):
    """The file is empty or has no tables; migrating nothing is never a success."""

    code = "NM0703"


class SourceLocked(SourceError):
    """Another process holds a lock for longer than the busy timeout."""

    code = "NM0704"


class SourceChanged(SourceError):
    """The file's schema changed between two steps of one run."""

    code = "NM0705"


class SnapshotTooSlow(SourceError):
    """Beside writers, a file without WAL cannot be copied in one moment without holding them up for too long."""

    code = "NM0722"


class SourceCorrupt(SourceError):
    """SQLite says the database is malformed."""

    code = "NM0706"


class SourceEncrypted(SourceError):
    """The file looks encrypted."""

    code = "NM0707"


class WalSuspect(SourceError):
    """The -wal beside the file does not belong to it."""

    code = "NM0708"


class SourceHostile(SourceError):
    """Reading the file takes more time or memory than its size explains, or ends SQLite."""

    code = "NM0709"


class TargetError(NasmigrateError):
    """Something is wrong with the Postgres server."""

    code = "NM0801"
    exit_code = ExitCode.TARGET


class CannotConnect(TargetError):
    """No connection could be made."""

    code = "NM0802"


class Standby(TargetError):
    """The server is a read-only standby."""

    code = "NM0803"


class ConnectionLost(TargetError):
    """The connection broke in the middle of work."""

    code = "NM0804"


class TransferError(NasmigrateError):
    """Moving rows failed."""

    code = "NM0901"
    exit_code = ExitCode.TRANSFER


class CopyFailed(TransferError):
    """COPY of one chunk failed; details carry sqlstate, table, column and chunk."""

    code = "NM0902"


class DiskFull(TransferError):
    """A disk ran full in the middle of work, here or at the server."""

    code = "NM0907"


class ExternalToolError(NasmigrateError):
    """A program started by the tool is missing, failed or lied."""

    code = "NM1001"
    exit_code = ExitCode.EXTERNAL_TOOL


class ToolMissing(ExternalToolError):
    """The program is not on PATH."""

    code = "NM1002"


class ToolFailed(ExternalToolError):
    """The program ended with a non-zero exit code."""

    code = "NM1003"


class ToolLied(ExternalToolError):
    """The program ended with 0 but its result differs."""

    code = "NM1004"


class ToolUnfit(ExternalToolError):
    """The program does not run here, or is of a version that is not known."""

    code = "NM1005"


class KillBillError(ExternalToolError):
    """Kill Bill refused, answered with what it should not, or could not be reached.

    `status` is the HTTP status, None when there was no answer; details carry it with an excerpt of the answer.
    """

    code = "NM1010"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        excerpt: str | None = None,
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
        code: str | None = None,
    ) -> None:
        facts = {"status": status, "excerpt": excerpt} if status is not None else {}
        super().__init__(message, hint=hint, details={**(details or {}), **facts}, code=code)
        self.status = status


class StackError(ExternalToolError):
    """The container stack did not come up, or is not what it must be; the hint says what to do.

    `lines` are the last ones the container wrote.
    """

    code = "NM1011"

    def __init__(
        self,
        message: str,
        *,
        lines: Sequence[str] = (),
        hint: str | None = None,
        details: Mapping[str, object] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, details={**(details or {}), "lines": list(lines)}, code=code)
        self.lines = tuple(lines)


class StateError(NasmigrateError):
    """The run directory, a lock or the control schema forbids this step now."""

    code = "NM1101"
    exit_code = ExitCode.STATE


class WrongPhase(StateError):
    """The command does not fit the phase the run is in."""

    code = "NM1102"


class RunLocked(StateError):
    """Another nasmigrate works on the same source or target."""

    code = "NM1103"


class ResumeMismatch(StateError):
    """The run to resume was started with other parameters."""

    code = "NM1104"


class TakenOver(StateError):
    """Another run of the tool has taken over, or the state has changed; this one writes nothing any more."""

    code = "NM1120"


class FenceLost(StateError):
    """The fence that should be in the source is not there, or another one is."""

    code = "NM1121"


class NotRehearsed(StateError):
    """The plan was not rehearsed."""

    code = "NM1105"


class GateFailed(_WithChecks):
    """A gate failed in the middle of a cutover or rollback; everything was put back. `checks` are its reasons."""

    code = "NM0301"
    exit_code = ExitCode.DIFFERENCES


class OpeningInDoubt(NasmigrateError):
    """Postgres stopped answering at the commit point: nobody writes until it is known whether it was opened."""

    code = "NM0401"
    exit_code = ExitCode.INCONCLUSIVE


class RolledBack(NasmigrateError):
    """It failed, and everything was put back."""

    code = "NM1201"
    exit_code = ExitCode.ROLLED_BACK


class RollbackFailed(NasmigrateError):
    """It failed, and undoing failed too; details carry both, the hint says what to do now."""

    code = "NM1301"
    exit_code = ExitCode.ROLLBACK_FAILED
