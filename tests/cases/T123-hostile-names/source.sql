CREATE TABLE users (id INTEGER PRIMARY KEY);
CREATE TABLE "a""; DROP TABLE users; --" (x INTEGER PRIMARY KEY, "y""); DROP TABLE users; --" TEXT, "\""" TEXT);
CREATE UNIQUE INDEX "i""; DROP TABLE users; --" ON "a""; DROP TABLE users; --" ("y""); DROP TABLE users; --") WHERE "\""" IS NOT NULL;
INSERT INTO users VALUES (1);
INSERT INTO "a""; DROP TABLE users; --" VALUES (1, 'DROP TABLE users', '"');
