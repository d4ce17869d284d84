CREATE TABLE "select" ("from" INTEGER PRIMARY KEY, "order by" TEXT, "user" TEXT DEFAULT 'x' CHECK ("user" <> "order by"));
CREATE TABLE " table of 🚢 " ("🙂" INTEGER PRIMARY KEY, "שלום" TEXT, "‮rtl" TEXT, "per%cent %s {x} $1" TEXT, "a.b" TEXT, UNIQUE ("a.b", "per%cent %s {x} $1"));
CREATE TABLE "line
break" ("tab	tab" INTEGER PRIMARY KEY, "'; --" TEXT REFERENCES " table of 🚢 " ("🙂"));
CREATE INDEX "index on: x?" ON " table of 🚢 " ("‮rtl" DESC);
INSERT INTO "select" VALUES (1, 'a', 'b');
INSERT INTO " table of 🚢 " VALUES (1, 'שלום', 'x', '%', '.');
INSERT INTO "line
break" VALUES (7, NULL);
