"""Kill Bill's web application, taken out of the image that will run, without running it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from nasmigrate.core.errors import StackError
from nasmigrate.stack.runner import Runner

PLACES = (
    "/var/lib/tomcat/webapps/ROOT.war",
    "/var/lib/tomcat/webapps/ROOT",
    "/usr/share/tomcat/webapps/ROOT.war",
    "/usr/local/tomcat/webapps/ROOT.war",
    "/usr/local/tomcat/webapps/ROOT",
)
"""Where images keep it: Kill Bill's own first, then those of Tomcat."""
TIMEOUT = 300.0


@contextmanager
def war_of_image(runner: Runner, docker: str, image: str) -> Iterator[Path]:
    """The WAR, or the folder it was unpacked to, while the context is open.

    Raises:
        StackError: the image is not here, or holds no web application where one is looked for.
    """
    created = runner.run([docker, "create", image], timeout=TIMEOUT)
    if created.code != 0:
        raise StackError(f"{image}: {created.stderr.strip()}", code="NM1014")
    container = created.stdout.strip()
    try:
        with TemporaryDirectory(prefix="nasmigrate-war-") as scratch:
            for place in PLACES:
                target = Path(scratch) / Path(place).name
                if runner.run([docker, "cp", f"{container}:{place}", str(target)], timeout=TIMEOUT).code == 0:
                    yield target
                    return
            raise StackError(
                f"{image}: no Kill Bill at {', '.join(PLACES)}",
                hint="use a tagged image of killbill/killbill; `latest` downloads Kill Bill at each start",
                code="NM1016",
            )
    finally:
        runner.run([docker, "rm", "--force", "--volumes", container], timeout=TIMEOUT)
