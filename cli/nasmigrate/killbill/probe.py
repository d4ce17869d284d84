"""One plain GET, for a page that only has to be there: no credentials, no second try."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2

LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `status` is None when nothing did; `text` is then the reason."""

    status: int | None
    text: str


def get(url: str, *, timeout: float) -> Answer:
    """Fetch a page, following nothing. Kill Bill without its database says nothing for 30 s: give a time-out.

    Args:
        url: http or https.
        timeout: seconds until the answer must be there.
    """
    try:
        answer = httpx2.get(url, timeout=timeout, trust_env=False)
    except httpx2.HTTPError as error:
        return Answer(status=None, text=str(error) or type(error).__name__)
    return Answer(status=answer.status_code, text=answer.text[:LONGEST])
