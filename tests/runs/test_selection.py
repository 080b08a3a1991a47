from __future__ import annotations

from dataclasses import replace

import pytest

from arena.contracts import BadParameter, Spec, UnknownName
from arena.runs.selection import Selection
from tests.players import MATCHUP

MAD = Spec(name="mad", version=1, params=(("epsilon", 0.5),))
WRAPPED = Spec(name="argmax", params=(("base", Spec(name="knockoff", params=(("steps", 5),))),))
ENTRY = Spec(name="agents/mine", digest="1f")
MATCHUPS = [
    replace(MATCHUP, attack=attack, defense=defense, seed=seed, pool="near", pool_source=source)
    for attack in (Spec(name="knockoff"), WRAPPED, ENTRY)
    for defense in (Spec(name="none", version=1), MAD)
    for seed in (0, 1)
    for source in ("", "glyphs")
]


def chosen(*words: str) -> int:
    return len(Selection.read(words).of(MATCHUPS))


def test_without_words_everything_is_chosen():
    assert chosen() == len(MATCHUPS) == 24


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["attack=knockoff"], 8),
        (["attack=argmax(knockoff)"], 8),
        (["attack=argmax(base=knockoff(steps=5))"], 8),
        (["attack=mine"], 8),
        (["attack=agents/mine"], 8),
        (["defense=mad@1"], 12),
        (["defense=mad(epsilon=0.5)"], 12),
        (["pool=near:glyphs"], 12),
        (["pool=near"], 24),
        (["victim=digits"], 24),
        (["seed=0", "seed=1"], 24),
        (["seed=1", "attack=knockoff", "attack=mine", "defense=none"], 4),
    ],
)
def test_values_of_one_kind_add_up_and_kinds_narrow(words: list[str], number: int):
    assert chosen(*words) == number


@pytest.mark.parametrize("word", ["knockoff", "attacks=knockoff", "attack=", "=knockoff"])
def test_a_word_that_is_no_choice_is_refused(word: str):
    with pytest.raises(BadParameter, match="write KIND=VALUE, as in attack=knockoff"):
        Selection.read([word])


def test_a_value_that_no_match_has_is_refused_with_those_that_there_are():
    with pytest.raises(UnknownName, match=r"no defense of this tournament is 'madd' \(did you mean 'mad'\?\); it has"):
        chosen("defense=madd")


def test_values_that_no_match_has_together_are_refused():
    some = [one for one in MATCHUPS if one.attack.name == "knockoff" or one.defense.name == "none"]
    with pytest.raises(UnknownName, match="no match of this tournament is attack=mine defense=mad"):
        Selection.read(["attack=mine", "defense=mad"]).of(some)
