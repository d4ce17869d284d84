"""The one membership that lets the application write, and what has to be true before and after.

What a REVOKE of membership does to sessions that are open (a session learns of it when it takes a lock or begins a
transaction, whatever the isolation level; the tests show each line on 15 and 18):

- the next transaction is refused, and so is a statement that needs a lock its transaction does not hold yet; one that
  waits for a lock is refused when it gets it after the REVOKE was committed;
- a *prepared* statement may **go on writing** to tables whose locks its transaction holds already;
- a transaction that has written **may still commit**: REVOKE waits for nobody.

Whoever may go on holds ROW EXCLUSIVE. So closing the gate without losing a write takes, in one transaction, LOCK TABLE
… IN EXCLUSIVE MODE on every table (it waits for exactly those, and holds back the others), then `revoke_writing`, then
COMMIT. A session that did SET ROLE keeps that role's rights after the REVOKE. From PostgreSQL 16 on the membership is
therefore given without SET; before that, `end_sessions` has to follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from nasmigrate.core.errors import TargetError
from nasmigrate.core.redaction import redact
from nasmigrate.postgres.roles import SCHEMA, SEQUENCE_RIGHTS, TABLE_RIGHTS, RoleNames, not_allowed
from nasmigrate.postgres.roles_check import writing_rights

# Everything in the schema that somebody else owns, with the word ALTER wants. What belongs to an extension stays with
# it; a sequence of a column, the row type of a table and a type's array follow what they belong to.
_NOT_OURS = """
SELECT kind, (pg_identify_object(classid, objid, 0)).identity FROM (
    SELECT 'TABLE', 'pg_class'::regclass::oid, c.oid, c.relowner FROM pg_class c
    WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT (c.relkind = 'S' AND EXISTS (
          SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
             AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')))
    UNION ALL
    SELECT 'ROUTINE', 'pg_proc'::regclass::oid, p.oid, p.proowner FROM pg_proc p
    WHERE p.pronamespace = %(schema)s::regnamespace
    UNION ALL
    SELECT 'TYPE', 'pg_type'::regclass::oid, t.oid, t.typowner FROM pg_type t
    WHERE t.typnamespace = %(schema)s::regnamespace AND t.typtype IN ('d', 'e', 'r', 'c')
      AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
) AS object (kind, classid, objid, owner)
WHERE owner <> (SELECT oid FROM pg_roles WHERE rolname = %(owner)s)
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = object.classid AND d.objid = object.objid AND d.deptype = 'e')
ORDER BY kind, 2
"""

# Who may give the switch to himself is an operator: to take it from him would prove nothing.
_OPERATOR = """
(m.rolsuper OR m.rolcreaterole OR m.rolname IN (current_user, session_user) OR EXISTS (
    SELECT FROM pg_auth_members o JOIN pg_roles s ON s.oid = o.roleid
    WHERE o.member = m.oid AND o.admin_option AND s.rolname = ANY(%(switch)s)))
"""
_GRANTS = f"""
SELECT r.rolname, m.rolname, g.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid
JOIN pg_roles m ON m.oid = a.member LEFT JOIN pg_roles g ON g.oid = a.grantor
WHERE r.rolname = ANY(%(switch)s) AND m.rolname <> ALL(%(switch)s)
  AND (m.rolname = %(application)s OR NOT {_OPERATOR})
ORDER BY m.rolname <> %(application)s, m.rolname, r.rolname, g.rolname
"""  # noqa: S608 - our own words
_LOGINS = f"""
SELECT m.rolname FROM pg_roles m
WHERE m.rolcanlogin AND m.rolname <> %(application)s AND NOT {_OPERATOR}
  AND EXISTS (SELECT FROM unnest(%(members)s::text[]) t WHERE pg_has_role(m.oid, t, 'MEMBER'))
ORDER BY 1
"""  # noqa: S608


def hand_over(connection: psycopg.Connection, names: RoleNames) -> int:
    """Give everything in the schema to the owner, and the writer its rights on it; in the caller's transaction.

    For the time after a load, and for tables that the application made itself (`needs_ddl`). Repeatable. Each object
    that changes hands is locked ACCESS EXCLUSIVE until the transaction ends.

    Returns:
        How many objects changed hands.

    Raises:
        OperatorNotAllowed: the operator may not; the error carries the exact SQL to run.
    """
    found = connection.execute(_NOT_OURS, {"schema": SCHEMA, "owner": names.owner}).fetchall()
    # The identity is the server's own, qualified and quoted by it.
    statements = [
        sql.SQL("ALTER {} {} OWNER TO {}").format(sql.SQL(kind), sql.SQL(identity), sql.Identifier(names.owner))
        for kind, identity in found
    ]
    for what, rights in (("TABLES", TABLE_RIGHTS), ("SEQUENCES", SEQUENCE_RIGHTS)):
        statements.append(
            sql.SQL("GRANT {} ON ALL {} IN SCHEMA {} TO {}").format(
                rights, sql.SQL(what), sql.Identifier(SCHEMA), sql.Identifier(names.writer)
            )
        )
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise not_allowed(connection, [f"{line.as_string(connection)};" for line in statements], error) from error
    return len(found)


def grant_writing(connection: psycopg.Connection, names: RoleNames, *, needs_ddl: bool = False) -> None:
    """Let the application write: the switch, in the caller's transaction, which decides when it counts.

    Args:
        connection: to the target, in a transaction, as the operator.
        names: the three roles.
        needs_ddl: the application changes its own schema, so it becomes a member of the owner.

    Raises:
        TargetError: Postgres refused, or the application could not write after the grant; roll back.
    """
    _execute(connection, switch(connection, names, needs_ddl=needs_ddl), f"letting {names.application} write")
    closed = closed_tables(connection, names.application)
    if closed:
        raise TargetError(
            f"role {names.application!r} could not write to {closed[0]} after the grant"
            + (f", nor to {len(closed) - 1} more" if len(closed) > 1 else ""),
            hint=f"before PostgreSQL 16 the role must have INHERIT; and {names.writer!r} needs its rights (hand_over)",
            code="NM0811",
        )


def switch(connection: psycopg.Connection, names: RoleNames, *, needs_ddl: bool) -> sql.Composed:
    """The GRANT that lets the application write, as this server takes it."""
    role = names.owner if needs_ddl else names.writer
    options = " WITH INHERIT TRUE, SET FALSE" if connection.info.server_version >= 160000 else ""
    return sql.SQL("GRANT {} TO {}" + options).format(sql.Identifier(role), sql.Identifier(names.application))


def closed_tables(connection: psycopg.Connection, application: str) -> tuple[str, ...]:
    """The tables of the application's schema in which that role cannot read, insert, update and delete; sorted."""
    return tuple(
        str(name)
        for (name,) in connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c"
            " WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p')"
            " AND NOT (has_table_privilege(%s, c.oid, 'INSERT') AND has_table_privilege(%s, c.oid, 'UPDATE')"
            " AND has_table_privilege(%s, c.oid, 'DELETE') AND has_table_privilege(%s, c.oid, 'SELECT')) ORDER BY 1",
            (SCHEMA, *[application] * 4),
        )
    )


def switch_members(connection: psycopg.Connection, names: RoleNames) -> tuple[str, ...]:
    """The roles that write by a membership in owner or writer; operators, who may give it to themselves, left out."""
    return tuple(dict.fromkeys(member for _, member, _ in _grants(connection, names)))


def early_writers(connection: psycopg.Connection, names: RoleNames) -> tuple[str, ...]:
    """Who else could write before a cutover opens the target, each as a sentence; operators left out, as above."""
    return tuple(
        dict.fromkeys(
            f"role {member!r} could write before the opening, as a member of {role!r}: revoke that until the cutover is"
            " done (cutover.after_open can give it back)"
            for role, member, _ in _grants(connection, names)
            if member != names.application
        )
    )


def revoke_writing(connection: psycopg.Connection, names: RoleNames) -> tuple[str, ...]:
    """Take the switch away, in the caller's transaction, and prove that nobody who had it can write any more.

    Every membership is taken but those of operators, whoever has it: the settings may name another role than the one
    it was opened for, and a service may have a role of its own. And whoever granted it: from PostgreSQL 16 on, a REVOKE
    takes only what the same role granted and says no more than a warning about the rest. What the application made
    itself becomes the owner's. See the head of this module for what open sessions can still do.

    Returns:
        The roles that could log in and write: the application's, then the others, sorted. Their sessions are to be
        ended.

    Raises:
        TargetError: Postgres refused, one of them would still be able to write, or there is no such application's role;
            roll back.
        OperatorNotAllowed: the operator may not take over what the application made; roll back.
    """
    hand_over(connection, names)
    grants = _grants(connection, names)
    for role, member, grantor in grants:
        statement = sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), sql.Identifier(member))
        if grantor is not None and connection.info.server_version >= 160000:
            statement = sql.SQL("{} GRANTED BY {}").format(statement, sql.Identifier(grantor))
        _execute(connection, statement, f"revoking {role} from {member}")
    logins = (names.application, *_logins(connection, names, [member for _, member, _ in grants]))
    for login in logins:
        left = writing_rights(connection, login, owner=names.owner, writer=names.writer)
        if left:
            raise TargetError(
                f"role {login!r} can still write after the revoke: {left[0]}",
                hint="take these rights away by hand; nothing was changed",
                details={"checks": list(left)},
                code="NM0812",
            )
    return logins


def end_sessions(connection: psycopg.Connection, roles: Sequence[str]) -> int:
    """Terminate the sessions of these roles in this database; how many there were.

    Raises:
        TargetError: the operator may not (it takes membership of the role, or pg_signal_backend).
    """
    try:
        row = connection.execute(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE usename = ANY(%s) AND datname = current_database() AND pid <> pg_backend_pid()",
            (list(roles),),
        ).fetchone()
    except psycopg.Error as error:
        raise TargetError(f"cannot end the sessions of {', '.join(roles)}: {redact(str(error)).strip()}") from error
    return int(row[0]) if row else 0


def _grants(connection: psycopg.Connection, names: RoleNames) -> list[tuple[str, str, str | None]]:
    """(role, member, grantor) of each membership in owner or writer that lets somebody write who is no operator."""
    return connection.execute(_GRANTS.encode(), _words(names)).fetchall()


def _logins(connection: psycopg.Connection, names: RoleNames, members: Sequence[str]) -> tuple[str, ...]:
    """The other roles that can log in and act as one of `members`, or are one; sorted."""
    found = connection.execute(_LOGINS.encode(), {**_words(names), "members": list(members)})
    return tuple(str(name) for (name,) in found)


def _words(names: RoleNames) -> dict[str, object]:
    return {"switch": [names.owner, names.writer], "application": names.application}


def _execute(connection: psycopg.Connection, statement: sql.Composed, doing: str) -> None:
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        raise TargetError(
            f"Postgres refused while {doing}: {redact(str(error)).strip()}", details={"sqlstate": error.sqlstate}
        ) from error
