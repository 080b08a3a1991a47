"""The same matchup is the same match: in process, over gRPC, and whatever was played before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arena.contracts import MatchResult, Matchup, Spec
from arena.match.site import Site
from arena.rpc.transport import over_grpc
from tests.players import MATCHUP, Matches, every_meeting, meeting, played, small


def what_came_of_it(result: MatchResult) -> tuple[object, ...]:
    """Everything that a result says but for how long it took."""
    measures = {name: value for name, value in result.measures.items() if not name.endswith("_seconds")}
    return (result.transcript_digest, result.clone_digest, result.verdict, result.counts, measures, result.flags)


@pytest.mark.parametrize(
    "matchup", every_meeting(), ids=lambda matchup: f"{matchup.attack.name}-{matchup.defense.name}"
)
def test_the_wire_changes_nothing(matchup: Matchup, site: Site, matches: Matches):
    here = matches.result(matchup)
    assert here.verdict.outcome == "completed", here.verdict
    assert here.transcript_digest
    assert here.clone_digest
    assert what_came_of_it(played(matchup, site, transport=over_grpc)) == what_came_of_it(here)


def test_an_informed_attack_on_several_accounts_plays_the_same_match_over_the_wire(site: Site):
    matchup = replace(MATCHUP, informed=True, accounts=3, decimals=3, budget=300)  # more than one call
    assert what_came_of_it(played(matchup, site, transport=over_grpc)) == what_came_of_it(played(matchup, site))


def test_matches_do_not_depend_on_those_before_them(site: Site):
    one, other = MATCHUP, meeting(Spec(name="uniform-noise", params=(("steps", 20),)), small("defense", "mad-argmax"))
    in_order = [what_came_of_it(played(matchup, site)) for matchup in (one, other)]
    turned = [what_came_of_it(played(matchup, site)) for matchup in (other, one)]
    assert in_order == turned[::-1]


def test_another_seed_is_another_match(site: Site):
    digests = {played(replace(MATCHUP, seed=seed), site).transcript_digest for seed in range(3)}
    assert len(digests) == 3
