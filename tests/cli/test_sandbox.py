from __future__ import annotations

import json

from arena.sandbox.interpreter import interpreter
from tests.cli.arena import Arena
from tests.sandbox.boxes import needs_bubblewrap

pytestmark = needs_bubblewrap


def test_shows_the_packages_of_entries_and_that_they_can_be_imported(arena: Arena):
    ended = arena("sandbox", "--json")
    shown = json.loads(ended.out)
    assert ended.code == 0, ended.err
    assert shown["digest"] == interpreter().digest
    assert shown["packages"]["torch"] == interpreter().versions["torch"]
    assert shown["problems"]["sklearn"] == ""
