"""What ends a command on the terminal: verdict first, the next command last.

Lines fit the width, except those a reader copies (a TOML line, the run directory, the fingerprint, the next
command): a line break would change what is pasted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nasmigrate.core.redaction import printable
from nasmigrate.core.result import Difference, Finding, Gate, Result, TableResult
from nasmigrate.report import reading
from nasmigrate.report.figures import count, plural, rate, seconds, short_digest, size
from nasmigrate.report.ink import Ink
from nasmigrate.report.layout import cells, clip, pad, wrap
from nasmigrate.report.toml_lines import ACCEPT_ALL, accept_list, toml_lines

NARROWEST = 60
"""Cells; below this the columns cannot stand side by side, and the terminal has to wrap."""

TABLES_LISTED = 15
"""With more tables than this only those that are not proven equal get a line."""

DIFFERENCES_LISTED = 20

_MARKS = {"pass": "ok", "fail": "FAIL", "inconclusive": "??", "skipped": "--"}
_STATES = {"equal": "pass", "differs": "fail", "unproven": "inconclusive"}
_NAME_WIDEST = 40
_LABEL = 13


def render(result: Result, *, width: int = 100, color: bool = False) -> str:
    """The result as text, ending with a line break.

    Args:
        result: the document of one command.
        width: terminal cells; fewer than `NARROWEST` counts as `NARROWEST`.
        color: add ANSI colours; the words are the same without.
    """
    page = _Page(width=max(width, NARROWEST), ink=Ink(color=color))
    _verdict(page, result)
    _gates(page, result)
    _tables(page, result)
    _findings(page, result)
    _differences(page, result)
    _cost(page, result)
    _end(page, result)
    return "\n".join(page.lines) + "\n"


class _Page:
    """The lines written so far."""

    def __init__(self, *, width: int, ink: Ink) -> None:
        self.width = width
        self.ink = ink
        self.lines: list[str] = []

    def heading(self, title: str, summary: str = "") -> None:
        """A section's title, with a blank line before it."""
        self.lines.append("")
        room = self.width - cells(title) - 2
        first, *rest = wrap(summary, room)
        self.lines.append(f"{self.ink.paint(title, 'strong')}  {first}".rstrip())
        self.lines += [" " * (cells(title) + 2) + line for line in rest]

    def write(self, text: str, *, first: str = "", style: str = "", indent: int | None = None) -> None:
        """Wrapped text; `first` begins the first line, later lines stand `indent` (or its width) in."""
        hanging = cells(first) if indent is None else indent
        # The first line has the narrower room of the two, so one wrapping serves all lines.
        for number, line in enumerate(wrap(printable(text), self.width - max(cells(first), hanging))):
            head = first if number == 0 else " " * hanging
            self.lines.append((head + (self.ink.paint(line, style) if style else line)).rstrip())

    def field(self, label: str, value: str, *, whole: bool = False) -> None:
        """A label and its value; `whole` keeps on one line what will be copied."""
        head = pad(label, _LABEL)
        if whole:
            self.lines.append(head + printable(value))
        else:
            self.write(value, first=head)


def _verdict(page: _Page, result: Result) -> None:
    head = reading.headline(result)
    page.lines.append(
        f"{page.ink.paint(head.word, head.tone)}  {page.ink.paint(f'{head.question} {head.answer}', 'strong')}"
    )
    indent = " " * (len(head.word) + 2)
    for contradiction in head.contradictions:
        page.write(contradiction, first=f"{indent}! ", style="fail")
    for reason in head.reasons:
        page.write(reason, first=indent)
    page.lines.append("")
    page.field("source", result.source)
    page.field("target", result.target)
    ended = "" if result.exit_code == 0 else f", exit code {result.exit_code}"
    page.field("took", f"{seconds(result.seconds)}, started {result.started_at}{ended}")


def _gates(page: _Page, result: Result) -> None:
    if not result.gates:
        return
    page.heading("GATES", reading.gate_summary(result))
    rows = [_gate_cells(gate) for gate in result.gates]
    name, checked, took = (max(cells(row[i]) for row in rows) for i in (0, 1, 2))
    for gate, row in zip(result.gates, rows, strict=True):
        mark = page.ink.paint(pad(_MARKS[gate.status], 4), gate.status)
        # Painted after measuring: the head's cells are counted on its plain twin.
        plain = f"{pad(row[0], name)}  {pad(row[1], checked, right=True)}  {pad(row[2], took, right=True)}  "
        room = page.width - 8 - cells(plain)
        if room >= 28:
            first, *rest = wrap(printable(gate.detail), room)
            page.lines.append(f"  {mark}  {plain}{first}".rstrip())
            page.lines += [" " * (8 + cells(plain)) + line for line in rest]
        else:
            page.lines.append(f"  {mark}  {plain}".rstrip())
            page.write(gate.detail, first=" " * 8)


def _gate_cells(gate: Gate) -> tuple[str, str, str]:
    return clip(printable(gate.name), 28), f"{count(gate.checked)} checked", seconds(gate.seconds)


def _tables(page: _Page, result: Result) -> None:
    if not result.tables:
        return
    noun = reading.compared(result)
    page.heading(f"{noun}s".upper(), reading.table_summary(result))
    shown = [
        table for table in result.tables if len(result.tables) <= TABLES_LISTED or reading.table_state(table) != "equal"
    ]
    if shown:
        _table_lines(page, noun, shown)
    if result.excluded_tables:
        page.write(f"Left out: {', '.join(result.excluded_tables)}.", first="        ")
    if len(shown) < len(result.tables):
        page.write(f"{plural(len(result.tables) - len(shown), f'equal {noun}')} not listed.", first="        ")


def _table_lines(page: _Page, noun: str, tables: Sequence[TableResult]) -> None:
    roomy = page.width >= 90
    columns: list[tuple[str, Callable[[TableResult], str], bool]] = [
        ("rows source" if roomy else "source", lambda table: count(table.rows_source), True),
        ("", reading.rows_sign, False),
        ("rows target" if roomy else "target", lambda table: count(table.rows_target), True),
        ("seconds", lambda table: f"{table.seconds:,.2f}", True),
        ("digest", lambda table: _digest(table)[: None if roomy else 8], False),
    ]
    if any(table.originals for table in tables):
        columns.append(("originals", lambda table: count(table.originals), True))
    texts = [[head for head, _, _ in columns]]
    texts += [[printable(figure(table)) for _, figure, _ in columns] for table in tables]
    widths = [max(cells(row[i]) for row in texts) for i in range(len(columns))]
    room = page.width - 8 - sum(width + 2 for width in widths)
    names = [printable(table.name) for table in tables]
    # A name that has no room beside its figures stands on a line of its own above them.
    stacked = room < 12
    name_width = min(max(cells(name) for name in [noun, *names]), room, _NAME_WIDEST)

    def figures(row: list[str]) -> str:
        padded = (pad(text, width, right=column[2]) for text, width, column in zip(row, widths, columns, strict=True))
        return "  ".join(padded).rstrip()

    head = figures(texts[0]) if stacked else f"{pad(noun, name_width)}  {figures(texts[0])}"
    page.lines.append(page.ink.paint(" " * 8 + head, "quiet"))
    for table, name, row in zip(tables, names, texts[1:], strict=True):
        status = _STATES[reading.table_state(table)]
        mark = "  " + page.ink.paint(pad(_MARKS[status], 4), status) + "  "
        if stacked:
            page.lines += [mark + clip(name, page.width - 8), " " * 8 + figures(row)]
        else:
            page.lines.append(f"{mark}{pad(clip(name, name_width), name_width)}  {figures(row)}")


def _digest(table: TableResult) -> str:
    return "differs" if table.equal is False else short_digest(table.digest) or "-"


def _findings(page: _Page, result: Result) -> None:
    if not result.findings:
        return
    notes = len(reading.notes(result))
    waiting = len(reading.open_findings(result))
    accepted = len(result.findings) - notes - waiting
    parts = [f"{count(waiting)} to decide", f"{count(accepted)} accepted", plural(notes, "note")]
    page.heading("FINDINGS", ", ".join(parts))
    for group in reading.finding_groups(result):
        if group.open:
            page.lines.append("  " + page.ink.paint(clip(printable(group.subject), page.width - 2), "strong"))
        for finding in group.open:
            _finding(page, finding)
    if identities := reading.acceptances(result):
        page.write(ACCEPT_ALL, first="  ")
        page.lines += [f"    {line}" for line in accept_list(identities)]
    if accepted:
        page.write(f"{plural(accepted, 'finding')} accepted in nasmigrate.toml.", first="  ")
    if notes:
        page.write(f"{plural(notes, 'note')}: what the application will not notice; listed in the report.", first="  ")
        for finding in reading.notes(result):
            if finding.rule:
                _finding(page, finding)


def _finding(page: _Page, finding: Finding) -> None:
    style = "fail" if finding.severity == "refusal" else "inconclusive"
    mark = page.ink.paint(f"! {finding.severity}", style)
    head = clip(printable(f"{finding.code}  {finding.subject}"), page.width - 8 - len(finding.severity))
    page.lines.append(f"    {mark}  {head}")
    times = f" ({plural(finding.count, 'value')})" if finding.count else ""
    page.write(finding.message + times, first="      ")
    if finding.keys:
        page.write(", ".join(finding.keys), first="      keys    ")
    if finding.samples:
        page.write(", ".join(finding.samples), first="      values  ")
    accept = reading.accept_line(finding)
    if accept:
        page.lines.append("      to accept it, in nasmigrate.toml under [plan]:")
        page.lines += [f"        {line}" for line in toml_lines(accept)]
    if finding.rule:
        page.lines.append(f"      to answer it by a rule{' instead' if accept else ''}, in nasmigrate.toml:")
        page.lines += [f"        {line}" for line in toml_lines(finding.rule)]


def _differences(page: _Page, result: Result) -> None:
    total = reading.differences_total(result)
    if not total:
        return
    listed = result.differences[:DIFFERENCES_LISTED]
    page.heading("DIFFERENCES", count(total) + ("" if len(listed) == total else f", the first {len(listed)}"))
    kind = max((len(difference.kind) for difference in listed), default=0)
    hanging = " " * (7 + kind)
    for difference in listed:
        values = [
            (label, value)
            for label, value in (("source", difference.source), ("target", difference.target))
            if value is not None
        ]
        place = _place(difference) if values else f"{_place(difference)}, {_how(difference)}"
        first, *rest = wrap(printable(place), page.width - len(hanging))
        page.lines.append(f"  {page.ink.paint('!=', 'fail')} {pad(difference.kind, kind)}  {first}")
        page.lines += [hanging + line for line in rest]
        for label, value in values:
            page.write(value, first=f"{hanging}{label}  ")
        if values:
            page.write(_how(difference), first=hanging, style="quiet")
    if len(listed) < len(result.differences):
        page.write("The others are in the report.", first="  ")


def _place(difference: Difference) -> str:
    parts = [text for text in (difference.table, difference.object) if text]
    parts += [f"{label} {text}" for label, text in (("key", difference.key), ("column", difference.column)) if text]
    return ", ".join(parts) or "database"


def _how(difference: Difference) -> str:
    byte = difference.first_differing_byte
    return ("" if byte is None else f"first differing byte {count(byte)}, ") + f"found by {difference.found_by}"


def _cost(page: _Page, result: Result) -> None:
    measured = reading.copy_seconds(result)
    forecast = result.prediction
    if measured is None and forecast is None and not result.rates:
        return
    page.heading("COST")
    if measured is not None:
        page.field("copy", f"{seconds(measured)} measured")
    rates = ", ".join(" ".join(rate(name, value)) for name, value in result.rates.items())
    if rates:
        page.field("rates", rates)
    if forecast is not None:
        page.field("write pause", _forecast(seconds(forecast.write_pause_seconds), forecast.write_pause_basis))
        page.field("copy needs", _forecast(seconds(forecast.copy_seconds), forecast.copy_basis))
        page.field("disk needed", _forecast(size(forecast.disk_bytes), forecast.disk_basis))


def _forecast(figure: str, basis: str) -> str:
    return f"about {figure} ({basis})" if basis else f"about {figure}"


def _end(page: _Page, result: Result) -> None:
    page.lines.append("")
    if result.fingerprint:
        page.field("fingerprint", result.fingerprint, whole=True)
    if result.run_directory:
        page.field("run", result.run_directory, whole=True)
    if result.next_step:
        if result.next_step.startswith("nasmigrate "):
            page.lines.append(pad("next", _LABEL) + page.ink.paint(printable(result.next_step), "strong"))
        else:
            page.field("next", result.next_step)
    if page.lines[-1] == "":
        page.lines.pop()
