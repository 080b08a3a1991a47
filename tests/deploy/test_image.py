from __future__ import annotations

import re

import pytest

from tests.deploy.files import DEPLOY, ROOT

TEXT = re.sub(r"\\\n\s*", " ", (DEPLOY / "docker" / "Dockerfile").read_text())
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ").strip() for line in LINES if line.startswith(f"{name} ")]


def test_whatever_is_copied_is_there_and_gets_past_the_ignore_file():
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [word for line in instructions("COPY") for word in line.split()[:-1]]
    assert {source.removeprefix("./") for source in sources} == let_in
    assert all((ROOT / source).exists() for source in let_in)


def test_torch_comes_from_a_stated_index_and_everything_is_pinned():
    arguments = dict(line.split("=", 1) for line in instructions("ARG"))
    assert arguments["TORCH_INDEX"].endswith("/whl/cpu")
    (layer,) = instructions("RUN")
    installs = re.findall(r'"\$\{pip\[@\]\}" ([^;]+);', layer)
    assert len(installs) == 3
    assert all("--constraint constraints.txt" in one for one in installs)
    torch, torchvision, arena = installs
    assert all('--index-url "${TORCH_INDEX}"' in one for one in (torch, torchvision))
    assert "--index-url" not in arena


def test_it_is_one_layer_without_root_with_a_health_check():
    assert len(instructions("RUN")) == 1
    (user,) = instructions("USER")
    assert int(user) > 0
    assert LINES.index(f"USER {user}") > max(index for index, line in enumerate(LINES) if line.startswith("RUN"))
    (check,) = instructions("HEALTHCHECK")
    assert check.endswith('CMD ["arena", "--version"]')
    assert instructions("ENTRYPOINT") == ['["arena"]']


@pytest.mark.parametrize("extra", ["cluster", "tables"])
def test_the_extras_that_it_installs_exist(extra: str):
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert extra in re.findall(r"'\.\[([\w,]+)\]'", TEXT)[0].split(",")
