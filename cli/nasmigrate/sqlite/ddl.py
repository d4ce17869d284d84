"""Reads CREATE TABLE and CREATE INDEX as SQLite stores them, for what no pragma tells.

The grammar followed is the one of SQLite's `parse.y` and `tokenize.c` (3.54). Text that is handed on (checks,
expressions, defaults) is sliced from the original, never rebuilt. What cannot be read is refused, not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NoReturn

from nasmigrate.core.errors import SchemaError
from nasmigrate.schema.model import Check, Generated
from nasmigrate.sqlite.quoting import Token, tokens, unquote

# Keywords without a fallback to identifier that end a type name: each starts a column constraint.
_CONSTRAINT_WORDS = frozenset(
    "CONSTRAINT DEFAULT NULL NOT PRIMARY UNIQUE CHECK REFERENCES DEFERRABLE COLLATE AS".split()  # noqa: SIM905 - a list of words reads better
)
# After one of these words ASC or DESC can only be a column called so, not a sort order.
_OPERAND_FOLLOWS = frozenset(
    "AND OR NOT IS IN BETWEEN ESCAPE CASE WHEN THEN ELSE DISTINCT FROM COLLATE LIKE GLOB REGEXP MATCH".split()  # noqa: SIM905 - a list of words reads better
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedForeignKey:
    """A REFERENCES clause; `parent_columns` is empty when the clause names none."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...] = ()
    deferred: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedUnique:
    """A UNIQUE constraint of the table or of one column."""

    columns: tuple[str, ...]
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedColumn:
    """A column as its DDL says; `not_null` only where written, which a primary key may add to."""

    name: str
    not_null: bool = False
    collation: str | None = None
    default_sql: str | None = None
    generated: Generated | None = None
    generated_sql: str | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedTable:
    """A table as its DDL says. `checks` are those of the table; each column carries its own."""

    name: str
    columns: tuple[ParsedColumn, ...]
    primary_key_name: str | None = None
    autoincrement: bool = False
    checks: tuple[Check, ...] = ()
    foreign_keys: tuple[ParsedForeignKey, ...] = ()
    uniques: tuple[ParsedUnique, ...] = ()
    strict: bool = False
    without_rowid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedTerm:
    """One term of an index; `sql` is its text, COLLATE included, without ASC or DESC."""

    sql: str
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedIndex:
    """An index as its DDL says; `where_sql` is the text after WHERE."""

    name: str
    table: str
    terms: tuple[ParsedTerm, ...]
    where_sql: str | None = None


def parse_create_table(sql: str) -> ParsedTable:
    """Read the text of a CREATE TABLE that SQLite accepted.

    Raises:
        SchemaError: the text cannot be read; the message names the table when its name was reached.
    """
    return _TableReader(sql).read()


def parse_create_index(sql: str) -> ParsedIndex:
    """Read the text of a CREATE INDEX that SQLite accepted.

    Raises:
        SchemaError: the text cannot be read; the message names the index when its name was reached.
    """
    return _IndexReader(sql).read()


class _Reader:
    """A position in a list of tokens, and the steps both statements share."""

    def __init__(self, sql: str, what: str) -> None:
        self.sql = sql
        self.subject = what
        self.tokens = tuple(tokens(sql))
        self.position = 0

    def fail(self, expected: str) -> NoReturn:
        token = self.token()
        found = "the end" if token is None else repr(self.sql[token.start : token.start + 30])
        raise SchemaError(
            f"cannot read the DDL of {self.subject}: expected {expected}, found {found}",
            hint="please report this DDL; nothing was changed",
            details={"sql": self.sql},
        )

    def token(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def at(self, *keys: str) -> bool:
        """True when the next tokens are exactly these bare words or symbols."""
        following = self.tokens[self.position : self.position + len(keys)]
        return len(following) == len(keys) and all(t.key == k for t, k in zip(following, keys, strict=True))

    def take(self, *keys: str) -> bool:
        if not self.at(*keys):
            return False
        self.position += len(keys)
        return True

    def expect(self, *keys: str) -> None:
        if not self.take(*keys):
            self.fail(" ".join(keys))

    def text(self, first: int, last: int) -> str:
        """The original text from token `first` up to and including token `last`."""
        return self.sql[self.tokens[first].start : self.tokens[last].end]

    def name(self) -> str:
        token = self.token()
        if token is None or token.kind not in {"word", "name", "string"}:
            self.fail("a name")
        self.position += 1
        return unquote(self.sql[token.start : token.end])

    def group(self) -> range:
        """Step over a parenthesised group; the token numbers inside it."""
        start = self.position
        self.expect("(")
        depth = 1
        while depth:
            token = self.token()
            if token is None:
                self.fail("a closing parenthesis")
            depth += {"(": 1, ")": -1}.get(token.key, 0)
            self.position += 1
        return range(start + 1, self.position - 1)

    def group_text(self) -> str:
        """The text between the parentheses, comments kept, blanks around it dropped as the pragmas do."""
        inside = self.group()
        return self.sql[self.tokens[inside.start - 1].end : self.tokens[inside.stop].start].strip(" \t\n\v\f\r")

    def terms(self) -> list[range]:
        """Step over a parenthesised list; the token numbers of each of its terms."""
        inside = self.group()
        parts: list[range] = []
        depth, start = 0, inside.start
        for number in inside:
            key = self.tokens[number].key
            depth += {"(": 1, ")": -1}.get(key, 0)
            if key == "," and depth == 0:
                parts.append(range(start, number))
                start = number + 1
        parts.append(range(start, inside.stop))
        if not all(parts):
            self.fail("a list without empty terms")
        return parts

    def names(self) -> tuple[str, ...]:
        """A parenthesised list of columns; the first token of each term is its name."""
        listed = []
        for term in self.terms():
            token = self.tokens[term.start]
            listed.append(unquote(self.sql[token.start : token.end]))
        return tuple(listed)

    def object_name(self, what: str) -> str:
        """`[IF NOT EXISTS] [schema.]name`; from here on errors name the object."""
        self.take("IF", "NOT", "EXISTS")
        name = self.name()
        if self.take("."):
            name = self.name()
        self.subject = f"{what} {name!r}"
        return name


@dataclass(slots=True)
class _Draft:
    """A column while its constraints are being read."""

    name: str
    not_null: bool = False
    collation: str | None = None
    default_sql: str | None = None
    generated: Generated | None = None
    generated_sql: str | None = None
    checks: list[Check] = field(default_factory=list)

    def done(self) -> ParsedColumn:
        return ParsedColumn(
            name=self.name,
            not_null=self.not_null,
            collation=self.collation,
            default_sql=self.default_sql,
            generated=self.generated,
            generated_sql=self.generated_sql,
            checks=tuple(self.checks),
        )


class _TableReader(_Reader):
    """CREATE TABLE, from the first word to the last table option."""

    def __init__(self, sql: str) -> None:
        super().__init__(sql, "a table")
        self.columns: list[_Draft] = []
        self.checks: list[Check] = []
        self.foreign_keys: list[ParsedForeignKey] = []
        self.uniques: list[ParsedUnique] = []
        self.primary_key_name: str | None = None
        self.autoincrement = False

    def read(self) -> ParsedTable:
        self.expect("CREATE")
        if not self.take("TEMP"):
            self.take("TEMPORARY")
        self.expect("TABLE")
        name = self.object_name("table")
        self.expect("(")
        while True:
            self.column()
            if not self.take(","):
                break
            if self.at_table_constraint():
                self.table_constraints()
                break
        self.expect(")")
        options = self.options()
        return ParsedTable(
            name=name,
            columns=tuple(column.done() for column in self.columns),
            primary_key_name=self.primary_key_name,
            autoincrement=self.autoincrement,
            checks=tuple(self.checks),
            foreign_keys=tuple(self.foreign_keys),
            uniques=tuple(self.uniques),
            strict="STRICT" in options,
            without_rowid="WITHOUT ROWID" in options,
        )

    def options(self) -> set[str]:
        found: set[str] = set()
        while self.token() is not None and not self.take(";"):
            if self.take("WITHOUT", "ROWID"):
                found.add("WITHOUT ROWID")
            elif self.take("STRICT"):
                found.add("STRICT")
            else:
                self.fail("STRICT or WITHOUT ROWID")
            self.take(",")
        return found

    def at_table_constraint(self) -> bool:
        return any(self.at(word) for word in ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"))

    def column(self) -> None:
        column = _Draft(self.name())
        self.columns.append(column)
        self.skip_type()
        label: str | None = None
        while not self.at(",") and not self.at(")"):
            # A name belongs to the constraint right after it; SQLite allows it to stand alone.
            if self.take("CONSTRAINT"):
                label = self.name()
            else:
                self.column_constraint(column, label)
                label = None

    def skip_type(self) -> None:
        """Step over the type, which may hold `GENERATED ALWAYS`: SQLite reads those as part of it, too."""
        while (token := self.token()) is not None:
            if token.kind not in {"word", "name", "string"} or token.key in _CONSTRAINT_WORDS:
                break
            self.position += 1
        if self.at("("):
            self.group()

    def column_constraint(self, column: _Draft, label: str | None) -> None:
        if self.take("NOT", "NULL"):
            column.not_null = True
            self.conflict_clause()
        elif self.take("NULL"):
            self.conflict_clause()
        elif self.take("DEFAULT"):
            column.default_sql = self.default()
        elif self.take("PRIMARY", "KEY"):
            self.primary_key_name = label
            if not self.take("ASC"):
                self.take("DESC")
            self.conflict_clause()
            self.autoincrement |= self.take("AUTOINCREMENT")
        elif self.take("UNIQUE"):
            self.conflict_clause()
            self.uniques.append(ParsedUnique(columns=(column.name,), name=label))
        elif self.take("CHECK"):
            column.checks.append(Check(sql=self.group_text(), name=label))
            self.conflict_clause()
        elif self.take("COLLATE"):
            column.collation = self.name()
        elif self.take("REFERENCES"):
            self.references((column.name,), label)
        elif self.take("GENERATED", "ALWAYS", "AS") or self.take("AS"):
            column.generated_sql = self.group_text()
            column.generated = "stored" if self.take("STORED") else "virtual"
            self.take("VIRTUAL")
        elif not self.deferral():
            self.fail("a column constraint")

    def default(self) -> str:
        """The text of a default, as `table_xinfo` gives it: inside of the parentheses, sign included."""
        if self.at("("):
            return self.group_text()
        first = self.position
        if not self.take("-"):
            self.take("+")
        token = self.token()
        if token is None or token.kind == "symbol":
            self.fail("a default value")
        self.position += 1
        return self.text(first, self.position - 1)

    def table_constraints(self) -> None:
        """The constraints after the columns; SQLite lets the commas between them be left out."""
        label: str | None = None
        while not self.at(")"):
            if self.take("CONSTRAINT"):
                label = self.name()
            elif self.take(","):
                label = None
            else:
                self.table_constraint(label)
                label = None

    def table_constraint(self, label: str | None) -> None:
        if self.take("PRIMARY", "KEY"):
            self.primary_key_name = label
            self.autoincrement |= any(self.tokens[term[-1]].key == "AUTOINCREMENT" for term in self.terms())
            self.conflict_clause()
        elif self.take("UNIQUE"):
            self.uniques.append(ParsedUnique(columns=self.names(), name=label))
            self.conflict_clause()
        elif self.take("CHECK"):
            self.checks.append(Check(sql=self.group_text(), name=label))
            self.conflict_clause()
        elif self.take("FOREIGN", "KEY"):
            columns = self.names()
            self.expect("REFERENCES")
            self.references(columns, label)
            self.deferral()
        else:
            self.fail("a table constraint")

    def conflict_clause(self) -> None:
        if self.take("ON", "CONFLICT"):
            self.name()

    def references(self, columns: tuple[str, ...], label: str | None) -> None:
        parent = self.name()
        parent_columns = self.names() if self.at("(") else ()
        while True:
            if self.take("MATCH"):
                self.name()
            elif self.take("ON"):
                self.name()  # DELETE, UPDATE or the forgotten INSERT
                if self.take("SET") or self.take("NO"):
                    self.position += 1
                else:
                    self.name()
            else:
                break
        self.foreign_keys.append(
            ParsedForeignKey(columns=columns, parent=parent, parent_columns=parent_columns, name=label)
        )

    def deferral(self) -> bool:
        """A [NOT] DEFERRABLE clause. It applies to the table's latest foreign key, wherever it stands."""
        negated = self.take("NOT", "DEFERRABLE")
        if not negated and not self.take("DEFERRABLE"):
            return False
        deferred = self.take("INITIALLY", "DEFERRED")
        if not deferred:
            self.take("INITIALLY", "IMMEDIATE")
        if self.foreign_keys:
            self.foreign_keys[-1] = replace(self.foreign_keys[-1], deferred=deferred and not negated)
        return True


class _IndexReader(_Reader):
    """CREATE INDEX, from the first word to the end of its WHERE."""

    def __init__(self, sql: str) -> None:
        super().__init__(sql, "an index")

    def read(self) -> ParsedIndex:
        self.expect("CREATE")
        self.take("UNIQUE")
        self.expect("INDEX")
        name = self.object_name("index")
        self.expect("ON")
        table = self.name()
        terms = tuple(self.term(term) for term in self.terms())
        where_sql: str | None = None
        if self.take("WHERE"):
            last = len(self.tokens) - 1
            while last >= self.position and self.tokens[last].key == ";":
                last -= 1
            if last < self.position:
                self.fail("a condition")
            where_sql = self.text(self.position, last)
        elif self.token() is not None and not self.at(";"):
            self.fail("WHERE or the end")
        return ParsedIndex(name=name, table=table, terms=terms, where_sql=where_sql)

    def term(self, term: range) -> ParsedTerm:
        first, last = term.start, term.stop - 1
        descending = False
        if self.tokens[last].key in {"ASC", "DESC"} and self.ends_operand(first, last - 1):
            descending = self.tokens[last].key == "DESC"
            last -= 1
        return ParsedTerm(sql=self.text(first, last), descending=descending)

    def ends_operand(self, first: int, last: int) -> bool:
        """True when the tokens can be a whole expression, so that a word after them is not part of it."""
        if last < first:
            return False
        token = self.tokens[last]
        if token.kind == "symbol":
            return token.key == ")"
        return token.key not in _OPERAND_FOLLOWS or last == first
