#!/usr/bin/env bash
# Fuzzes the decoders, one after the other: fuzz.sh [seconds each, default 10] [decoder …].
#
# Only the crates of this workspace are instrumented, by a wrapper of the compiler, so that dependencies are those of the tests.
# What it finds goes to a scratch folder, not to the corpus.
set -euo pipefail
cd "$(dirname "$0")"

seconds="${1:-10}"
shift || true
if (($#)); then names=("$@"); else names=($(ls corpus)); fi

scratch="$(mktemp -d)"
cat > "$scratch/instrument" <<'WRAPPER'
#!/bin/sh
exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
WRAPPER
chmod +x "$scratch/instrument"

for name in "${names[@]}"; do
  mkdir -p "$scratch/$name"
  echo "== $name, ${seconds} s"
  # 8 MB are enough for every interesting file; a decoder that needs two gigabytes for one is faulty.
  THERMOGRAD_FUZZ="$name" RUSTC_WORKSPACE_WRAPPER="$scratch/instrument" \
    cargo test --release --workspace --locked --quiet --features thermograd-fuzz/libfuzzer --test decode -- \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 \
    -artifact_prefix="$scratch/" "$scratch/$name" "$PWD/corpus/$name" 2>&1 |
    grep -E '^(stat::number_of_executed_units|stat::peak_rss_mb|==|SUMMARY|artifact|thread|ERROR)|panicked|(INITED|DONE) +cov|error' || true
  test -z "$(find "$scratch" -maxdepth 1 -name 'crash-*' -o -maxdepth 1 -name 'oom-*' -o -maxdepth 1 -name 'timeout-*')" ||
    { echo "found: $scratch"; exit 1; }
done
rm -rf "$scratch"
