from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from arena.contracts import BadParameter, DataMissing, Parameter, Spec, Task, UnknownName
from arena.defenses.none import NoDefense
from arena.explanations.grad_cam import GradCam
from arena.learning.architectures import Classifier, build
from arena.learning.normalisation import Normalised
from arena.learning.tensors import save_state, state_digest
from arena.match import victims
from arena.match.admission import admit
from arena.match.site import Site
from arena.match.victims import (
    VictimTerms,
    load_splits,
    load_victim,
    victim_architecture,
    victim_key,
    victim_terms,
)
from arena.match.weights import fill
from arena.metrics.fidelity import agreement, labels_of
from arena.registry import build_attack
from tests.players import MATCHUP

IRIS = Task(shape=(4,), classes=3)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


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

    monkeypatch.setattr(victims, "train_victim", untrained)
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

    @pytest.mark.parametrize(
        "prefix",
        ["module.", "model.", "_orig_mod.", "model._orig_mod.", "_orig_mod.module.", "module.net.", "model.network."],
    )
    @pytest.mark.parametrize("own", ["", "body."])
    def test_may_be_named_with_the_prefixes_of_wrappers(self, prefix: str, own: str, tmp_path: Path):
        network = resnet()
        path = tmp_path / "wrapped.safetensors"
        wrapped = {f"{prefix}{own}{name.removeprefix('body.')}": value for name, value in network.state_dict().items()}
        path.write_bytes(save_state(wrapped))
        assert state_digest(filled(path)) == state_digest(network.state_dict())

    def test_may_have_wrappers_inside(self, tmp_path: Path):
        network = resnet()
        path = tmp_path / "inside.safetensors"
        inside = {name.replace("layer1.", "layer1.module."): value for name, value in network.state_dict().items()}
        path.write_bytes(save_state(inside))
        assert state_digest(filled(path)) == state_digest(network.state_dict())

    def test_of_torchvision_for_colour_fill_a_network_for_grey_images(self, tmp_path: Path):
        name, path = "shufflenet_v2_x0_5", tmp_path / "colour.safetensors"
        colour = build(name, Task(shape=(3, 32, 32), classes=3), rng=torch.Generator().manual_seed(1))
        path.write_bytes(save_state({key.removeprefix("body."): v for key, v in colour.state_dict().items()}))
        grey = build(name, Task(shape=(1, 32, 32), classes=3), rng=torch.Generator().manual_seed(0))
        fill(grey, path)
        assert torch.equal(grey.state_dict()["body.1.fc.bias"], colour.state_dict()["body.fc.bias"])

    def test_may_lack_the_buffers_that_only_training_needs(self, tmp_path: Path):
        network = resnet()
        path = tmp_path / "lean.safetensors"
        kept = {name: v for name, v in network.state_dict().items() if not name.endswith("num_batches_tracked")}
        path.write_bytes(save_state(kept))
        assert state_digest(filled(path)) == state_digest(network.state_dict())

    def test_that_do_not_fit_are_refused_with_what_lacks_and_what_is_too_much(self, tmp_path: Path):
        state = resnet().state_dict()
        state["head.weight"] = state.pop("body.fc.weight")
        path = tmp_path / "odd.safetensors"
        path.write_bytes(save_state(state))
        with pytest.raises(BadParameter) as caught:
            filled(path)
        assert "the file lacks fc.weight; the network has no head.weight. Set arch" in str(caught.value)

    @pytest.mark.parametrize(
        ("made_for", "said"),
        [
            (
                Task(shape=(3, 224, 224), classes=3),
                ["conv1.weight is 64x3x7x7 in the file and 64x3x3x3", "set side to"],
            ),
            (Task(shape=(3, 32, 32), classes=1000), ["fc.bias is 1000 in the file", "1,000 classes (num_classes)"]),
            (Task(shape=(1, 32, 32), classes=3), ["images of 1 channels, but the victim's have 3: set grey = true"]),
            (
                Task(shape=(3, 224, 224), classes=1000),
                ["1,000 classes (num_classes)", "and for images of another side"],
            ),
        ],
        ids=["side", "classes", "grey", "side-and-classes"],
    )
    def test_of_another_shape_are_refused_with_the_parameter_that_is_why(
        self, made_for: Task, said: list[str], tmp_path: Path
    ):
        path = tmp_path / "shapes.safetensors"
        path.write_bytes(save_state(resnet(made_for).state_dict()))
        with pytest.raises(BadParameter) as caught:
            filled(path)
        for words in said:
            assert words in str(caught.value)

    def test_of_a_table_of_other_columns_say_so(self, site: Site, tmp_path: Path):
        path = weights_file(tmp_path, task=Task(shape=(5,), classes=3))
        with pytest.raises(BadParameter, match="made for 5 columns, but the victim's data have 4"):
            load_victim(iris(weights=path), 0, site)

    @pytest.mark.parametrize("legacy", [False, True])
    def test_of_torch_save_are_answered_by_the_lines_that_convert_them(self, legacy: bool, site: Site, tmp_path: Path):
        network = build("linear", IRIS, rng=torch.Generator().manual_seed(0))
        path = tmp_path / "it's mine.pth"
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(BadParameter, match=r"is not a safetensors file but one of torch\.save") as caught:
            load_victim(iris(weights=str(path)), 0, site)
        lines = str(caught.value).splitlines()[1:3]
        exec("\n".join(lines), {})
        rows = load_splits(iris(), None).test[0]
        with torch.no_grad():
            expected = network(rows).softmax(dim=1)
        converted = iris(weights=str(path.with_suffix(".safetensors")))
        assert torch.allclose(load_victim(converted, 0, site)(rows), expected, atol=1e-6)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_that_are_not_finite_are_refused(self, bad: float, site: Site, tmp_path: Path):
        state = build("linear", IRIS, rng=torch.Generator().manual_seed(0)).state_dict()
        state["body.1.bias"][1] = bad
        path = tmp_path / "bad.safetensors"
        path.write_bytes(save_state(state))
        with pytest.raises(BadParameter, match=r"1\.bias holds values that are not finite"):
            load_victim(iris(weights=str(path)), 0, site)

    def test_of_whole_numbers_are_refused(self, site: Site, tmp_path: Path):
        state = build("linear", IRIS, rng=torch.Generator().manual_seed(0)).state_dict()
        path = tmp_path / "quantised.safetensors"
        path.write_bytes(save_state({name: value.to(torch.int8) for name, value in state.items()}))
        with pytest.raises(BadParameter, match=r"of type torch\.int8, not torch\.float32: save weights as floats"):
            load_victim(iris(weights=str(path)), 0, site)

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


COLOUR = Task(shape=(3, 32, 32), classes=3)


def resnet(task: Task = COLOUR) -> Classifier:
    return build("resnet18", task, rng=torch.Generator().manual_seed(1))


def filled(path: Path) -> Mapping[str, torch.Tensor]:
    """The state of a ResNet-18 of other weights once a file is loaded into it."""
    network = build("resnet18", COLOUR, rng=torch.Generator().manual_seed(0))
    fill(network, path)
    return network.state_dict()


class TestAnswersThatNoProbabilityCanBe:
    def test_of_given_weights_are_refused_before_the_match(self, site: Site, tmp_path: Path):
        state = {name: value * 1e38 for name, value in build("mlp", IRIS, rng=rng()).state_dict().items()}
        path = tmp_path / "huge.safetensors"
        path.write_bytes(save_state(state))
        spec = iris(arch="mlp", weights=str(path))
        with pytest.raises(BadParameter, match=r"not finite and therefore no probabilities: check .*huge.safetensors"):
            load_victim(spec, 0, site)
        with pytest.raises(BadParameter, match="not finite and therefore no probabilities"):
            admit(replace(MATCHUP, victim=spec), build_attack(MATCHUP.attack), NoDefense(), site)

    def test_of_a_training_that_diverged_are_refused(self, site: Site):
        with pytest.raises(BadParameter, match="its training diverged, so set lr to a smaller value"):
            load_victim(iris(arch="mlp", lr=1e38), 0, site)


class TestNormalisation:
    def test_of_a_victim_that_is_trained_here_is_there_in_training_too(self, site: Site):
        spec = Spec(name="digits", params=(("arch", "linear"), ("mean", (0.9,)), ("std", (0.01,)), ("steps", 300)))
        inputs, labels = load_splits(spec, None).test
        hits, total = agreement(labels_of(load_victim(spec, 0, site)(inputs)), labels)
        assert hits > 0.8 * total

    def test_is_given_to_tables_by_column(self, site: Site, tmp_path: Path):
        mean, std = (0.5, 0.4, 0.3, 0.2), (0.1, 0.2, 0.3, 0.4)
        spec = iris(weights=weights_file(tmp_path), mean=mean, std=std)
        rows = load_splits(spec, None).test[0]
        plain = load_victim(iris(weights=weights_file(tmp_path)), 0, site)
        normal = (rows - torch.tensor(mean)) / torch.tensor(std)
        assert torch.allclose(load_victim(spec, 0, site)(rows), plain(normal), atol=1e-6)

    def test_leaves_a_network_whose_activations_can_be_explained(self):
        network = build("small-cnn", Task(shape=(1, 8, 8), classes=3), rng=rng()).eval()
        explainer = GradCam().deploy(Normalised(network, (0.5,), (0.25,)), torch.zeros(2, 1, 8, 8), rng=rng())
        rows = torch.rand(2, 1, 8, 8, generator=rng())
        maps = GradCam().deploy(network, torch.zeros(2, 1, 8, 8), rng=rng())((rows - 0.5) / 0.25, torch.tensor([0, 1]))
        assert torch.allclose(explainer(rows, torch.tensor([0, 1])), maps, atol=1e-6)

    @pytest.mark.parametrize(
        ("mean", "std", "said"),
        [
            ((0.5,), (), "mean and std go together"),
            ((123.7, 116.3, 103.5), (58.4, 57.1, 57.4), "divide values for levels 0 to 255 by 255"),
            ((0.5,), (0.0,), "each std above 0"),
            ((0.5,), (-0.5,), "each std above 0"),
            ((-0.5,), (0.5,), r"each mean must be in \[0, 1\]"),
            ((float("nan"),), (0.5,), r"each mean must be in \[0, 1\]"),
            ((0.5,), (float("inf"),), "each std above 0 and at most 1"),
        ],
    )
    def test_that_no_inputs_in_the_unit_interval_can_have_is_refused(
        self, mean: tuple[float, ...], std: tuple[float, ...], said: str
    ):
        with pytest.raises(BadParameter, match=said):
            victim_terms(iris(mean=mean, std=std))

    def test_of_another_number_of_channels_is_refused_before_the_match(self, site: Site):
        colour = (("mean", (0.5, 0.4, 0.3)), ("std", (0.2, 0.2, 0.2)))
        spec = Spec(name="digits", params=(("arch", "linear"), *colour, ("steps", 1)))
        said = "mean and std have 3 numbers, but the inputs have 1 channels"
        with pytest.raises(BadParameter, match=said):
            load_victim(spec, 0, site)
        with pytest.raises(BadParameter, match=said):
            admit(replace(MATCHUP, victim=spec), build_attack(MATCHUP.attack), NoDefense(), site)


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
