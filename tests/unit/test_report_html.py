"""The HTML report: complete, harmless when a name is hostile, and readable without a network or a script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from support.report_results import ACCEPTED, NOTES, OPEN, PREDICTION, failing, hostile, passing, table

from nasmigrate.core.result import Difference, Result
from nasmigrate.report import html

VOID = {"meta", "link", "col"}


class Page(HTMLParser):
    """The document as a browser would understand it: elements, attributes, text; and whether tags nest."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.style = ""
        self.feed(source)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        elif "svg" not in self.open:  # hidden from readers; the word is beside it
            self.words.append(data)


def changed(result: Result, **update: object) -> Result:
    """`result` with other fields, validated as a command would have made it."""
    return Result.model_validate(result.model_dump() | update)


MAKERS = pytest.mark.parametrize("make", [passing, failing, hostile])


@MAKERS
def test_nothing_is_loaded_and_nothing_runs(make: Callable[[], Result]) -> None:
    source = html.render(make())
    page = Page(source)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "img", "form", "base", "a", "foreignobject", "use"}
    assert "<script" not in source.lower()
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "srcset")]
        if "href" in attributes:
            assert (tag, attributes["href"]) == ("link", "data:,")
    assert not re.search(r"@import|url\(|https?:", page.style)


@MAKERS
def test_the_policy_allows_the_one_style_sheet_and_nothing_else(make: Callable[[], Result]) -> None:
    page = Page(html.render(make()))
    (policy,) = [attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"
    assert "script-src" not in rules
    assert "unsafe" not in policy


def test_a_pass_answers_the_question_in_the_first_heading() -> None:
    page = Page(html.render(passing()))
    assert page.text.index("Yes, you can go tonight.") < page.text.index("Gates")
    assert "PASS: nasmigrate rehearse" in page.text
    assert "No, not tonight" not in page.text


@pytest.mark.parametrize(
    ("verdict", "code", "answer"), [("fail", 3, "No, not tonight."), ("inconclusive", 4, "Not yet known.")]
)
def test_other_verdicts_are_words_too(verdict: str, code: int, answer: str) -> None:
    page = Page(html.render(changed(failing(), verdict=verdict, exit_code=code)))
    assert f"{answer} {verdict.upper()}" in page.text
    assert ("header", f"verdict {verdict}") in [(tag, attributes.get("class")) for tag, attributes in page.tags]


def test_a_pass_that_contradicts_its_evidence_is_not_green() -> None:
    page = Page(html.render(changed(passing(), tables=[table("t", 5, lost=1).model_dump()])))
    assert "you can go" not in page.text
    assert "the verdict is pass, but table t differs" in page.text
    assert ("header", "verdict fail") in [(tag, attributes.get("class")) for tag, attributes in page.tags]


def test_the_order_is_the_order_of_decisions() -> None:
    page = Page(html.render(failing()))
    titles = [
        "Write pause, predicted",
        "What it found",
        "Rows source",
        "3 to decide",
        "41, the first 7",
        "8 phases",
        "Environment",
        "How to reproduce",
        "Next step",
    ]
    places = [page.text.index(title) for title in titles]
    assert places == sorted(places)


def test_everything_that_was_found_is_on_the_page() -> None:
    result = failing()
    page = Page(html.render(result))
    for gate in result.gates:
        assert f"{gate.name} {gate.status} {gate.detail}" in page.text
    for item in result.tables:
        assert f"{item.name} " in page.text
        assert f"{item.rows_target:,}" in page.text
    for finding in (*OPEN, ACCEPTED, *NOTES):
        assert finding.code in page.text
        assert finding.message in page.text
    for finding in OPEN:
        assert finding.accept is not None
        assert finding.accept in page.text
    listed = "".join(f' "{finding.identity}",' for finding in (*OPEN, ACCEPTED))
    assert f" accept = [{listed} ]" in page.text
    for difference in result.differences:
        for part in (difference.kind, difference.table, difference.key, difference.column, difference.object):
            assert part is None or part in page.text
        for value in (difference.source, difference.target):
            assert value is None or value in page.text
    assert "first differing byte 17" in page.text
    for phase, _ in result.timeline:
        assert phase in page.text
    for name, value in result.environment.items():
        assert f"{name} {value}" in page.text
    for part in (result.plan_hash, result.source_sha256, result.run_directory, result.next_step):
        assert part is not None
        assert part in page.text


def test_the_prediction_carries_its_basis_and_the_fingerprint_is_whole() -> None:
    page = Page(html.render(passing()))
    assert f"Write pause, predicted 0.42 s {PREDICTION.write_pause_basis}" in page.text
    assert f"Disk needed 1.9 GB {PREDICTION.disk_basis}" in page.text
    assert "Copy, measured 24.6 s 40,309 rows/s, 3.7 MB/s" in page.text
    slower = changed(passing(), rates={"copy_rows_per_second": 5, "scan_rows_per_second": 7})
    assert (
        "Copy, measured 24.6 s 5 rows/s Whole run 2 min 14 s scan 7 rows/s, exit code 0"
        in Page(html.render(slower)).text
    )
    assert f"Fingerprint over all tables {passing().fingerprint}" in page.text


def test_masked_values_stay_as_they_are() -> None:
    masked = Difference(kind="changed row", table="t", key="1", source="text(41 chars)", target="***")
    page = Page(html.render(changed(failing(), differences=[masked.model_dump()])))
    assert "text(41 chars) ***" in page.text


def test_hostile_names_are_text_and_their_hidden_characters_are_visible() -> None:
    source = html.render(hostile())
    source.encode()  # a lone surrogate could not be written to the file
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", source)
    page = Page(source)
    shown = "x</td><script>alert(1)</script>\\x1b[2J\\u202eelif\\x0a\\ud800\"'&"
    # gate twice and in the reasons, source, target, three bases, findings, differences, run, environment …
    assert page.text.count(shown) >= 25


def test_no_attribute_is_broken_by_a_quote_in_a_digest() -> None:
    item = table("t", 1).model_copy(update={"digest": '"><b onclick=x>'})
    page = Page(html.render(changed(passing(), tables=[item.model_dump()])))
    assert [attributes["title"] for _, attributes in page.tags if "title" in attributes] == ['"><b onclick=x>']
    assert "b" not in {tag for tag, _ in page.tags}


def test_bars_stay_inside_their_track() -> None:
    phases = [("short", 0.0), ("long", 1000.0), ("last", 0.001)]
    page = Page(html.render(changed(passing(), timeline=phases)))
    bars = [attributes for tag, attributes in page.tags if tag == "rect" and attributes.get("class") != "track"]
    assert len(bars) == len(phases) + len(passing().tables)
    for attributes in bars:
        start, length = float(attributes["x"] or "nan"), float(attributes["width"] or "nan")
        assert start >= 0
        assert length > 0
        assert start + length <= 1000.1


def test_an_uncounted_table_is_not_shown_as_zero_or_as_equal() -> None:
    item = table("t", 7).model_copy(update={"rows_target": None, "equal": None, "digest": None})
    page = Page(html.render(changed(failing(), tables=[item.model_dump()])))
    assert "t not proven 7 ? ? none" in page.text


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
    page = Page(html.render(result))
    assert "Did it work? No. FAIL" in page.text
    assert "Gates" not in page.text
    assert "Next step" not in page.text


def test_a_thousand_differences_do_not_make_an_unreadable_page() -> None:
    many = [Difference(kind="missing row", table="t", key=f"k{number:04}").model_dump() for number in range(1000)]
    page = Page(html.render(changed(failing(), differences=many, differences_total=1000)))
    assert "1,000, the first 500" in page.text
    assert "k0499" in page.text
    assert "k0500" not in page.text


def _luminance(color: str) -> float:
    digits = color.lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_colour_can_be_read_on_every_ground_light_dark_and_printed() -> None:
    """WCAG 2.2 success criterion 1.4.3: a contrast of at least 4.5."""
    style = Page(html.render(passing())).style
    schemes = [dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r":root \{([^}]*)\}", style)]
    assert len(schemes) == 3
    for scheme in schemes:
        for ink in ("ink", "quiet", "pass", "fail", "inconclusive"):
            for ground in ("paper", "raised"):
                low, high = sorted((_luminance(scheme[ink]), _luminance(scheme[ground])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground, scheme)
