"""Imports point one way: core ← config ← services → ports; adapters implement ports; the top alone knows all."""

from __future__ import annotations

import sys

import pytest

from tests.support.sources import imports_of, modules

MAY_IMPORT = {
    "core": {"core"},
    "config": {"core", "config"},
    "services": {"core", "services"},
    "adapters": {"core", "config", "services", "adapters"},
}
"""What each layer may import of smsd beside the package's own version; everything else is the top."""

TOP = {"smsd.cli", "smsd.daemon", "smsd.wiring", "smsd.demo"}
LIBRARIES_OF_SERVICES = {"structlog"}


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def in_layer(*layers: str) -> list[str]:
    return sorted(name for name in modules() if layer_of(name) in layers)


def test_every_layer_is_there_to_be_looked_at() -> None:
    assert {layer_of(name) for name in modules()} >= MAY_IMPORT.keys()


@pytest.mark.parametrize("name", in_layer(*MAY_IMPORT))
def test_a_module_imports_its_own_layer_and_those_below_only(name: str) -> None:
    own = {imported for imported in imports_of(modules()[name]) if imported.startswith("smsd.")}
    beyond = {imported for imported in own if layer_of(imported) not in MAY_IMPORT[layer_of(name)]}
    assert beyond == set()


@pytest.mark.parametrize("name", in_layer(*MAY_IMPORT))
def test_nothing_below_the_top_knows_the_top(name: str) -> None:
    imported = set(imports_of(modules()[name]))
    assert not {module for module in imported if any(f"{module}.".startswith(f"{top}.") for top in TOP)}


@pytest.mark.parametrize("name", in_layer("services"))
def test_services_speak_to_the_world_through_ports_only(name: str) -> None:
    libraries = {
        imported.partition(".")[0]
        for imported in imports_of(modules()[name])
        if imported.partition(".")[0] not in sys.stdlib_module_names
    }
    assert libraries - {"smsd"} <= LIBRARIES_OF_SERVICES


@pytest.mark.parametrize("name", [name for name in in_layer("adapters") if ".gateways" in name])
def test_gateways_know_nothing_of_the_store(name: str) -> None:
    assert not [imported for imported in imports_of(modules()[name]) if "adapters.store" in imported]


def test_no_two_modules_import_each_other() -> None:
    graph = {name: {i for i in imports_of(tree) if i in modules()} for name, tree in modules().items()}
    seen: dict[str, bool] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle of imports: {' → '.join((*path, name))}"
        if not seen.get(name):
            for imported in sorted(graph[name] - {name}):
                visit(imported, (*path, name))
            seen[name] = True

    for name in graph:
        visit(name, ())
