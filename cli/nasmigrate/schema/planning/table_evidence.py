"""What a plan keeps of the profiles."""

from __future__ import annotations

from collections.abc import Mapping

from nasmigrate.schema.evidence import TableProfile
from nasmigrate.schema.plan import TableEvidence


def evidence_of(profiles: Mapping[str, TableProfile]) -> dict[str, TableEvidence]:
    """The evidence by table."""
    return {
        name: TableEvidence(
            rows=profile.rows,
            max_row_bytes=profile.max_row_bytes,
            mean_row_bytes=round(profile.mean_row_bytes, 1),
            columns={column.name: column.evidence() for column in profile.columns.values()},
        )
        for name, profile in profiles.items()
    }
