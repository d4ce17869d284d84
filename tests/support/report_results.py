"""Results as a rehearsal of a small marketplace leaves them, for the tests of the two renderings."""

from __future__ import annotations

import hashlib

from nasmigrate.core.result import Difference, Finding, Gate, Prediction, Result, TableResult

ROWS = {
    "users": 18_204,
    "sessions": 0,
    "products": 41_077,
    "product_images": 96_310,
    "orders": 120_000,
    "order_items": 312_448,
    "payments": 119_412,
    "reviews": 28_903,
    "messages": 14_880,
    "carts": 1_377,
    "audit_log": 239_004,
}


def digest(name: str) -> str:
    """A sha256 that looks like a table's digest."""
    return hashlib.sha256(name.encode()).hexdigest()


def table(name: str, rows: int, *, lost: int = 0, originals: int = 0) -> TableResult:
    """A table of which `lost` rows did not arrive."""
    return TableResult(
        name=name,
        rows_source=rows,
        rows_target=rows - lost,
        bytes_copied=rows * 91,
        chunks=max(1, rows // 50_000),
        seconds=0.02 + rows / 41_000,
        digest=digest(name),
        originals=originals,
        equal=lost == 0,
    )


NOTES = (
    *(
        Finding(
            code="INT_OVER_2_53", severity="note", table=name, column="id", message="int8 reaches Node as a string."
        )
        for name in ("orders", "payments")
    ),
    Finding(
        code="DECLARED_LENGTH",
        severity="note",
        table="users",
        column="nickname",
        message="Declared VARCHAR(20); the longest value has 31 characters. The target column is text.",
        count=14,
    ),
)

ACCEPTED = Finding(
    code="MIXED_DATES",
    severity="widened",
    table="reviews",
    column="created_at",
    message="Two shapes of dates are stored; the column stays text.",
    count=212,
    keys=("17", "18", "40"),
    samples=("text(19 chars)", "text(24 chars)", "text(19 chars)"),
    accept='accept = ["MIXED_DATES:reviews.created_at"]',
    accepted=True,
)

OPEN = (
    Finding(
        code="TRIGGER_NOT_CARRIED",
        severity="decision",
        table="orders",
        object="orders_touch_updated_at",
        message="The trigger writes updated_at after each update. It has no translation that could be proven, so the "
        "application would no longer see that column change.",
        accept='accept = ["TRIGGER_NOT_CARRIED:orders_touch_updated_at"]',
    ),
    Finding(
        code="REAL_IN_INTEGER",
        severity="widened",
        table="orders",
        column="amount_cents",
        message="Fractions are stored in a column declared INTEGER; the target column is numeric.",
        count=37,
        keys=("1041", "1042", "2210", "2975", "3001"),
        samples=("real(17 digits)", "real(17 digits)", "real(16 digits)", "real(17 digits)", "real(3 digits)"),
        accept='accept = ["REAL_IN_INTEGER:orders.amount_cents"]',
    ),
    Finding(
        code="FTS_NOT_CARRIED",
        severity="decision",
        object="products_fts",
        message="A full-text table of SQLite. PostgreSQL searches by other means.",
        accept='accept = ["FTS_NOT_CARRIED:products_fts"]',
    ),
)

PREDICTION = Prediction(
    write_pause_seconds=0.42,
    write_pause_basis="last catch-up pass 0.31 s + route 0.11 s, limit 0.80 s",
    copy_seconds=24.6,
    copy_basis="measured in this rehearsal, same disk and server",
    disk_bytes=1_940_000_000,
    disk_basis="3 x 412 MB of source, indexes 0.7 GB",
)

GATES = (
    Gate(name="counts", status="pass", detail="Rows counted on each side agree.", checked=11, seconds=0.84),
    Gate(name="digests", status="pass", detail="Every chunk has the same digests.", checked=31, seconds=6.1),
    Gate(name="objects", status="pass", detail="Keys, indexes, checks are as planned.", checked=64, seconds=0.12),
    Gate(name="sequences", status="pass", detail="nextval is above every stored id.", checked=10, seconds=0.03),
    Gate(
        name="round-trip",
        status="pass",
        detail="Decoded back into SQLite, every table equals the snapshot in both directions.",
        checked=11,
        seconds=74.2,
    ),
    Gate(name="decisions", status="pass", detail="Every finding is accepted by name.", checked=1),
)


def passing() -> Result:
    """A rehearsal after which one can go."""
    return Result(
        command="rehearse",
        nasmigrate_version="0.1.0",
        started_at="2026-03-14T21:04:11Z",
        seconds=134.2,
        verdict="pass",
        exit_code=0,
        source="data/dev/marketplace.dev.db",
        target="postgresql://market_owner@nas.local:5432/marketplace_rehearsal",
        run_directory=".nasmigrate/runs/20260314T210411Z-rehearse-9c1e",
        plan_hash=digest("plan"),
        source_sha256=digest("source"),
        fingerprint=digest("fingerprint"),
        gates=GATES,
        tables=tuple(table(name, rows, originals=212 if name == "reviews" else 0) for name, rows in ROWS.items()),
        findings=(ACCEPTED, *NOTES),
        timeline=(
            ("inspect", 0.4),
            ("snapshot", 2.1),
            ("profile", 8.8),
            ("revise", 1.2),
            ("copy", 24.6),
            ("finish", 14.9),
            ("verify", 8.0),
            ("round trip", 74.2),
        ),
        rates={"copy_rows_per_second": 40_309.0, "copy_bytes_per_second": 3_668_000.0},
        prediction=PREDICTION,
        environment={
            "nasmigrate": "0.1.0",
            "python": "3.11.2",
            "sqlite": "3.50.4",
            "postgresql": "18.3",
            "machine": "Linux 4.4.302 x86_64, 4 cores, 8 GB",
            "encoding": "UTF-8",
        },
        next_step="nasmigrate cutover",
    )


def failing() -> Result:
    """The same rehearsal with rows lost, changed and findings without an answer."""
    differences = (
        Difference(kind="count", table="payments", source="119,412 rows", target="119,409 rows", found_by="counts"),
        *(Difference(kind="missing row", table="payments", key=key) for key in ("88120", "88121", "88122")),
        Difference(
            kind="changed row",
            table="order_items",
            key="(5512, 3)",
            column="note",
            source="text(41 chars)",
            target="text(40 chars)",
            first_differing_byte=17,
        ),
        Difference(
            kind="object",
            object="idx_orders_open",
            source="WHERE state = 'open'",
            target="no predicate",
            found_by="objects",
        ),
        Difference(
            kind="sequence", table="orders", column="id", source="120,000", target="119,990", found_by="sequences"
        ),
    )
    broken = {
        "counts": ("fail", "payments: 119,412 rows in the source, 119,409 in the target."),
        "digests": ("fail", "2 of 31 chunks differ, in order_items and payments."),
        "round-trip": ("inconclusive", "Stopped: the connection to the server was lost after 4 of 11 tables."),
        "decisions": ("fail", "3 findings are not accepted in nasmigrate.toml."),
        "sequences": ("skipped", "Not run, because rows are missing."),
    }
    gates = tuple(
        Gate.model_validate(
            gate.model_dump() | {"status": broken[gate.name][0], "detail": broken[gate.name][1]}
            if gate.name in broken
            else gate.model_dump()
        )
        for gate in GATES
    )
    base = passing()
    return base.model_copy(
        update={
            "verdict": "fail",
            "exit_code": 3,
            "fingerprint": None,
            "gates": gates,
            "tables": tuple(
                table(name, rows, lost={"payments": 3}.get(name, 0)).model_copy(
                    update={"equal": False} if name == "order_items" else {}
                )
                for name, rows in ROWS.items()
            ),
            "findings": (*OPEN, ACCEPTED, *NOTES),
            "differences": differences,
            "differences_total": 41,
            "next_step": "nasmigrate runs show latest --differences",
        }
    )


HOSTILE = "x</td><script>alert(1)</script>\x1b[2J\u202eelif\n\ud800\"'&" + "n" * 60


def hostile() -> Result:
    """A result in which every piece of text comes from a file that wants to harm the reader."""
    return Result(
        command="rehearse",
        nasmigrate_version="0.1.0",
        started_at="2026-03-14T21:04:11Z",
        seconds=1.0,
        verdict="fail",
        exit_code=3,
        source=HOSTILE,
        target=HOSTILE,
        run_directory=HOSTILE,
        plan_hash=HOSTILE,
        source_sha256=HOSTILE,
        fingerprint=HOSTILE,
        gates=(Gate(name=HOSTILE, status="fail", detail=HOSTILE, checked=1),),
        tables=(table(HOSTILE.encode("utf-8", "replace").decode(), 3, lost=1),),
        findings=(
            Finding(
                code="X",
                severity="decision",
                table=HOSTILE,
                column=HOSTILE,
                message=HOSTILE,
                keys=(HOSTILE,),
                samples=(HOSTILE,),
                accept=f'accept = ["X:{HOSTILE}"]',
            ),
            Finding(code="N", severity="note", object=HOSTILE, message=HOSTILE),
            Finding(code="A", severity="widened", table=HOSTILE, message=HOSTILE, accepted=True),
        ),
        differences=(
            Difference(
                kind="changed row",
                table=HOSTILE,
                key=HOSTILE,
                column=HOSTILE,
                object=HOSTILE,
                source=HOSTILE,
                target=HOSTILE,
                found_by=HOSTILE,
            ),
        ),
        differences_total=1,
        timeline=((HOSTILE, 1.0),),
        rates={HOSTILE: 1.0},
        prediction=Prediction(
            write_pause_seconds=1,
            write_pause_basis=HOSTILE,
            copy_seconds=1,
            copy_basis=HOSTILE,
            disk_bytes=1,
            disk_basis=HOSTILE,
        ),
        environment={HOSTILE: HOSTILE},
        next_step=HOSTILE,
    )
