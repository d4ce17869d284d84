"""Fills the shop: users with passwords, groups with permissions, a session, a log, and products."""

import random
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import django

django.setup()

from django.contrib.admin.models import CHANGE, LogEntry  # noqa: E402 - Django must be set up first
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from shop.models import Category, Order, Product, Tag  # noqa: E402


def main() -> None:
    """Write the key of the session on stdout."""
    chance = random.Random(7)
    staff = Group.objects.create(name="staff")
    staff.permissions.set(Permission.objects.filter(codename__contains="product"))
    users = [User.objects.create_user(f"user{number}", f"u{number}@example.org", "öffne dich") for number in range(20)]
    users[3].groups.add(staff)
    users[4].user_permissions.add(Permission.objects.get(codename="delete_order"))
    # Ids that were used once must not come again.
    User.objects.create_user("gone", password="x").delete()
    root = Category.objects.create(name="Alles")
    categories = [root, *(Category.objects.create(name=f"Kategorie {n}", parent=root) for n in range(5))]
    tags = [Tag.objects.create(word=word) for word in ("neu", "größe L", "ſ", "")]
    begun = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    products = []
    for number in range(300):
        product = Product.objects.create(
            uid=UUID(int=chance.getrandbits(128), version=4),
            name=f"Produkt {number} 🚲",
            text="" if number % 7 else 'it\'s "quoted"\n\\',
            category=categories[number % len(categories)],
            price=Decimal(chance.randrange(10**8)) / 100,
            weight=chance.choice([None, 0.1, 1e-9, 12.0]),
            stock=chance.randrange(2**31),
            shelf=chance.choice([None, -(2**15), 2**15 - 1]),
            views=chance.choice([0, 2**63 - 1]),
            active=number % 3 == 0,
            released=chance.choice([None, date(1970, 1, 1), date(2026, 12, 31)]),
            opens=chance.choice([None, time(8, 30), time(23, 59, 59)]),
            changed=begun + timedelta(seconds=number, microseconds=chance.choice([0, 1, 250_000])),
            details=chance.choice([{}, {"color": "red", "size": 3}, [1, None, "ä"], {"a": {"b": 1.5}}]),
            photo=chance.choice([None, b"", bytes(range(256))]),
        )
        product.tags.set(chance.sample(tags, chance.randrange(3)))
        products.append(product)
    for _ in range(100):
        note = chance.choice([None, "", "bitte klingeln"])
        order = Order.objects.create(customer=chance.choice(users), note=note)
        order.products.set(chance.sample(products, 3))
    content = ContentType.objects.get_for_model(Product)
    LogEntry.objects.create(
        user=users[0], content_type=content, object_id="1", object_repr="Produkt 0", action_flag=CHANGE
    )
    session = SessionStore()
    session["basket"] = [1, 2, "ä"]
    session.create()
    sys.stdout.write(session.session_key or "")


main()
