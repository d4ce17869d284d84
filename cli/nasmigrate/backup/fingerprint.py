"""What is in a database, as a few figures that only an equal database has: rows, objects, sequences.

Made inside one transaction, so that a dump of the same snapshot can be compared with it however the application goes
on. Rows are hashed by the server: the sum of two 64-bit parts of each row's sha256, and the count, do not depend on
their order. Postgres' text forms are exact here (floats print the shortest text that reads back, the session is
pinned).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import psycopg
from psycopg import sql

_SCHEMAS = "nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"

# Not the rows of materialised views: a dump does not hold them, restoring computes them anew.
_TABLES = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_SCHEMAS} ORDER BY 1, 2
"""  # noqa: S608 - fixed text

_ROWS = """
SELECT count(*), coalesce(sum(('x' || substr(h, 1, 16))::bit(64)::bigint::numeric), 0)::text,
       coalesce(sum(('x' || substr(h, 17, 16))::bit(64)::bigint::numeric), 0)::text
FROM (SELECT encode(sha256(convert_to((row_.*)::text, 'UTF8')), 'hex') AS h FROM ONLY {} AS row_) AS hashed
"""

_SEQUENCES = f"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND {_SCHEMAS} ORDER BY 1, 2
"""  # noqa: S608 - fixed text

# One line per object, in the server's own words. With an empty search_path every name is qualified. What an extension
# brought is its own matter: the extension's line stands for it.
_OBJECTS = f"""
WITH place AS (SELECT oid, nspname FROM pg_namespace WHERE {_SCHEMAS}),
relation AS (
    SELECT c.*, place.nspname FROM pg_class c JOIN place ON place.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT format('schema %I owner %s', nspname, pg_get_userbyid((SELECT nspowner FROM pg_namespace n
    WHERE n.oid = place.oid))) FROM place WHERE nspname <> 'public'
UNION ALL SELECT format('relation %s %I.%I owner %s rights %s', relkind, nspname, relname,
    pg_get_userbyid(relowner), (SELECT string_agg(format('%s:%s', coalesce(nullif(a.grantee, 0)::regrole::text,
        'PUBLIC'), a.privilege_type), ',' ORDER BY a.grantee::regrole::text, a.privilege_type)
        FROM aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END,
            relowner))) a)) FROM relation
UNION ALL SELECT format('column %I.%I.%I %s not null %s %s%s default %s', nspname, relname, attname,
    format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
    FROM relation JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE relkind <> 'S'
UNION ALL SELECT format('constraint %I of %s: %s validated %s', conname, conrelid::regclass,
    pg_get_constraintdef(pg_constraint.oid), convalidated) FROM pg_constraint JOIN relation ON relation.oid = conrelid
UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN relation ON relation.oid = indrelid
UNION ALL SELECT format('view %I.%I: %s', nspname, relname, pg_get_viewdef(relation.oid)) FROM relation
    WHERE relkind IN ('v', 'm')
UNION ALL SELECT format('sequence %I.%I %s %s %s %s %s %s', nspname, relname, format_type(seqtypid, NULL),
    seqstart, seqincrement, seqmin, seqmax, seqcycle) FROM relation JOIN pg_sequence ON seqrelid = relation.oid
UNION ALL SELECT format('trigger %s enabled %s', pg_get_triggerdef(pg_trigger.oid), tgenabled) FROM pg_trigger
    JOIN relation ON relation.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT format('event trigger %I on %s: %s tags %s', evtname, evtevent, evtfoid::regproc, evttags)
    FROM pg_event_trigger
UNION ALL SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN place ON place.oid = p.pronamespace
    WHERE p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL SELECT format('type %I.%I %s base %s labels %s', place.nspname, typname, typtype,
    format_type(NULLIF(typbasetype, 0), typtypmod), (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder)
        FROM pg_enum WHERE enumtypid = t.oid)) FROM pg_type t JOIN place ON place.oid = typnamespace
    WHERE typtype IN ('d', 'e', 'r')
UNION ALL SELECT format('extension %I %s', extname, extversion) FROM pg_extension
UNION ALL SELECT format('large objects %s', count(*)) FROM pg_largeobject_metadata
"""  # noqa: S608 - fixed text


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFigures:
    """Rows of one table and the digest of all of them."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a database holds.

    Attributes:
        tables: by qualified name.
        sequences: qualified name -> the last value given out, 0 before the first. Their values are no part of a
            snapshot: a dump may hold a later one.
        objects: the definitions of everything, sorted.
    """

    tables: dict[str, TableFigures]
    sequences: dict[str, int]
    objects: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def content(self) -> str:
        """sha256 over the rows of all tables."""
        return _sha256([[name, table.rows, table.digest] for name, table in sorted(self.tables.items())])

    @property
    def catalogue(self) -> str:
        """sha256 over the definitions of all objects."""
        return _sha256(list(self.objects))


def take_fingerprint(connection: psycopg.Connection) -> Fingerprint:
    """Read everything, in the connection's present transaction.

    Raises:
        psycopg.Error: something cannot be read; row security, too, is an error and never a silent filter.
    """
    connection.execute("SET LOCAL search_path = ''")
    connection.execute("SET LOCAL row_security = off")
    sequences = {}
    for schema, name in connection.execute(_SEQUENCES).fetchall():
        row = connection.execute(
            sql.SQL("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}").format(
                sql.Identifier(schema, name)
            )
        ).fetchone()
        sequences[f"{schema}.{name}"] = int(row[0]) if row else 0
    tables = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        row = connection.execute(sql.SQL(_ROWS).format(sql.Identifier(schema, name))).fetchone()
        assert row is not None  # noqa: S101 - an aggregate gives one row
        tables[f"{schema}.{name}"] = TableFigures(rows=row[0], digest=_sha256([row[1], row[2]]))
    objects = tuple(sorted(str(line) for (line,) in connection.execute(_OBJECTS.encode())))
    return Fingerprint(tables=tables, sequences=sequences, objects=objects)


def unequal(before: Fingerprint, after: Fingerprint) -> tuple[str, ...]:
    """Where a restored database is not what was dumped, one line each; none = equal."""
    found = []
    for name in sorted(before.tables.keys() | after.tables.keys()):
        one, other = before.tables.get(name), after.tables.get(name)
        if one is None or other is None:
            found.append(f"table {name} is {'not in the source' if one is None else 'missing'}")
        elif one.rows != other.rows:
            found.append(f"table {name} has {other.rows} rows, {one.rows} were dumped")
        elif one.digest != other.digest:
            found.append(f"table {name} has other values in its {one.rows} rows")
    for name, value in before.sequences.items():
        if after.sequences.get(name, -1) < value:
            found.append(f"sequence {name} is behind: {after.sequences.get(name)} instead of {value}")
    found += [f"missing: {line}" for line in before.objects if line not in set(after.objects)]
    found += [f"not in the source: {line}" for line in after.objects if line not in set(before.objects)]
    return tuple(found)


def _sha256(document: object) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()
