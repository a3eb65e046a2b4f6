#!/usr/bin/env bash
# Build in $1 the environment of TRL, which benchmarks/preference_step.py measures beside ours. $2: our own environment.
# Its torch is ours, by links; the rest has the versions of requirements-cpu.lock. About 1 minute. Ends well where it
# cannot be built: the benchmark then leaves TRL out.
set -euo pipefail
venv=$1
python=$(realpath -s "$2/bin/python")
cd "$(dirname "$0")/.."

build() {
    "$python" -m venv "$venv.new" || return
    local where='import sysconfig; print(sysconfig.get_path("purelib"))'
    ln -s "$("$python" -c "$where")"/{torch,torchgen,functorch,torch-*.dist-info} "$("$venv.new/bin/python" -c "$where")" || return
    "$venv.new/bin/python" -m pip --disable-pip-version-check install -c requirements-cpu.lock -r requirements-bench.txt
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
