from __future__ import annotations

import pytest

from arena.cluster.resources import demand, slots_for
from arena.contracts import BadParameter
from arena.referee.tournament import Resources, Share

TWO_CORES = [{"CPU": 2.0}]


def test_the_default_fills_the_cores():
    assert slots_for(Resources(), TWO_CORES) == 2
    assert slots_for(Resources(), [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 4.0}]) == 12


def test_one_core_is_enough():
    assert slots_for(Resources(), [{"CPU": 1.0}]) == 1


def test_shares_of_a_gpu_are_shared():
    quarter = Resources(attack=Share(cpus=1, gpus=0.25))
    assert slots_for(quarter, [{"CPU": 16.0, "GPU": 1.0}]) == 4


def test_the_hosts_share_comes_first():
    both = Resources(oracle=Share(cpus=0, gpus=0.5), attack=Share(cpus=1, gpus=0.5))
    assert slots_for(both, [{"CPU": 16.0, "GPU": 2.0}]) == 3


def test_a_share_is_not_put_together_from_two_nodes():
    with pytest.raises(BadParameter, match=r"attack slot 1 asks for 3 CPU, and no node has that left"):
        slots_for(Resources(attack=Share(cpus=3)), [{"CPU": 2.0}, {"CPU": 2.0}])


def test_custom_resources_pin_to_nodes():
    pinned = Resources(
        oracle=Share(cpus=0, custom=(("oracle_node", 0.1),)), attack=Share(custom=(("attack_node", 0.1),))
    )
    nodes = [{"CPU": 2.0, "oracle_node": 1.0}, {"CPU": 2.0, "attack_node": 1.0}]
    assert slots_for(pinned, nodes) == 2


def test_as_many_slots_as_asked_for_or_none():
    assert slots_for(Resources(slots=4, attack=Share(cpus=0.5)), TWO_CORES) == 4
    with pytest.raises(BadParameter, match="attack slot 3 asks for 1 CPU"):
        slots_for(Resources(slots=3), TWO_CORES)


def test_says_what_the_cluster_has():
    with pytest.raises(BadParameter, match=r"the cluster has 2 node\(s\) with 2 CPU; 1 CPU, 1 GPU"):
        slots_for(Resources(oracle=Share(cpus=0, gpus=2)), [{"CPU": 2.0, "memory": 1e9}, {"CPU": 1.0, "GPU": 1.0}])


@pytest.mark.parametrize("resources", [Resources(oracles=0), Resources(slots=0)])
def test_refuses_a_run_without_players(resources: Resources):
    with pytest.raises(BadParameter, match="1 or more"):
        slots_for(resources, TWO_CORES)


def test_refuses_a_share_that_ray_cannot_count():
    with pytest.raises(BadParameter, match="a share above 1 must be a whole number"):
        slots_for(Resources(attack=Share(cpus=1.5)), [{"CPU": 16.0}])


def test_a_share_of_nothing_demands_nothing():
    assert demand(Share(cpus=0)) == {}
    assert demand(Share(cpus=0.5, gpus=0.25, custom=(("node", 1.0),))) == {"CPU": 0.5, "GPU": 0.25, "node": 1.0}
