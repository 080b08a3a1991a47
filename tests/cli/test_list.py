from __future__ import annotations

from tests.cli.arena import Arena


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


def test_an_entry_in_a_folder_has_a_card(arena: Arena):
    arena("new", "attack", "greedy_one", "--to", "mine")
    ended = arena("list", "mine/greedy_one")
    assert ended.code == 0
    assert "parameters" in ended.out
