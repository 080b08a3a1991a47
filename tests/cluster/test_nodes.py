from __future__ import annotations

import os

import pytest

from arena.cluster.nodes import nodes_at, this_node
from arena.cluster.resources import slots_for
from arena.contracts import ServiceUnreachable
from arena.referee.tournament import Resources


def test_this_machine_offers_a_slot_for_each_core():
    assert slots_for(Resources(), [this_node()]) == os.cpu_count()


def test_an_address_at_which_nothing_answers_is_refused():
    with pytest.raises(ServiceUnreachable, match=r"nothing answers at 127\.0\.0\.1:9"):
        nodes_at("127.0.0.1:9")


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_the_nodes_of_a_cluster_are_told_with_what_they_have():
    (node,) = nodes_at("127.0.0.1:6379")  # this process is in a cluster, and stays in it
    assert node["CPU"] == os.cpu_count()
    assert nodes_at("127.0.0.1:6379") == [node]
