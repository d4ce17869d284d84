CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT);
INSERT INTO parents (code) VALUES ('a'), ('a');
CREATE TABLE children (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    good INTEGER REFERENCES parents (id),
    code TEXT REFERENCES parents (code),
    gone INTEGER REFERENCES nowhere (id)
);
INSERT INTO children (good, code, gone) VALUES (1, 'a', 5);
