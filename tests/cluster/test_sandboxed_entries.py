"""Entries on Ray: their code runs in sandboxes that the cluster's workers start, and never in a worker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from arena.cluster.membership import Cluster
from arena.cluster.runner import RayRunner
from arena.contracts import MatchResult
from arena.entries.loading import SandboxedEntries
from arena.match.site import Site
from arena.referee.tournament import Resources, Share
from arena.registry import complete, loader_in_use
from tests.entries import entries
from tests.players import MATCHUP, played
from tests.sandbox.boxes import needs_bubblewrap

pytestmark = [pytest.mark.ray, pytest.mark.slow, *needs_bubblewrap]


@pytest.mark.timeout(900)
def test_a_match_of_an_entry_is_the_same_on_ray_as_in_process(cluster: Cluster, tmp_path: Path, cache: Path):
    site = Site(work=tmp_path / "ledgers", cache=cache, sandboxed=True)
    with loader_in_use(SandboxedEntries(cache=cache)):
        matchup = replace(MATCHUP, attack=complete("attack", entries.attack(tmp_path / "attack")))
        runner = RayRunner(site, resources=Resources(slots=1, attack=Share(cpus=0.5)))
        try:
            runner.submit(matchup, attempt=1)
            found: list[MatchResult] = []
            while not found:
                found += runner.advance(timeout=5.0)
        finally:
            runner.close()
        here = played(matchup, replace(site, work=tmp_path / "here"))
    (there,) = found
    assert (there.verdict.outcome, there.isolation) == ("completed", "sandbox")
    assert (there.transcript_digest, there.clone_digest) == (here.transcript_digest, here.clone_digest)
    assert there.counts == here.counts
