"""A closed ledger gets from its host to the referee and to the scoring process without being one message."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

import pytest
import ray

from arena.cluster.ledger_files import CHUNK_BYTES, LedgerFile, at_hand, bring, for_node, node_here
from arena.match.deployment import ledger_path
from arena.match.site import Limits, Site
from arena.oracle.sqlite_ledger import read_transcript
from arena.referee.local import LocalRunner
from arena.referee.tournament import Resources, Share
from tests.cluster.hosts import ELSEWHERE, DistantRunner, DyingRunner, Files
from tests.cluster.tiny import BUDGET, matchup, played, table

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

DATA = secrets.token_bytes(2 * CHUNK_BYTES + 5)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "host" / "a.sqlite"
    path.parent.mkdir()
    path.write_bytes(DATA)
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_on_one_node_the_file_is_moved(ledger: Path, tmp_path: Path):
    target = tmp_path / "referee" / "a.sqlite"
    bring(LedgerFile(node=node_here(), path=ledger), None, target)
    assert (target.read_bytes() == DATA, mode(target), ledger.exists()) == (True, 0o600, False)
    with at_hand(for_node(target, node_here())) as path:
        assert path == target


def test_between_nodes_it_goes_chunk_by_chunk(ledger: Path, tmp_path: Path):
    host = ray.remote(Files).options(num_cpus=0).remote()
    target = tmp_path / "referee" / "a.sqlite"
    bring(LedgerFile(node=ELSEWHERE, path=ledger), host, target)
    assert (target.read_bytes() == DATA, mode(target)) == (True, 0o600)
    assert ray.get(host.most.remote()) == CHUNK_BYTES
    assert not ledger.exists()
    ray.kill(host)


def test_a_slot_on_another_node_gets_a_copy_for_as_long_as_it_scores(ledger: Path):
    sent = for_node(ledger, ELSEWHERE)
    assert [len(chunk) for chunk in ray.get(list(sent.chunks))] == [CHUNK_BYTES, CHUNK_BYTES, 5]
    with at_hand(sent) as path:
        assert (path.read_bytes() == DATA, mode(path), path == ledger) == (True, 0o600, False)
    assert not path.exists()


@pytest.fixture
def site(tmp_path: Path, cache: Path) -> Site:
    return Site(work=tmp_path / "ledgers", cache=cache, limits=Limits(deploy=30))


ONE_SLOT = Resources(slots=1, attack=Share(cpus=0.5))


def test_a_match_over_several_nodes_has_the_result_of_one_in_process(site: Site, tmp_path: Path):
    runner = DistantRunner(site, resources=ONE_SLOT)
    (result,) = played(runner, [matchup()], tmp_path / "ray")
    runner.close()
    assert table([result]) == table(played(LocalRunner(site), [matchup()], tmp_path / "local"))
    transcript = read_transcript(ledger_path(site, result.matchup, attempt=1))
    assert (transcript.digest, transcript.counts.spent) == (result.transcript_digest, BUDGET)


def test_a_host_that_dies_while_its_ledger_is_fetched_is_the_infrastructures_fault(site: Site):
    runner = DyingRunner(site, resources=ONE_SLOT)
    runner.submit(matchup(), attempt=1)
    (result,) = (result for _ in range(60) for result in runner.advance(timeout=5))
    runner.close()
    assert (result.verdict.outcome, result.verdict.fault) == ("infrastructure", "arena")
