from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from arena.contracts import BadParameter, DataMissing, Parameter, Spec, Task, UnknownName
from arena.learning.architectures import build
from arena.learning.tensors import save_state
from arena.match import victims
from arena.match.site import Site
from arena.match.victims import (
    Normalised,
    VictimTerms,
    load_splits,
    load_victim,
    victim_architecture,
    victim_key,
    victim_terms,
)
from arena.metrics.fidelity import agreement, labels_of
from tests.players import MATCHUP

IRIS = Task(shape=(4,), classes=3)


def iris(**params: Parameter) -> Spec:
    return Spec(name="iris", params=tuple(sorted({"steps": 50, **params}.items())))


def weights_file(folder: Path, *, task: Task = IRIS, arch: str = "linear", seed: int = 0) -> str:
    network = build(arch, task, rng=torch.Generator().manual_seed(seed))
    path = folder / "weights.safetensors"
    path.write_bytes(save_state(network.state_dict()))
    return str(path)


def test_is_trained_once_and_then_read_from_the_cache(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    apart = replace(site, cache=tmp_path / "cache")
    first = load_victim(iris(), 0, apart)

    def untrained(*_: object, **__: object) -> bytes:
        pytest.fail("it was trained again")

    monkeypatch.setattr(victims, "_train", untrained)
    load_victim.cache_clear()  # as in another process
    again = load_victim(iris(), 0, apart)
    rows = load_splits(iris(), None).test[0]
    assert torch.equal(first(rows), again(rows))


def test_is_better_than_chance_and_frozen(site: Site):
    victim = load_victim(MATCHUP.victim, 0, site)
    inputs, labels = load_splits(MATCHUP.victim, None).test
    hits, total = agreement(labels_of(victim(inputs)), labels)
    assert hits > 0.8 * total
    assert victim.module is not None
    assert not victim.module.training
    assert not any(parameter.requires_grad for parameter in victim.module.parameters())


def test_its_key_follows_everything_that_determines_it_and_nothing_else(site: Site, tmp_path: Path):
    others = [
        (iris(), 0),
        (iris(), 1),
        (iris(arch="mlp"), 0),
        (iris(steps=51), 0),
        (iris(lr=0.1), 0),
        (iris(training=20), 0),
        (Spec(name="wine", params=iris().params), 0),
    ]
    keys = [victim_key(spec, seed, site) for spec, seed in others]
    assert len(set(keys)) == len(others)
    assert victim_key(iris(), 0, replace(site, work=tmp_path / "elsewhere")) == keys[0]


def test_an_edited_file_of_weights_is_another_victim(site: Site, tmp_path: Path):
    path = Path(weights_file(tmp_path))
    before = victim_key(iris(weights=str(path)), 0, site)
    victim_key.cache_clear()  # as in another process
    weights_file(tmp_path, seed=1)
    assert victim_key(iris(weights=str(path)), 0, site) != before


class TestWeightsFromAFile:
    def test_are_taken_as_they_are(self, site: Site, tmp_path: Path):
        spec = iris(weights=weights_file(tmp_path))
        rows = load_splits(spec, None).test[0]
        network = build("linear", IRIS, rng=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.allclose(load_victim(spec, 0, site)(rows), network(rows).softmax(dim=1), atol=1e-6)

    def test_may_be_named_without_our_prefix(self, site: Site, tmp_path: Path):
        network = build("linear", IRIS, rng=torch.Generator().manual_seed(0))
        path = tmp_path / "plain.safetensors"
        safetensors.torch.save_file({name.removeprefix("body."): v for name, v in network.state_dict().items()}, path)
        rows = load_splits(iris(), None).test[0]
        assert torch.equal(
            load_victim(iris(weights=str(path)), 0, site)(rows),
            load_victim(iris(weights=weights_file(tmp_path)), 0, site)(rows),
        )

    def test_that_are_not_there_are_missing_data(self, site: Site, tmp_path: Path):
        with pytest.raises(DataMissing, match="no file of weights"):
            load_victim(iris(weights=str(tmp_path / "none.safetensors")), 0, site)

    def test_that_are_garbage_are_refused(self, site: Site, tmp_path: Path):
        (tmp_path / "garbage").write_bytes(b"\x80\x04 a pickle, perhaps")
        with pytest.raises(BadParameter, match="is not a safetensors file"):
            load_victim(iris(weights=str(tmp_path / "garbage")), 0, site)

    @pytest.mark.parametrize(
        ("task", "arch"), [(Task(shape=(5,), classes=3), "linear"), (IRIS, "mlp")], ids=["shapes", "names"]
    )
    def test_of_another_network_are_refused(self, site: Site, tmp_path: Path, task: Task, arch: str):
        with pytest.raises(BadParameter, match="does not hold the weights of linear"):
            load_victim(iris(weights=weights_file(tmp_path, task=task, arch=arch)), 0, site)


def test_normalisation_comes_before_the_network():
    network = build("linear", Task(shape=(1, 2, 2), classes=2), rng=torch.Generator().manual_seed(0))
    rows = torch.rand(5, 1, 2, 2)
    with torch.no_grad():
        assert torch.equal(Normalised(network, (0.5,), (0.25,))(rows), network((rows - 0.5) / 0.25))


def test_a_classifier_of_torchvision_is_a_victim_by_its_name(site: Site):
    params = (("arch", "shufflenet_v2_x0_5"), ("steps", 1), ("training", 64))
    victim = load_victim(Spec(name="digits", params=params), 0, site)
    rows = load_splits(Spec(name="digits"), None).test[0][:4]
    assert victim(rows).shape == (4, 10)


@pytest.mark.parametrize(
    ("shape", "arch"),
    [((4,), "linear"), ((1, 28, 28), "medium-cnn"), ((3, 64, 64), "medium-cnn"), ((3, 65, 65), "resnet18")],
)
def test_auto_follows_the_task(shape: tuple[int, ...], arch: str):
    assert victim_architecture(VictimTerms(), Task(shape=shape, classes=2)) == arch
    assert victim_architecture(VictimTerms(arch="mlp"), Task(shape=shape, classes=2)) == "mlp"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"archh": "mlp"}, "did you mean 'arch'"),
        ({"steps": 0}, "steps must be a whole number above 0"),
        ({"steps": "many"}, "steps = .many. is not"),
        ({"steps": True}, "steps"),
        ({"lr": "fast"}, "lr"),
        ({"arch": 3}, "arch"),
        ({"mean": (0.5,)}, "mean and std go together"),
        ({"training": "all"}, "training"),
        ({"weights": 7}, "weights"),
    ],
)
def test_refuses_a_parameter_that_it_lacks_or_a_value_that_it_cannot_have(params: dict[str, Parameter], said: str):
    with pytest.raises(BadParameter, match=said):
        victim_terms(iris(**params))


def test_an_unknown_data_set_and_architecture_are_the_users_mistakes(site: Site):
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        load_splits(Spec(name="digit"), None)
    with pytest.raises(BadParameter, match="no architecture 'mpl'"):
        load_victim(iris(arch="mpl"), 0, site)


def test_more_rows_of_a_split_than_there_are_is_said():
    with pytest.raises(BadParameter, match="iris"):
        load_splits(iris(test=1_000), None)
