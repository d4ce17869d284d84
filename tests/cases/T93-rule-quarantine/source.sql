CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
INSERT INTO parents VALUES (1, 'a'), (2, 'b');
CREATE TABLE children (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent_id INTEGER REFERENCES parents ON DELETE CASCADE,
    name TEXT,
    picture BLOB,
    letters INT AS (length(name))
);
INSERT INTO children (parent_id, name, picture) VALUES (1, 'Anna', NULL), (7, 'Bert', x'00ff'), (NULL, 'Éva', x''), (9, NULL, NULL);
CREATE TABLE toys (id INTEGER PRIMARY KEY AUTOINCREMENT, child_id INTEGER REFERENCES children, price REAL);
INSERT INTO toys (child_id, price) VALUES (1, 0.1), (2, 1e300), (NULL, 3), (4, NULL);
CREATE TABLE marks (child_id INT REFERENCES children, mark TEXT);
INSERT INTO marks VALUES (1, 'x'), (1, 'x'), (2, 'y'), (2, 'y'), (NULL, 'z');
CREATE VIEW names AS SELECT children.name, parents.name AS parent FROM children LEFT JOIN parents ON parents.id = parent_id;
