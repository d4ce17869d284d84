CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT UNIQUE);
INSERT INTO parents (code) VALUES ('a');
CREATE TABLE children (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    good INTEGER REFERENCES parents (id),
    former INTEGER REFERENCES parents (old_id),
    row INTEGER REFERENCES parents (rowid)
);
INSERT INTO children (good, former, row) VALUES (1, 1, 1);
