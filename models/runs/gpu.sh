#!/usr/bin/env bash
# Training on one GPU, detached, with a checkpoint every three minutes. Started again, it goes on from the last one.
#
#   gpu.sh prepare CLONES FOLDER      on any machine, beforehand: FOLDER/start, data and held-out
#   gpu.sh run FOLDER [MINUTES]       on the machine with the GPU; 25 minutes by default
#                                     (numpy and torch are enough, PYTHON says where); the end is in FOLDER/result
#   gpu.sh wait FOLDER [SECONDS]      what it is doing; returns when it has ended, or after so long
#
# `run` first measures for a minute what the machine does, and lets the cosine end where the time will: on an H200 some
# 400,000 tokens a second are expected, 500 million tokens in 25 minutes. DEVICE=cpu SMALL=1 START=tiny CORPUS=list.toml
# rehearse it without a GPU. To train on after another run: START=that run's folder for `prepare`. No file is larger than
# 56 MB, those of start and result than 15 MB: they travel in several loads; `export` makes a model folder of the result.
# `prepare --holes 4` and `run --gradient-tokens 32`, which cpu.sh uses, work with packed rows, too; not measured on a GPU.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-"$here/.venv/bin/python"}
export PYTHONPATH=$here/models:$here:$here/index:$here/plugins
train=("$python" -m mccomd_models.training)

prepare() {
  local tokenizer clones=$1 folder=$2 each=(--per-file 40) few=(--per-repository 200 --per-file 2)
  [ -z "${SMALL:-}" ] || each=(--per-file 2 --per-repository 20) few=(--per-file 2 --per-repository 5)
  tokenizer=$here/models/mccomd-135m
  "${train[@]}" parts --start "${START:-smollm2}" --out "$folder/start"
  local make=("${train[@]}" prepare --repositories "$clones" --tokenizer "$tokenizer" --workers "$(nproc)" ${CORPUS:+--corpus "$CORPUS"})
  "${make[@]}" --out "$folder/data" "${each[@]}"
  "${make[@]}" --out "$folder/held-out" --held-out "${few[@]}" --seed 7
  ls -l "$folder"/start "$folder"/data "$folder"/held-out
}

options() { # what rehearsal and run have in common
  local folder=$1 device=${DEVICE:-cuda}
  echo --start "$folder/start" --data "$folder/data" --held-out "$folder/held-out" --device "$device" \
    --layout packed --row-tokens 1024 --peak 4e-4 --rest-weight 0.2 --held-out-minutes 6
  if [ -n "${SMALL:-}" ]; then
    echo --checkpoint-minutes 0.1 --threads 1 --batch-tokens 2048 --warmup-tokens 2000 --log-steps 1
  else
    echo --checkpoint-minutes 3 --compiled --batch-tokens 65536 --accumulate 2 --warmup-tokens 5000000 --log-steps 20
  fi
}

train_for() { # FOLDER MINUTES
  local folder=$1 minutes=$2 spent rate tokens
  # shellcheck disable=SC2046
  if [ ! -e "$folder/tokens" ]; then
    rm -rf "$folder/rehearsal"
    "${train[@]}" run $(options "$folder") --folder "$folder/rehearsal" --tokens 1000000000 --minutes "${REHEARSAL:-1.5}"
    rate=$("$python" - "$folder/rehearsal/log.jsonl" <<'PYTHON'
import json, statistics, sys
rates = [line["tokens_per_s"] for line in map(json.loads, open(sys.argv[1])) if line["what"] == "step"]
print(int(statistics.median(rates[len(rates) // 2 :])))  # the first steps compile
PYTHON
)
    tokens=$("$python" -c "print(int($rate * 60 * $minutes * 0.93))") # 7 % for held-out losses and checkpoints
    echo "$tokens" > "$folder/tokens"
    rm -rf "$folder/rehearsal"
    echo "$rate tokens a second: $tokens tokens in $minutes minutes"
  fi
  # shellcheck disable=SC2046
  "${train[@]}" run $(options "$folder") --folder "$folder/run" --tokens "$(cat "$folder/tokens")" --minutes "$minutes"
  "${train[@]}" parts --start "$folder/run" --out "$folder/result"
}

main() { # read whole before it runs: it may run while a new version is laid over it
  case ${1:-} in
    prepare) prepare "$2" "$3" ;;
    run)
      rm -f "$2/ended"
      setsid bash "$0" attached "$2" "${3:-25}" >> "$2/run.log" 2>&1 < /dev/null &
      echo $! > "$2/pid"
      echo "running as process group $!; log: $2/run.log"
      ;;
    attached) # what `run` starts
      trap 'echo $? > "$2/ended"' EXIT
      train_for "$2" "$3"
      ;;
    wait)
      timeout "${3:-540}" tail --pid="$(cat "$2/pid")" -n 20 -F "$2/run.log" || true
      [ ! -e "$2/ended" ] || echo "ended with $(cat "$2/ended")"
      ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
}
main "$@"
exit
