"""The end of a command on the terminal: can the operator decide from it, and can a hostile file forge it?"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable

import pytest
from support.report_results import ACCEPTED, HOSTILE, OPEN, PREDICTION, failing, hostile, passing, table

from nasmigrate.core.result import Difference, Finding, Gate, Result
from nasmigrate.report import text
from nasmigrate.report.figures import rate, seconds, size
from nasmigrate.report.layout import cells, clip, wrap
from nasmigrate.report.reading import headline, table_state
from nasmigrate.report.toml_lines import toml_lines

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def changed(result: Result, **update: object) -> Result:
    """`result` with other fields, validated as a command would have made it."""
    return Result.model_validate(result.model_dump() | update)


def test_a_pass_says_so_first_and_ends_with_the_next_command() -> None:
    lines = text.render(passing()).splitlines()
    assert lines[0] == "PASS  Can I go tonight? Yes, you can go tonight."
    assert lines[-1].split(maxsplit=1) == ["next", "nasmigrate cutover"]


def test_a_failure_says_why_before_anything_else() -> None:
    first = text.render(failing()).split("\n\n")[0]
    assert first.startswith("FAIL  Can I go tonight? No, not tonight.")
    assert "3 of 6 gates failed: counts, digests, decisions." in first
    assert "could not be decided: round-trip" in first
    assert "41 differences" in first
    assert "3 findings wait for your decision" in first


def test_inconclusive_is_neither_yes_nor_no() -> None:
    gate = Gate(name="round-trip", status="inconclusive", detail="The server went away.")
    shown = text.render(changed(passing(), verdict="inconclusive", exit_code=4, gates=[gate.model_dump()]))
    assert shown.startswith("INCONCLUSIVE  Can I go tonight? Not yet known.")
    assert "could not be decided: round-trip" in shown
    assert "exit code 4" in shown


def test_other_commands_do_not_speak_of_tonight() -> None:
    assert "tonight" not in text.render(changed(passing(), command="verify"))
    assert text.render(changed(passing(), command="seed")).startswith("PASS  Did it work? Yes.")


def test_a_backup_lists_databases() -> None:
    tables = [table.model_dump() for table in passing().tables[:2]]
    shown = text.render(changed(passing(), command="backup", tables=tables), width=100)
    assert shown.startswith("PASS  Does the backup restore? Yes: it was restored and compared.")
    assert re.search(r"^DATABASES  2 databases, [\d,]+ rows, all equal$", shown, re.MULTILINE)
    assert re.search(r"^ +database +rows source", shown, re.MULTILINE)
    assert "TABLES" not in shown


def test_every_gate_appears_with_its_status_and_detail() -> None:
    shown = text.render(failing(), width=200)
    marks = {"pass": "ok", "fail": "FAIL", "inconclusive": "??", "skipped": "--"}
    statuses = set()
    for gate in failing().gates:
        statuses.add(gate.status)
        line = next(
            line for line in shown.splitlines() if f" {gate.name} " in line and f"{gate.checked} checked" in line
        )
        assert line.split()[0] == marks[gate.status]
        assert line.endswith(gate.detail)
    assert statuses == set(marks)


CONTRADICTIONS: dict[str, dict[str, object]] = {
    "exit code is 3": {"exit_code": 3},
    "gate digests is fail": {"gates": [Gate(name="digests", status="fail", detail="", checked=1).model_dump()]},
    "without checking anything": {"gates": [Gate(name="digests", status="pass", detail="").model_dump()]},
    "there are 2 differences": {"differences_total": 2},
    "table t differs": {"tables": [table("t", 5, lost=1).model_dump()]},
    "TRIGGER_NOT_CARRIED": {"findings": [OPEN[0].model_dump()]},
    "no gate passed": {"gates": []},
    "no table was compared": {"tables": []},
    "table t was not compared": {"tables": [table("t", 5).model_dump() | {"rows_target": None}]},
}


@pytest.mark.parametrize("said", CONTRADICTIONS)
def test_a_pass_without_its_evidence_is_not_shown_as_a_yes(said: str) -> None:
    result = changed(passing(), **CONTRADICTIONS[said])
    head = headline(result)
    assert head.tone == "fail"
    assert any(said in line for line in head.contradictions)
    shown = text.render(result, width=160)
    assert "you can go" not in shown
    assert said in shown


def test_a_table_counted_on_one_side_only_is_not_equal() -> None:
    assert table_state(table("t", 5)) == "equal"
    assert table_state(table("t", 5, lost=1)) == "differs"
    assert table_state(table("t", 5).model_copy(update={"rows_source": None})) == "unproven"
    assert table_state(table("t", 5).model_copy(update={"equal": None})) == "unproven"


def test_rows_that_differ_only_in_content_keep_equal_counts_but_say_differs() -> None:
    line = next(line for line in text.render(failing()).splitlines() if "order_items  " in line)
    assert line.split() == ["FAIL", "order_items", "312,448", "=", "312,448", "7.64", "differs"]


def test_many_equal_tables_are_folded_and_the_unequal_ones_are_not() -> None:
    tables = [table(f"t{number:02}", 10, lost=number == 7) for number in range(16)]
    shown = text.render(changed(failing(), tables=[item.model_dump() for item in tables], findings=[], differences=[]))
    assert "t07" in shown
    assert "t08" not in shown
    assert "15 equal tables not listed" in shown


def test_an_open_finding_is_complete_and_its_toml_is_whole_at_any_width() -> None:
    name = "orders_with_a_name_that_is_longer_than_any_terminal_" * 3
    line = f'accept = ["TRIGGER_NOT_CARRIED:{name}"]'
    finding = OPEN[1].model_copy(update={"accept": line})
    shown = text.render(changed(failing(), findings=[finding.model_dump()]), width=60)
    assert line in [part.strip() for part in shown.splitlines()]
    for part in (finding.code, finding.subject, "37 values", *finding.keys, *finding.samples):
        assert part in " ".join(shown.split())


def test_all_acceptances_together_are_one_valid_piece_of_toml() -> None:
    """One line for each finding, pasted twice, would set the same key twice, which TOML refuses."""
    quoted = OPEN[0].model_copy(update={"object": 'a "quoted" \\ name\u202e'})
    findings = [finding.model_dump() for finding in (ACCEPTED, quoted, *OPEN)]
    shown = text.render(changed(failing(), findings=findings))
    block = shown[shown.index("    accept = [\n") : shown.index("    ]\n") + 6]
    # In a file as `init` writes it the section is there already.
    accepted = tomllib.loads("[plan]\n" + block)["plan"]["accept"]
    assert accepted == [finding.identity for finding in (ACCEPTED, quoted, *OPEN)]
    assert "accept = [\n" not in text.render(changed(failing(), findings=[OPEN[0].model_dump()]))
    assert "accept = [\n" not in text.render(passing())


def test_accepted_findings_and_notes_are_counted_not_repeated() -> None:
    shown = text.render(passing())
    assert "1 finding accepted" in shown
    assert "3 notes" in shown
    assert "MIXED_DATES" not in shown
    assert "DECLARED_LENGTH" not in shown


def test_every_difference_appears_with_values_as_they_were_recorded() -> None:
    shown = text.render(failing(), width=160)
    for difference in failing().differences:
        assert any(
            difference.kind in line and (difference.key or difference.table or difference.object or "") in line
            for line in shown.splitlines()
        )
    assert "source  text(41 chars)" in shown
    assert "target  text(40 chars)" in shown
    assert "first differing byte 17" in shown
    assert "DIFFERENCES  41, the first 7" in shown


def test_only_twenty_differences_reach_the_terminal() -> None:
    many = [Difference(kind="missing row", table="t", key=f"k{number:03}").model_dump() for number in range(30)]
    shown = text.render(changed(failing(), differences=many, differences_total=30))
    assert "k019" in shown
    assert "k020" not in shown
    assert "The others are in the report." in shown


def test_what_the_night_will_cost_is_said_with_its_basis() -> None:
    shown = text.render(passing(), width=160)
    assert f"write pause  about 0.42 s ({PREDICTION.write_pause_basis})" in shown
    assert f"disk needed  about 1.9 GB ({PREDICTION.disk_basis})" in shown
    assert "24.6 s measured" in shown
    assert "40,309 rows/s" in shown
    assert passing().fingerprint in [line.split()[-1] for line in shown.splitlines() if line]
    assert ".nasmigrate/runs/20260314T210411Z-rehearse-9c1e" in shown


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("make", [passing, failing, hostile])
def test_lines_fit_the_width_except_those_made_for_copying(make: Callable[[], Result], width: int) -> None:
    lines = text.render(make(), width=width).splitlines()
    copied = re.compile(r"(fingerprint|run  ) |\s+accept = \[|\s+\\ud800|\s+\"[A-Z_]+:")
    long = [line for line in lines if cells(line) > width and not copied.match(line)]
    assert long == []
    assert max(map(cells, lines)) > width // 2


def test_wide_characters_keep_the_columns_straight() -> None:
    tables = [table("注文テーブル", 5), table("plain", 5), table("ä̈combined", 5)]
    shown = text.render(changed(passing(), tables=[item.model_dump() for item in tables]))
    ends = {cells(line[: line.index(" =")]) for line in shown.splitlines() if " =  " in line}
    assert len(ends) == 1


def test_hostile_names_cannot_move_the_cursor_or_forge_a_line() -> None:
    shown = text.render(hostile())
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert all(line.isprintable() for line in shown.splitlines())
    assert "\\x1b[2J\\u202eelif\\x0a\\ud800" in shown
    shown.encode()  # a lone surrogate would stop the terminal's stream
    assert not any(line.startswith(("elif", "PASS")) for line in shown.splitlines())


def test_toml_to_paste_keeps_its_value_when_hidden_characters_are_shown() -> None:
    (line,) = toml_lines('"X:a\u202eb\u200b"')
    assert line.isascii()
    assert tomllib.loads(f"v = {line}")["v"] == "X:a\u202eb\u200b"
    assert toml_lines('"\x7f"') == ['"\\u007f"']


def test_colour_adds_nothing_but_colour() -> None:
    for make in (passing, failing):
        plain, painted = text.render(make()), text.render(make(), color=True)
        assert "\x1b[" not in plain
        assert painted != plain
        assert ANSI.sub("", painted) == plain


def test_a_result_with_almost_nothing_in_it_still_renders() -> None:
    result = Result(
        command="doctor",
        nasmigrate_version="0.1.0",
        started_at="2026-03-14T21:04:11Z",
        seconds=0,
        verdict="fail",
        exit_code=6,
        source="app.db",
        target="env:TARGET",
    )
    shown = text.render(result)
    assert shown.startswith("FAIL  Did it work? No.")
    assert "exit code 6" in shown
    assert shown.endswith("exit code 6\n")


def test_a_refusal_has_no_line_to_paste() -> None:
    refusal = Finding(code="TARGET_ENCODING", severity="refusal", message="SQL_ASCII.", accept="accept = []")
    shown = text.render(changed(failing(), findings=[refusal.model_dump()]))
    assert "! refusal  TARGET_ENCODING  database" in shown
    assert "to accept it" not in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.004, "0.00 s"), (9.996, "10.0 s"), (59.96, "1 min 00 s"), (134.2, "2 min 14 s"), (3599.7, "1 h 00 min")],
)
def test_seconds_never_round_into_an_impossible_figure(value: float, shown: str) -> None:
    assert seconds(value) == shown


def test_sizes_and_rates() -> None:
    assert [size(number) for number in (0, 812, 999.7, 125_307, 999_950, 1_940_000_000, 3.2e12)] == [
        "0 B",
        "812 B",
        "1.0 kB",
        "125 kB",
        "1.0 MB",
        "1.9 GB",
        "3.2 TB",
    ]
    assert rate("copy_rows_per_second", 640_000.4) == ("copy", "640,000 rows/s")
    assert rate("verify_bytes_per_second", 3.4e7) == ("verify", "34.0 MB/s")
    assert rate("rows_per_second", 5) == ("all", "5 rows/s")
    assert rate("skew", 1.5) == ("skew", "1.50")


def test_long_names_keep_both_ends() -> None:
    name = "marketplace_order_items_archive_2019"
    assert clip(name, 20) == "marketpla...ive_2019"
    assert clip(name, 36) == name
    assert all(cells(clip(name, width)) <= width for width in range(1, 40))
    assert cells(clip("注文" * 20, 15)) <= 15


def test_wrapping_loses_nothing() -> None:
    for width in (5, 11, 30):
        lines = wrap(f"one {HOSTILE.encode('ascii', 'replace').decode()} 注文注文注文 three", width)
        assert all(cells(line) <= width for line in lines)
        assert "".join("".join(lines).split()) == "".join(
            f"one {HOSTILE.encode('ascii', 'replace').decode()} 注文注文注文 three".split()
        )
