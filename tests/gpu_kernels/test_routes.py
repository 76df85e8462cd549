"""Which route a shape takes: by a table, or by the rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from closeness import assert_close  # noqa: E402
from vocabkit_kernels import nf4_linear, nf4_quantize, reference, routes  # noqa: E402
from vocabkit_kernels.routes import (  # noqa: E402
    AdapterRoute,
    Measured,
    Route,
    Table,
    adapter_route_for,
    route_for,
    table_of,
    write_table,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(routes, "TUNED", tmp_path)
    table_of.cache_clear()
    yield tmp_path
    table_of.cache_clear()


def test_without_a_table_the_rule(folder: Path) -> None:
    assert route_for("NVIDIA H200", 1024, 4096, 4096) == Route()
    assert route_for(None, 1025, 4096, 4096) == Route(fused=False)


def test_the_nearest_shape_that_was_measured(folder: Path) -> None:
    few, many, wide = Route(parts=4), Route(fused=False), Route(rows=128, warps=8)
    appended = AdapterRoute(appended=True)
    table = Table(
        (Measured(1, 4096, 4096, few), Measured(512, 4096, 4096, many), Measured(1, 28672, 8192, wide)),
        (Measured(4096, 4096, 4096, AdapterRoute(), 16), Measured(4096, 12288, 4096, appended, 48)),
    )
    path = write_table("NVIDIA H200", {"triton": "3.7.1"}, table)
    assert path.name == "nvidia-h200.json"
    assert json.loads(path.read_text())["triton"] == "3.7.1"
    assert table_of("NVIDIA H200") == table
    for shape, expected in (
        ((2, 4096, 4096), few),
        ((16, 5120, 4096), few),
        ((64, 4096, 4096), many),
        ((4, 14336, 8192), wide),
        ((100_000, 128, 128), many),
    ):
        assert route_for("NVIDIA H200", *shape) == expected
    assert route_for("NVIDIA A100", 2, 4096, 4096) == Route()
    assert adapter_route_for("NVIDIA H200", 9000, 15000, 4096, 64) == appended
    assert adapter_route_for("NVIDIA H200", 9000, 4096, 4096, 8) == AdapterRoute()
    assert adapter_route_for("NVIDIA A100", 9000, 15000, 4096, 64) == AdapterRoute()


@pytest.mark.parametrize(
    "text", ["{", '{"routes": [{"places": 1}]}', '{"adapters": [3]}', '{"routes": [{"route": {"speed": 1}}]}']
)
def test_a_table_that_cannot_be_read_names_its_file(text: str, folder: Path) -> None:
    (folder / "nvidia-h200.json").write_text(text)
    with pytest.raises(ValueError, match=r"nvidia-h200\.json.*tune\.py"):
        route_for("NVIDIA H200", 1, 64, 64)


@pytest.mark.parametrize(
    "route",
    [Route(fused=False), Route(rows=128, places=32, warps=8), Route(step=32, parts=3), Route(parts=99, places=128)],
)
def test_every_route_computes_the_same(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    # By import_module: the package has a function of the module's name.
    module = import_module("vocabkit_kernels.nf4_linear")
    monkeypatch.setattr(module, "route_for", lambda *shape: route)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, dense = torch.randn(20, 256, device=device), torch.randn(70, 256, device=device)
    weight = nf4_quantize(dense)
    assert_close(nf4_linear(x, weight), x.double() @ reference.nf4_dequantize(weight, torch.float64).t())
