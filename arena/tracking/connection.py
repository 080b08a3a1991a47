"""Reaches MLflow: its settings, and its errors in words for a user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from arena.contracts import ServiceUnreachable

REFUSED_HOST = "Invalid Host header"  # in the answer of servers that guard against DNS rebinding
LONGEST_REASON = 300  # characters that are kept of an MLflow error message, which may be pages long

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # otherwise it logs every migration
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; 120 by default
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # 7 by default, with waits that double
}
"""MLflow's own settings, which it reads from the environment; values that the user has set are kept."""

Client = Any  # mlflow.MlflowClient: mlflow is not type-checked here


def connect(uri: str) -> Client:
    """Return a client of the database or the server at this address."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _reach_directly(urlsplit(uri).hostname or "")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises into `ServiceUnreachable`, with the address but without the password in it."""
    try:
        yield
    except _failures() as error:
        password = urlsplit(uri).password or ""
        words = f"MLflow at {uri} failed: {_reason(error)}"
        raise ServiceUnreachable(words.replace(password, "***") if password else words) from error


def _reach_directly(host: str) -> None:
    """Connect to a server on this machine directly, whatever proxy the environment sets."""
    if host == "localhost" or host == "::1" or host.startswith("127."):
        for name in ("no_proxy", "NO_PROXY"):
            spared = [part for part in os.environ.get(name, "").split(",") if part]
            os.environ[name] = ",".join(dict.fromkeys([*spared, host]))


def _failures() -> tuple[type[Exception], ...]:
    """Return the errors that MLflow, its artifact store, and its database driver, which may be missing, raise."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError, ImportError)


def _reason(error: Exception) -> str:
    """Return the operating system's message for a failed file or connection, else the first line of the error's own."""
    if REFUSED_HOST in str(error):
        return (
            "the server refuses the host name in its address (Invalid Host header): start it with "
            "--allowed-hosts HOST:PORT, or set MLFLOW_SERVER_ALLOWED_HOSTS"
        )
    root: BaseException = error
    while root.__cause__ or root.__context__:
        root = root.__cause__ or root.__context__ or root
    words = root.strerror if isinstance(root, OSError) and root.strerror else str(error)
    return (words.splitlines() or [type(error).__name__])[0][:LONGEST_REASON]
