#!/usr/bin/env bash
# Training on whatever CPU is left over: idle priority, short samples, a checkpoint every few minutes. Started again, it goes on.
#
#   [START=models/mccomd-135m UNROUNDED=1 BACK=0.15] [BITS=0] cpu.sh CLONES FOLDER [TOKENS]
#
# CLONES: bare clones of models/mccomd_models/training/corpus.toml, see sources.py
# START: what a new run begins with, by default the untrained weights; UNROUNDED: for a START that is stored in BITS bits,
# see unrounded.py; BACK: the share of the untrained weights in it.
# TOKENS is where the learning rate's cosine ends; it may be another one each time, and so may BITS: the last part of a
# run should see its weights in as many bits as they will be stored in (4; 0: as they are). Stop it with SIGTERM; its process group stands
# in FOLDER/pid, so that a measurement can pause it: kill -STOP -- -$(cat FOLDER/pid)
set -euo pipefail
clones=$1 folder=$2 tokens=${3:-1200000}
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-"$here/.venv/bin/python"}
tokenizer=$here/models/mccomd-135m
idle=$(command -v chrt > /dev/null && echo "chrt -i 0" || true)
train=($idle nice -n 19 "$python" -m mccomd_models.training)

# What a sample costs goes with its length, what it teaches with its middles: four holes share a context, and the
# gradient stops at its end.
shape=(--prefix 48 700 --suffix 16 120 --snippet 64 320 --with-snippets 0.55 --max-tokens 1152 --per-file 5)
prepare=("${train[@]}" prepare --repositories "$clones" --tokenizer "$tokenizer")
[ -e "$folder/data" ] || "${prepare[@]}" --out "$folder/data" --per-repository 500 "${shape[@]}" --holes 4
[ -e "$folder/held-out" ] ||
  "${prepare[@]}" --out "$folder/held-out" --held-out --per-repository 20 "${shape[@]}" --per-file 1 --seed 7

# Waiting threads that spin take the time of those that work, on a machine that others use.
export OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0
# Fewer pages that are given back and zeroed again each step.
export MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1000000000
setsid "${train[@]}" run --data "$folder/data" --held-out "$folder/held-out" --folder "$folder/run" --tokens "$tokens" \
  --start "${START:-smollm2}" --back "${BACK:-0}" ${UNROUNDED:+--unrounded} \
  --batch-tokens 4096 --peak 1e-4 --warmup-tokens 40000 --rest-weight 0.2 --gradient-tokens 32 --bits "${BITS:-4}" \
  --held-out-minutes 40 --log-steps 5 \
  >> "$folder/run.log" 2>&1 < /dev/null &
echo $! > "$folder/pid"
echo "running as process group $!; log: $folder/run.log"
