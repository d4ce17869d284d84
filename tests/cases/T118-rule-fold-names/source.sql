CREATE TABLE "User" ("userId" INTEGER PRIMARY KEY, "createdAt" TEXT NOT NULL CHECK ("createdAt" <> ''), "HTTPStatus" INTEGER);
CREATE TABLE "OrderLine" (
    "lineId" INTEGER PRIMARY KEY, "userId" INTEGER REFERENCES "User", "Unit Price" REAL,
    "twicePrice" REAL GENERATED ALWAYS AS ("Unit Price" * 2.0) STORED,
    UNIQUE ("userId", "Unit Price")
);
CREATE INDEX "OrderLine_userId_idx" ON "OrderLine" ("userId") WHERE "Unit Price" > 1;
INSERT INTO "User" VALUES (1, 'monday', 200), (2, 'tuesday', NULL);
CREATE INDEX "byTwice" ON "OrderLine" ("twicePrice" DESC);
CREATE VIEW "DearLines" AS SELECT "lineId", "Unit Price" AS "thePrice" FROM "OrderLine" WHERE "Unit Price" > 1.0;
INSERT INTO "OrderLine" VALUES (1, 1, 2.5), (2, 1, 0.5), (3, 2, NULL);
