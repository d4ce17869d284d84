"""How many rows each table of the marketplace has, and which row belongs to which."""

from __future__ import annotations

from dataclasses import dataclass

MIN_ROWS = 100
"""Below this the tables are too small to show every state."""

MIGRATIONS = (
    "001_init.sql", "002_users_role.sql", "003_properties.sql", "004_units.sql", "005_leases.sql",
    "006_lease_tenants.sql", "007_invoices.sql", "008_payments.sql", "009_receipts.sql",
    "010_integrations.sql", "011_one_active_lease.sql", "012_users_deleted_at.sql",
)  # fmt: skip

INTEGRATIONS: tuple[tuple[str, str, dict[str, object], int], ...] = (
    ("stripe", "payment", {"mode": "test", "webhook": "/api/hooks/stripe", "retries": 3}, 1),
    ("sendgrid", "mail", {"from": "Vermietung <post@example.org>", "footer": "Schöne Grüße 🏠"}, 1),
    ("s3", "storage", {"bucket": "receipts", "public": False, "region": None}, 0),
    ("caldav", "calendar", {}, 0),
    ("paypal", "payment", {"fees": [0.35, 2.49], "label": 'PayPal "Sofort"'}, 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many rows each table keeps."""

    users: int
    properties: int
    units: int
    leases: int
    co_tenants: int
    invoices: int
    payments: int
    receipts: int

    @classmethod
    def of(cls, rows: int) -> Sizes:
        """Shares of about `rows` rows in all; payments take what the other tables leave.

        Raises:
            ValueError: `rows` is under MIN_ROWS.
        """
        if rows < MIN_ROWS:
            raise ValueError(f"{rows} rows asked for; the least is {MIN_ROWS}")
        users = max(12, rows * 4 // 100)
        properties = max(5, rows * 15 // 1000)
        units = max(6, rows * 4 // 100)
        leases = max(8, rows * 6 // 100)
        co_tenants = max(1, rows // 100)
        invoices = rows * 13 // 100
        receipts = max(4, rows * 6 // 100)
        fixed = len(INTEGRATIONS) + len(MIGRATIONS)
        others = users + properties + units + 2 * leases + co_tenants + invoices + receipts + fixed
        return cls(
            users=users,
            properties=properties,
            units=units,
            leases=leases,
            co_tenants=co_tenants,
            invoices=invoices,
            payments=max(10, rows - others),
            receipts=receipts,
        )

    @property
    def landlords(self) -> int:
        """Users 2 … landlords + 1; user 1 is the administrator, all others are tenants."""
        return max(2, self.users // 8)

    def tenant_of(self, lease: int) -> int:
        """Main tenant of a lease."""
        first = self.landlords + 2
        return first + lease * 7919 % (self.users - first + 1)

    def unit_of(self, lease: int) -> int:
        """Unit of a lease; a unit's later leases have higher numbers."""
        return (lease - 1) % self.units + 1

    def lease_of(self, invoice: int) -> int:
        """Lease of an invoice."""
        return (invoice - 1) % self.leases + 1


def rent_of(unit: int) -> int:
    """Rent of a unit in cents a month."""
    return 39_000 + unit * 7919 % 160_000
