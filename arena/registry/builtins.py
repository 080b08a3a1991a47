"""The players that ship with this package, by name; their modules are imported on use."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from arena.contracts import Parameter, Spec, UnknownName

Role = Literal["attack", "defense", "explanation", "threat"]
ROLES: tuple[Role, ...] = typing.get_args(Role)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """Where a built-in is defined, the fields that its name fixes, and defaults that are players themselves.

    ``version`` increases when the method's answers change on purpose. The previous version stays in the table as
    ``NAME@VERSION`` for as long as it can be played.
    """

    where: str  # "module:Class"
    version: int = 1
    preset: Mapping[str, Parameter] = field(default_factory=dict)
    default: Mapping[str, Parameter] = field(default_factory=dict)


def _at(where: str, *, version: int = 1, **preset: Parameter) -> Registered:
    return Registered(where=where, version=version, preset=preset)


def _guessing(where: str) -> Registered:
    """Return an attack that guesses among defenses unless its spec lists others."""
    return Registered(where=where, version=3, default={"guesses": _GUESSED})


_GUESSED: Parameter = tuple(
    Spec(name=name, params=tuple(params.items()))
    for name, params in (
        ("reverse-sigmoid", {"beta": 0.7, "gamma": 0.15}),
        ("reverse-sigmoid", {"beta": 0.7, "gamma": 0.3}),
        ("mad", {"epsilon": 0.7}),
        ("mad-argmax", {"epsilon": 0.3}),
        ("mad-argmax", {"epsilon": 0.7}),
        ("modelguard-w", {"epsilon": 0.7}),
        ("gradient-redirection", {"epsilon": 0.75}),
    )
)
"""An attacker knows the methods, not their parameters: no guess has those of a default or of a trade-off curve.

Rounding is left out, because any guess that matters would be the very defense that is played.
"""

ATTACKS: Mapping[str, Registered] = {
    "activethief": _at("arena.attacks.activethief:ActiveThief", version=2),
    "argmax": _at("arena.attacks.argmax:Argmax"),
    "averaging": _at("arena.attacks.averaging:Averaging"),
    "benign-mix": _at("arena.attacks.benign_mix:BenignMix", version=2),
    "cam-matching": _at("arena.attacks.cam_matching:CamMatching"),
    "collage": _at("arena.attacks.collage:Collage"),
    "confidence-filter": _at("arena.attacks.confidence_filter:ConfidenceFilter", version=2),
    "copycat": Registered(where="arena.attacks.argmax:Argmax", default={"base": Spec(name="knockoff")}),
    "dfme": _at("arena.attacks.data_free:DataFreeExtraction", version=2, variant="dfme"),
    "disguide": _at("arena.attacks.disguide:DisGuide"),
    "dual-students": _at("arena.attacks.disguide:DisGuide", balance=0.0),
    "equation-solving": _at("arena.attacks.equation_solving:EquationSolving"),
    "es-attack": _at("arena.attacks.es_attack:EsAttack"),
    "functional-equivalence": _at("arena.attacks.functional_equivalence:FunctionalEquivalence"),
    "half-argmax": _at("arena.attacks.half_argmax:HalfArgmax"),
    "jbda": _at("arena.attacks.jacobian:JacobianAugmentation", mode="jbda"),
    "jbda-papernot": _at("arena.attacks.jacobian:JacobianAugmentation", mode="jbda", direction="gradient"),
    "jbda-tr": _at("arena.attacks.jacobian:JacobianAugmentation", mode="targeted-random"),
    "knockoff": _at("arena.attacks.knockoff:KnockoffNets"),
    "knockoff-adaptive": _at("arena.attacks.knockoff_adaptive:KnockoffAdaptive", version=2),
    "knockoff-adaptive@1": Registered(
        where="arena.attacks.knockoff_adaptive:KnockoffAdaptive",
        default={"floor": 0.5, "warmup": 0.3, "batch": 50, "step": 0.5},
    ),
    "last-layer": Registered(
        where="arena.attacks.logit_subspace:LogitSubspace", default={"base": Spec(name="knockoff")}
    ),
    "logit-subspace": _at("arena.attacks.logit_subspace:LogitSubspace"),
    "marich": _at("arena.attacks.marich:Marich"),
    "maze": _at("arena.attacks.data_free:DataFreeExtraction", version=2, variant="maze"),
    "noise-inversion": _at("arena.attacks.noise_inversion:NoiseInversion"),
    "rank-sharpening": _at("arena.attacks.sharpening:Sharpening", kept="ranks"),
    "recovery-network": _guessing("arena.attacks.recovery_network:RecoveryNetwork"),
    "recovery-table": _guessing("arena.attacks.recovery_table:RecoveryTable"),
    "retraining": _at("arena.attacks.retraining:Retraining"),
    "self-training": _at("arena.attacks.self_training:SelfTraining"),
    "standardised-logits": _at("arena.attacks.sharpening:Sharpening", kept="logits"),
    "swiftthief": _at("arena.attacks.swiftthief:SwiftThief", version=2),
    "sybil": _at("arena.attacks.sybil:Sybil"),
    "uniform-noise": _at("arena.attacks.uniform_noise:UniformNoise"),
}
DEFENSES: Mapping[str, Registered] = {
    "adaptive-misinformation": _at("arena.defenses.adaptive_misinformation:AdaptiveMisinformation", version=2),
    "cmim": _at("arena.defenses.cmim:Cmim"),
    "dawn": _at("arena.defenses.dawn:Dawn"),
    "deep-defense": _at("arena.defenses.deep_defense:DeepDefense", version=2),
    "deep-defense-literal": _at(
        "arena.defenses.deep_defense:DeepDefense",
        version=2,
        hinge="posterior",
        margin=0.0,
        map_weight=1.0,
        lr=0.1,
        release="last",
    ),
    "diverse-ensemble": _at("arena.defenses.diverse_ensemble:DiverseEnsemble"),
    "gaussian-noise": _at("arena.defenses.gaussian_noise:GaussianNoise"),
    "gaussian-noise-fresh": _at("arena.defenses.gaussian_noise:GaussianNoise", fresh=True),  # averaging removes it
    "gradient-redirection": _at("arena.defenses.gradient_redirection:GradientRedirection"),
    "hoda": _at("arena.defenses.hoda:Hoda", version=2),
    "isolation-induction": _at("arena.defenses.isolation_induction:IsolationInduction"),
    "label-only": _at("arena.defenses.label_only:LabelOnly"),
    "mad": _at("arena.defenses.prediction_poisoning:PredictionPoisoning", version=2, argmax=False),
    "mad-argmax": _at("arena.defenses.prediction_poisoning:PredictionPoisoning", version=2, argmax=True),
    "misleader": _at("arena.defenses.misleader:Misleader"),
    "modelguard-s": _at("arena.defenses.modelguard:ModelGuardS"),
    "modelguard-w": _at("arena.defenses.modelguard:ModelGuardW"),
    "nasty-teacher": _at("arena.defenses.nasty_teacher:NastyTeacher"),
    "noise-matrix": _at("arena.defenses.noise_matrix:NoiseMatrix"),
    "none": _at("arena.defenses.none:NoDefense"),
    "prada": _at("arena.defenses.prada:Prada"),
    "reverse-sigmoid": _at("arena.defenses.reverse_sigmoid:ReverseSigmoid"),
    "rounding": _at("arena.defenses.rounding:Rounding"),
    "top-k": _at("arena.defenses.top_k:TopK", version=2),
    "top-k@1": Registered(where="arena.defenses.top_k:TopK", default={"k": 1}),
}
EXPLANATIONS: Mapping[str, Registered] = {
    "grad-cam": _at("arena.explanations.grad_cam:GradCam"),
    "gradient-input": _at("arena.explanations.gradient_input:GradientInput"),
    "libra-cam": _at("arena.explanations.libra_cam:LibraCam"),
    "relevance-cam": _at("arena.explanations.relevance_cam:RelevanceCam"),
}
THREATS: Mapping[str, Registered] = {
    "evasion": _at("arena.threats.evasion:EvasionTransfer"),
    "inversion": _at("arena.threats.inversion:ModelInversion", version=2),
    "label-inversion": _at("arena.threats.label_inversion:LabelOnlyInversion", version=2),
    "memorisation": _at("arena.threats.memorisation:Memorisation"),
}
TABLES: Mapping[Role, Mapping[str, Registered]] = {
    "attack": ATTACKS,
    "defense": DEFENSES,
    "explanation": EXPLANATIONS,
    "threat": THREATS,
}


def newest_version(role: Role, name: str) -> int | None:
    """Return the newest version of a built-in, or None if no built-in has this name."""
    registered = TABLES[role].get(name)
    return registered.version if registered is not None else None


def registered(role: Role, name: str) -> Registered | None:
    """Return the built-in of a name, which may carry a version (``knockoff@1``), or None if no built-in has this name.

    Raises `UnknownName` for a version that is not in this release.
    """
    bare, _, version = name.partition("@")
    newest = TABLES[role].get(bare)
    if newest is None or not version or version == str(newest.version):
        return newest
    older = TABLES[role].get(name)
    if older is None:
        message = f"{bare} has no version {version} in this release; its newest is {bare}@{newest.version}"
        raise UnknownName(message)
    return older
