from __future__ import annotations

import copy
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from arena.cluster.resources import slots_for
from arena.referee.tournament import Resources, Share
from tests.deploy.files import DEPLOY, documents, values_of

SCHEMAS = "ARENA_SCHEMAS"
KINDS = {"raycluster.yaml": "ray.io_rayclusters.yaml", "rayjob.yaml": "ray.io_rayjobs.yaml"}


def strict(schema: object) -> object:
    """Return a schema that refuses keys that it does not name; Kubernetes drops them without a word."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    named = isinstance(made.get("properties"), dict) and "type" in made
    if named and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def schema_of(name: str) -> dict[str, object]:
    """Return the strict schema of KubeRay's resource in one of our files, or skip the test."""
    folder = os.environ.get(SCHEMAS)
    if folder is None:
        pytest.skip(f"{SCHEMAS} does not name a folder with KubeRay's resource definitions")
    path = Path(folder) / KINDS[name]
    if not path.exists():
        pytest.skip(f"{SCHEMAS} names {folder}, which has no {path.name}")
    definition = yaml.safe_load(path.read_text())
    (version,) = [one for one in definition["spec"]["versions"] if one["name"] == "v1"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    assert isinstance(schema, dict)
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes checks it by rules of its own
    return schema


@pytest.mark.parametrize("name", KINDS)
def test_it_fits_the_resource_definition(name: str):
    (found,) = documents(DEPLOY / "kuberay" / name)
    schema = schema_of(name)
    errors = [
        f"{'.'.join(map(str, error.path))}: {error.message}"
        for error in jsonschema.Draft202012Validator(schema).iter_errors(found)
    ]
    assert errors == []
    broken = copy.deepcopy(found)
    broken["spec"]["rayVersionn"] = "2"
    assert not jsonschema.Draft202012Validator(schema).is_valid(broken), "a misspelt key must be refused"


def cluster_of(name: str) -> dict[str, object]:
    (found,) = documents(DEPLOY / "kuberay" / name)
    spec = found["spec"]
    assert isinstance(spec, dict)
    return spec.get("rayClusterSpec", spec)


@pytest.mark.parametrize("name", KINDS)
def test_every_container_has_limits_no_privileges_and_shared_memory(name: str):
    cluster = cluster_of(name)
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert cluster["authOptions"]["mode"] == "token"
    for group in groups:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert group["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "arena"
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert {"readinessProbe", "livenessProbe"} <= set(container)
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounted["shared-memory"] == "/dev/shm"
            assert set(mounted) == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("name", KINDS)
def test_the_shares_that_its_comment_names_fit_its_nodes(name: str):
    cluster = cluster_of(name)
    nodes = []
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        node = {"CPU": float(group["rayStartParams"]["num-cpus"]), "GPU": float(limits.get("nvidia.com/gpu", 0))}
        custom = yaml.safe_load(yaml.safe_load(group["rayStartParams"].get("resources", '"{}"')))
        nodes += [{**node, **custom}] * group.get("replicas", 1)
    resources = Resources(oracle=Share(cpus=0.0, gpus=0.25, custom=(("oracle_node", 0.1),)))
    assert slots_for(resources, nodes) == 12
    comment = "oracle = { cpus = 0, gpus = 0.25, custom = { oracle_node = 0.1 } }"
    assert comment in (DEPLOY / "kuberay" / "raycluster.yaml").read_text()


def test_the_job_and_the_cluster_are_the_same_cluster():
    assert cluster_of("rayjob.yaml") == cluster_of("raycluster.yaml")


def test_the_job_can_be_submitted_again_and_its_folder_outlives_it():
    (job,) = documents(DEPLOY / "kuberay" / "rayjob.yaml")
    assert job["spec"]["entrypoint"] == "arena run /tournament/tournament.toml --out /runs/demo"
    assert job["spec"]["backoffLimit"] > 0
    (claim,) = documents(DEPLOY / "kuberay" / "pvc.yaml")
    assert claim["metadata"]["name"] in list(values_of(job, "claimName"))


def test_the_network_policy_holds_for_every_pod_of_ours():
    (policy,) = documents(DEPLOY / "kuberay" / "networkpolicy.yaml")
    label = policy["spec"]["podSelector"]["matchLabels"]
    (job,) = documents(DEPLOY / "kuberay" / "rayjob.yaml")
    templates = [*values_of(job, "template"), job["spec"]["submitterPodTemplate"]]
    assert len(templates) == 4
    assert all(label.items() <= template["metadata"]["labels"].items() for template in templates)
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
