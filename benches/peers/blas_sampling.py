"""The matrix products of the generator's sampling alone, by the BLAS of NumPy.

    python benches/peers/blas_sampling.py

Prints one line of JSON with the median seconds on all cores of the products of batch 32 x (784 + 512) units x 100 steps
in single precision, with the batch as rows and as columns, and the BLAS.
"""

import json
import time

import numpy

BATCH, VISIBLE, HIDDEN, STEPS = 32, 784, 512, 100
UNITS = VISIBLE + HIDDEN


def median_seconds(job, repeats=20):
    job()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main():
    draw = numpy.random.default_rng(0)
    to_visible = draw.standard_normal((HIDDEN, VISIBLE), dtype=numpy.float32)
    to_hidden = draw.standard_normal((UNITS, HIDDEN), dtype=numpy.float32)
    x = draw.standard_normal((BATCH, UNITS), dtype=numpy.float32)
    hidden = numpy.ascontiguousarray(x[:, VISIBLE:])
    across, hidden_across = numpy.ascontiguousarray(x.T), numpy.ascontiguousarray(hidden.T)
    visible_from, hidden_from = numpy.ascontiguousarray(to_visible.T), numpy.ascontiguousarray(to_hidden.T)

    def rows():
        for _ in range(STEPS):
            hidden @ to_visible, x @ to_hidden

    def columns():
        for _ in range(STEPS):
            visible_from @ hidden_across, hidden_from @ across

    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    print(json.dumps({"rows": median_seconds(rows), "columns": median_seconds(columns), "blas": blas}))


if __name__ == "__main__":
    main()
