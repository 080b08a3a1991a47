"""The headless browser of the benchmarks, for tests that are marked ``chromium``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tests.programs import needs

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "browser.py"
needs_chromium = needs("chromium", package="chromium")


def browser_module() -> ModuleType:
    """Return the script as a module; it is no part of a package."""
    name = "benchmarks_browser"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, SCRIPT)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
