CREATE TABLE posts (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, body TEXT);
INSERT INTO posts (title, body) VALUES ('First', 'a b c'), ('Second', 'd e f');
CREATE VIRTUAL TABLE search USING fts5(title, body, content='posts', content_rowid='id');
INSERT INTO search (rowid, title, body) SELECT id, title, body FROM posts;
CREATE VIRTUAL TABLE notes USING fts5(text);
INSERT INTO notes VALUES ('only here');
CREATE VIRTUAL TABLE places USING rtree(id, west, east, south, north);
INSERT INTO places VALUES (1, 1, 2, 3, 4);
-- Looks like a shadow of "search", and is a table of the application's own.
CREATE TABLE search_history (id INTEGER PRIMARY KEY AUTOINCREMENT, words TEXT);
INSERT INTO search_history (words) VALUES ('first');
