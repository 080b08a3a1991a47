from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from arena.contracts import RunFolderChanged
from arena.match.secret import Secret
from arena.referee.tournament import Tournament
from arena.referee.tournament_file import tournament_from
from arena.runs.folder import Settings, create_run_folder, finished_results, open_run_folder, site_of
from arena.runs.playing import admit_all, play_run
from tests.cluster.tiny import attack_entry

SETTINGS = Settings(runner="local", mlflow="none")


def tournament(entry: str, *, secret: str | None = "stated") -> Tournament:
    table = {
        "name": "tiny",
        "victims": [{"name": "digits", "arch": "mlp", "steps": 20}],
        "attacks": [{"path": entry}, {"name": "uniform-noise", "steps": 5}],
        "defenses": ["none"],
        "budgets": [20],
        "seeds": 1,
        "recipe": {"steps": 5},
        **({"secret": secret} if secret else {}),
    }
    return tournament_from(table, where="here", folder=Path())


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    attack_entry(tmp_path / "mine", "pass", asks=5)
    return tmp_path / "mine"


def begun(folder: Path, entry: Path, cache: Path) -> Tournament:
    terms, settings = tournament(str(entry)), replace(SETTINGS, cache=str(cache))
    admitted = admit_all(terms, site_of(folder, terms, settings))
    create_run_folder(folder, terms, settings, admitted)
    return terms


def test_a_run_may_go_on_while_nothing_that_it_depends_on_has_changed(entry: Path, tmp_path: Path, cache: Path):
    begun(tmp_path / "run", entry, cache)
    found = open_run_folder(tmp_path / "run")
    found.check_unchanged(
        admit_all(found.tournament, site_of(tmp_path / "run", found.tournament, found.settings)).inputs
    )


def test_a_run_whose_entry_was_edited_is_refused_with_what_changed(entry: Path, tmp_path: Path, cache: Path):
    begun(tmp_path / "run", entry, cache)
    (entry / "mine.py").write_text((entry / "mine.py").read_text() + "# another idea\n")
    found = open_run_folder(tmp_path / "run")
    now = admit_all(found.tournament, site_of(tmp_path / "run", found.tournament, found.settings)).inputs
    with pytest.raises(RunFolderChanged, match=r"has changed since it began \(the attack mine\)\. Undo"):
        found.check_unchanged(now)


def test_a_run_with_another_secret_is_refused(entry: Path, tmp_path: Path, cache: Path):
    terms = begun(tmp_path / "run", entry, cache)
    site = replace(site_of(tmp_path / "run", terms, replace(SETTINGS, cache=str(cache))), secret=Secret.stated("other"))
    with pytest.raises(RunFolderChanged, match="the secret"):
        open_run_folder(tmp_path / "run").check_unchanged(admit_all(terms, site).inputs)


def test_a_run_that_does_not_say_what_it_depends_on_is_refused(entry: Path, tmp_path: Path, cache: Path):
    begun(tmp_path / "run", entry, cache)
    before = replace(open_run_folder(tmp_path / "run"), inputs={})  # written by an older version
    with pytest.raises(RunFolderChanged, match="this folder does not record it"):
        before.check_unchanged({"the rules": "1"})


def test_results_are_taken_over_from_a_folder_whose_entry_lies_elsewhere(entry: Path, tmp_path: Path, cache: Path):
    settings = replace(SETTINGS, cache=str(cache))

    def played(name: str, terms: Tournament, reuse: list[Path]) -> int:
        folder = tmp_path / name
        admitted = admit_all(terms, site_of(folder, terms, settings))
        create_run_folder(folder, terms, settings, admitted)
        summary = play_run(folder, terms, settings, admitted.matchups, reuse=reuse, on_progress=lambda progress: None)
        assert finished_results(folder).missing == 0
        return summary.reused

    assert played("first", tournament(str(entry)), []) == 0
    moved = tmp_path / "moved" / "mine"
    moved.parent.mkdir()
    entry.rename(moved)
    assert played("second", tournament(str(moved)), [tmp_path / "first"]) == 2
    assert played("third", tournament(str(moved), secret="other"), [tmp_path / "first", tmp_path / "second"]) == 0
