"""What a deployed defense answers on the referee's test rows: what an honest user would be served there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from arena.contracts import Answer, Defense, Matchup, QueryBatch
from arena.learning.tensors import digest_of, load_state, save_state
from arena.match.cache import Cache
from arena.match.deployment import deploy
from arena.match.preparation import DefendedVictim, player_parts
from arena.match.reference import load_reference
from arena.match.site import Site
from arena.metrics.fidelity import labels_of
from arena.oracle.guard import Guard
from arena.oracle.terms import MAX_ROWS
from arena.provenance import code_digest_of

REFUSED = -1
"""Stands for the decision on a row that was refused."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Deployed:
    """The defense of a matchup, deployed afresh for the referee's test rows.

    Each call comes from another account, because nobody asks all of these rows. The answers are the same for every
    attack that meets the defense on a seed, and are kept in ``cache``. Everything that asks raises `DefenseFault` if the
    defense cannot be deployed or answers wrongly.
    """

    matchup: Matchup
    defense: Defense
    defended: DefendedVictim
    site: Site
    cache: Cache

    def decisions(self) -> Tensor:
        """Return the classes (N,), int64, that are served on the test rows, `REFUSED` where a row is refused."""

        def ask() -> bytes:
            return save_state({"decisions": torch.cat([_decisions(answer) for answer in self._answers(explain=False)])})

        return load_state(self.cache.once(self._key("decisions"), ask))["decisions"]

    def explained(self, rows: int) -> tuple[Tensor, Tensor]:
        """Return the maps (N, h, w) that are served on the first ``rows`` test rows, and the decisions (N,) on them."""

        def ask() -> bytes:
            answers = self._answers(explain=True, rows=rows)
            maps = [answer.explanations for answer in answers if answer.explanations is not None]
            return save_state({"maps": torch.cat(maps), "decisions": torch.cat([_decisions(one) for one in answers])})

        found = load_state(self.cache.once(self._key(f"maps {rows}"), ask))
        return found["maps"], found["decisions"]

    def _answers(self, *, explain: bool, rows: int | None = None) -> list[Answer]:
        reference = load_reference(self.matchup.victim, self.matchup.victim_seed, self.site)
        guard = Guard(
            deploy(self.matchup, self.defense, self.defended, self.site),
            classes=reference.victim.task.classes,
            explainer=self.defended.context.explainer,
            decimals=self.matchup.decimals,
        )
        answers = []
        for account, inputs in enumerate(reference.inputs[:rows].split(MAX_ROWS)):
            queries = QueryBatch(inputs=inputs, explain=explain, account=account)
            answers.append(guard(queries))
            guard.mark_recorded(queries)
        return answers

    def _key(self, what: str) -> str:
        machine = (torch.__version__, torch.device(self.site.device).type, self.site.secret.digest)
        about = (what, self.matchup.seed, self.matchup.decimals, repr(self.matchup.explanation), machine)
        code = code_digest_of(__name__)
        return "served-" + digest_of(
            [repr(about), code, *self.defended.artefacts, *player_parts(self.defense, trained=False)]
        )


def _decisions(answer: Answer) -> Tensor:
    return labels_of(answer.posteriors).masked_fill(answer.refused, REFUSED)
