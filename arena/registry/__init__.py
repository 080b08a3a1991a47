"""A name, a folder or an installed package becomes a player; everything is imported on use.

One word in a configuration is looked up in three places, in this order: a folder with an ``agent.toml``, a built-in
name (`arena.registry.builtins`), and an entry point ``arena.attacks``, ``arena.defenses``, ... of an installed package.
A built-in's name may carry a version, as in ``knockoff@1``; without one it is the newest.
"""

from arena.registry.building import (
    Player,
    PlayerClass,
    build_attack,
    build_defense,
    build_explanation,
    build_threat,
    code_digest,
    complete,
    is_newest,
    names,
    player_class,
    player_defaults,
    player_fields,
    resolved,
)
from arena.registry.builtins import (
    ATTACKS,
    DEFENSES,
    EXPLANATIONS,
    ROLES,
    THREATS,
    Registered,
    Role,
    newest_version,
)
from arena.registry.entries import MANIFEST, entry_folder, folder_digest, manifest

__all__ = [
    "ATTACKS",
    "DEFENSES",
    "EXPLANATIONS",
    "MANIFEST",
    "ROLES",
    "THREATS",
    "Player",
    "PlayerClass",
    "Registered",
    "Role",
    "build_attack",
    "build_defense",
    "build_explanation",
    "build_threat",
    "code_digest",
    "complete",
    "entry_folder",
    "folder_digest",
    "is_newest",
    "manifest",
    "names",
    "newest_version",
    "player_class",
    "player_defaults",
    "player_fields",
    "resolved",
]
