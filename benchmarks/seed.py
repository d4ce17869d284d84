"""`nasmigrate seed` against four bare clients on a running Kill Bill, in pairs: A B A B.

Both make the same accounts in a tenant of their own, and give each the same tag: two requests a person. The bare
clients are four threads with one kept-alive connection each, which check nothing, record nothing and compare nothing.
What is timed of `seed` is the whole command's work: reading and checking the people, both listings, the ledger, the
comparison.

    python benchmarks/seed.py --url http://127.0.0.1:18080 --password-file stack/secrets/killbill_admin_password \
        --server "host=127.0.0.1 port=5433 user=postgres" [--accounts 500] [--pairs 3] [--write]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nasmigrate.core.config import load_config
from nasmigrate.core.context import Context
from nasmigrate.core.progress import Silent
from nasmigrate.core.target import Target
from nasmigrate.workflows.seed import seed

CLIENTS = 4
AUTO_INVOICING_OFF = "00000000-0000-0000-0000-000000000002"
GOAL = 0.85
RESULTS = Path(__file__).parent / "SEED.md"


def bare(url: str, user: str, password: str, people: int) -> float:
    """Accounts per second of four bare clients in a new tenant."""
    tenant = f"bare-{uuid4().hex[:12]}"
    address = urlsplit(url)
    headers = {
        "Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode(),
        "Content-Type": "application/json",
        "X-Killbill-CreatedBy": "bare",
        "X-Killbill-ApiKey": tenant,
        "X-Killbill-ApiSecret": "s",
    }

    def connect() -> http.client.HTTPConnection:
        return http.client.HTTPConnection(str(address.hostname), address.port or 80, timeout=60)

    def post(connection: http.client.HTTPConnection, path: str, document: object) -> str:
        connection.request("POST", f"/1.0/kb{path}", json.dumps(document), headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 201, f"{path}: {answer.status}"
        return str(answer.headers["Location"]).rpartition("/")[2]

    post(connect(), "/tenants", {"apiKey": tenant, "apiSecret": "s"})

    def client(number: int) -> None:
        connection = connect()
        for index in range(number, people, CLIENTS):
            account = post(connection, "/accounts", document(index + 1))
            post(connection, f"/accounts/{account}/tags", [AUTO_INVOICING_OFF])
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return people / (time.perf_counter() - started)


def document(number: int) -> dict[str, object]:
    """The same account that `seed` sends for user `number`."""
    return {
        "externalKey": str(number),
        "name": f"Person {number}",
        "email": f"user{number}@example.org",
        "phone": f"+49 {number}",
        "currency": "EUR",
        "timeZone": "Europe/Berlin",
        "locale": "de_DE",
        "isMigrated": True,
    }


def ours(url: str, user: str, password_file: Path, server: str, people: int) -> float:
    """Accounts per second of the whole of `seed` in a new tenant, from a new database."""
    name = f"seed_bench_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    conninfo = make_conninfo(server, dbname=name)
    try:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("CREATE TABLE users (id bigint PRIMARY KEY, full_name text, email text, phone text)")
            connection.execute(
                "INSERT INTO users SELECT i, 'Person ' || i, 'user' || i || '@example.org', '+49 ' || i"
                " FROM generate_series(1, %s) AS i",
                (people,),
            )
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "url": url,
                "user": user,
                "password_file": str(password_file.resolve()),
                "api_key": name,
                "api_secret_file": "tenant",
                "currency": "EUR",
                "time_zone": "Europe/Berlin",
                "locale": "de_DE",
            }
            text = "[killbill]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
            Path(folder, "nasmigrate.toml").write_text(text)
            config = load_config(Path(folder), environ={}).config
            context = Context(config=config, base=Path(folder), reporter=Silent())
            started = time.perf_counter()
            result = seed(context, Target(conninfo=conninfo, display=name))
            seconds = time.perf_counter() - started
            assert result.exit_code == 0, result
        return people / seconds
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--server", required=True, help="conninfo of a Postgres superuser; PGPASSWORD for the password")
    parser.add_argument("--accounts", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    password = given.password_file.read_text().strip()
    bare(given.url, given.user, password, 20)  # a server that just started compiles first
    rates: dict[str, list[float]] = {"bare": [], "seed": []}
    for _ in range(given.pairs):
        rates["bare"].append(bare(given.url, given.user, password, given.accounts))
        rates["seed"].append(ours(given.url, given.user, given.password_file, given.server, given.accounts))
        print(f"bare {rates['bare'][-1]:.2f}/s  seed {rates['seed'][-1]:.2f}/s", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = medians["seed"] / medians["bare"]
    print(f"medians: bare {medians['bare']:.2f}/s, seed {medians['seed']:.2f}/s, ratio {ratio:.2f} (goal {GOAL})")
    if given.write:
        RESULTS.write_text(report(given.accounts, rates, medians, ratio))
    return 0 if ratio >= GOAL else 1


def report(accounts: int, rates: dict[str, list[float]], medians: dict[str, float], ratio: float) -> str:
    rows = "\n".join(
        f"| {number} | {one:.2f} | {other:.2f} |"
        for number, (one, other) in enumerate(zip(rates["bare"], rates["seed"], strict=True), start=1)
    )
    return f"""<!-- Written by benchmarks/seed.py. -->
# Seeding Kill Bill

{accounts} accounts with a tag each, in accounts per second; four bare clients and `nasmigrate seed` in turn, in one
run. `seed` is timed with everything it does: reading and checking the people, both listings, ledger, comparison.

| pair | bare | seed |
|--|--|--|
{rows}
| median | {medians["bare"]:.2f} | {medians["seed"]:.2f} |

Ratio of medians {ratio:.2f} (goal {GOAL}). {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()}
{platform.machine()}, Python {platform.python_version()}; Kill Bill and Postgres on the same machine.
Load average over the last 15 minutes: {os.getloadavg()[2]:.0f}; rates of a busy machine say little, the ratio is of
runs side by side.
"""


if __name__ == "__main__":
    sys.exit(main())
