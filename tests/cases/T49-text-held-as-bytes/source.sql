-- One NUL makes a column of text bytes in Postgres; what the file says of it, it says of text.
CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, w TEXT CHECK (length(w) <= 5) CHECK (w IS NOT NULL),
                n INT AS (length(w)), b BLOB CHECK (length(b) < 9));
INSERT INTO a (w, b) VALUES ('c' || char(0), x'63'), ('héé', x'0102');
CREATE INDEX a_part ON a (b) WHERE w = 'c';
CREATE TABLE u (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE COLLATE NOCASE, plain TEXT UNIQUE);
INSERT INTO u (name, plain) VALUES ('a' || char(0), 'x' || char(0)), ('Bob', 'y');
CREATE TABLE k (code TEXT PRIMARY KEY COLLATE NOCASE);
INSERT INTO k VALUES ('a' || char(0)), ('Bob');
CREATE VIEW same AS SELECT id FROM a WHERE w = b;
CREATE VIEW literal AS SELECT id FROM a WHERE w = x'63';
CREATE VIEW once AS SELECT DISTINCT w FROM a;
CREATE VIEW ordered AS SELECT id FROM a ORDER BY w;
CREATE VIEW through AS SELECT id, w FROM a WHERE w IS NOT NULL;
CREATE VIEW behind AS SELECT id FROM through WHERE w = x'63';
CREATE VIEW counted AS SELECT count(w) AS n FROM a;
CREATE VIEW blobs AS SELECT DISTINCT b FROM a WHERE b <> x'00';
