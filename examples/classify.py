"""Read a digit with exported couplings: classify.py couplings.npz t10k-images-idx3-ubyte 0"""
import json, sys, numpy as np
c = np.load(sys.argv[1])
d = json.loads(c["description"].tobytes())
groups, n, dt, kT = d["substrate"]["topology"]["groups"], d["normalisation"], d["schedule"]["dt"], d["substrate"]["kt"]
J2, J4, mu = (np.concatenate([[g[k]] * g["units"] for g in groups[1:]]) for k in ("j2", "j4", "mobility"))
image = np.fromfile(sys.argv[2], np.uint8)[16:].reshape(-1, groups[0]["units"])[int(sys.argv[3])]
X = (image / 255 - n["offset"]) / n["scale"]
h = X * n["norm"] / np.linalg.norm(X) @ np.hstack([c["J.input-hidden"], c["J.input-output"]])
h += np.concatenate([c["b.hidden"], c["b.output"]])
J = np.block([[c["J.hidden-hidden"], c["J.hidden-output"]], [c["J.hidden-output"].T, c["J.output-output"]]])
x, rng = np.zeros(len(h)), np.random.default_rng()
for _ in range(d["schedule"]["steps"]):
    x += -mu * (2 * J2 * x + 4 * J4 * x**3 + h + J @ x) * dt + np.sqrt(2 * mu * kT * dt) * rng.standard_normal(len(x))
print(np.argmax(x[-groups[2]["units"] :]))
