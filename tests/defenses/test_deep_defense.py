import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cosine_similarity

from arena.contracts import BadParameter, DefenseContext, NeedUnmet, QueryBatch, Spec, Task
from arena.defenses.deep_defense import DeepDefense, Misdirection
from arena.defenses.parts.kept_maps import kept_map
from arena.defenses.parts.layer_weights import selected, sensitivities, split_of, weights_of
from arena.defenses.parts.misdirection_objective import SMOOTH, keeps_order, log_odds, map_hinge, order_hinge
from arena.explanations.grad_cam import GradCam
from arena.explanations.gradient_input import GradientInput
from arena.explanations.libra_cam import LibraCam, accepted_references
from arena.explanations.relevance_cam import RelevanceCam
from arena.learning.architectures import build
from arena.learning.chains import split_after_convolution
from arena.match.victims import NetworkVictim
from arena.registry import build_defense
from tests.defenses.toy import LinearVictim

TASK = Task(shape=(1, 8, 8), classes=4)


def victim(arch="small-cnn", task=TASK, *, sharp=4.0, trainable=False):
    """An untrained network that is surer than such ones are."""
    network = build(arch, task, rng=torch.Generator().manual_seed(0)).eval()
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(sharp)
    for parameter in network.parameters():
        parameter.requires_grad_(trainable)
    return NetworkVictim(network, task)


def rows(number=12, seed=0):
    return torch.rand(number, *TASK.shape, generator=torch.Generator().manual_seed(seed))


def context(of=None, **more):
    of = of or victim()
    training = (torch.rand(40, *of.task.shape), torch.zeros(40, dtype=torch.int64))
    return DefenseContext(victim=of, device=torch.device("cpu"), training=training, validation=training, **more)


def deployed(defense, on=None, *, seed=0):
    on = on or context()
    state = defense.train(on, rng=torch.Generator().manual_seed(1))
    return defense.deploy(on, state, rng=torch.Generator().manual_seed(seed))


def answer(defense, inputs, on=None, *, seed=0):
    return deployed(defense, on, seed=seed)(QueryBatch(inputs=inputs)).posteriors


def without_a_bias():
    """A network whose first linear layer sees each pixel column, and whose others have no bias."""
    body = nn.Sequential(
        nn.Linear(8, 6), nn.Flatten(), nn.Tanh(), nn.Linear(48, 5, bias=False), nn.Tanh(), nn.Linear(5, 4, bias=False)
    )
    with torch.no_grad():
        for number, parameter in enumerate(body.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) / 2)
    return body


def networks():
    return {
        "mlp": victim("mlp-6").module,
        "small-cnn": victim().module,
        "bench-cnn": victim("bench-cnn").module,
        "without a bias": without_a_bias(),
    }


LIBRARY = rows(7, seed=5)


def solver_of(defense, network, names, explanation=None):
    """The solver as a deployed defense has it."""
    dtype = next(network.parameters()).dtype
    kept = kept_map(
        explanation, network, back=defense.back, references=LIBRARY.to(dtype), rng=torch.Generator().manual_seed(0)
    )
    return Misdirection(defense, network, names, TASK.shape, kept=kept)


class Reference:
    """One query with matrices, not factors: differentiated twice, and given to torch's SGD."""

    def __init__(self, defense, network, names, x, clean, explanation=None):
        self.defense, self.split, self.x = defense, split_of(network, back=defense.back), x
        self.explanation, self.network = explanation, network
        if explanation is None and any(isinstance(layer, nn.Conv2d) for layer in network.modules()):
            self.explanation = GradCam(back=defense.back)
        self.clean, self.order = clean, clean.argsort(descending=True)
        self.own = {name: value for name, value in weights_of(self.split).items() if name in names}
        self.aims = self.look({name: value.clone().requires_grad_() for name, value in self.own.items()})

    def look(self, weights):
        bottom, top = (
            {
                name.removeprefix(part): value
                for name, value in (weights_of(self.split) | weights).items()
                if name.startswith(part)
            }
            for part in ("bottom.", "top.")
        )
        x = self.x.unsqueeze(0).requires_grad_()
        logits = functional_call(self.split.top, top, (functional_call(self.split.bottom, bottom, (x,)),))[0]
        odds = log_odds(logits, self.order[0])
        slopes = torch.autograd.grad(odds, list(weights.values()), create_graph=True)
        return logits, dict(zip(weights, slopes, strict=True)), self.map_of(bottom | shifted(top, self.split), x)

    def map_of(self, weights, x):
        """The map of the served explanation for a network whose layers have the given weights."""
        links = nn.Sequential(*self.split.bottom, *self.split.top)
        if self.explanation is None:
            return None
        label, total = int(self.order[0]), len(self.order)
        if isinstance(self.explanation, GradientInput):
            logit = functional_call(links, weights, (x,))[0, label]
            return (x * torch.autograd.grad(logit, x, create_graph=True)[0]).sum(dim=1).flatten()
        cut = len(split_after_convolution(self.network, back=self.explanation.back).bottom)
        below, above = nn.Sequential(*links[:cut]), nn.Sequential(*links[cut:])
        own = {name: value for name, value in weights.items() if int(name.split(".")[0]) < cut}
        rest = {
            f"{int(name.split('.')[0]) - cut}.{name.split('.', 1)[1]}": weights[name] for name in weights.keys() - own
        }
        activation = functional_call(below, own, (x,)).requires_grad_()
        if isinstance(self.explanation, RelevanceCam):
            pull = relevance_by_hand(above, rest, activation, label, total) * activation[0, 0].numel()  # a sum, no mean
        else:
            logit = functional_call(above, rest, (activation,))[0, label]
            (pull,) = torch.autograd.grad(logit, activation, create_graph=True)
        if not isinstance(self.explanation, LibraCam):
            return (pull.mean(dim=(2, 3), keepdim=True) * activation).sum(dim=1).clamp(min=0).flatten()
        split = split_after_convolution(self.network, back=self.explanation.back)
        rng, dtype = torch.Generator().manual_seed(0), activation.dtype
        library = split.bottom(self.explanation.drawn_from(LIBRARY.to(dtype), rng=rng)).detach()
        counts = accepted_references(split, self.x.unsqueeze(0), self.order[:1], library)[0].to(dtype)
        maps = (pull * (activation - library)).sum(dim=1)
        low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        mean = (((maps - low) / (high - low)) * counts[:, None, None]).sum(dim=0) / counts.sum()
        size = TASK.shape[1:]
        return nn.functional.interpolate(mean[None, None], size=size, mode="bilinear", align_corners=False).flatten()

    def loss(self, weights):
        defense, (logits, slopes, here) = self.defense, self.look(weights)
        loss, aligned = defense.order_weight * order_hinge(logits, self.order, 4, margin=defense.margin), 0.0
        for share, part in ((defense.alpha, "bottom."), (1 - defense.alpha, "top.")):
            names = [name for name in slopes if name.startswith(part)]
            if names:
                own, aim = (torch.cat([of[name].flatten() for name in names]) for of in (slopes, self.aims[1]))
                turned = cosine_similarity(own, aim.detach(), dim=0)
                loss, aligned = (
                    loss + share * (turned**2 + SMOOTH**2).sqrt(),
                    aligned + share * float(turned.detach().abs()),
                )
        if here is not None:
            hinge = map_hinge(
                here,
                self.aims[2].detach(),
                literal=defense.release == "last",
                signed=isinstance(self.explanation, GradientInput),
            )
            loss = loss + defense.map_weight * hinge
        return loss, aligned, logits.softmax(dim=0).detach()

    def solved(self, start):
        """Return the row and the weights of the iterate that is released."""
        weights = {name: value.clone().requires_grad_() for name, value in start.items()}
        sgd = torch.optim.SGD(weights.values(), lr=self.defense.lr, momentum=self.defense.momentum)
        best, found = math.inf, (self.clean, self.own)
        for step in range(self.defense.steps + 1):
            loss, aligned, row = self.loss(weights)
            kept = bool(keeps_order(row.unsqueeze(0), self.order.unsqueeze(0), 4))
            if step == self.defense.steps if self.defense.release == "last" else kept and aligned < best:
                best, found = aligned, (row, {name: value.detach().clone() for name, value in weights.items()})
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        return found


def shifted(weights, split):
    """The weights of the top by their places in the whole network."""
    places = {name: int(name.split(".")[0]) + len(split.bottom) for name in weights}
    return {f"{places[name]}.{name.split('.', 1)[1]}": value for name, value in weights.items()}


def relevance_by_hand(links, weights, activation, label, total):
    """The z+ rule from the logits back to an activation, for chains of convolutions, linear layers and ReLUs."""
    values = [activation]
    for place, link in enumerate(links):
        own = {name.split(".", 1)[1]: value for name, value in weights.items() if name.startswith(f"{place}.")}
        values.append(functional_call(link, own, (values[-1],)))
    start = torch.full((1, total), -1 / (total - 1))  # in float32, as the explanation does
    start[0, label] = 1.0
    relevance = start.to(activation.dtype)
    for place, link in reversed(list(enumerate(links))):
        below = values[place]
        if isinstance(link, nn.Linear):
            positive = weights[f"{place}.weight"].clamp(min=0)
            relevance = below * ((relevance / (below @ positive.T + 1e-9)) @ positive)
        elif isinstance(link, nn.Conv2d):
            positive, how = weights[f"{place}.weight"].clamp(min=0), {"stride": link.stride, "padding": link.padding}
            sums = nn.functional.conv2d(below, positive, **how) + 1e-9
            extra = [
                (size + 2 * pad - kernel) % step
                for size, pad, kernel, step in zip(
                    below.shape[2:], link.padding, link.kernel_size, link.stride, strict=True
                )
            ]
            relevance = below * nn.functional.conv_transpose2d(relevance / sums, positive, output_padding=extra, **how)
        elif isinstance(link, nn.Flatten):
            relevance = relevance.reshape(below.shape)
        elif not isinstance(link, nn.ReLU):
            raise NotImplementedError(type(link))
    return relevance


SERVED = {
    "nothing": None,
    "grad-cam": GradCam(back=2),
    "gradient-input": GradientInput(),
    "relevance-cam": RelevanceCam(),
    "relevance-cam(back=2)": RelevanceCam(back=2),
    "libra-cam": LibraCam(references=4),
}


@pytest.mark.parametrize("release", ["verified", "last"])
@pytest.mark.parametrize(
    ("arch", "served"),
    [
        *((arch, "nothing") for arch in ("mlp", "small-cnn", "bench-cnn", "without a bias")),
        *(("small-cnn", served) for served in SERVED if served != "nothing"),
        *((arch, "gradient-input") for arch in ("mlp", "bench-cnn")),
        ("bench-cnn", "libra-cam"),
    ],
)
@pytest.mark.parametrize(("share", "back"), [(1.0, 1), (0.5, 1), (1.0, 2)])
def test_factors_move_as_matrices_would(arch, served, release, share, back):
    """Through several steps, in float64; the map and the order weigh enough to be seen."""
    network, explanation = networks()[arch].double(), SERVED[served]
    split = split_of(network, back=back)
    found = sensitivities(split, rows(5).double()).values()
    names = selected(weights_of(split), [float(value) for value in found], share=share)
    weight = 0.03 if isinstance(explanation, RelevanceCam) else 3.0  # whose gradients are large
    defense = DeepDefense(map_weight=weight, margin=1.0, noise=0.1, tolerance=0.0, steps=6, release=release, back=back)
    inputs = rows(3).double()
    clean = network(inputs).softmax(dim=1).detach()
    solver = solver_of(defense, network, names, explanation)
    normal = torch.randn(3, solver.columns, generator=torch.Generator().manual_seed(0)).double()
    still = solver_of(replace(defense, steps=0, release="last"), network, names, explanation)
    _, start = still.solve(inputs, clean, normal, keep=True)
    released, weights = solver.solve(inputs, clean, normal, keep=True)
    assert weights.keys() == set(names)
    for number in range(3):
        reference = Reference(defense, network, names, inputs[number], clean[number], explanation)
        row, expected = reference.solved({name: value[number] for name, value in start.items()})
        assert torch.allclose(released[number], row, atol=1e-9)
        for name, value in expected.items():
            assert torch.allclose(weights[name][number], value, atol=1e-9), name
            assert release == "verified" or not torch.allclose(start[name][number], value, atol=1e-4), name


@pytest.mark.parametrize(("arch", "tolerance"), [("mlp", 0.55), ("small-cnn", 0.13)])
def test_queries_that_are_done_leave_the_others_as_they_would_be_alone(arch, tolerance):
    network, inputs = networks()[arch].double(), rows(8).double()
    names, defense = list(weights_of(split_of(network))), DeepDefense(tolerance=tolerance, steps=12)
    solver, clean = solver_of(defense, network, names), network(inputs).softmax(dim=1).detach()
    normal = torch.randn(8, solver.columns, generator=torch.Generator().manual_seed(0)).double()
    together, weights = solver.solve(inputs, clean, normal, keep=True)
    done = []
    for number in range(8):
        one = slice(number, number + 1)
        alone, own = solver.solve(inputs[one], clean[one], normal[one], keep=True)
        assert torch.allclose(alone, together[one], atol=1e-9)
        assert all(torch.allclose(own[name], weights[name][one], atol=1e-9) for name in names)
        reference = Reference(defense, network, names, inputs[number], clean[number])
        found = {name: value[number].requires_grad_() for name, value in weights.items()}
        done.append(reference.loss(found)[1] <= tolerance)
    assert 0 < sum(done) < 8


def test_the_start_of_a_matrix_is_an_outer_product_of_the_noises_size():
    network = victim("mlp-32").module
    names = list(weights_of(split_of(network)))
    solver = solver_of(DeepDefense(steps=0, noise=0.5, release="last"), network, names)
    assert solver.columns == (64 + 32) + 32 + (32 + 4) + 4
    normal = torch.randn(40, solver.columns, generator=torch.Generator().manual_seed(0))
    inputs = rows(40)
    _, weights = solver.solve(inputs, network(inputs).softmax(dim=1).detach(), normal, keep=True)
    matrix = weights_of(split_of(network))["bottom.1.weight"]
    moved = weights["bottom.1.weight"] - matrix
    assert [int(torch.linalg.matrix_rank(one, rtol=1e-4)) for one in moved] == [1] * 40
    assert float(moved.std()) == pytest.approx(0.5 * float(matrix.std()), rel=0.1)


@pytest.mark.parametrize("arch", ["small-cnn", "bench-cnn", "mlp", "linear"])
class TestVerified:
    def test_keeps_the_label_of_every_row_on_the_simplex(self, arch):
        of, inputs = victim(arch), rows(20)
        released = answer(DeepDefense(steps=5), inputs, context(of))
        assert released.dtype == torch.float32
        assert torch.allclose(released.sum(dim=1), torch.ones(20), atol=1e-5)
        assert torch.equal(released.argmax(dim=1), of(inputs).argmax(dim=1))
        assert not torch.allclose(released, of(inputs), atol=1e-2)

    def test_is_decided_by_the_seed_and_not_by_the_other_rows(self, arch):
        inputs = rows(9)
        respond = deployed(DeepDefense(steps=5, at_once=4), context(victim(arch)))
        together = respond(QueryBatch(inputs=inputs)).posteriors
        alone = torch.cat([respond(QueryBatch(inputs=row)).posteriors for row in inputs.split(1)])
        assert torch.allclose(together, alone, atol=1e-6)
        again = answer(DeepDefense(steps=5, at_once=4), inputs, context(victim(arch)))
        assert torch.equal(again, together)


def test_keeps_the_order_of_the_first_classes():
    of, inputs = victim(), rows(30)
    order = of(inputs).argsort(dim=1, descending=True)
    assert torch.equal(answer(DeepDefense(steps=8), inputs).argsort(dim=1, descending=True), order)
    first = answer(DeepDefense(steps=8, k=2), inputs).argsort(dim=1, descending=True)
    assert torch.equal(first[:, :2], order[:, :2])


def test_makes_the_gradients_nearly_orthogonal():
    of, inputs = victim(), rows(16)
    defense = DeepDefense(tolerance=0.0)
    on = context(of)
    names = selected(
        weights_of(split_of(of.module)),
        defense.train(on, rng=torch.Generator().manual_seed(1))["sensitivities"].tolist(),
        share=0.9,
    )
    solver = solver_of(defense, of.module, names)
    normal = torch.randn(16, solver.columns, generator=torch.Generator().manual_seed(0))
    clean = of(inputs)
    _, weights = solver.solve(inputs, clean, normal, keep=True)
    cosines = []
    for number in range(16):
        reference = Reference(defense, of.module, names, inputs[number], clean[number])
        own = {name: value[number].requires_grad_() for name, value in weights.items()}
        cosines.append(reference.loss(own)[1])
    assert sorted(cosines)[8] < 0.2


def test_of_a_victim_that_could_be_trained_no_graph_is_kept():
    of, inputs = victim(trainable=True), rows(4)
    solver = solver_of(DeepDefense(steps=3), of.module, list(weights_of(split_of(of.module))))
    found, weights = solver.solve(inputs, of(inputs), torch.zeros(4, solver.columns), keep=True)
    assert not found.requires_grad
    assert not any(value.requires_grad for value in weights.values())


def test_the_victims_own_network_is_never_given_other_weights():
    """Other matches ask it at the same time, in other threads."""
    of, inputs = victim(), rows(4)
    last = [module for module in of.module.modules() if isinstance(module, torch.nn.Linear)][-1]
    weight, found = last.weight, []
    last.register_forward_pre_hook(lambda module, _: found.append(module.weight is weight) if module is last else None)
    answer(DeepDefense(steps=3), inputs, context(of))
    assert found
    assert all(found)


def test_without_noise_or_margin_nothing_moves():
    """At the victim's own weights |cos| is stationary, which is why the start is moved."""
    of, inputs = victim(), rows()
    still = DeepDefense(noise=0.0, margin=0.0, map_weight=0.0, steps=3)
    assert torch.allclose(answer(still, inputs), of(inputs), atol=1e-3)
    assert not torch.allclose(answer(DeepDefense(map_weight=0.0, steps=3), inputs), of(inputs), atol=1e-2)


def test_without_steps_the_row_is_that_of_the_start_or_clean():
    of, inputs = victim(), rows()
    assert torch.allclose(answer(DeepDefense(steps=0), inputs), of(inputs), atol=0.15)


@pytest.mark.parametrize("release", ["verified", "last"])
def test_a_descent_that_leaves_the_numbers_releases_what_it_passed_before(release):
    of, inputs = victim(), rows(9)
    released = answer(DeepDefense(release=release, lr=1e6), inputs)
    assert bool((released >= 0).all())
    assert torch.allclose(released.sum(dim=1), torch.ones(9), atol=1e-5)
    assert release == "last" or torch.equal(released.argmax(dim=1), of(inputs).argmax(dim=1))


def test_the_literal_variant_verifies_nothing_and_promises_nothing():
    of, inputs = victim(), rows(60)
    literal = build_defense(Spec(name="deep-defense-literal"))
    assert isinstance(literal, DeepDefense)
    assert not literal.promise.argmax
    flipped = answer(literal, inputs).argmax(dim=1) != of(inputs).argmax(dim=1)
    assert int(flipped.sum()) > 0


def test_explained_rows_get_the_map_of_their_own_network():
    on = context(explanation=GradCam())
    inputs = rows(3)
    respond = deployed(DeepDefense(steps=6), on)
    explained = respond(QueryBatch(inputs=inputs, explain=True))
    assert explained.explanations is not None
    assert explained.explanations.shape == (3, 2, 2)
    plain = respond(QueryBatch(inputs=inputs))
    assert plain.explanations is None
    assert torch.equal(plain.posteriors, explained.posteriors)
    own = GradCam().deploy(on.victim.module, inputs, rng=torch.Generator())(inputs, plain.posteriors.argmax(dim=1))
    assert not torch.allclose(explained.explanations, own)


def test_what_is_released_depends_on_the_map_that_is_served():
    """The order of another map is kept, so other weights answer, although nobody asks for an explanation."""
    inputs = rows(6)
    served = [SERVED[name] for name in ("grad-cam", "gradient-input", "relevance-cam", "libra-cam")]
    released = [answer(DeepDefense(steps=6), inputs, context(explanation=one)) for one in served]
    for number, one in enumerate(released):
        assert all(not torch.equal(one, other) for other in released[:number])
    assert torch.equal(answer(DeepDefense(steps=6), inputs), answer(DeepDefense(steps=6), inputs, grad_cam_context()))


def grad_cam_context():
    return context(explanation=GradCam())


def test_the_order_of_the_served_map_is_kept_better_than_without_its_hinge():
    inputs, on = rows(30), context(explanation=GradientInput())

    def rises(weight):
        """By how much maps rise along the falling order of the victim's, over their range."""
        respond = deployed(DeepDefense(map_weight=weight, steps=10), on)
        maps = respond(QueryBatch(inputs=inputs, explain=True)).explanations.flatten(1)
        own = GradientInput().deploy(on.victim.module, inputs, rng=torch.Generator())
        wanted = own(inputs, on.victim(inputs).argmax(dim=1)).flatten(1)
        ranges = (maps.amax(dim=1) - maps.amin(dim=1)).clamp(min=1e-9)  # a constant map does not rise
        return float((map_hinge(maps, wanted, literal=True) / ranges).mean())

    assert rises(3.0) < 0.5 * rises(0.0)


@pytest.mark.parametrize("arch", ["bench-cnn", "mlp"])
def test_another_activation_parts_the_weights_elsewhere(arch):
    inputs, on = rows(6), context(victim(arch))
    first, second = (answer(DeepDefense(steps=6, back=back, alpha=0.2, sensitivity=1.0), inputs, on) for back in (1, 2))
    assert not torch.allclose(first, second, atol=1e-3)
    with pytest.raises(BadParameter, match="use a smaller number"):
        answer(DeepDefense(back=9), inputs, on)


def test_a_victim_that_only_answers_is_refused():
    with pytest.raises(NeedUnmet, match="weights"):
        deployed(DeepDefense(), context(LinearVictim()))


@pytest.mark.parametrize(
    "wrong", [{"alpha": 2.0}, {"sensitivity": 0.0}, {"k": 0}, {"back": 0}, {"lr": 0.0}, {"noise": -1.0}]
)
def test_what_cannot_be_is_a_bad_parameter(wrong):
    with pytest.raises(BadParameter):
        DeepDefense(**wrong)
