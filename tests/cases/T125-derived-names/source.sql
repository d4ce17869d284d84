CREATE TABLE users (id INTEGER PRIMARY KEY, mail TEXT UNIQUE, CONSTRAINT users_id_check CHECK (id > 0));
CREATE TABLE users_pkey (id INTEGER PRIMARY KEY, u INTEGER REFERENCES users, CONSTRAINT users_pkey_u_fkey CHECK (u > 0));
CREATE INDEX users_mail_key ON users_pkey (u);
INSERT INTO users VALUES (1, 'a');
INSERT INTO users_pkey VALUES (1, 1);
