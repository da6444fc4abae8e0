"""The engines that items name are the engines that there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..problems import Problem
from ..project import Project


class EnginesExist:
    """Each engine is defined once and named by one item."""

    def problems(self, project: Project) -> Iterator[Problem]:
        defined = Counter(engine.name for engine in project.engines)
        named = Counter(engine.name for item in project.spec.items for engine in item.engines)
        for item in project.spec.items:
            for engine in item.engines:
                if engine.name not in defined:
                    yield Problem(
                        engine.path, engine.line, f"wrong engine {engine.name!r} does not exist in tests/wrong_engines"
                    )
                if named[engine.name] > 1:
                    yield Problem(engine.path, engine.line, f"wrong engine {engine.name!r} is named more than once")
        for defined_engine in project.engines:
            name, path, line = defined_engine.name, defined_engine.path, defined_engine.line
            if name not in named:
                yield Problem(path, line, f"no item names wrong engine {name!r}: list it under ## Wrong engines")
            if defined[name] > 1:
                yield Problem(path, line, f"wrong engine {name!r} is defined more than once")
