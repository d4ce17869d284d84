"""Which rows that came to Postgres are rows that went from it, so that their values stay as SQLite stores them.

To Postgres 5, '5' and x'35' are one value in a column of mixed classes; the row in SQLite says which it was. An updated
row without a key, and a row under a new key, look like one that was deleted and one that was inserted. They are taken
for one row by the least that can have happened:

1. A row that agrees with one that went in every column beside the key is that row under another key.
2. Where all rows that went held a value alike, and no more came with it, it is as they held it.
3. Otherwise a row that came is the one that went with which it agrees in most columns, the closest pairs first.

What such a row has in common with the one that went, it keeps as SQLite held it; anything else is new. Where several
rows are equally close, and not all choices give the same rows, it cannot be told: the value is in doubt.

The key counts as one column more: a row that keeps its key is that row, unless it agrees in more columns with another
that went, or one that came agrees in more with what it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import eq

from nasmigrate.schema.codecs import SqliteValue, exact_bytes, storage_class
from nasmigrate.schema.home import Spool
from nasmigrate.schema.ledger import Key
from nasmigrate.schema.model import StorageClass
from nasmigrate.schema.plan import PlanTable
from nasmigrate.schema.rows import Fields, Rows, row_of_fields

Stored = Mapping[int, SqliteValue]
"""Values, by the position of their column, that SQLite holds otherwise than the codec gives them back."""

_PAIRS = 250_000
"""More pairs of rows that share a value are not weighed one by one."""
_WEIGHED = 2_000_000
"""So many pairs are weighed to see whether rows that kept their keys are others; beyond, they are what they were."""
Mark = tuple[StorageClass, bytes] | None
"""What tells stored values of one send form apart; None is the one that the codec gives back."""
_Value = tuple[int, bytes | None]
"""A column's position and a send form in it."""


def mark(stored: Stored, column: int) -> Mark:
    """How a row that holds `stored` holds a column."""
    return (storage_class(stored[column]), exact_bytes(stored[column])) if column in stored else None


@dataclass(frozen=True, slots=True)
class _Went:
    """A row that Postgres has no more, or not at its key."""

    fields: Fields
    stored: Stored


@dataclass(slots=True)
class Settled:
    """What is known of a row that came: values to keep, and of those in doubt how rows that went held them.

    `found` says that it is a row that went, under another key.
    """

    kept: dict[int, SqliteValue] = field(default_factory=dict)
    doubts: dict[int, frozenset[Mark]] = field(default_factory=dict)
    found: bool = False


class SameRows:
    """Collects the rows of one table that went and came. Only those in memory that share a value which needs telling.

    Args:
        table: its columns are those that go home.
    """

    def __init__(self, table: PlanTable) -> None:
        self._beside = [index for index in range(len(table.columns)) if index not in table.key_indices]
        self._keyed = bool(table.key and self._beside)
        self._special: list[_Went] = []
        self._plain = Rows()
        self.inserted = Rows()
        self.replaced: Spool[tuple[Key, Fields, Fields]] = Spool()
        self._stored_before: dict[int, Stored] = {}

    def close(self) -> None:
        """Free memory and disk."""
        self._plain.close()
        self.inserted.close()
        self.replaced.close()

    def went(self, fields: Fields, stored: Stored) -> None:
        """Take in a row of SQLite whose key, or without a key whose content, Postgres has no more."""
        if stored:
            self._special.append(_Went(fields, stored))
        else:
            self._plain.add(row_of_fields(fields))

    def came(self, fields: Fields) -> None:
        """Take in a row of Postgres whose key, or without a key whose content, SQLite has not."""
        self.inserted.add(row_of_fields(fields))

    def may_be_another(self, place: Key, before: Fields, stored: Stored, after: Fields) -> bool:
        """Take in a row that kept its key, if so much of it changed that it may be another; otherwise False."""
        if sum(before[index] != after[index] for index in self._beside) < 2:
            return False
        if stored:
            self._stored_before[self.replaced.count] = stored
        self.replaced.add((place, before, after))
        return True

    def settle(self) -> tuple[dict[int, Settled], dict[int, Settled]]:
        """What is known of the inserted and of the replaced rows, by number; all others are new."""
        values = {(column, row.fields[column]) for row in self._special for column in row.stored}
        for number, (_, before, _) in enumerate(self.replaced):
            values.update((column, before[column]) for column in self._stored_before.get(number, ()))
        columns = {column for column, _ in values}

        def shares(fields: Fields) -> bool:
            return any((column, fields[column]) in values for column in columns)

        went = [*self._special, *(_Went(row, {}) for row in self._plain if shares(row))]
        inserted = {number: (row, Settled()) for number, row in enumerate(self.inserted) if shares(row)}
        replaced = {
            number: (_Went(before, self._stored_before.get(number, {})), after, Settled())
            for number, (_, before, after) in enumerate(self.replaced)
            if shares(before) or shares(after)
        }
        if self._keyed:
            went = self._found_again(went, list(inserted.values()), list(replaced.values()))
        left = [(row, settled) for row, settled in inserted.values() if not settled.found]
        kept_keys = [row for row in replaced.values() if not row[2].found]
        others = _closer_to_others(values, kept_keys, went, [row for row, _ in left])
        went += [own for own, _, _ in others]
        left += [(after, settled) for _, after, settled in others]
        for value in values:
            _by_value(value, went, left)
        for own, after, settled in others:
            for column in {*own.stored, *settled.kept} - settled.doubts.keys():
                marks = frozenset((mark(own.stored, column), mark(settled.kept, column)))
                if len(marks) > 1 and own.fields[column] == after[column]:
                    settled.doubts[column] = marks
        return (
            {number: settled for number, (_, settled) in inserted.items()},
            {number: settled for number, (_, _, settled) in replaced.items()},
        )

    def _found_again(
        self,
        went: Sequence[_Went],
        inserted: Sequence[tuple[Fields, Settled]],
        replaced: Sequence[tuple[_Went, Fields, Settled]],
    ) -> list[_Went]:
        """Find rows under another key by all that stands beside it; the rows that went and were not found."""
        before: dict[tuple[bytes | None, ...], list[_Went]] = defaultdict(list)
        after: dict[tuple[bytes | None, ...], list[tuple[Settled, _Went | None]]] = defaultdict(list)
        for row in went:
            before[self._content(row.fields)].append(row)
        gone = {content: len(rows) for content, rows in before.items()}
        for row, _, _ in replaced:
            before[self._content(row.fields)].append(row)
        for fields, settled in inserted:
            after[self._content(fields)].append((settled, None))
        for row, fields, settled in replaced:
            after[self._content(fields)].append((settled, row))
        left: list[_Went] = []
        for content, rows in before.items():
            these = after.get(content, [])
            for settled, own in these:
                self._found(settled, own, content, rows, enough=len(these) <= len(rows))
            # Those that are left are alike, or there is a doubt that stops it all.
            left += rows[len(these) : gone.get(content, 0)]
        return left

    def _found(
        self,
        settled: Settled,
        own: _Went | None,
        content: Sequence[bytes | None],
        rows: Sequence[_Went],
        *,
        enough: bool,
    ) -> None:
        settled.found = True
        for column, raw in zip(self._beside, content, strict=True):
            marks = frozenset(mark(row.stored, column) for row in rows)
            stays = own is not None and own.fields[column] == raw
            if stays and own is not None and {mark(own.stored, column)} == marks:
                continue
            if stays or len(marks) > 1 or (marks != {None} and not enough):
                settled.doubts[column] = marks
            elif column in rows[0].stored:
                settled.kept[column] = rows[0].stored[column]

    def _content(self, fields: Fields) -> tuple[bytes | None, ...]:
        return tuple(fields[index] for index in self._beside)


_Came = tuple[Fields, Settled]
_Replaced = tuple[_Went, Fields, Settled]


def _closer_to_others(
    values: set[_Value], replaced: Sequence[_Replaced], went: Sequence[_Went], inserted: Sequence[Fields]
) -> list[_Replaced]:
    """Rows that kept their key and are not what they were: another row that went, or came, is closer to them.

    The key counts as any column does, so a row of which one column changed is always what it was.
    """
    olds: dict[_Value, list[_Went]] = defaultdict(list)
    news: dict[_Value, list[Fields]] = defaultdict(list)
    columns = {column for column, _ in values}
    for row in (*went, *(own for own, _, _ in replaced)):
        for column in columns:
            olds[column, row.fields[column]].append(row)
    for fields in (*inserted, *(after for _, after, _ in replaced)):
        for column in columns:
            news[column, fields[column]].append(fields)
    varied = {value for value in values if len({mark(row.stored, value[0]) for row in olds[value]}) > 1}
    weighed = 0
    found = []
    for own, after, settled in replaced:
        closeness = sum(map(eq, own.fields, after))
        changed = {column for column in columns if own.fields[column] != after[column]}

        def tell(fields: Fields, column: int, changed: set[int] = changed) -> bool:
            value = column, fields[column]
            return value in varied or (value in values and column in changed)

        rivals = [row.fields for column in columns if tell(after, column) for row in olds[column, after[column]]]
        heirs = [row for column in columns if tell(own.fields, column) for row in news[column, own.fields[column]]]
        weighed += len(rivals) + len(heirs)
        if weighed > _WEIGHED:
            break
        if any(sum(map(eq, row, after)) > closeness for row in rivals) or any(
            sum(map(eq, row, own.fields)) > closeness for row in heirs
        ):
            found.append((own, after, settled))
    return found


def _by_value(value: _Value, went: Sequence[_Went], came: Sequence[_Came]) -> None:
    """Say how rows that came hold one value, by the rows that went with it."""
    column, raw = value
    olds = [row for row in went if row.fields[column] == raw]
    news = [row for row in came if row[0][column] == raw]
    marks = frozenset(mark(row.stored, column) for row in olds)
    if not news or marks <= {None}:
        return
    if len(marks) == 1 and len(news) <= len(olds):
        for _, settled in news:
            settled.kept[column] = olds[0].stored[column]
    elif len(olds) * len(news) <= _PAIRS:
        _by_closeness(column, olds, news)
    else:
        _by_what_stayed(column, olds, news)


def _by_what_stayed(column: int, olds: Sequence[_Went], news: Sequence[_Came]) -> None:
    """Many rows share the value: compare those that agree in every column that changed in none of them."""
    width = range(len(olds[0].fields))
    stayed = [i for i in width if not Counter(row[i] for row, _ in news) - Counter(old.fields[i] for old in olds)]
    groups: dict[tuple[bytes | None, ...], tuple[list[_Went], list[_Came]]] = defaultdict(lambda: ([], []))
    for old in olds:
        groups[tuple(old.fields[i] for i in stayed)][0].append(old)
    for new in news:
        groups[tuple(new[0][i] for i in stayed)][1].append(new)
    for some_olds, some_news in groups.values():
        if some_olds and len(some_olds) * len(some_news) <= _PAIRS:
            _by_closeness(column, some_olds, some_news)
        elif not some_olds or not _settle(column, some_olds, some_news):
            _doubt(column, some_olds or olds, some_news)


def _by_closeness(column: int, olds: Sequence[_Went], news: Sequence[_Came]) -> None:
    """Pair rows that agree in most columns first; those of equal closeness all at once."""
    by_closeness: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, (fields, _) in enumerate(news):
        for place, old in enumerate(olds):
            by_closeness[sum(map(eq, old.fields, fields))].append((place, number))
    free_olds, free_news = set(range(len(olds))), set(range(len(news)))
    for closeness in sorted(by_closeness, reverse=True):
        pairs = [pair for pair in by_closeness[closeness] if pair[0] in free_olds and pair[1] in free_news]
        for places, numbers in _connected(pairs):
            some_olds, some_news = [olds[place] for place in places], [news[number] for number in numbers]
            if not _settle(column, some_olds, some_news):
                _doubt(column, some_olds, some_news)
            free_news.difference_update(numbers)
            # Which of too many went is not known, so none is out of the question for those less close.
            if len(places) <= len(numbers):
                free_olds.difference_update(places)
    given = Counter(mark(settled.kept, column) for _, settled in news if column in settled.kept)
    if given - Counter(mark(old.stored, column) for old in olds):
        _doubt(column, olds, news)


def _settle(column: int, olds: Sequence[_Went], news: Sequence[_Came]) -> bool:
    """Give rows that came the values of some that went, if it does not matter which of them takes which."""
    marks = {mark(old.stored, column) for old in olds}
    if marks == {None}:
        return True
    if (len(marks) > 1 or len(news) > len(olds)) and not _are_interchangeable(column, olds, news):
        return False
    for old, (_, settled) in zip(olds, news, strict=False):
        if column in old.stored:
            settled.kept[column] = old.stored[column]
    return True


def _are_interchangeable(column: int, olds: Sequence[_Went], news: Sequence[_Came]) -> bool:
    """Whether the rows that came are equal, and those that went differ in how they hold this column alone."""
    if len(news) != len(olds) or any(fields != news[0][0] for fields, _ in news):
        return False
    others = {other for old in olds for other in old.stored if other != column}
    return all(len({mark(old.stored, other) for old in olds}) == 1 for other in others)


def _doubt(column: int, olds: Sequence[_Went], news: Sequence[_Came]) -> None:
    for _, settled in news:
        settled.doubts[column] = frozenset(mark(old.stored, column) for old in olds)


def _connected(pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[list[int], list[int]]]:
    """The parts of a bipartite graph, each in ascending order."""
    lefts: dict[int, list[int]] = defaultdict(list)
    rights: dict[int, list[int]] = defaultdict(list)
    for left, right in pairs:
        lefts[left].append(right)
        rights[right].append(left)
    seen: set[int] = set()
    for first in sorted(lefts):
        if first in seen:
            continue
        seen.add(first)
        some_lefts, some_rights, waiting = {first}, set[int](), [first]
        while waiting:
            for right in lefts[waiting.pop()]:
                if right not in some_rights:
                    some_rights.add(right)
                    fresh = [left for left in rights[right] if left not in seen]
                    seen.update(fresh)
                    some_lefts.update(fresh)
                    waiting += fresh
        yield sorted(some_lefts), sorted(some_rights)
