"""Writes the pages of docs/ that follow from the code: commands, configuration, exit codes, JSON Schemas.

`make docs` runs it; a test compares the committed pages with what it would write.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import click
from support.cases import catalogue_page
from support.cutover_page import cutover_page
from support.mutations import limits_page

from nasmigrate.backup.last import LastBackup
from nasmigrate.backup.manifest import Manifest
from nasmigrate.commands._group import SUBCOMMANDS, cli
from nasmigrate.core import errors
from nasmigrate.core.config import Config, config_schema
from nasmigrate.core.documents import Demo, PlannedCutover
from nasmigrate.core.result import Result
from nasmigrate.core.status import Status
from nasmigrate.schema.plan import Plan
from nasmigrate.transfer.pgloader import LIMITS
from nasmigrate.workflows.lint_app import AppLint

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = "<!-- Generated from the code by `make docs`; do not edit. -->\n"


def _help(command: click.Command, path: list[str], parent: click.Context) -> str:
    context = click.Context(command, info_name=path[-1], parent=parent, terminal_width=100, max_content_width=100)
    return re.sub(r"[ \t]+$", "", command.get_help(context), flags=re.MULTILINE)


def command_pages() -> dict[str, str]:
    """One page per command, its subcommands included."""
    pages = {}
    root = click.Context(cli, info_name="nasmigrate", terminal_width=100, max_content_width=100)
    for name, line in SUBCOMMANDS.items():
        command = cli.get_command(root, name)
        assert command is not None
        text = f"{GENERATED}# nasmigrate {name}\n\n{line}\n\n```text\n{_help(command, [name], root)}\n```\n"
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=root)
            for child_name, child in sorted(command.commands.items()):
                text += (
                    f"\n## nasmigrate {name} {child_name}\n\n"
                    f"```text\n{_help(child, [name, child_name], context)}\n```\n"
                )
        pages[f"commands/{name}.md"] = text
    index = "\n".join(f"- [`{name}`]({name}.md): {line}" for name, line in SUBCOMMANDS.items())
    pages["commands/README.md"] = f"{GENERATED}# Commands\n\n{index}\n"
    return pages


def config_page() -> str:
    """Every key of nasmigrate.toml with its type, default and meaning."""
    schema = config_schema()
    definitions = schema.get("$defs", {})
    lines = [
        f"{GENERATED}# nasmigrate.toml\n",
        "Order of settings: flag, `NASMIGRATE_*`, `--env-file`, `nasmigrate.toml`, default.",
        "`nasmigrate config show --sources` prints each value with its origin.",
        "The JSON Schema is [schemas/config.schema.json](schemas/config.schema.json).\n",
    ]
    for section, field in schema["properties"].items():
        reference = field.get("$ref") or field.get("additionalProperties", {}).get("$ref", "")
        definition = definitions.get(reference.rsplit("/", 1)[-1], {})
        title = f'[{section}."table.column"]' if "additionalProperties" in field else f"[{section}]"
        lines.append(f"## {title}\n")
        if definition.get("description"):
            lines.append(definition["description"].strip() + "\n")
        lines.append("| key | type | default | meaning |\n|--|--|--|--|")
        for key, value in definition.get("properties", {}).items():
            kind = value.get("type") or " or ".join(
                option.get("type", "any") for option in value.get("anyOf", []) if option.get("type") != "null"
            )
            meaning = " ".join(value.get("description", "").split())
            lines.append(f"| `{key}` | {kind} | `{json.dumps(value.get('default'))}` | {meaning} |")
        lines.append("")
    assert Config.model_fields
    return "\n".join(lines)


def exit_code_page() -> str:
    """Exit codes and the error of each."""
    lines = [f"{GENERATED}# Exit codes\n", "| exit | name |\n|--|--|"]
    lines += [f"| {code.value} | {code.name.lower().replace('_', ' ')} |" for code in errors.ExitCode]
    lines += ["\n## Errors\n", "| code | exit | error | meaning |\n|--|--|--|--|"]
    kinds = [
        kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.NasmigrateError) and not name.startswith("_")
    ]
    for kind in sorted(kinds, key=lambda kind: kind.code):
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"| {kind.code} | {int(kind.exit_code)} | `{kind.__name__}` | {meaning} |")
    return "\n".join(lines) + "\n"


PGLOADER = """# pgloader as the engine

`nasmigrate copy --engine pgloader` (or `engine = "pgloader"` in `[transfer]`) lets pgloader 3.6 move the rows. Tables,
keys, indexes and checks stay those of the plan: pgloader loads data only, into tables that exist, with a cast for each
column. `pgloader` must be on PATH (`apt-get install pgloader`).

Each table goes through one engine. A table with a column that pgloader cannot carry (below) goes through the native
engine, and the result says which and why. Neither pgloader's exit code nor its counts are believed: before keys are
built, every chunk of its tables is compared with the source by digest. Where they differ the command ends with 10
(`ToolLied`) and names the rows; `copy --resume --engine native` then empties those tables and copies them again. The
same holds after Ctrl-C or a crash: pgloader commits as it goes, so its tables are begun anew.

It gets a copy of the snapshot, never the live file. Its load file, log, summary and output stay in the run's folder
(mode 0600); its log may quote rows. The password goes through its environment. Where libpq's connection is encrypted
pgloader asks for the same, and does not verify the certificate; `sslmode=verify-ca` and `verify-full` are refused.

## What it cannot carry

Each line is shown with the real pgloader (3.6.9 of Debian 12, which calls itself 3.6.7~devel) in
[tests/integration/test_pgloader.py](../tests/integration/test_pgloader.py). Unless a line says otherwise, pgloader ends
with 0.

| a column with | pgloader |
|--|--|
"""


def pgloader_page() -> str:
    """What the second engine is, and what it cannot carry."""
    return GENERATED + PGLOADER + "".join(f"| {limit.name} | {limit.does} |\n" for limit in LIMITS)


def pages() -> dict[str, str]:
    """Every generated page: path below docs/ -> text."""
    found = command_pages()
    found["config.md"] = config_page()
    found["exit-codes.md"] = exit_code_page()
    found["verification-limits.md"] = limits_page()
    found["cutover.md"] = GENERATED + cutover_page()
    found["pgloader.md"] = pgloader_page()
    found["traps.md"] = GENERATED + catalogue_page()
    for name, schema in (
        ("config", config_schema()),
        ("result", Result.model_json_schema()),
        ("plan", Plan.model_json_schema()),
        ("lint-app", AppLint.model_json_schema()),
        ("status", Status.model_json_schema()),
        ("cutover-dry-run", PlannedCutover.model_json_schema()),
        ("demo", Demo.model_json_schema()),
        ("backup", Manifest.model_json_schema()),
        ("last-backup", LastBackup.model_json_schema()),
    ):
        found[f"schemas/{name}.schema.json"] = json.dumps(schema, indent=2, sort_keys=True) + "\n"
    return found


def main() -> None:
    """Write them all."""
    for name, text in pages().items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
