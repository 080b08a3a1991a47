"""A key moves with the content of each thing that a result depends on, and with nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from arena.contracts import Knowledge, Matchup, Parameter, Spec
from arena.learning.architectures import build
from arena.learning.tensors import save_state
from arena.match import rows, victims
from arena.match.secret import Secret
from arena.match.site import Site
from arena.referee import keys
from arena.referee.keys import changed, inputs_of, inputs_of_all, result_key
from arena.referee.tournament_file import tournament_from
from arena.registry import DEFENSES, Registered, complete
from arena.registry.builtins import TABLES

CLASSES, PICTURES, SIDE = 3, 14, 8
ATTACK = """
from dataclasses import dataclass
from arena.contracts import Attack
from .sampling import ROWS

@dataclass(frozen=True, kw_only=True)
class Mine(Attack):
    rows: int = ROWS

    def extract(self, oracle, context, *, rng):
        raise NotImplementedError
"""


@dataclass(frozen=True)
class Case:
    """A folder with data, weights and an entry, and the matchup that is made of them."""

    folder: Path
    site: Site

    @property
    def matchup(self) -> Matchup:
        data, weights = self.folder / "pictures", self.folder / "weights.safetensors"
        params = {"arch": "mlp-8", "side": SIDE, "grey": True, "weights": str(weights)}
        victim = Spec(name=f"image-folder:{data}", params=tuple(sorted(params.items())))
        return Matchup(
            victim=victim,
            victim_seed=0,
            defense=complete("defense", Spec(name="rounding", params=(("base", Spec(name="mad")),))),
            knowledge=Knowledge(surrogate="random", outliers="near"),
            attack=complete("attack", Spec(name=str(self.folder / "mine"))),
            pool="far",
            pool_source="textures",
            budget=10,
            seed=0,
            explanation=complete("explanation", Spec(name="gradient-input")),
            threats=(complete("threat", Spec(name="evasion")),),
        )

    def key(self) -> str:
        """The key as another process would work it out: nothing is remembered of the files."""
        forget()
        return result_key(self.matchup, self.site)


def forget() -> None:
    cached = (victims.load_splits, victims._data_digest, rows._pool_digest, rows._outliers_digest)
    for function in (*cached, rows.load_pool, rows.load_outliers, keys._player, keys._libraries):
        function.cache_clear()


@pytest.fixture
def case(tmp_path: Path, cache: Path) -> Case:
    return made(tmp_path / "here", Site(work=tmp_path / "work", cache=cache))


def made(folder: Path, site: Site) -> Case:
    rng = torch.Generator().manual_seed(0)
    for label in range(CLASSES):
        (folder / "pictures" / f"class{label}").mkdir(parents=True)
        for number in range(PICTURES):
            levels = torch.randint(0, 256, (SIDE, SIDE), generator=rng, dtype=torch.uint8)
            Image.fromarray(levels.numpy()).save(folder / "pictures" / f"class{label}" / f"{number}.png")
    found = victims.load_splits(
        Spec(name=f"image-folder:{folder / 'pictures'}", params=(("grey", True), ("side", SIDE))), None
    )
    network = build("mlp-8", found.task, rng=torch.Generator().manual_seed(0))
    (folder / "weights.safetensors").write_bytes(save_state(network.state_dict()))
    (folder / "mine").mkdir()
    (folder / "mine" / "agent.toml").write_text('name = "mine"\nrole = "attack"\nentry = "agent:Mine"\n')
    (folder / "mine" / "agent.py").write_text(ATTACK)
    (folder / "mine" / "sampling.py").write_text("ROWS = 3\n")
    return Case(folder, site)


def a_pixel(case: Case) -> Case:
    file = case.folder / "pictures" / "class0" / "0.png"
    picture = Image.open(file).copy()
    picture.putpixel((0, 0), 255 - picture.getpixel((0, 0)))
    picture.save(file)
    return case


def a_label(case: Case) -> Case:
    shutil.move(case.folder / "pictures" / "class0" / "0.png", case.folder / "pictures" / "class1" / "moved.png")
    return case


def a_class(case: Case) -> Case:
    (case.folder / "pictures" / "class0").rename(case.folder / "pictures" / "class0-renamed")
    return case


def a_weight(case: Case) -> Case:
    file = case.folder / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    return case


def a_module_of_the_entry(case: Case) -> Case:
    (case.folder / "mine" / "sampling.py").write_text("ROWS = 4\n")
    return case


def the_device(case: Case) -> Case:
    return Case(case.folder, replace(case.site, device="cuda"))


def the_secret(case: Case) -> Case:
    return Case(case.folder, replace(case.site, secret=Secret.stated("another")))


@pytest.mark.parametrize(
    "change",
    [a_pixel, a_label, a_class, a_weight, a_module_of_the_entry, the_device, the_secret],
    ids=lambda one: one.__name__,
)
def test_a_key_moves_with_every_file_and_with_where_it_is_played(change: Callable[[Case], Case], case: Case):
    before = case.key()
    assert change(case).key() != before
    assert len(before) == 16


@pytest.mark.parametrize(
    "terms",
    [
        {"seed": 1},
        {"victim_seed": 1},
        {"budget": 11},
        {"decimals": 3},
        {"informed": True},
        {"pool": "near", "pool_source": "textures"},
        {"pool_source": "noise"},
        {"knowledge": Knowledge(surrogate="random", outliers="far")},
        {"knowledge": Knowledge(surrogate="same-architecture", outliers="near")},
        {"explanation": None},
        {"threats": ()},
        {"threats": (Spec(name="evasion", version=1, params=(("steps", 3),)),)},
        {
            "defense": Spec(
                name="rounding", version=1, params=(("base", Spec(name="mad", version=2, params=(("epsilon", 0.2),))),)
            )
        },
    ],
    ids=lambda terms: next(iter(terms)),
)
def test_a_key_moves_with_every_term(terms: dict[str, object], case: Case):
    forget()
    assert result_key(replace(case.matchup, **terms), case.site) != result_key(case.matchup, case.site)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "what", ["rules", "torch", "referee", "attack", "mad", "evasion", "gradient_input", "training"]
)
def test_a_key_moves_with_code_and_versions(what: str, case: Case, monkeypatch: pytest.MonkeyPatch):
    before = case.key()
    if what == "rules":
        monkeypatch.setattr(keys, "RULES", "next")
    elif what == "torch":
        monkeypatch.setattr(keys, "version", lambda name: "0.0" if name == "torch" else "1")
    else:
        modules = {
            "referee": "arena/match/scoring.py",
            "attack": "mine/sampling.py",
            "mad": "arena/defenses/prediction_poisoning.py",
            "evasion": "arena/threats/evasion.py",
            "gradient_input": "arena/explanations/gradient_input.py",
            "training": "arena/learning/training.py",
        }
        edited(modules[what], monkeypatch)
    assert case.key() != before


def edited(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a module read as if it had been edited."""
    from arena import provenance

    read = Path.read_bytes

    def reads(path: Path) -> bytes:
        return read(path) + (b"# edited\n" if path.as_posix().endswith(module) else b"")

    monkeypatch.setattr(Path, "read_bytes", reads)
    provenance.code_digest_of.cache_clear()
    monkeypatch.setattr(provenance, "code_digest_of", provenance.code_digest_of.__wrapped__)
    monkeypatch.setattr(keys, "code_digest_of", provenance.code_digest_of)
    monkeypatch.setattr(victims, "code_digest_of", provenance.code_digest_of)


def test_a_key_moves_with_a_default_that_only_the_registry_holds(case: Case, monkeypatch: pytest.MonkeyPatch):
    before = case.key()
    moved = Registered(where=DEFENSES["mad"].where, preset={"argmax": False}, default={"epsilon": 0.3})
    monkeypatch.setitem(TABLES, "defense", {**DEFENSES, "mad": moved})  # type: ignore[arg-type]
    assert case.key() != before


def test_a_key_stays_wherever_the_same_files_lie(case: Case, tmp_path: Path):
    before = case.key()
    shutil.copytree(case.folder, tmp_path / "elsewhere" / "deeper")
    moved = Case(
        tmp_path / "elsewhere" / "deeper", replace(case.site, work=tmp_path / "other", cache=tmp_path / "cache")
    )
    assert moved.key() == before


def table_key(file: Path, site: Site, **params: Parameter) -> str:
    forget()
    victim = Spec(name=f"table:{file}", params=tuple(sorted({"label": "kind", "steps": 5, **params}.items())))
    players = {
        "attack": complete("attack", Spec(name="knockoff")),
        "defense": complete("defense", Spec(name="none")),
    }
    matchup = Matchup(victim=victim, victim_seed=0, knowledge=Knowledge(), pool="same", budget=2, seed=0, **players)
    return result_key(matchup, site)


def test_a_key_moves_with_the_cells_of_a_table_and_not_with_its_place(tmp_path: Path):
    site, file = Site(work=tmp_path), tmp_path / "t.csv"
    rows = [f"{number},{number % 5},{'ab'[number % 2]}" for number in range(24)]
    file.write_text("\n".join(["x,y,kind", *rows]))
    before = table_key(file, site)
    (tmp_path / "deeper").mkdir()
    assert table_key(Path(shutil.copy(file, tmp_path / "deeper")), site) == before
    file.write_text("\n".join(["x,y,kind", *rows[:-1], "23,3.5,b"]))
    assert table_key(file, site) != before
    file.write_text(
        "\n".join(["x,y,kind", *rows[:12], *(f"{row[:-1]}{'ba'['ab'.index(row[-1])]}" for row in rows[12:])])
    )
    assert table_key(file, site) != before
    file.write_text("\n".join(["x,y,kind", *rows]))
    assert table_key(file, site) == before
    assert table_key(file, site, drop=("y",)) != before


def test_a_key_stays_whatever_the_order_of_a_tournaments_keys():
    table = {
        "name": "order",
        "victims": [{"name": "digits", "arch": "mlp", "steps": 20}],
        "attacks": [{"name": "knockoff", "steps": 20, "arch": "mlp"}],
        "defenses": [{"name": "mad", "surrogate": "random", "epsilon": 0.5}],
        "budgets": [10],
        "seeds": 1,
    }
    turned = {
        key: [dict(reversed(item.items())) if isinstance(item, dict) else item for item in value]
        if isinstance(value, list)
        else value
        for key, value in reversed(table.items())
    }
    site = Site(work=Path())
    one, other = (
        [result_key(matchup, site) for matchup in tournament_from(one, where="here", folder=Path()).matchups()]
        for one in (table, turned)
    )
    assert one == other


def test_what_has_changed_is_named(case: Case):
    forget()
    before = inputs_of(case.matchup, case.site)
    a_module_of_the_entry(a_pixel(case))
    forget()
    now = inputs_of(case.matchup, the_secret(case).site)
    words = changed(before, now)
    assert "the secret" in words
    assert "the attack mine" in words
    assert any(word.startswith(("the data of image-folder:", "the data of pictures")) for word in words)
    assert not any("code" in word or "rules" in word or "version" in word for word in words)


def test_inputs_of_several_matchups_do_not_depend_on_their_order(case: Case):
    matchups = [case.matchup, replace(case.matchup, seed=1), replace(case.matchup, pool_source="noise")]
    assert inputs_of_all(matchups, case.site) == inputs_of_all(matchups[::-1], case.site)
    assert changed({"a": "1"}, {"a": "1", "b": "2"}) == ["b"]
