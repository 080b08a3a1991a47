from __future__ import annotations

import json

from tests.cli.arena import Arena
from tests.sandbox.boxes import needs_bubblewrap


def test_a_name_that_fixes_parameters_is_told_from_its_siblings(arena: Arena):
    words = " ".join(arena("list").out.split())
    assert "mode=targeted-random" in words
    assert "variant=maze" in words


def test_a_card_says_what_a_parameter_may_be(arena: Arena):
    card = arena("list", "activethief").out
    assert "Strategy" not in card
    assert all(f"'{one}'" in card for one in ("random", "uncertainty", "k-center", "dfal", "dfal+k-center"))
    adaptive = arena("list", "knockoff-adaptive").out
    assert all(one in adaptive for one in ("'certainty' | 'diversity' | 'loss'", "tuple[int, int]", "int | None"))


class TestAnEntry:
    pytestmark = needs_bubblewrap

    def test_an_entry_in_a_folder_has_a_card(self, arena: Arena):
        arena("new", "attack", "greedy_one", "--to", "mine")
        ended = arena("list", "mine/greedy_one")
        assert ended.code == 0
        assert "parameters" in ended.out


def test_every_name_that_it_prints_has_an_answer(arena: Arena):
    everything = json.loads(arena("list", "--json").out)
    for kind, names in everything.items():
        for name in names:
            ended = arena("list", name)
            assert (ended.code, ended.err) == (0, ""), (kind, name, ended)
            assert name in ended.out


def test_a_preset_is_shown_and_a_victim_described(arena: Arena):
    assert 'name = "demo"' in arena("list", "demo").out
    assert "1,797 rows of shape (1, 8, 8) in 10 classes" in arena("list", "digits").out
    assert "not on this machine" in " ".join(arena("list", "cifar-10").out.split())
    assert json.loads(arena("list", "demo", "--json").out)["kind"] == "preset"


def test_a_method_may_be_named_with_its_version(arena: Arena):
    assert "(attack, version 1)" in arena("list", "knockoff@1").out
    ended = arena("list", "knockoff@9")
    assert ended.code == 2
    assert "its newest is knockoff@1" in ended.err
