#!/usr/bin/env bash
# A whole training run in miniature, under two minutes on any machine, no download: this repository's own files, a random
# model of two layers; prepare, train, stop, go on, export, check the graph.   usage: smoke.sh FOLDER
set -euo pipefail
work=${1:?usage: smoke.sh FOLDER}
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-"$here/.venv/bin/python"}
tokenizer=$here/models/mccomd-135m
train=("$python" -m mccomd_models.training)

mkdir -p "$work/clones/mccomd+mccomd"
ln -sfn "$here" "$work/clones/mccomd+mccomd/repo"
printf '[[repository]]\nname = "mccomd/mccomd"\ncommit = "%s"\nlicence = "Apache-2.0"\n' \
  "$(git -C "$here" rev-parse HEAD)" > "$work/corpus.toml"

"${train[@]}" prepare --repositories "$work/clones" --corpus "$work/corpus.toml" --tokenizer "$tokenizer" \
  --out "$work/data" --per-repository 80 --per-file 3 --prefix 32 120 --suffix 8 40 --max-tokens 256 --holes 3
go=("${train[@]}" run --start tiny --data "$work/data" --held-out "$work/data" --folder "$work/run" --batch-tokens 2048
  --peak 3e-3 --warmup-tokens 4000 --rest-weight 0.2 --log-steps 4)
"${go[@]}" --tokens 10000
"${go[@]}" --tokens 24000 --layout packed --row-tokens 512 --gradient-tokens 24 --bits 4
"${train[@]}" plot --folder "$work/run" --out "$work/curve.svg"
"${train[@]}" export --folder "$work/run" --held-out "$work/data" --tokenizer "$tokenizer" --out "$work/model" --name tiny
