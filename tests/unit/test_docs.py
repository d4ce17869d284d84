"""The generated pages of docs/ say what the code says."""

from __future__ import annotations

import json

import jsonschema
import pytest
from support.generate_docs import DOCS, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], "run `make docs` and commit the result"


@pytest.mark.parametrize("name", ["config", "result", "plan"])
def test_a_published_schema_is_a_json_schema(name: str) -> None:
    schema = json.loads((DOCS / "schemas" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
