#!/bin/sh
# How the defaults of the classifier were chosen: each setting varied alone around them, one run a line, accuracy of one
# trajectory on the 5,000 held-out training images of MNIST. No run looks at a test image.
#
#   experiments/select.sh DATA RUNS [SEED]      DATA: folder of the four MNIST files; RUNS: folder to make runs in
#
# Runs that already exist are not repeated.
set -eu
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
data=$1 runs=$2 seed=${3:-0}
classify=${CLASSIFY:-cargo run --quiet --release --bin classify --}

choose() { # name, flags…
    name=$1
    shift
    out=$runs/$seed-$name
    [ -f "$out/summary.json" ] || {
        rm -rf "$out"
        $classify --dataset mnist --data-dir "$data" --held-out --trajectories 1 --seed "$seed" --out "$out" "$@" \
            >/dev/null 2>&1
    }
    python3 - "$out/summary.json" "$name" "$*" <<'PY'
import json, sys
summary = json.load(open(sys.argv[1]))
print(f"{sys.argv[2]:28} {100 * summary['top1_single']:6.2f} %  {summary['heat_kt']:9.3e} kT  {sys.argv[3]}")
PY
}

echo "the published objective, by gradient descent"
choose likelihood --trainer likelihood
for beta in 50 100 250; do choose "likelihood-beta-$beta" --trainer likelihood --beta $beta; done
for scale in 3 8; do choose "likelihood-scale-$scale" --trainer likelihood --set teacher.logit_scale=$scale; done
for rate in 3e-3 3e-2; do choose "likelihood-rate-$rate" --trainer likelihood --set likelihood.recipe.learning_rate=$rate; done
for epochs in 4 16; do choose "likelihood-epochs-$epochs" --trainer likelihood --epochs $epochs; done
choose likelihood-tanh --trainer likelihood --teacher tanh
for beta in 50 100 250; do choose "likelihood-tanh-beta-$beta" --trainer likelihood --teacher tanh --beta $beta; done

echo "the published objective, in closed form"
choose exact --trainer exact
for beta in 50 100 250; do choose "exact-beta-$beta" --trainer exact --beta $beta; done
for scale in 3 8; do choose "exact-scale-$scale" --trainer exact --set teacher.logit_scale=$scale; done
for ridge in 1e-4 1e-2; do choose "exact-ridge-$ridge" --trainer exact --set ridge.clamped=$ridge; done

echo "then through the noisy steps"
choose pathwise
for beta in 25 100; do choose "pathwise-beta-$beta" --beta $beta; done
for rate in 5e-3 2e-2; do choose "pathwise-rate-$rate" --set pathwise.recipe.learning_rate=$rate; done
for gain in 2 5; do choose "pathwise-gain-$gain" --set pathwise.logit_gain=$gain; done
for dt in 2.5e-3 1e-2; do choose "pathwise-dt-$dt" --set pathwise.dt=$dt; done
for batch in 128 512; do choose "pathwise-batch-$batch" --set pathwise.recipe.batch=$batch; done
for price in 1e-5 3e-5; do choose "pathwise-price-$price" --heat-price $price; done

echo "longer, with shifted images"
choose longer --epochs 60 --augment
for price in 1e-5 3e-5 1e-4; do choose "longer-price-$price" --epochs 60 --augment --heat-price $price; done
