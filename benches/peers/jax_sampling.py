"""The generator's sampling in JAX: lax.scan over Euler-Maruyama steps of 784 + 512 units.

    pip install jax && python benches/peers/jax_sampling.py

Prints one line of JSON with the median seconds on all cores, batch 32 x 1296 units x 100 steps: with one dense coupling
matrix, and with the two blocks that are not zero.
"""

import json
import time

import jax
import jax.numpy as jnp

BATCH, VISIBLE, HIDDEN, STEPS, DT, KT = 32, 784, 512, 100, 1e-3, 0.1
UNITS = VISIBLE + HIDDEN


def run(pull, x0, key):
    def step(x, key):
        noise = jax.random.normal(key, x.shape)
        gradient = 2 * x + 4 * x**3 + pull(x)
        return x - gradient * DT + jnp.sqrt(2 * KT * DT) * noise, None

    return jax.lax.scan(step, x0, jax.random.split(key, STEPS))[0]


def dense(coupling, x0, key):
    return run(lambda x: x @ coupling, x0, key)


def blocks(to_visible, to_hidden, x0, key):
    def pull(x):
        return jnp.concatenate([x[:, VISIBLE:] @ to_visible, x @ to_hidden], axis=1)

    return run(pull, x0, key)


def median_seconds(job, *arguments, repeats=20):
    job(*arguments).block_until_ready()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job(*arguments).block_until_ready()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main():
    keys = jax.random.split(jax.random.PRNGKey(0), 2)
    raw = jax.random.normal(keys[0], (UNITS, UNITS)) / UNITS**0.5
    coupling = (raw + raw.T) / 2
    coupling = coupling.at[:VISIBLE, :VISIBLE].set(0)
    x0 = jnp.zeros((BATCH, UNITS))
    print(
        json.dumps(
            {
                "jax": jax.__version__,
                "dense": median_seconds(jax.jit(dense), coupling, x0, keys[1]),
                "blocks": median_seconds(
                    jax.jit(blocks), coupling[VISIBLE:, :VISIBLE], coupling[:, VISIBLE:], x0, keys[1]
                ),
            }
        )
    )


main()
