CREATE TABLE orders (shop INT NOT NULL, number INT NOT NULL, first_line INT, PRIMARY KEY (shop, number),
    FOREIGN KEY (shop, number, first_line) REFERENCES lines (shop, number, line) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE lines (shop INT NOT NULL, number INT NOT NULL, line INT NOT NULL, parent INT, PRIMARY KEY (shop, number, line),
    FOREIGN KEY (shop, number) REFERENCES orders ON DELETE CASCADE,
    FOREIGN KEY (shop, number, parent) REFERENCES lines NOT DEFERRABLE);
INSERT INTO orders VALUES (1, 1, 2), (2, 1, NULL);
INSERT INTO lines VALUES (1, 1, 1, 2), (1, 1, 2, NULL), (2, 1, 1, 1);
