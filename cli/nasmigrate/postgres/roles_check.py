"""What would let a role write to a database: asked before a cutover, when the answer must be "nothing".

A grant is a gate only for a role that cannot write without it. Looked at are all roles that it can act as, by
inheritance or by SET ROLE. A SECURITY DEFINER function that somebody else wrote is not looked into.
"""

from __future__ import annotations

import psycopg

from nasmigrate.core.errors import TargetError

_PREDEFINED = ("pg_write_all_data", "pg_write_server_files", "pg_execute_server_program")
"""Predefined roles that write to tables or past them: https://www.postgresql.org/docs/current/predefined-roles.html."""

# The roles that %(role)s can act as, but for the two whose membership is the switch: they are reported by name.
_REACHABLE = """
WITH reachable AS (
    SELECT r.oid, r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole FROM pg_roles r
    WHERE pg_has_role(%(role)s, r.oid, 'MEMBER') AND r.rolname <> ALL (%(switch)s)
), place AS (
    SELECT oid, nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
)
"""

_QUERIES = (
    # Attributes, its own and of the roles it is a member of.
    """
    SELECT CASE WHEN rolname = %(role)s THEN 'it' ELSE format('it is a member of %%I, which', rolname) END || ' ' ||
        CASE WHEN rolsuper THEN 'is a superuser' WHEN rolbypassrls THEN 'has BYPASSRLS' ELSE 'has CREATEROLE' END
    FROM reachable WHERE rolsuper OR rolbypassrls OR rolcreaterole ORDER BY 1
    """,
    "SELECT format('it is a member of %%I', rolname) FROM reachable WHERE rolname = ANY (%(predefined)s) ORDER BY 1",
    "SELECT format('it is a member of %%I already', rolname) FROM pg_roles"
    " WHERE rolname = ANY (%(switch)s) AND pg_has_role(%(role)s, oid, 'MEMBER') ORDER BY 1",
    # Owners can grant themselves anything. An object of another database gives no right in this one.
    """
    SELECT format('%%s owns %%s', CASE WHEN rolname = %(role)s THEN 'it' ELSE format('%%I, of which it is a member,',
        rolname) END, pg_describe_object(classid, objid, objsubid))
    FROM pg_shdepend d JOIN reachable r ON r.oid = d.refobjid
    WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND (
        d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        OR (d.classid = 'pg_database'::regclass
            AND d.objid = (SELECT oid FROM pg_database WHERE datname = current_database())))
    ORDER BY 1
    """,
    # Rights on rows, of a column too, and on sequences.
    """
    SELECT DISTINCT format('it may write to %%I.%%I', place.nspname, c.relname)
    FROM reachable, pg_class c JOIN place ON place.oid = c.relnamespace
    WHERE CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(reachable.oid, c.oid, 'USAGE, UPDATE')
        WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN
            has_table_privilege(reachable.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
            OR has_any_column_privilege(reachable.oid, c.oid, 'INSERT, UPDATE')
        ELSE false END
    ORDER BY 1
    """,
    """
    SELECT DISTINCT format('it may create objects in schema %%I', place.nspname) FROM reachable, place
    WHERE has_schema_privilege(reachable.oid, place.oid, 'CREATE')
    UNION SELECT DISTINCT format('it may create schemas in database %%I', current_database()) FROM reachable
    WHERE has_database_privilege(reachable.oid, current_database(), 'CREATE') ORDER BY 1
    """,
    # Rights that tables not yet made would come with.
    """
    SELECT DISTINCT format('it may write to what %%I will create (ALTER DEFAULT PRIVILEGES)', o.rolname)
    FROM pg_default_acl d JOIN pg_roles o ON o.oid = d.defaclrole, aclexplode(d.defaclacl) a
    WHERE d.defaclobjtype IN ('r', 'S') AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'USAGE')
      AND (a.grantee = 0 OR a.grantee IN (SELECT oid FROM reachable)) ORDER BY 1
    """,
)


def writing_rights(connection: psycopg.Connection, role: str, *, owner: str, writer: str) -> tuple[str, ...]:
    """Everything that lets `role` write to this database, each as a clause about "it"; empty = a grant is a gate.

    Args:
        connection: to the database.
        role: the application's role.
        owner: the role that owns the tables.
        writer: the role whose membership is the switch.

    Raises:
        TargetError: there is no such role, which is no answer: the one that writes has another name.
    """
    known = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    if known is None:
        raise TargetError(f"role {role!r} does not exist", hint="set [app] role to the application's role")
    if known[0]:
        return ("it is a superuser",)  # who has every right of every other line, too
    values = {"role": role, "switch": [owner, writer], "predefined": list(_PREDEFINED)}
    return tuple(
        str(line) for query in _QUERIES for (line,) in connection.execute((_REACHABLE + query).encode(), values)
    )


def application_problems(connection: psycopg.Connection, role: str, *, owner: str, writer: str) -> tuple[str, ...]:
    """Why this role cannot be the application's in a cutover; empty when it can.

    It must be there, be able to log in, and have no way to write before the grant.
    """
    facts = connection.execute("SELECT rolcanlogin, rolinherit FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    if facts is None:
        return (f"role {role!r} does not exist",)
    can_login, inherits = facts
    problems = [] if can_login else [f"role {role!r} may not log in (NOLOGIN)"]
    if not inherits and connection.info.server_version < 160000:
        problems.append(f"role {role!r} is NOINHERIT: before PostgreSQL 16 a membership would give it no rights")
    problems += [
        f"role {role!r} could write before it is let: {right}"
        for right in writing_rights(connection, role, owner=owner, writer=writer)
    ]
    return tuple(problems)
