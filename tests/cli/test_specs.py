"""Specs on the command line: names, parameters, and paths with any characters."""

from __future__ import annotations

import pytest

from arena.cli.options import player
from arena.contracts import BadParameter, Parameter, Spec


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("knockoff", "knockoff", {}),
        (" mad ( epsilon = 0.5 , norm='l1' ) ", "mad", {"epsilon": 0.5, "norm": "l1"}),
        ("image-folder:photos", "image-folder:photos", {}),
        ("image-folder:föö bär (1)", "image-folder:föö bär (1)", {}),
        ("image-folder:föö bär (1)(steps=5)", "image-folder:föö bär (1)", {"steps": 5}),
        ("image-folder:my pics (steps=5)", "image-folder:my pics", {"steps": 5}),
        ("image-folder:/path with spaces[1]/é", "image-folder:/path with spaces[1]/é", {}),
        ("image-folder:/path with spaces[1]/é(side=8, grey=true)", "image-folder:/path with spaces[1]/é",
         {"side": 8, "grey": True}),
        ("image-folder:a, b = c", "image-folder:a, b = c", {}),
        ("image-folder:it's(side=8)", "image-folder:it's", {"side": 8}),
        ("image-folder:photos@2", "image-folder:photos@2", {}),
        ('image-folder:"a (b=c)"(side=8)', "image-folder:a (b=c)", {"side": 8}),
        ("image-folder:'a (b=c)'", "image-folder:a (b=c)", {}),
        ("table:/a b/x,y.csv(label='the class', drop=[\"a\", \"b\"])", "table:/a b/x,y.csv",
         {"label": "the class", "drop": ("a", "b")}),
        ("agents/starter_attack", "agents/starter_attack", {}),
        ("./my attack (2)(steps=3)", "./my attack (2)", {"steps": 3}),
        ('"my attack"(steps=2)', "my attack", {"steps": 2}),
        ("argmax(base=agents/mine, x=1)", "argmax", {"base": "agents/mine", "x": 1}),
        ('argmax(base="agents/my attack"(steps=2))', "argmax",
         {"base": Spec(name="agents/my attack", params=(("steps", 2),))}),
    ],
)  # fmt: skip
def test_a_path_is_read_as_it_is_written(text: str, name: str, params: dict[str, Parameter]):
    assert player(text) == Spec(name=name, params=tuple(sorted(params.items())))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("knockoff(steps=3", "key=value is expected"),
        ("knockoff)", "cannot read"),
        ("knockoff(3)", "key=value is expected"),
        ("", "a player is expected"),
        ("image-folder:photos(side=8", "key=value is expected"),
        ("image-folder:photos(side=)", "a value is expected"),
    ],
)
def test_brackets_that_do_not_fit_are_still_refused(text: str, said: str):
    with pytest.raises(BadParameter, match=said):
        player(text)
