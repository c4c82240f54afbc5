#!/bin/bash
# Prints the tables of docs/gpu.md within ten minutes, on a machine with a GPU. It needs no network.
#
#     bash bench/gpu.sh [WHEELS]
#
# WHEELS is a folder of wheels, without their dependencies, of the packages that the machine's python3 lacks (PYTHON
# names another interpreter). Each step has a limit in seconds; whatever becomes of it, the next one runs, until the time
# of all is over. Without a GPU every step is made small, runs on the CPU and may take longer: a dry run.
set -u
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONUNBUFFERED=1

if nvidia-smi -L 2>/dev/null; then
  patience=1
  sizes=(--sizes 1 4 16 32 64 128 --seconds 0.3)
  photographs=(--count 8000) validation=(--count 8000) serving=(--clients 16 64 256 --seconds 4) training=4
else
  echo "no GPU: a dry run on the CPU"
  patience=5
  sizes=(--device cpu --sizes 1 --seconds 0.1)
  photographs=(--count 400 --different 20) validation=(--count 40) serving=(--clients 4 --seconds 1) training=0.1
fi

total=$((patience * 580))  # seconds of all steps

# step LIMIT TITLE COMMAND...: run the command for at most LIMIT seconds, and at most for the time that is left
step() {
  local limit=$((patience * $1)) title=$2 left=$((total - SECONDS)) began=$SECONDS status=0
  shift 2
  echo
  echo "## $title"
  echo
  echo "    $*"
  echo
  if ((left < 5)); then
    echo "(left out: the $total s are over)"
    return
  fi
  timeout --kill-after=10 $((limit < left ? limit : left)) "$@" 2>&1 || status=$?
  echo
  echo "($((SECONDS - began)) s, exit code $status)"  # 124: the limit
}

if (($#)); then
  step 60 "Installation" "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$scratch/site" "$1"/*.whl
fi
export PYTHONPATH="$scratch/site:$PWD"

step 30 "Photographs" "$python" -m bench.photo_folder "$scratch/photographs" "${photographs[@]}"
step 120 "The engine alone" "$python" -m bench.engine --streams 1 2 "${sizes[@]}"
step 90 "A validation" "$python" -m bench.validation --images "$scratch/photographs" --rounds 1 --workers 0 auto "${validation[@]}"
step 60 "A validation with two streams" "$python" -m bench.validation --images "$scratch/photographs" --rounds 1 "${validation[@]}" --streams 2
step 60 "The server" "$python" -m bench.serving_limit --images "$scratch/photographs" "${serving[@]}"
step 40 "The server with two streams" "$python" -m bench.serving_limit --images "$scratch/photographs" --workers auto "${serving[@]}" --streams 2
for store in jpeg raw; do
  step 30 "A prepared store: $store" "$python" -m tencrop prepare "$scratch/photographs" "$scratch/$store" --store "$store"
  step 30 "Training's loader: $store" "$python" -m bench.training --data "$scratch/$store" --photos "$scratch/photographs" --seconds "$training" --rounds 1 --rows loader
done
step 100 "Training's step" "$python" -m bench.training --data "$scratch/jpeg" --photos "$scratch/photographs" --seconds "$training" --rounds 1 --rows step
