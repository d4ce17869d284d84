"""A small shop in Django, on SQLite or on Postgres: SHOP_DATABASE is a path, or libpq's words after `postgres:`."""

import os

from psycopg.conninfo import conninfo_to_dict

_DATABASE = os.environ["SHOP_DATABASE"]


def _database() -> dict[str, object]:
    if not _DATABASE.startswith("postgres:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": _DATABASE}
    words = conninfo_to_dict(_DATABASE.removeprefix("postgres:"))
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    settings = {names[word]: value for word, value in words.items() if word in names}
    options = {word: value for word, value in words.items() if word not in names}
    return {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options, **settings}


DATABASES = {"default": _database()}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "context_processors": [
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.request",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick; nobody is kept out here
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "a shop of a test"
ROOT_URLCONF = "shop"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
