"""Block Gibbs sampling of a square lattice in THRML 0.1.4 (Extropic).

    pip install thrml==0.1.4 && python benches/peers/thrml_torus.py

Prints one line of JSON with spin updates per CPU-second: one chain on a torus of 256 x 256, and 64 chains on one of 70 x 70.
"""

import json
import time

import jax
import jax.numpy as jnp
from thrml import Block, SamplingSchedule, SpinNode, sample_states
from thrml.models import IsingEBM, IsingSamplingProgram, hinton_init

BETA = 0.44


def updates_per_second(side, chains, sweeps, repeats=3):
    nodes = [SpinNode() for _ in range(side * side)]
    at = lambda row, column: nodes[(row % side) * side + column % side]
    cells = [(row, column) for row in range(side) for column in range(side)]
    edges = [(at(r, c), at(r + dr, c + dc)) for r, c in cells for dr, dc in ((0, 1), (1, 0))]
    model = IsingEBM(nodes, edges, jnp.zeros(len(nodes)), jnp.ones(len(edges)), jnp.array(BETA))
    blocks = [Block([at(r, c) for r, c in cells if (r + c) % 2 == parity]) for parity in (0, 1)]
    program = IsingSamplingProgram(model, blocks, clamped_blocks=[])
    schedule = SamplingSchedule(n_warmup=sweeps, n_samples=1, steps_per_sample=1)
    start = hinton_init(jax.random.key(0), model, blocks, (chains,))

    @jax.jit
    def job(keys, start):
        one = lambda key, state: sample_states(key, program, schedule, state, [], blocks)
        return jax.vmap(one)(keys, start)

    keys = jax.random.split(jax.random.key(1), chains)
    jax.block_until_ready(job(keys, start))
    best = []
    for _ in range(repeats):
        begun = time.process_time()
        jax.block_until_ready(job(keys, start))
        best.append(time.process_time() - begun)
    # The sweep that is kept comes after the others.
    return side * side * chains * (sweeps + 1) / sorted(best)[repeats // 2]


print(json.dumps({"one": updates_per_second(256, 1, 100), "many": updates_per_second(70, 64, 100)}))
