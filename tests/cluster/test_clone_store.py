from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ray.exceptions import RayActorError

from arena.cluster import clone_store
from arena.cluster.clone_store import CloneStore, SharedCache


class Remote:
    """An actor's handle in this process: what a method returns is its own reference."""

    def __init__(self, store: CloneStore, *, dead: bool = False) -> None:
        self.get, self.put = (self._method(method, dead=dead) for method in (store.get, store.put))

    def _method(self, method: Callable[..., object], *, dead: bool) -> object:
        class Method:
            @staticmethod
            def remote(*arguments: object) -> object:
                if dead:
                    raise RayActorError
                return method(*arguments)

        return Method


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clone_store.ray, "get", lambda reference, timeout: reference)


def made(trained: list[str], key: str) -> Callable[[], bytes]:
    def make() -> bytes:
        trained.append(key)
        return key.encode()

    return make


def test_what_one_node_has_trained_no_other_one_trains_again(tmp_path: Path):
    store, trained = CloneStore(), list[str]()
    one, other = (SharedCache(folder=tmp_path / name, store=Remote(store)) for name in ("one", "other"))
    assert one.once("clone-a", made(trained, "clone-a")) == b"clone-a"
    assert other.once("clone-a", made(trained, "clone-a")) == b"clone-a"
    assert trained == ["clone-a"]
    assert (tmp_path / "other" / "clone-a.safetensors").read_bytes() == b"clone-a"  # it is not asked for twice


def test_a_store_that_has_died_is_done_without(tmp_path: Path):
    trained: list[str] = []
    cache = SharedCache(folder=tmp_path, store=Remote(CloneStore(), dead=True))
    assert cache.once("clone-a", made(trained, "clone-a")) == b"clone-a"
    assert cache.once("clone-a", made(trained, "clone-a")) == b"clone-a"
    assert trained == ["clone-a"]


def test_a_store_lets_go_of_what_was_used_least_recently():
    store = CloneStore(max_bytes=10)
    for key in ("a", "b"):
        store.put(key, b"12345")
    assert store.get("a") == b"12345"
    store.put("c", b"12345")
    assert (store.get("a"), store.get("b"), store.get("c")) == (b"12345", None, b"12345")
    store.put("a", b"123456789")
    assert store.get("c") is None
    assert store.get("a") == b"123456789"


def test_a_clone_larger_than_the_store_is_not_held():
    store = CloneStore(max_bytes=3)
    store.put("large", b"12345")
    assert store.get("large") is None
    store.put("small", b"123")
    assert store.get("small") == b"123"
