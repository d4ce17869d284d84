"""Plans made by hand, for what is written from them: an ordinary one, one full of hostile names, a wide one."""

from __future__ import annotations

from nasmigrate.schema.plan import (
    Plan,
    PlanCheck,
    PlanColumn,
    PlanForeignKey,
    PlanIndex,
    PlanIndexTerm,
    PlanTable,
)

HOSTILE_NAMES = (
    """quote"single'""",
    r"back\slash\n",
    "new\nline\ttab",
    "percent%s %(name)s %%",
    "colon:name ::text \\:x",
    "public.dotted.name",
    '"); DROP TABLE users; --',
    "\"\"\"\n''' {name} ${name}",
    "select",
    "Ünïcödé \u202e\U0001f600",
    " (paren) REFERENCES x(y) ",
)
"""Each is at most 63 bytes of UTF-8, as the planner guarantees."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def column(
    name: str,
    pg_type: str = "text",
    *,
    nullable: bool = True,
    default_sql: str | None = None,
    identity: bool = False,
    computed_sql: str | None = None,
) -> PlanColumn:
    return PlanColumn(
        name=name,
        declared_type=pg_type,
        codec=pg_type.partition("(")[0],
        pg_type=pg_type,
        collation="C" if pg_type == "text" else None,
        nullable=nullable,
        default_sql=default_sql,
        identity=identity,
        generated=None if computed_sql is None else "virtual",
        computed_sql=computed_sql,
    )


def renamed(plan: Plan) -> dict[str, str]:
    """What is called otherwise in Postgres than in the source: tables, and columns as `table.column`."""
    found = {table.name: table.target for table in plan.tables if table.name != table.target}
    for table in plan.tables:
        found |= {
            f"{table.name}.{column.name}": column.target for column in table.columns if column.name != column.target
        }
    return found


def ordinary_plan() -> Plan:
    """Every type, default, key, index and action that a plan can have."""
    users = PlanTable(
        name="users",
        columns=(
            column("id", "bigint", nullable=False, identity=True),
            column("email", nullable=False),
            column("name", default_sql="'it''s: 100% :x'"),
            column("active", "boolean", nullable=False, default_sql="true"),
            column("score", "double precision", default_sql="-1.5"),
            column("balance", "numeric", default_sql="0"),
            column("photo", "bytea", default_sql=r"'\x00ff'::bytea"),
            column("born", "date"),
            column("wakes", "time(0)"),
            column("seen", "timestamp(3)", default_sql="CURRENT_TIMESTAMP AT TIME ZONE 'UTC'"),
            column("made", "timestamptz(6)", default_sql="now()"),
            column("token", default_sql="md5((random())::text)"),
            column("day", default_sql="to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"),
            column("plain_time", "timestamp"),
            column("label", computed_sql="""lower(email COLLATE "C") || ' 100%:x'"""),
        ),
        primary_key=("id",),
        primary_key_name="users_pkey",
        indexes=(
            PlanIndex(name="users_email", unique=True, terms=(PlanIndexTerm(column="email"),), constraint=True),
            PlanIndex(
                name="users_lower",
                unique=True,
                terms=(PlanIndexTerm(expression='lower("email" COLLATE "C")', descending=True),),
                constraint=True,
            ),
            PlanIndex(
                name="users_seen",
                unique=False,
                terms=(PlanIndexTerm(column="seen", descending=True), PlanIndexTerm(column="name")),
                where='"name" <> \':a%\' AND "active"',
            ),
            PlanIndex(
                name="users_sum",
                unique=False,
                terms=(PlanIndexTerm(expression="score + 1::double precision"), PlanIndexTerm(column="id")),
            ),
        ),
        checks=(PlanCheck(name="users_score", sql='"score" < 100 AND "name" NOT LIKE \':p%\''),),
        autoincrement=True,
    )
    orders = PlanTable(
        name="Orders",
        columns=(
            column("user_id", "bigint", nullable=False),
            column("number", "bigint"),
            column("replaces_user", "bigint"),
            column("replaces_number", "bigint"),
        ),
        primary_key=("number", "user_id"),
        foreign_keys=(
            PlanForeignKey(
                name="orders_user",
                columns=("user_id",),
                parent="users",
                parent_columns=("id",),
                on_update="CASCADE",
                on_delete="RESTRICT",
            ),
            PlanForeignKey(
                name="orders_replaces",
                columns=("replaces_user", "replaces_number"),
                parent="Orders",
                parent_columns=("user_id", "number"),
                on_update="NO ACTION",
                on_delete="SET NULL",
                deferred=True,
            ),
        ),
    )
    orders = orders.model_copy(
        update={
            "indexes": (
                PlanIndex(
                    name="orders_both",
                    unique=True,
                    terms=(PlanIndexTerm(column="user_id"), PlanIndexTerm(column="number")),
                    constraint=True,
                ),
            )
        }
    )
    # A source that Alembic made has this table, with a name that is also Alembic's own.
    versions = PlanTable(name="alembic_version", columns=(column("version_num", nullable=False),))
    return Plan(encoding="UTF-8", tables=(users, orders, versions)).hashed()


def hostile_plan() -> Plan:
    """A plan whose names and texts try to get out of every quote that is put around them."""
    tables = []
    for number, name in enumerate(HOSTILE_NAMES):
        text = name.replace("'", "''")
        columns = (column("id", "bigint", nullable=False), column(name, default_sql=f"'{text}'"))
        tables.append(
            PlanTable(
                name=name,
                columns=columns,
                primary_key=("id",),
                primary_key_name=f"k{number}{name}"[:40],
                indexes=(
                    PlanIndex(
                        name=f"u{number}{name}"[:40],
                        unique=True,
                        terms=(PlanIndexTerm(column=name),),
                        constraint=True,
                    ),
                    PlanIndex(
                        name=f"i{number}{name}"[:40],
                        unique=False,
                        terms=(
                            PlanIndexTerm(column=name, descending=True),
                            PlanIndexTerm(expression=f"{quoted(name)} || '{text}'"),
                        ),
                        where=f"{quoted(name)} <> '{text}'",
                    ),
                ),
                checks=(PlanCheck(name=f"c{number}{name}"[:40], sql=f"{quoted(name)} <> 'x{text}'"),),
                foreign_keys=(
                    PlanForeignKey(
                        name=f"f{number}{name}"[:40],
                        columns=(name,),
                        parent=name,
                        parent_columns=(name,),
                        on_update="SET DEFAULT",
                        on_delete="CASCADE",
                        deferred=True,
                    ),
                ),
            )
        )
    return Plan(encoding="UTF-8", tables=tuple(tables)).hashed()


def large_plan(*, tables: int, columns: int) -> Plan:
    """Many tables, the first of them with many columns."""
    widths = (columns, *(2 for _ in range(tables - 1)))
    return Plan(
        encoding="UTF-8",
        tables=tuple(
            PlanTable(
                name=f"t{number}",
                columns=tuple(column(f"c{position}", "bigint", nullable=position > 0) for position in range(width)),
                primary_key=("c0",),
            )
            for number, width in enumerate(widths)
        ),
    ).hashed()
