"""Orthogonal matching pursuit: the same atoms as mergekit's, in how much of its time.

    python benchmarks/omp.py [--width 2048] [--atoms 20000] [--targets 2000] [--k 64] [--runs 3]
        [--mergekit PYTHON_OF_AN_ENVIRONMENT_THAT_HAS_IT]

Vectors are those of a real embedding where one is given (--model, a folder; its width and first rows are used), else
drawn with the decaying spectrum that embeddings have.  Both run in processes of their own, on one file and all cores;
time is of the pursuit alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from harness import save

OURS = """
import json, resource, sys, time
import numpy as np
from vocabkit.rows.pursuit import matching_pursuit
data = np.load(sys.argv[1])
targets, atoms = data["targets"], data["atoms"]
begun = time.perf_counter()
chosen, weights = matching_pursuit(targets, atoms, int(sys.argv[2]))
seconds = time.perf_counter() - begun
np.savez(sys.argv[3], chosen=chosen, weights=weights)
print(json.dumps({"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
THEIRS = """
import json, resource, sys, time
import numpy as np, torch
from mergekit.tokensurgeon import batch_omp
data = np.load(sys.argv[1])
targets, atoms = torch.from_numpy(data["targets"]), torch.from_numpy(data["atoms"])
found = []
begun = time.perf_counter()
# In parts, in its favour: all at once its basis takes more memory than machines have.
for start in range(0, len(targets), 512):
    found.append(batch_omp(targets[start:start + 512], atoms, int(sys.argv[2])))
seconds = time.perf_counter() - begun
np.savez(sys.argv[3], chosen=torch.cat([f[0] for f in found]), weights=torch.cat([f[1] for f in found]))
print(json.dumps({"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def vectors(width: int, count: int) -> np.ndarray:
    """Return rows whose variance falls off over directions as embeddings' does, roughly as 1 / sqrt(n)."""
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.standard_normal((width, width)))[0]
    spectrum = (np.arange(width) + 10.0) ** -0.25
    rows = generator.standard_normal((count, width)) * spectrum @ turn
    return (rows * 0.05).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--atoms", type=int, default=20_000)
    parser.add_argument("--targets", type=int, default=2_000)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--mergekit", required=True)
    options = parser.parse_args()
    if options.model:
        from vocabkit.rows.checkpoint import open_checkpoint

        rows = np.asarray(open_checkpoint(options.model).input.values[: options.atoms + options.targets], np.float32)
        options.width = rows.shape[1]
    else:
        rows = vectors(options.width, options.atoms + options.targets)
    measured: dict[str, list[dict[str, float]]] = {"vocabkit": [], "mergekit": []}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.npz")
        np.savez(data, atoms=rows[: options.atoms], targets=rows[options.atoms :])
        for number in range(options.runs):
            for name, python, code in (("vocabkit", sys.executable, OURS), ("mergekit", options.mergekit, THEIRS)):
                command = [python, "-c", code, str(data), str(options.k), str(Path(folder, f"{name}.npz"))]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                measured[name].append(json.loads(done.stdout.splitlines()[-1]))
                print(f"run {number + 1}, {name}: {measured[name][-1]}", file=sys.stderr, flush=True)
        ours, theirs = (np.load(Path(folder, f"{name}.npz")) for name in measured)
        same = [set(a) == set(b) for a, b in zip(ours["chosen"].tolist(), theirs["chosen"].tolist(), strict=True)]
        atoms, targets = rows[: options.atoms], rows[options.atoms :]
        left = {
            name: float(np.mean([
                np.linalg.norm(target - weights @ atoms[ids]) / np.linalg.norm(target)
                for target, ids, weights in zip(targets, found["chosen"], found["weights"], strict=True)
            ]))
            for name, found in (("vocabkit", ours), ("mergekit", theirs))
        }  # fmt: skip
        in_order = float((ours["chosen"] == theirs["chosen"]).mean())
    seconds = {name: median(run["seconds"] for run in runs) for name, runs in measured.items()}
    save(
        "omp",
        {
            "vectors": options.model.name if options.model else "drawn",
            "width": options.width,
            "atoms": options.atoms,
            "targets": options.targets,
            "k": options.k,
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
            "all_seconds": {name: [round(run["seconds"], 2) for run in runs] for name, runs in measured.items()},
            "megabytes": {n: round(median(run["megabytes"] for run in runs)) for n, runs in measured.items()},
            "times_faster": round(seconds["mergekit"] / seconds["vocabkit"], 2),
            "targets_with_the_same_atoms": round(sum(same) / len(same), 4),
            "atoms_equal_place_by_place": round(in_order, 4),
            "relative_residual": {name: round(value, 6) for name, value in left.items()},
        },
    )


if __name__ == "__main__":
    main()
