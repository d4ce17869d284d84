"""Uses the shop as its visitors would: logs in, finds an old session, and writes without meeting a used key."""

import sys
from datetime import UTC, datetime
from decimal import Decimal

import django

django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402 - Django must be set up first
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from shop.models import Category, Order, Product, Tag  # noqa: E402


def main(session_key: str) -> None:
    """Raise where something is not as it was on SQLite."""
    client = Client()
    assert client.login(username="user5", password="öffne dich")
    assert not client.login(username="user5", password="falsch")
    assert SessionStore(session_key)["basket"] == [1, 2, "ä"]
    assert Session.objects.count() == 2
    assert User.objects.get(username="user3").has_perm("shop.change_product")
    assert User.objects.get(username="user4").has_perm("shop.delete_order")
    assert not User.objects.get(username="user5").has_perm("shop.delete_order")
    assert Product.objects.filter(details__color="red", active=True).exists()
    assert Product.objects.filter(tags__word="größe L").exists()
    highest = {model: model.objects.order_by("-pk")[0].pk for model in (User, Group, Category, Product, Order)}
    user = User.objects.create_user("new", password="x")
    group = Group.objects.create(name="new")
    user.groups.add(group)
    category = Category.objects.create(name="new")
    product = Product.objects.create(
        name="new", category=category, price=Decimal("0.10"), changed=datetime.now(UTC), details={"color": "blue"}
    )
    product.tags.add(Tag.objects.get(word="neu"))
    order = Order.objects.create(customer=user)
    order.products.add(product)
    for made in (user, group, category, product, order):
        assert made.pk > highest[type(made)], made
    # The user that was deleted on SQLite had the number 21.
    assert user.pk == 22
    call_command("migrate", "--check")
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


main(sys.argv[1])
