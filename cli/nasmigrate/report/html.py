"""One self-contained HTML file: no network, no script, readable by any browser and on paper.

The content security policy allows nothing but the one style sheet, named by its hash: even a mistake in the
escaping of a table's name could not run, load or send anything. Every piece of text that reaches the page is
escaped twice: hidden characters by `printable`, markup by Jinja's autoescape.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from itertools import accumulate
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nasmigrate.core.redaction import printable
from nasmigrate.core.result import Result
from nasmigrate.report import figures, reading
from nasmigrate.report.toml_lines import ACCEPT_ALL, accept_list, toml_lines

DIFFERENCES_LISTED = 500
"""More rows than this help nobody and make a page that a phone cannot open."""


def render(result: Result) -> str:
    """The report as one HTML document.

    Args:
        result: the document of one command.
    """
    environment = _environment()
    style = _style()
    rates = [figures.rate(name, value) for name, value in result.rates.items()]
    copied = reading.copy_seconds(result)
    copy_rates = [figure for label, figure in rates if label == "copy" and copied is not None]
    return environment.get_template("report.html.jinja").render(
        result=result,
        head=reading.headline(result),
        gate_summary=reading.gate_summary(result),
        compared=reading.compared(result),
        table_summary=reading.table_summary(result),
        groups=reading.finding_groups(result),
        notes=reading.notes(result),
        accept_all=ACCEPT_ALL,
        accept_list="\n".join(accept_list(reading.acceptances(result))) if reading.acceptances(result) else "",
        waiting=len(reading.open_findings(result)),
        differences=result.differences[:DIFFERENCES_LISTED],
        differences_total=reading.differences_total(result),
        copy_seconds=copied,
        copy_rates=copy_rates,
        other_rates=[f"{label} {figure}" for label, figure in rates if label != "copy" or copied is None],
        longest=max((table.seconds for table in result.tables), default=0.0),
        originals=any(table.originals for table in result.tables),
        timeline=_timeline(result),
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def _timeline(result: Result) -> list[dict[str, Any]]:
    """Each phase with where its bar begins and how long it is, in thousandths of the whole."""
    total = sum(seconds for _, seconds in result.timeline) or 1.0
    starts = accumulate((seconds for _, seconds in result.timeline), initial=0.0)
    return [
        {"phase": phase, "seconds": seconds, "start": 1000 * start / total, "length": 1000 * seconds / total}
        for (phase, seconds), start in zip(result.timeline, starts, strict=False)
    ]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nasmigrate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        count=figures.count,
        duration=figures.seconds,
        size=figures.size,
        plural=figures.plural,
        short_digest=figures.short_digest,
        # Markup.join escapes the lines; the result keeps its line breaks, which `printable` would write as \x0a.
        toml=lambda text: Markup("\n").join(toml_lines(text)),
    )
    environment.globals.update(
        accept_line=reading.accept_line, table_state=reading.table_state, rows_sign=reading.rows_sign
    )
    return environment


@cache
def _style() -> str:
    environment = _environment()
    assert environment.loader is not None  # noqa: S101 - set three lines above; for the type checker
    return environment.loader.get_source(environment, "report.css")[0].strip()


def _finalize(value: object) -> object:
    """Applied by Jinja to every expression before it is escaped; Markup was made by our own templates."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
