"""The same trajectories in JAX: lax.scan over Euler-Maruyama steps, with noise, and its gradient.

    pip install jax && python benches/peers/jax_trajectories.py

Prints one line of JSON with the median seconds of each job on all cores: batch 256 x 74 free units x 200 steps.
"""

import json
import time

import jax
import jax.numpy as jnp

BATCH, UNITS, STEPS, DT, KT = 256, 74, 200, 1e-3, 1.0


def run(coupling, field, x0, key):
    def step(x, key):
        noise = jax.random.normal(key, x.shape)
        gradient = 2 * x + 4 * x**3 + field + x @ coupling
        return x - gradient * DT + jnp.sqrt(2 * KT * DT) * noise, None

    return jax.lax.scan(step, x0, jax.random.split(key, STEPS))[0]


def median_seconds(job, *arguments, repeats=30):
    job(*arguments)[0].block_until_ready()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job(*arguments)[0].block_until_ready()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main():
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    raw = jax.random.normal(keys[0], (UNITS, UNITS)) / UNITS**0.5
    coupling = (raw + raw.T) / 2
    field = jax.random.normal(keys[1], (BATCH, UNITS))
    x0 = jnp.zeros((BATCH, UNITS))
    forward = jax.jit(run)
    gradient = jax.jit(jax.grad(lambda *a: run(*a).sum(), argnums=(0, 1)))
    print(
        json.dumps(
            {
                "jax": jax.__version__,
                "forward": median_seconds(forward, coupling, field, x0, keys[2]),
                "gradient": median_seconds(gradient, coupling, field, x0, keys[2]),
            }
        )
    )


main()
