from __future__ import annotations

from tests.deploy.files import DEPLOY, documents, values_of

(COMPOSE,) = documents(DEPLOY / "compose" / "compose.yaml")
SERVICES = COMPOSE["services"]
assert isinstance(SERVICES, dict)


def test_whatever_a_service_names_exists():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        volumes = [volume.split(":")[0] for volume in service.get("volumes", []) if not volume.startswith("$")]
        assert set(volumes) <= set(COMPOSE["volumes"]), name


def test_a_service_that_others_wait_for_says_when_it_is_healthy():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (name, other)


def test_only_the_loopback_interface_is_published():
    ports = [port for listed in values_of(COMPOSE, "ports") for port in listed]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_is_written_down_and_every_ray_process_has_the_token():
    text = (DEPLOY / "compose" / "compose.yaml").read_text()
    assert "password:" not in text.lower().replace("postgres_password:", "").replace("s3_password:", "")
    for name in ("ray-head", "ray-worker", "arena"):
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert SERVICES[name]["environment"]["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
        assert SERVICES[name]["secrets"] == ["ray_token"]
        assert SERVICES[name]["shm_size"]


def test_the_mlflow_server_knows_the_name_by_which_the_run_reaches_it():
    command = " ".join(SERVICES["arena"]["command"])
    assert "--mlflow http://mlflow:5000" in command
    served = " ".join(SERVICES["mlflow"]["entrypoint"])
    assert "mlflow:5000" in served.split("--allowed-hosts")[1]
    assert "postgresql+psycopg2://" in served
    assert "--artifacts-destination s3://" in served


def test_the_images_are_ours_or_carry_a_version():
    for service in SERVICES.values():
        assert service["image"] == "arena:cpu" or not service["image"].endswith((":latest", ":main"))
        assert ":" in service["image"].rpartition("/")[2]
