from pathlib import Path

from arena.provenance import _closure, code_digest_of, sources_digest


def test_a_module_depends_on_what_it_imports_and_on_nothing_else():
    modules = _closure("arena.attacks.knockoff")
    assert {"arena.attacks.knockoff", "arena.learning.distillation", "arena.learning.training"} <= modules
    assert not any(name.startswith(("arena.defenses", "arena.match", "arena.contracts")) for name in modules)
    assert "arena.attacks.jacobian" not in modules


def test_a_name_that_is_a_module_of_a_package_is_followed():
    assert "arena.registry" not in _closure("arena.match.scoring")  # a new name moves no result
    assert "arena.data.glyphs" in _closure("arena.match.preparation")


def test_equal_code_has_an_equal_digest_and_an_edit_another(tmp_path: Path):
    player = tmp_path / "agent.py"
    player.write_text("from arena.learning.training import fit\n")
    first = sources_digest([player])
    assert sources_digest([player]) == first
    player.write_text("from arena.learning.training import fit  # edited\n")
    assert sources_digest([player]) != first
    assert code_digest_of("arena.learning.training") != code_digest_of("arena.learning.distillation")
