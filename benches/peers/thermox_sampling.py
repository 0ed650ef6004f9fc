"""Exact samples of an Ornstein-Uhlenbeck process in thermox 0.0.6.

    pip install thermox==0.0.6 && python benches/peers/thermox_sampling.py

Prints one line of JSON with components x steps per CPU-second, 64 components in double precision: one chain of 20000 steps
by the scan and by the associative scan, and 32 chains of 1000 steps.
"""

import json
import time

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

import thermox

D = 64


def rate(job, count, repeats=5):
    jax.block_until_ready(job())
    spent = []
    for _ in range(repeats):
        begun = time.process_time()
        jax.block_until_ready(job())
        spent.append(time.process_time() - begun)
    return count / sorted(spent)[repeats // 2]


def main():
    key = jax.random.PRNGKey(0)
    basis = jnp.linalg.qr(jax.random.normal(key, (D, D), dtype=jnp.float64))[0]
    a = basis @ jnp.diag(jnp.logspace(-1, 0, D)) @ basis.T
    a = (a + a.T) / 2
    zero, noise = jnp.zeros(D), 2 * jnp.eye(D)

    def one(steps, associative):
        ts = jnp.arange(steps + 1) * 1.0
        job = jax.jit(lambda key: thermox.sample(key, ts, zero, a, zero, noise, associative_scan=associative))
        return rate(lambda: job(key), D * steps)

    def many(chains, steps):
        ts = jnp.arange(steps + 1) * 1.0
        sample = lambda key: thermox.sample(key, ts, zero, a, zero, noise, associative_scan=False)
        job = jax.jit(jax.vmap(sample))
        keys = jax.random.split(key, chains)
        return rate(lambda: job(keys), D * chains * steps)

    print(json.dumps({"scan": one(20000, False), "associative": one(20000, True), "many": many(32, 1000)}))


main()
