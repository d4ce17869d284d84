CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, uid UUID UNIQUE);
INSERT INTO parents (uid) VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
CREATE TABLE children (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    as_text TEXT REFERENCES parents (id),
    no_values TEXT REFERENCES parents (id),
    flag BOOLEAN REFERENCES parents (id),
    uid UUID REFERENCES parents (uid)
);
INSERT INTO children (as_text, flag, uid) VALUES ('1', 1, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('2', NULL, NULL);
