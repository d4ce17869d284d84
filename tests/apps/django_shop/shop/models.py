"""Models with a field of every type that Django stores in both databases in columns with a codec."""

import uuid

from django.contrib.auth.models import User
from django.db import models


class Category(models.Model):
    """A category, below another one perhaps."""

    name = models.CharField(max_length=40, unique=True)
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE)


class Tag(models.Model):
    """A word for products; its word is its key."""

    word = models.CharField(max_length=12, primary_key=True)


class Product(models.Model):
    """Something to sell."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True)
    name = models.CharField(max_length=80)
    text = models.TextField(blank=True)
    category = models.ForeignKey(Category, on_delete=models.PROTECT)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    weight = models.FloatField(null=True)
    stock = models.PositiveIntegerField(default=0)
    shelf = models.SmallIntegerField(null=True)
    views = models.BigIntegerField(default=0)
    active = models.BooleanField(default=True)
    released = models.DateField(null=True)
    opens = models.TimeField(null=True)
    changed = models.DateTimeField()
    details = models.JSONField(default=dict)
    photo = models.BinaryField(null=True)
    tags = models.ManyToManyField(Tag)


class Order(models.Model):
    """What somebody bought."""

    customer = models.ForeignKey(User, on_delete=models.CASCADE)
    products = models.ManyToManyField(Product)
    placed = models.DateTimeField(auto_now_add=True)
    note = models.CharField(max_length=200, null=True)
