"""A name, a folder or an installed package becomes a player; everything is imported on use.

One word in a configuration, three places, in this order: a folder with an ``agent.toml``, a built-in name (the
tables below), an entry point ``arena.attacks``, ``arena.defenses``, ... of an installed package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arena.contracts import (
    Attack,
    BadParameter,
    Defense,
    Explanation,
    Parameter,
    Spec,
    Threat,
    UnknownName,
    UsageError,
    checked,
    nearest,
)
from arena.provenance import sources_digest

Role = Literal["attack", "defense", "explanation", "threat"]
ROLES: tuple[Role, ...] = typing.get_args(Role)
Player = Attack | Defense | Explanation | Threat
MANIFEST = "agent.toml"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """Where a built-in lives, the fields that its name presets, and defaults that are players, so not in its class."""

    where: str  # "module:Class"
    preset: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)
    default: Mapping[str, Parameter] = dataclasses.field(default_factory=dict)


def _at(where: str, **preset: Parameter) -> Registered:
    return Registered(where=where, preset=preset)


def _guessing(where: str) -> Registered:
    """Return an attack that guesses among these defenses unless its spec has others."""
    return Registered(where=where, default={"guesses": _GUESSED})


_GUESSED: Parameter = tuple(
    Spec(name=name, params=tuple(params.items()))
    for name, params in (
        ("rounding", {"decimals": 1}),
        ("rounding", {"decimals": 2}),
        ("reverse-sigmoid", {"beta": 1.0, "gamma": 0.1}),
        ("reverse-sigmoid", {"beta": 1.0, "gamma": 0.2}),
        ("reverse-sigmoid", {"beta": 0.5, "gamma": 0.4}),
        ("mad", {"epsilon": 0.5}),
        ("mad-argmax", {"epsilon": 0.5}),
        ("mad-argmax", {"epsilon": 1.0}),
        ("modelguard-w", {"epsilon": 1.0}),
        ("gradient-redirection", {"epsilon": 0.5}),
    )
)
ATTACKS: Mapping[str, Registered] = {
    "activethief": _at("arena.attacks.activethief:ActiveThief"),
    "argmax": _at("arena.attacks.argmax:Argmax"),
    "averaging": _at("arena.attacks.averaging:Averaging"),
    "benign-mix": _at("arena.attacks.benign_mix:BenignMix"),
    "cam-matching": _at("arena.attacks.cam_matching:CamMatching"),
    "collage": _at("arena.attacks.collage:Collage"),
    "confidence-filter": _at("arena.attacks.confidence_filter:ConfidenceFilter"),
    "dfme": _at("arena.attacks.data_free:DataFreeExtraction", variant="dfme"),
    "equation-solving": _at("arena.attacks.equation_solving:EquationSolving"),
    "jbda": _at("arena.attacks.jacobian:JacobianAugmentation", mode="jbda"),
    "jbda-tr": _at("arena.attacks.jacobian:JacobianAugmentation", mode="targeted-random"),
    "knockoff": _at("arena.attacks.knockoff:KnockoffNets"),
    "knockoff-adaptive": _at("arena.attacks.knockoff_adaptive:KnockoffAdaptive"),
    "maze": _at("arena.attacks.data_free:DataFreeExtraction", variant="maze"),
    "rank-sharpening": _at("arena.attacks.sharpening:Sharpening", kept="ranks"),
    "recovery-network": _guessing("arena.attacks.recovery_network:RecoveryNetwork"),
    "recovery-table": _guessing("arena.attacks.recovery_table:RecoveryTable"),
    "retraining": _at("arena.attacks.retraining:Retraining"),
    "standardised-logits": _at("arena.attacks.sharpening:Sharpening", kept="logits"),
    "swiftthief": _at("arena.attacks.swiftthief:SwiftThief"),
    "sybil": _at("arena.attacks.sybil:Sybil"),
    "uniform-noise": _at("arena.attacks.uniform_noise:UniformNoise"),
}
DEFENSES: Mapping[str, Registered] = {
    "adaptive-misinformation": _at("arena.defenses.adaptive_misinformation:AdaptiveMisinformation"),
    "deep-defense": _at("arena.defenses.deep_defense:DeepDefense"),
    "deep-defense-literal": _at(
        "arena.defenses.deep_defense:DeepDefense",
        hinge="posterior",
        margin=0.0,
        map_weight=1.0,
        lr=0.1,
        release="last",
    ),
    "diverse-ensemble": _at("arena.defenses.diverse_ensemble:DiverseEnsemble"),
    "gaussian-noise": _at("arena.defenses.gaussian_noise:GaussianNoise"),
    "gradient-redirection": _at("arena.defenses.gradient_redirection:GradientRedirection"),
    "hoda": _at("arena.defenses.hoda:Hoda"),
    "isolation-induction": _at("arena.defenses.isolation_induction:IsolationInduction"),
    "label-only": _at("arena.defenses.label_only:LabelOnly"),
    "mad": _at("arena.defenses.prediction_poisoning:PredictionPoisoning", argmax=False),
    "mad-argmax": _at("arena.defenses.prediction_poisoning:PredictionPoisoning", argmax=True),
    "modelguard-s": _at("arena.defenses.modelguard:ModelGuardS"),
    "modelguard-w": _at("arena.defenses.modelguard:ModelGuardW"),
    "none": _at("arena.defenses.none:NoDefense"),
    "prada": _at("arena.defenses.prada:Prada"),
    "reverse-sigmoid": _at("arena.defenses.reverse_sigmoid:ReverseSigmoid"),
    "rounding": _at("arena.defenses.rounding:Rounding"),
    "top-k": _at("arena.defenses.top_k:TopK"),
}
EXPLANATIONS: Mapping[str, Registered] = {
    "grad-cam": _at("arena.explanations.grad_cam:GradCam"),
    "gradient-input": _at("arena.explanations.gradient_input:GradientInput"),
    "libra-cam": _at("arena.explanations.libra_cam:LibraCam"),
    "relevance-cam": _at("arena.explanations.relevance_cam:RelevanceCam"),
}
THREATS: Mapping[str, Registered] = {
    "evasion": _at("arena.threats.evasion:EvasionTransfer"),
    "inversion": _at("arena.threats.inversion:ModelInversion"),
    "label-inversion": _at("arena.threats.label_inversion:LabelOnlyInversion"),
}
_TABLES: Mapping[Role, Mapping[str, Registered]] = {
    "attack": ATTACKS,
    "defense": DEFENSES,
    "explanation": EXPLANATIONS,
    "threat": THREATS,
}
_EXAMPLES: Mapping[Role, str] = {"attack": "knockoff", "defense": "none"}  # of a player that another one holds

_KINDS: Mapping[Role, type[Player]] = {
    "attack": Attack,
    "defense": Defense,
    "explanation": Explanation,
    "threat": Threat,
}


def build_attack(spec: Spec) -> Attack:
    """Return the attack of a spec. Raises `UnknownName`, `BadParameter`."""
    return typing.cast(Attack, _build("attack", spec))


def build_defense(spec: Spec) -> Defense:
    """Return the defense of a spec. Raises `UnknownName`, `BadParameter`."""
    return typing.cast(Defense, _build("defense", spec))


def build_explanation(spec: Spec) -> Explanation:
    """Return the explanation of a spec. Raises `UnknownName`, `BadParameter`."""
    return typing.cast(Explanation, _build("explanation", spec))


def build_threat(spec: Spec) -> Threat:
    """Return the threat of a spec. Raises `UnknownName`, `BadParameter`."""
    return typing.cast(Threat, _build("threat", spec))


def complete(role: Role, spec: Spec) -> Spec:
    """Return the spec as it is stored: parameters checked, an entry's folder made absolute and its digest filled in."""
    folder = entry_folder(spec.name)
    roles = _nested_roles(player_class(role, spec.name)[0])
    nested = {key: _completed(roles[key], value) if key in roles else value for key, value in spec.params}
    filled = Spec(
        name=str(folder) if folder else spec.name,
        params=tuple(sorted(nested.items())),
        digest=folder_digest(folder) if folder else "",
    )
    _build(role, filled)
    return filled


def _completed(role: Role, value: Parameter) -> Parameter:
    """Return the players of a field as completed specs; a bare name is a player without parameters."""
    if isinstance(value, tuple):
        return tuple(_completed(role, item) for item in value)
    spec = Spec(name=value) if isinstance(value, str) else value
    return complete(role, spec) if isinstance(spec, Spec) else value


def names(role: Role) -> list[str]:
    """Return every name that can be built without a path: built-ins and installed entry points."""
    installed = [point.name for point in importlib.metadata.entry_points(group=_group(role))]
    return sorted({*_TABLES[role], *installed})


def player_class(role: Role, name: str) -> tuple[type[Player], Mapping[str, Parameter]]:
    """Return the class that a name stands for and the fields that the name presets. Raises `UnknownName`."""
    folder = entry_folder(name)
    if folder is not None:
        return _load_entry(role, folder), {}
    registered = _TABLES[role].get(name)
    if registered is not None:
        return _import(registered.where), registered.preset
    for point in importlib.metadata.entry_points(group=_group(role)):
        if point.name == name:
            return typing.cast(type[Player], point.load()), {}
    message = f"no {role} is called {name!r}{nearest(name, names(role))}; `arena list` shows them all, and a folder "
    message += f"with an {MANIFEST} is named by its path"
    raise UnknownName(message)


def entry_folder(name: str) -> Path | None:
    """Return the folder of an entry if ``name`` is a path to one, else None."""
    path = Path(name).expanduser()
    if (path / MANIFEST).is_file():
        return path.resolve()
    if "/" in name:
        message = f"no entry in {name!r}: there is no {path / MANIFEST}; `arena new` writes a folder that works"
        raise UnknownName(message)
    return None


def manifest(folder: Path) -> Mapping[str, str]:
    """Return name, role and entry of an ``agent.toml``. Raises `BadParameter` if it is not as it should be."""
    path = folder / MANIFEST
    try:
        table = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: {error}"
        raise BadParameter(message) from error
    if (
        set(table) != {"name", "role", "entry"}
        or not all(isinstance(value, str) for value in table.values())
        or table["role"] not in ("attack", "defense")
        or ":" not in table["entry"]
    ):
        message = f'{path}: it must have exactly name, role = "attack" or "defense", and entry = "module:Class"'
        raise BadParameter(message)
    return typing.cast(Mapping[str, str], table)


def folder_digest(folder: Path) -> str:
    """Return a 16-digit hash over the paths and bytes of an entry's files, compiled files left out."""
    state = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            state.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def code_digest(role: Role, spec: Spec) -> str:
    """Return a hash over the source of a player, of what it imports of the arena, and of the players that it holds."""
    folder, kind = entry_folder(spec.name), player_class(role, spec.name)[0]
    state = hashlib.blake2b(digest_size=8)
    if folder is not None:
        state.update(folder_digest(folder).encode())
    files = sorted(folder.rglob("*.py")) if folder is not None else [Path(inspect.getfile(kind))]
    state.update(sources_digest(files).encode())
    roles = _nested_roles(kind)
    for key, value in {**player_defaults(role, spec.name), **dict(spec.params)}.items():
        for nested in value if isinstance(value, tuple) else (value,):
            if isinstance(nested, Spec):
                state.update(code_digest(roles[key], nested).encode())
    return state.hexdigest()


def _build(role: Role, spec: Spec) -> Player:
    kind, preset = player_class(role, spec.name)
    fields = {field.name: field for field in player_fields(kind)}
    hints, roles = typing.get_type_hints(kind), _nested_roles(kind)
    values: dict[str, object] = {
        key: _built(roles[key], value) if key in roles else value
        for key, value in player_defaults(role, spec.name).items()
    }
    for key, value in spec.params:
        if key not in fields:
            message = (
                f"{spec.name} has no parameter {key!r}{nearest(key, fields)}; it has {', '.join(fields) or 'none'}"
            )
            raise BadParameter(message)
        if key in preset and value != preset[key]:
            message = f"{spec.name} stands for {key} = {preset[key]!r}; leave {key} out, or take another name"
            raise BadParameter(message)
        nested = _built(roles[key], value) if key in roles else value
        values[key] = checked(spec.name, key, nested, hints[key])
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        first = missing[0]
        value = _EXAMPLES.get(roles[first], "...") if first in roles else "..."
        message = (
            f"{spec.name} needs {', '.join(missing)}: write {spec.name}({first}={value}) on the command line, "
            f'{{ name = "{spec.name}", {first} = "{value}" }} in a file'
        )
        raise BadParameter(message)
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        message = f"{spec.name}: {error}"
        raise BadParameter(message) from error


def _built(role: Role, value: Parameter) -> object:
    """Return the players of a field's specs; what is no spec is left for the field's own type to refuse."""
    if isinstance(value, tuple):
        return tuple(_built(role, item) for item in value)
    return _build(role, value) if isinstance(value, Spec) else value


def player_defaults(role: Role, name: str) -> Mapping[str, Parameter]:
    """Return the fields that a built-in's name gives, of its own or if its spec says nothing; an entry's gives none."""
    registered = _TABLES[role].get(name)
    return {**registered.default, **registered.preset} if registered is not None and entry_folder(name) is None else {}


def player_fields(kind: type[Player]) -> tuple[dataclasses.Field[object], ...]:
    """Return the hyper-parameters of a player's class."""
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


def _nested_roles(kind: type[Player]) -> Mapping[str, Role]:
    """Return the role of each field that holds another player, players, or None."""
    hints = typing.get_type_hints(kind)
    held = {field.name: {hints[field.name], *typing.get_args(hints[field.name])} for field in player_fields(kind)}
    return {name: role for name, kinds in held.items() for role, player in _KINDS.items() if player in kinds}


def _load_entry(role: Role, folder: Path) -> type[Player]:
    """Import an entry as a private package, off sys.path: two entries may both have a ``sampling.py``."""
    about = manifest(folder)
    if about["role"] != role:
        message = f"{folder} is an entry for the role {about['role']!r}, and a {role} is wanted here"
        raise BadParameter(message)
    module_name, class_name = about["entry"].split(":", 1)
    package = f"_arena_entry_{folder_digest(folder)}"
    if package not in sys.modules:
        root = types.ModuleType(package)
        root.__path__ = [str(folder)]
        sys.modules[package] = root
    try:
        module = importlib.import_module(f"{package}.{module_name}")
    except UsageError:  # the author's own words, say about a package that is missing
        raise
    except Exception as error:  # whatever an author's module raises
        message = f"{folder}: {module_name}.py cannot be imported: {type(error).__name__}: {error}"
        raise BadParameter(message) from error
    kind = getattr(module, class_name, None)
    wanted = _KINDS[role]
    if not (isinstance(kind, type) and issubclass(kind, wanted)):
        message = f"{folder}: {about['entry']} is not a class derived from arena.contracts.{wanted.__name__}"
        raise BadParameter(message)
    if not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        message = f"{folder}: {about['entry']} must be a dataclass(frozen=True, kw_only=True): nothing of it may change"
        raise BadParameter(message)
    return kind


def _import(where: str) -> type[Player]:
    module, _, name = where.partition(":")
    return typing.cast(type[Player], getattr(importlib.import_module(module), name))


def _group(role: Role) -> str:
    return f"arena.{role}s"
