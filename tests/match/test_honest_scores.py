from __future__ import annotations

import json
from dataclasses import replace

from arena.contracts import to_json
from arena.contracts.scores import CLEAN_ACCURACY, HONEST_ACCURACY
from arena.match.site import Site
from arena.match.victims import load_splits
from arena.metrics.honest_outcomes import unpack
from arena.payoff.cost import cost_of
from tests.players import MATCHUP, meeting, played, small


def test_a_result_says_of_each_honest_image_what_became_of_it(site: Site):
    result = played(meeting(MATCHUP.attack, small("defense", "isolation-induction")), site)
    found = unpack(result.honest)
    right, asked = result.counts[HONEST_ACCURACY]
    assert (found.asked.sum(), found.right.sum()) == (asked, right)
    assert found.clean.sum() == result.counts[CLEAN_ACCURACY].hits
    assert len(found.asked) == len(load_splits(MATCHUP.victim, site.data).honest[1])
    assert cost_of([result]).images == (found.asked > 0).sum() < asked


def test_an_undefended_victim_loses_no_image(site: Site):
    result = played(MATCHUP, site)
    found = unpack(result.honest)
    assert (found.clean == found.right).all()
    assert cost_of([result]).lost == 0


def test_the_images_of_200_rows_add_no_more_than_a_kilobyte_to_a_result(site: Site):
    result = played(MATCHUP, site)
    with_images, without = (len(json.dumps(to_json(one))) for one in (result, replace(result, honest=None)))
    assert with_images - without < 1_000
