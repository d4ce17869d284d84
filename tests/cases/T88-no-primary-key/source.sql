CREATE TABLE log (line TEXT, n INT);
INSERT INTO log VALUES ('same', 1), ('same', 1), (NULL, NULL), ('other', 2);
CREATE TABLE hidden (rowid TEXT, oid INT, _rowid_ REAL);
INSERT INTO hidden VALUES ('a', 1, 0.5), ('a', 1, 0.5);
