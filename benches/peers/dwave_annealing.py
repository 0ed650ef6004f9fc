"""Max-Cut by `optimize` and by the simulated annealing of dwave-samplers, in one run and equal CPU time.

    pip install dwave-samplers==1.8.0 numpy
    cargo build --release --workspace
    python benches/peers/dwave_annealing.py target/release/optimize G1.txt G14.txt ... [--seconds 0.1] [--runs 20]

Every run of both has one thread. dwave-samplers gets the better of two ways to spend its time: one annealing as long as there
is time for, or as many as there is time for of its default length, 1000 sweeps. Prints best and mean cuts.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import dimod
from dwave.samplers import SimulatedAnnealingSampler


def graph(path):
    lines = [line.split() for line in open(path) if line.strip()]
    edges = [(int(w[0]) - 1, int(w[1]) - 1, float(w[2]) if len(w) > 2 else 1.0) for w in lines[1:]]
    return int(lines[0][0]), edges


def ours(binary, path, seconds, runs):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "run"
        flags = ["--seconds", str(seconds), "--runs", str(runs), "--threads", "1", "--out", str(out)]
        before = os.times()
        subprocess.run([binary, "maxcut", path, *flags], check=True, capture_output=True)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return json.load(open(out / "summary.json"))["objectives"], used / runs


def theirs(model, total, seconds, runs, many):
    sampler = SimulatedAnnealingSampler()

    def spend(reads, sweeps, seed):
        begun = time.process_time()
        energy = sampler.sample(model, num_reads=reads, num_sweeps=sweeps, seed=seed).first.energy
        return (total - energy) / 2, time.process_time() - begun

    size = 100 if many else 1000
    spend(1, 10, 0)
    # A guess, and then by what it took.
    for _ in range(3):
        reads, sweeps = (max(1, size), 1000) if many else (1, max(1, size))
        took = spend(reads, sweeps, 1)[1]
        size = max(1, int(size * seconds / took))
    reads, sweeps = (size, 1000) if many else (1, size)
    found = [spend(reads, sweeps, 100 + run) for run in range(runs)]
    return [cut for cut, _ in found], sum(took for _, took in found) / runs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("graphs", nargs="+")
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    print(f"{'graph':>10} {'':>28} {'best':>8} {'mean':>10} {'CPU s':>7}")
    for path in options.graphs:
        nodes, edges = graph(path)
        total = sum(w for _, _, w in edges)
        model = dimod.BinaryQuadraticModel({}, {(i, j): w for i, j, w in edges}, 0.0, "SPIN")
        rows = [("optimize", *ours(options.binary, path, options.seconds, options.runs))]
        rows.append(("dwave, one annealing", *theirs(model, total, options.seconds, options.runs, False)))
        rows.append(("dwave, annealings of 1000", *theirs(model, total, options.seconds, options.runs, True)))
        for name, cuts, used in rows:
            mean = sum(cuts) / len(cuts)
            print(f"{pathlib.Path(path).stem:>10} {name:>28} {max(cuts):8.0f} {mean:10.2f} {used:7.3f}", flush=True)


main()
