from __future__ import annotations

import os
import subprocess
import sys

import pytest

from arena.cluster.nodes import nodes_at, this_node
from arena.cluster.resources import slots_for
from arena.contracts import ServiceUnreachable
from arena.referee.tournament import Resources


def test_this_machine_offers_a_slot_for_each_core():
    assert slots_for(Resources(), [this_node()]) == os.cpu_count()


def test_an_address_at_which_nothing_answers_is_refused():
    program = "from arena.cluster.nodes import nodes_at; nodes_at('127.0.0.1:9')"  # a process that is in no cluster
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert f"{ServiceUnreachable.__name__}: nothing answers at 127.0.0.1:9" in asked.stderr


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_the_nodes_of_a_cluster_are_told_with_what_they_have():
    (node,) = nodes_at("127.0.0.1:6379")  # this process is in a cluster, and stays in it
    assert node["CPU"] == os.cpu_count()
    assert nodes_at("127.0.0.1:6379") == [node]
