CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, changed_at DATETIME);
CREATE TRIGGER items_touch AFTER UPDATE OF name ON items BEGIN
    UPDATE items SET changed_at = CURRENT_TIMESTAMP WHERE id = new.id;
END;
INSERT INTO items (name) VALUES ('a'), ('b');
