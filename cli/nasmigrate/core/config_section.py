"""What all sections of nasmigrate.toml share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: unknown keys are an error, values are frozen and not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def names(value: object) -> object:
    """One name or a list of names -> a tuple."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value
