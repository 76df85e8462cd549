"""NF4 against bitsandbytes: quantising, dequantising, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from vocabkit_kernels import NF4Weight, nf4_dequantize, nf4_quantize, reference  # noqa: E402
from vocabkit_kernels.nf4 import BLOCKSIZES, NF4_VALUES, dynamic_code, nf4_code  # noqa: E402

pytestmark = pytest.mark.gpu
FLOATS = [torch.float32, torch.float16, torch.bfloat16]


def weight(rows: int, columns: int, dtype: torch.dtype, device: str, seed: int = 0) -> torch.Tensor:
    made = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 0.05
    return made.to(dtype).to(device)


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("rows", "columns", "blocksize"), [(37, 192, 64), (300, 128, 64), (5, 4096, 4096), (3, 96, 32)]
)
def test_quantising_gives_the_bytes_of_bitsandbytes(
    rows: int, columns: int, blocksize: int, dtype: torch.dtype, double_quant: bool, device: str
) -> None:
    bnb = pytest.importorskip("bitsandbytes.functional")
    original = weight(rows, columns, dtype, device)
    ours = nf4_quantize(original, blocksize, double_quant=double_quant)
    packed, state = bnb.quantize_4bit(
        original, blocksize=blocksize, compress_statistics=double_quant, quant_type="nf4"
    )
    assert torch.equal(ours.packed.view(-1, 1), packed)
    if double_quant and device == "cpu":
        # On a CPU bitsandbytes rounds to 8 bits through a table: within 2e-5 of the middle of two it may go wrong.
        middles = torch.stack([state.state2.code[q.int()] for q in (ours.absmax, state.absmax)]).mean(0)
        away = (middles * ours.nested.absmax.repeat_interleave(256)[: len(middles)] + ours.nested.offset).sub(
            original.float().view(-1, blocksize).abs().amax(1)
        )
        differs = ours.absmax != state.absmax
        assert (ours.absmax.int() - state.absmax.int()).abs().max() <= 1
        assert (away[differs].abs() <= 2e-5 * ours.nested.absmax.max()).all()
        assert differs.float().mean() < 0.01
    else:
        assert torch.equal(ours.absmax, state.absmax)
    assert torch.equal(nf4_code(ours.device), state.code)
    if double_quant:
        assert ours.nested is not None
        assert torch.equal(ours.nested.absmax, state.state2.absmax)
        assert torch.equal(ours.nested.code, state.state2.code)
        assert torch.equal(ours.nested.offset, state.offset)


@pytest.mark.parametrize("double_quant", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_dequantising_gives_the_bits_of_bitsandbytes(
    dtype: torch.dtype, double_quant: bool, device: str, route: str
) -> None:
    bnb = pytest.importorskip("bitsandbytes.functional")
    ours = nf4_quantize(weight(70, 128, dtype, device), double_quant=double_quant)
    theirs = bnb.dequantize_4bit(*ours.to_bnb())
    made = nf4_dequantize(ours)
    if route == "triton" and dtype == torch.bfloat16 and device == "cpu":
        # The interpreter truncates: at most one unit in the last place away.
        assert (made.view(torch.int16).int() - theirs.view(torch.int16).int()).abs().max() <= 1
        assert torch.equal(nf4_dequantize(ours, torch.float32), reference.nf4_dequantize(ours, torch.float32))
    else:
        assert torch.equal(made, theirs)


@pytest.mark.parametrize("storage", [torch.uint8, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("double_quant", [False, True])
def test_bitsandbytes_weights_come_in_and_go_out(storage: torch.dtype, double_quant: bool, device: str) -> None:
    bnb = pytest.importorskip("bitsandbytes.functional")
    original = weight(64, 256, torch.bfloat16, device)
    packed, state = bnb.quantize_4bit(
        original, blocksize=64, compress_statistics=double_quant, quant_type="nf4", quant_storage=storage
    )
    ours = NF4Weight.from_bnb(packed, state)
    assert torch.equal(ours.packed, nf4_quantize(original, double_quant=double_quant).packed)
    assert torch.equal(bnb.dequantize_4bit(*ours.to_bnb()), bnb.dequantize_4bit(packed, state))


@pytest.mark.parametrize("double_quant", [False, True])
def test_a_checkpoint_is_read_by_bitsandbytes_and_back(double_quant: bool, tmp_path: Path, device: str) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    safetensors = pytest.importorskip("safetensors.torch")
    ours = nf4_quantize(weight(48, 128, torch.float16, device), double_quant=double_quant)
    safetensors.save_file(ours.state_dict("layer.weight"), tmp_path / "a.safetensors")
    tensors = safetensors.load_file(tmp_path / "a.safetensors")
    statistics = {name: tensors[name] for name in tensors if name != "layer.weight"}
    theirs = bnb.nn.Params4bit.from_prequantized(tensors["layer.weight"], dict(statistics), device=device)
    assert torch.equal(bnb.functional.dequantize_4bit(theirs, theirs.quant_state), reference.nf4_dequantize(ours))
    written = {f"layer.weight.{key}": value for key, value in theirs.quant_state.as_dict(packed=True).items()}
    assert set(statistics) == set(written)
    back = NF4Weight.from_state_dict(written | {"layer.weight": theirs.data}, "layer.weight")
    assert (back.dtype, back.shape, back.blocksize) == (ours.dtype, ours.shape, ours.blocksize)
    assert torch.equal(reference.nf4_dequantize(back), reference.nf4_dequantize(ours).to(back.device))


def test_the_error_is_that_of_the_paper(device: str) -> None:
    original = torch.randn(512, 1024, generator=torch.Generator().manual_seed(1)).to(device)
    made = nf4_dequantize(nf4_quantize(original, double_quant=False))
    assert float((made - original).abs().mean()) == pytest.approx(0.0728, rel=0.01)


def test_a_value_between_two_takes_the_lower_and_zeros_stay(device: str) -> None:
    middle = (NF4_VALUES[9] + NF4_VALUES[10]) / 2
    row = torch.tensor([[1.0, middle] + [0.0] * 62, [0.0] * 64], device=device)
    made = nf4_dequantize(nf4_quantize(row, double_quant=False))
    assert made[0, :3].tolist() == [1.0, pytest.approx(NF4_VALUES[9]), 0.0]
    assert not made[1].any()


def test_the_dynamic_code_is_sorted_and_has_256_values() -> None:
    code = dynamic_code(torch.device("cpu"))
    assert code.shape == (256,)
    assert bool((code.diff() > 0).all())
    assert code[0] > -1
    assert code[-1] == 1


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 12), blocks=st.integers(1, 3), blocksize=st.sampled_from([32, 64, 128]),
    double_quant=st.booleans(), slab=st.tuples(st.floats(0, 1), st.floats(0, 1)), gap=st.integers(0, 5),
)  # fmt: skip
def test_any_slab_in_any_place_is_a_part_of_the_whole(
    rows: int, blocks: int, blocksize: int, double_quant: bool, slab: tuple[float, float], gap: int
) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    columns = blocks * blocksize
    ours = nf4_quantize(weight(rows, columns, torch.float32, device), blocksize, double_quant=double_quant)
    expected = reference.nf4_dequantize(ours)
    first, end = sorted(round(part * rows) for part in slab)
    assert torch.equal(nf4_dequantize(ours, rows=(first, end)), expected[first:end])
    wide = torch.full((end - first, columns + gap), float("nan"), device=device)
    assert nf4_dequantize(ours, rows=(first, end), out=wide[:, :columns]).data_ptr() == wide.data_ptr()
    assert torch.equal(wide[:, :columns], expected[first:end])
    assert bool(wide[:, columns:].isnan().all())


def test_offsets_do_not_end_at_two_to_the_31(device: str, route: str) -> None:
    # Memory that is never touched is never there: two rows of a weight of 2^32 values, and rows 2^31 values apart.
    small = nf4_quantize(weight(2, 64, torch.float32, device), double_quant=False)
    rows = 2**26 + 2
    packed = torch.empty(rows, 32, dtype=torch.uint8, device=device)
    absmax = torch.empty(rows, device=device)
    packed[-2:], absmax[-2:] = small.packed, small.absmax
    great = NF4Weight(packed, absmax, (rows, 64), torch.float32)
    out = torch.empty(2**31 + 200, dtype=torch.float16, device=device).as_strided((2, 64), (2**31 + 64, 1))
    nf4_dequantize(great, rows=(rows - 2, rows), out=out)
    assert torch.equal(out, reference.nf4_dequantize(small, torch.float16))


def test_bad_input_is_one_clear_line(device: str) -> None:
    for columns, blocksize, hint in (
        (100, 64, "pad them to 128"),
        (96, 64, "use blocksize 32"),
        (64, 48, "not one of"),
    ):
        with pytest.raises(ValueError, match=hint):
            nf4_quantize(torch.zeros(2, columns), blocksize)
    with pytest.raises(ValueError, match="two dimensions"):
        nf4_quantize(torch.zeros(64))
    with pytest.raises(ValueError, match="int64"):
        nf4_quantize(torch.zeros(2, 64, dtype=torch.int64))
    ours = nf4_quantize(weight(4, 64, torch.float32, device))
    with pytest.raises(ValueError, match="rows 2 to 5"):
        nf4_dequantize(ours, rows=(2, 5))
    with pytest.raises(ValueError, match="float64"):
        nf4_dequantize(ours, torch.float64)
    with pytest.raises(ValueError, match="adjacent columns"):
        nf4_dequantize(ours, out=torch.zeros(64, 4, device=device).t())
    wide = nf4_quantize(weight(4, 128, torch.float32, device), double_quant=False)
    with pytest.raises(ValueError, match=r"call \.contiguous\(\)"):
        NF4Weight(wide.packed[:, :32], wide.absmax.view(4, 2)[:, 0], (4, 64), torch.float32)
    with pytest.raises(KeyError, match=r"no w\.absmax"):
        NF4Weight.from_state_dict({"w": ours.packed}, "w")
    tensors = ours.state_dict("w")
    key = "w.quant_state.bitsandbytes__nf4"
    about = json.loads(bytes(tensors[key].tolist())) | {"nested_blocksize": 128}
    tensors[key] = torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)
    with pytest.raises(ValueError, match="nested blocksize 128"):
        NF4Weight.from_state_dict(tensors, "w")


@pytest.mark.parametrize("blocksize", BLOCKSIZES)
def test_double_quantisation_costs_0_127_bits_a_value(blocksize: int, device: str) -> None:
    ours = nf4_quantize(weight(64, 4096, torch.float32, device), blocksize)
    blocks = 64 * 4096 // blocksize
    assert ours.nbytes == 64 * 4096 // 2 + blocks + 4 * -(-blocks // 256) + 4 * 256 + 4


def test_operators_are_what_torch_expects(device: str, route: str) -> None:
    ours = nf4_quantize(weight(6, 128, torch.float32, device))
    assert ours.nested is not None
    parts = (ours.packed, ours.absmax, ours.nested.code, ours.nested.absmax, ours.nested.offset, 64)
    torch.library.opcheck(torch.ops.vocabkit.nf4_dequantize.default, (*parts, torch.float16, 1, 5))
    out = torch.zeros(4, 128, device=device)
    torch.library.opcheck(torch.ops.vocabkit.nf4_dequantize_into.default, (out, *parts, 1, 5))
    compiled = torch.compile(lambda q: nf4_dequantize(q) * 2, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(ours), reference.nf4_dequantize(ours) * 2)
