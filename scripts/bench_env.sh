#!/usr/bin/env bash
# Build in $1 the environment of TRL, which benchmarks/preference_step.py measures beside ours. $2: our own environment.
# Both have the versions of requirements-cpu.lock. Called by `make bench`; about 1 minute and 1.5 GB. Ends well where it
# cannot be built: the benchmark then leaves TRL out.
set -euo pipefail
venv=$1
python=$(realpath -s "$2/bin/python")
cd "$(dirname "$0")/.."
torch=$(grep '^torch==' requirements-cpu.lock)

build() {
    "$python" -m venv "$venv.new" || return
    pip() { "$venv.new/bin/python" -m pip --disable-pip-version-check install "$@"; }
    pip --no-deps "$torch" || pip --no-deps --extra-index-url https://download.pytorch.org/whl/cpu "$torch" || return
    pip -c requirements-cpu.lock -r requirements-bench.txt
}

echo "bench: $(grep '^trl==' requirements-bench.txt) into $venv, for the comparison with its DPOTrainer (about 1 minute)"
rm -rf "$venv" "$venv.new"
if build >"$venv.log" 2>&1; then
    mv "$venv.new" "$venv"
    rm "$venv.log"
    touch "$venv/.ready"
else
    rm -rf "$venv.new"
    echo "bench: it could not be installed (pip's output is in $venv.log), so TRL is left out of the comparison."
fi
