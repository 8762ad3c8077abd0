#!/usr/bin/env bash
# Everything that CI runs, for contributors too: ./ci.sh, from anywhere, on a fresh clone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'END'
usage: ./ci.sh [--long] [--install-tools] [--help]

Formatting, clippy, all tests with doctests, docs, examples, licences and advisories, the minimum Rust version.
Live tests run against RabbitMQ and real nameko services, and fail where they can't run (CI_LIVE=1). What is missing is
installed (rabbitmq-server, python3-venv and valgrind by apt-get, as root or with sudo) or made (virtual environments in
target/).

  --long            more cases in property tests, longer example runs, bugs planted for the explorer to find, and
                    soaks of both transports: some 30 minutes more
  --install-tools   cargo install cargo-deny where it is missing: slow; without it that check is left out, aloud

AMQP_URI names another broker than amqp://guest:guest@127.0.0.1:5672/%2f.
END
}

LONG= INSTALL_TOOLS=
for argument in "$@"; do
    case $argument in
    --long) LONG=1 ;;
    --install-tools) INSTALL_TOOLS=1 ;;
    --help | -h) usage && exit ;;
    *) usage >&2 && exit 2 ;;
    esac
done

LOCAL_BROKER='amqp://guest:guest@127.0.0.1:5672/%2f'
export AMQP_URI=${AMQP_URI:-$LOCAL_BROKER} CI_LIVE=1 CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
TARGET=${CARGO_TARGET_DIR:-target}
OUTAGE_SECONDS=12 SCHEDULES=20000 INTERLEAVINGS=50000
if [ "$LONG" ]; then
    export PROPTEST_CASES=${PROPTEST_CASES:-20000}
    OUTAGE_SECONDS=120 SCHEDULES=1000000 INTERLEAVINGS=1000000
fi

main() {
    step 'Formatting' cargo fmt --all --check
    step 'Clippy, warnings denied' cargo clippy --workspace --all-targets --locked -- -D warnings
    step 'RabbitMQ' ensure_broker
    step 'Python with real nameko' ensure_venvs
    step 'Tests' run_tests
    step 'Doctests' cargo test --workspace --locked --doc
    step 'Docs, warnings denied' env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --locked --no-deps --all-features
    step 'Examples' cargo build --workspace --locked --examples
    step 'Instructions per hit' check_instructions
    step 'Explorer' cargo run --release --locked --example explore -- --schedules "$SCHEDULES"
    step 'Interleavings' interleavings
    step 'Planted bugs, whether they could be' cargo run --locked --example mutants -- --check
    [ -z "$LONG" ] || step 'Planted bugs' cargo run --locked --example mutants
    step 'Outage example, in memory' outage env -u AMQP_URI
    step 'Outage example, RabbitMQ and nameko' outage env
    if [ "$LONG" ]; then
        for transport in lapin amqprs; do
            step "Soak, $transport" cargo run --release --locked --package nameko-cachetools-benches --bin soak -- \
                --transport "$transport" --calls 100000 --faults 50
        done
    fi
    step 'Licences and advisories' check_dependencies
    step 'Minimum Rust version' check_msrv
    printf '\nci.sh: all green after %s\n' "$(duration $SECONDS)"
    [ ! -s "$LEFT_OUT" ] || { echo 'Left out:' && cat "$LEFT_OUT"; }
}

# --- steps -----------------------------------------------------------------------------------------------------------

ensure_broker() {
    # Always: tests that break a broker start nodes of their own from the installed package.
    command -v rabbitmq-server || apt_install rabbitmq-server
    if broker_answers; then
        echo "a broker answers at $(broker_address)"
        return
    fi
    if [ "$AMQP_URI" != "$LOCAL_BROKER" ]; then
        echo "nothing answers at $(broker_address), which AMQP_URI names: start it, or unset AMQP_URI" >&2
        return 1
    fi
    $SUDO rabbitmq-server -detached
    for _ in {1..90}; do
        broker_answers && echo 'RabbitMQ was started' && return
        sleep 1
    done
    echo 'RabbitMQ was started, but does not answer after 90 s: see /var/log/rabbitmq' >&2
    return 1
}

# Whether the first byte that answers AMQP's protocol header opens a method frame.
broker_answers() {
    local address reply
    address=$(broker_address)
    reply=$(timeout 3 bash -c '
        exec 3<>"/dev/tcp/$1/$2" && printf "AMQP\0\0\11\1" >&3 && head -c 1 <&3 | od -An -tu1
    ' _ "${address%:*}" "${address##*:}" 2>/dev/null) || return 1
    [ "${reply//[[:space:]]/}" = 1 ]
}

# AMQP_URI's host:port, without user and password.
broker_address() {
    local authority=${AMQP_URI#*://}
    authority=${authority%%/*}
    authority=${authority##*@}
    [[ $authority == *:* ]] || authority+=:5672
    echo "$authority"
}

ensure_venvs() {
    python3 -c 'import ensurepip, venv' || apt_install python3 python3-venv
    local kind
    for kind in '' -kombu52 -nameko3; do
        python3 interop/nk_venv.py "interop/requirements$kind.txt" "$TARGET/interop-venv$kind"
        "$TARGET/interop-venv$kind/bin/python" -W ignore -c '
import sys
from importlib.metadata import version
print("Python", sys.version.split()[0], *("%s %s" % (name, version(name)) for name in ("nameko", "kombu")))'
    done
}

# One process per test (nextest) would start nameko once per test: the live suites share it within a process instead.
run_tests() {
    local live=nameko-cachetools-interop
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --locked --exclude "$live" --no-tests pass --no-fail-fast
    else
        cargo test --workspace --locked --exclude "$live" --lib --bins --tests
    fi
    # They wait more than they work: more of them at once than there are cores.
    cargo test --locked --package "$live" --lib --tests -- --test-threads 4
}

# The scheduler stands in for core's locks and tasks only under this cfg, so everything is built once more.
interleavings() {
    RUSTFLAGS='--cfg shuttle' CARGO_TARGET_DIR="$TARGET/shuttle" cargo run --profile fast --locked \
        --package nameko-cachetools --example shuttle -- --schedules "$INTERLEAVINGS"
}

# Its last three lines are one per proxy; once warm, the cached ones must not have met an error.
outage() {
    local output="$TARGET/outage.out" lines
    "$@" cargo run --release --locked --example outage -- --seconds "$OUTAGE_SECONDS" | tee "$output"
    lines=$(tail -n 3 "$output")
    for proxy in plain cached cache_first; do
        grep -Eq "^outage: proxy=$proxy calls=[0-9]+ live=[0-9]+ cached=[0-9]+ stale=[0-9]+ errors=[0-9]+$" <<<"$lines" ||
            { echo "no line of proxy=$proxy at the end" >&2 && return 1; }
    done
    if grep -E 'proxy=(cached|cache_first) .*errors=[1-9]' <<<"$lines" >&2; then
        echo 'a cached proxy met errors' >&2
        return 1
    fi
}

# Counted by callgrind, which is exact whatever else the machine does; for the compiler that the baseline is of.
check_instructions() {
    local pinned toolchain=() output="$TARGET/instructions.out"
    pinned=$(sed -n 's/^rustc //p' benches/baseline.txt)
    command -v valgrind || apt_install valgrind
    if [ "$(rustc --version | cut -d' ' -f2)" != "$pinned" ]; then
        if ! rustup run "$pinned" rustc --version && ! rustup toolchain install --profile minimal "$pinned"; then
            left_out "instructions per hit: the baseline is of Rust $pinned, which could not be installed"
            return
        fi
        toolchain=("+$pinned")
    fi
    cargo "${toolchain[@]}" run --release --locked --package nameko-cachetools-benches --bin compare baseline | tee "$output"
    if grep SKIPPED "$output"; then
        left_out "instructions per hit: $(grep SKIPPED "$output")"
    fi
}

check_dependencies() {
    if ! cargo deny --version >/dev/null 2>&1; then
        if [ -z "$INSTALL_TOOLS" ]; then
            left_out 'licences and advisories: cargo-deny is not installed; ./ci.sh --install-tools installs it'
            return
        fi
        cargo install --locked cargo-deny
    fi
    cargo deny --workspace check --hide-inclusion-graph licenses bans sources
    if cargo deny --workspace fetch db; then
        cargo deny --workspace check advisories
    else
        left_out 'advisories: their database could not be fetched'
    fi
}

check_msrv() {
    local msrv
    msrv=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if rustup toolchain list 2>/dev/null | grep -q "^$msrv[.-]"; then
        CARGO_TARGET_DIR="$TARGET/msrv" cargo "+$msrv" check --workspace --locked --all-targets
        return
    fi
    cargo metadata --locked --format-version 1 | python3 -c '
import json, sys
def number(text): return tuple(map(int, (text.split("-")[0] + ".0.0").split(".")[:3]))
packages = json.load(sys.stdin)["packages"]
newer = [p for p in packages if p["rust_version"] and number(p["rust_version"]) > number(sys.argv[1])]
for p in newer: print(p["name"], p["version"], "needs Rust", p["rust_version"], file=sys.stderr)
silent = sum(p["rust_version"] is None for p in packages)
print("%d packages, none needs more than Rust %s; %d do not say" % (len(packages), sys.argv[1], silent))
sys.exit(bool(newer))' "$msrv"
    left_out "building with Rust $msrv: it is not installed (rustup toolchain install $msrv); only what the" \
        'dependencies state was checked, which is weaker'
}

# --- how steps are run -----------------------------------------------------------------------------------------------

STEP=start SUDO=
[ "$(id -u)" = 0 ] || SUDO=sudo
LEFT_OUT=$(mktemp)
trap 'status=$?; rm -f "$LEFT_OUT"; [ $status = 0 ] || printf "\nci.sh: FAILED in \"%s\" after %s\n" "$STEP" "$(duration $SECONDS)" >&2' EXIT

# step TITLE COMMAND..: a header, the command, and the time it took. The first failure ends everything.
step() {
    STEP=$1
    local began=$SECONDS
    printf '\n==== %s\n' "$STEP"
    shift
    "$@"
    printf -- '---- %s: %s\n' "$STEP" "$(duration $((SECONDS - began)))"
}

left_out() {
    echo "LEFT OUT: $*" >&2
    echo "  $*" >>"$LEFT_OUT"
}

duration() {
    printf '%d min %02d s' $(($1 / 60)) $(($1 % 60))
}

apt_install() {
    $SUDO apt-get update -qq
    $SUDO env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"
}

main
