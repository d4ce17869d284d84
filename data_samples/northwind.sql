-- A trading company in the shape of the Northwind sample: blanks in names, text keys, pictures, money as NUMERIC.

CREATE TABLE [Categories]
(      [CategoryID] INTEGER PRIMARY KEY AUTOINCREMENT,
       [CategoryName] TEXT,
       [Description] TEXT,
       [Picture] BLOB
);

CREATE TABLE [Customers]
(      [CustomerID] TEXT,
       [CompanyName] TEXT,
       [ContactName] TEXT,
       [City] TEXT,
       [PostalCode] TEXT,
       [Phone] TEXT,
       PRIMARY KEY (`CustomerID`)
);

CREATE TABLE [Employees]
(      [EmployeeID] INTEGER PRIMARY KEY AUTOINCREMENT,
       [LastName] TEXT,
       [FirstName] TEXT,
       [BirthDate] DATE,
       [HireDate] DATE,
       [Photo] BLOB,
       [Notes] TEXT,
       [ReportsTo] INTEGER,
	   FOREIGN KEY ([ReportsTo]) REFERENCES [Employees] ([EmployeeID])
		ON DELETE NO ACTION ON UPDATE NO ACTION
);

CREATE TABLE [Territories]
(      [TerritoryID] TEXT NOT NULL,
       [TerritoryDescription] TEXT NOT NULL,
       PRIMARY KEY ([TerritoryID])
);

CREATE TABLE [EmployeeTerritories]
(      [EmployeeID] INTEGER NOT NULL,
       [TerritoryID] TEXT NOT NULL,
       PRIMARY KEY ("EmployeeID","TerritoryID"),
       FOREIGN KEY ([EmployeeID]) REFERENCES [Employees] ([EmployeeID]),
       FOREIGN KEY ([TerritoryID]) REFERENCES [Territories] ([TerritoryID])
);

CREATE TABLE [Products]
(      [ProductID] INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
       [ProductName] TEXT NOT NULL,
       [CategoryID] INTEGER,
       [UnitPrice] NUMERIC DEFAULT 0,
       [UnitsInStock] INTEGER DEFAULT 0,
       [Discontinued] TEXT NOT NULL DEFAULT '0',
       CHECK ([UnitPrice]>=(0)),
       CHECK ([UnitsInStock]>=(0)),
       FOREIGN KEY ([CategoryID]) REFERENCES [Categories] ([CategoryID])
);

CREATE TABLE [Orders]
(      [OrderID] INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
       [CustomerID] TEXT,
       [EmployeeID] INTEGER,
       [OrderDate] DATETIME,
       [ShippedDate] DATETIME,
       [Freight] NUMERIC DEFAULT 0,
       [ShipName] TEXT,
       FOREIGN KEY ([EmployeeID]) REFERENCES [Employees] ([EmployeeID]),
       FOREIGN KEY ([CustomerID]) REFERENCES [Customers] ([CustomerID])
);

CREATE TABLE [Order Details]
(      [OrderID] INTEGER NOT NULL,
       [ProductID] INTEGER NOT NULL,
       [UnitPrice] NUMERIC NOT NULL DEFAULT 0,
       [Quantity] INTEGER NOT NULL DEFAULT 1,
       [Discount] REAL NOT NULL DEFAULT 0,
       PRIMARY KEY ("OrderID","ProductID"),
       CHECK ([Discount]>=(0) AND [Discount]<=(1)),
       CHECK ([Quantity]>(0)),
       CHECK ([UnitPrice]>=(0)),
       FOREIGN KEY ([OrderID]) REFERENCES [Orders] ([OrderID]),
       FOREIGN KEY ([ProductID]) REFERENCES [Products] ([ProductID])
);

CREATE INDEX [Products CategoryID] ON [Products] ([CategoryID]);
CREATE INDEX [Orders CustomerID] ON [Orders] ([CustomerID]);
CREATE INDEX [Order Details ProductID] ON [Order Details] ([ProductID]);
