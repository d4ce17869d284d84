"""Commands that write do it to the file that was cut over: a copy of it is refused, another path to it is not."""

from __future__ import annotations

import shutil

from support.night import Night
from support.processes import nasmigrate


def test_a_copy_is_not_rolled_back_and_a_file_passed_by_stays_fenced(night: Night) -> None:
    assert night.run("cutover").returncode == 0
    night.wait_for_writes()
    night.stop_writers()
    agreed = ("--yes", "--confirm", night.database)
    place = night.source.resolve()
    copy = night.folder / "copy" / "app.db"
    copy.parent.mkdir()
    shutil.copy2(place, copy)

    # A copy, while the file is there.
    for words in (
        ("rollback", str(copy), *agreed),
        ("rollback", str(copy), "--dry-run"),
        ("resume", str(copy)),
        ("abort", str(copy)),
        ("finalize", str(copy), *agreed, "--no-way-back"),
        ("cutover", str(copy), *agreed),
    ):
        refused = nasmigrate(night.folder, *words)
        assert refused.returncode == 11, (words, refused.stdout, refused.stderr)
        if words[0] != "cutover":
            assert str(place) in refused.stderr
            assert str(copy) in refused.stderr
    seen = nasmigrate(night.folder, "status", str(copy))
    assert seen.returncode == 11
    assert str(place) in seen.stdout
    assert night.takers() == {"Postgres"}

    # The same file by another path.
    link, hard = night.folder / "link.db", night.folder / "hard.db"
    link.symlink_to(place)
    assert nasmigrate(night.folder, "rollback", str(link), "--dry-run").returncode == 0
    hard.hardlink_to(place)
    assert nasmigrate(night.folder, "rollback", str(hard), "--dry-run").returncode == 0
    hard.unlink()

    # Moved on purpose: the way to say so is in the hint.
    moved = night.folder / "moved" / "app.db"
    moved.parent.mkdir()
    place.rename(moved)
    refused = nasmigrate(night.folder, "rollback", str(moved), *agreed)
    assert refused.returncode == 11, refused.stderr
    assert "ln -s" in refused.stderr
    place.symlink_to(moved)
    done = nasmigrate(night.folder, "rollback", str(place), *agreed)
    assert done.returncode == 0, done.stdout + done.stderr
    place.unlink()

    # The copy in its place has seen the opening and lacks the rows.
    copy.rename(place)
    status = night.document("status")
    assert (status["code"], status["writer"]) == (11, "neither"), status
    for what in ("resume", "abort", "rollback", "cutover"):
        assert night.run(what).returncode == 11, what
    assert nasmigrate(night.folder, "resume", "--forward", *agreed).returncode == 11
    assert night.takers() == set()

    place.unlink()
    moved.rename(place)
    assert night.document("resume")["code"] == 0
    night.start_writers(("w2", "w3"))
    done = night.run("cutover")
    assert done.returncode == 0, done.stdout + done.stderr
    assert night.assert_one_serves_and_nothing_is_lost() == "Postgres"
