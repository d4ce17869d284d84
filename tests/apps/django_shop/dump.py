"""Everything the shop holds as Django reads it, one row a line, in the order of keys."""

import sys

import django

django.setup()

from django.apps import apps  # noqa: E402 - Django must be set up first


def plain(value: object) -> object:
    """Bytes are a memoryview on Postgres, and jsonb has an order of keys of its own."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    return bytes(value) if isinstance(value, bytes | memoryview) else value


for model in sorted(apps.get_models(include_auto_created=True), key=lambda model: model._meta.label):
    names = [field.attname for field in model._meta.concrete_fields]
    for row in model.objects.order_by("pk").values_list(*names):
        sys.stdout.write(f"{model._meta.label} {dict(zip(names, map(plain, row), strict=True))!r}\n")
