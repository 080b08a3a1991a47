"""Finds and builds players by the name that a configuration gives; their code is imported on use.

A name is looked up in three places, in this order: a folder with an ``agent.toml``, the built-in names
(`arena.registry.builtins`), and the entry points ``arena.attacks``, ``arena.defenses``, ... of installed packages. The
name of a built-in may carry a version, as in ``knockoff@1``; without one it means the newest.
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
    sources_digest_of,
    sweep_of,
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
from arena.registry.described import (
    SANDBOX,
    Description,
    EntryLoader,
    Identified,
    current_loader,
    entries_in,
    isolation_of,
    loader_in_use,
    use_loader,
)
from arena.registry.entries import MANIFEST, entry_folder, folder_digest, manifest

__all__ = [
    "ATTACKS",
    "DEFENSES",
    "EXPLANATIONS",
    "MANIFEST",
    "ROLES",
    "SANDBOX",
    "THREATS",
    "Description",
    "EntryLoader",
    "Identified",
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
    "current_loader",
    "entries_in",
    "entry_folder",
    "folder_digest",
    "is_newest",
    "isolation_of",
    "loader_in_use",
    "manifest",
    "names",
    "newest_version",
    "player_class",
    "player_defaults",
    "player_fields",
    "resolved",
    "sources_digest_of",
    "sweep_of",
    "use_loader",
]
