"""A WAR in the layout of Kill Bill's, with a table or two per module, for tests that need no Kill Bill."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from nasmigrate.killbill.ddl import MODULES

VERSION = "0.22.26"
BRIDGE = r"""
/* As Kill Bill's own does it: domains; then a trigger that widens the column in front of the word serial */
DROP DOMAIN IF EXISTS datetime CASCADE;
CREATE DOMAIN datetime AS timestamp without time zone;
CREATE OR REPLACE FUNCTION update_serial_to_bigint_oncreate() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    r record;
    matches text[];
BEGIN
    FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        SELECT regexp_matches(current_query(), E'\\m(\\w+)\\s+serial\\M') INTO matches;
        IF r.object_type = 'table' AND array_length(matches, 1) > 0 THEN
            EXECUTE 'ALTER TABLE ' || r.object_identity || ' ALTER COLUMN ' || matches[1] || ' TYPE bigint';
        END IF;
    END LOOP;
END
$$;
CREATE EVENT TRIGGER update_serial_to_bigint_oncreate ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
    EXECUTE PROCEDURE update_serial_to_bigint_oncreate();
"""
TABLES = {"account": "accounts", "invoice": "invoices", "payment": "payments", "util": "users"}


def write_war(path: Path, *, leave_out: str = "", bridge: str = BRIDGE, unpacked: bool = False) -> Path:
    """Write it as a file, or as the folder of an unpacked web application; `leave_out` is a module."""
    jars = {
        f"WEB-INF/lib/killbill-{module}-{VERSION}.jar": _jar(module, bridge)
        for module in MODULES
        if module != leave_out
    }
    jars["WEB-INF/lib/killbill-jaxrs-0.22.26.jar"] = b"not read"
    if unpacked:
        for name, content in jars.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in jars.items():
            archive.writestr(name, content)
    return path


def _jar(module: str, bridge: str) -> bytes:
    name = TABLES.get(module, f"{module}_events")
    text = f"""/*! SET default_storage_engine=INNODB */;

DROP TABLE IF EXISTS {name}; -- as Kill Bill does; a semicolon in a comment
CREATE TABLE {name} (
    record_id serial unique,
    note varchar(10) DEFAULT ';',
    created_date datetime NOT NULL,
    PRIMARY KEY(record_id)
) /*! CHARACTER SET utf8 COLLATE utf8_bin */;
CREATE INDEX {name}_note ON {name}(note);
"""
    if module == "util":
        text += """
DROP TABLE IF EXISTS node_infos;
CREATE TABLE node_infos (
    record_id serial unique,
    node_name varchar(50) NOT NULL,
    boot_date datetime NOT NULL,
    is_active boolean default true,
    PRIMARY KEY(record_id)
);
"""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"org/killbill/billing/{module}/ddl.sql", text)
        if module == "util":
            archive.writestr(f"org/killbill/billing/{module}/ddl-postgresql.sql", bridge)
    return stream.getvalue()
