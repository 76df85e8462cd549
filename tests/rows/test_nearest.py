"""The nearest old rows, compared with all cosines at once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from vocabkit.rows import nearest
from vocabkit.rows.nearest import nearest_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_blocks_give_what_all_rows_at_once_give(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "ROWS_PER_BLOCK", 64)
    values = np.random.default_rng(0).standard_normal((1000, 24)).astype(dtype)
    old, ids = 901, [901, 950, 999]
    plain = values.astype(np.float32)
    unit = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    cosines = unit[ids] @ unit[:old].T
    found = nearest_rows(values, ids, old)
    for number, row in enumerate(found):
        wanted = np.argsort(-cosines[number])[:3]
        assert [token for token, _ in row] == wanted.tolist()
        assert [cosine for _, cosine in row] == pytest.approx(cosines[number][wanted].tolist(), abs=1e-5)


def test_rows_of_nothing_are_near_to_nothing() -> None:
    values = np.zeros((5, 4), np.float32)
    values[0] = 1
    values[1] = np.nan
    assert nearest_rows(values, [4], 4, 2) == [[(0, 0.0), (1, 0.0)]]
    assert nearest_rows(values, [], 4) == []
    assert nearest_rows(values, [4], 1, 3) == [[(0, 0.0)]]
