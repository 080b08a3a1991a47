import torch

from arena.attacks.argmax import Argmax
from arena.attacks.equation_solving import EquationSolving
from arena.attacks.knockoff import KnockoffNets
from arena.contracts import Spec
from arena.learning.training import hardened
from arena.registry import build_attack
from tests.attacks.toy import VICTIMS, ToyOracle, digest, play


def test_a_defense_that_keeps_the_argmax_leaves_the_clone_of_label_only():
    soft, hard = (ToyOracle(VICTIMS[victim], 60) for victim in ("softmax_victim", "labels"))
    attack = KnockoffNets(steps=20)
    assert digest(play(Argmax(base=attack), soft)) == digest(play(attack, hard))


def test_ties_go_to_the_lowest_index():
    assert hardened(torch.tensor([[0.4, 0.4, 0.2]])).tolist() == [[1.0, 0.0, 0.0]]


def test_needs_and_reasons_are_those_of_the_base():
    assert Argmax(base=KnockoffNets()).needs == {"pool"}
    assert Argmax(base=EquationSolving()).needs == frozenset()
    assert Argmax(base=EquationSolving()).stops_early == {"solved exactly"}


def test_wrappers_of_equal_bases_are_equal_and_say_so():
    assert Argmax(base=KnockoffNets(steps=3)) == Argmax(base=KnockoffNets(steps=3))
    assert repr(Argmax(base=KnockoffNets())) == "Argmax(base=KnockoffNets(arch='auto', steps=None))"


def test_copycat_is_knockoff_with_labels():
    assert build_attack(Spec(name="copycat")) == Argmax(base=KnockoffNets())
