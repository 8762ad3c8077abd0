#!/usr/bin/env python3
"""Make a virtual environment with pinned packages, or say whether it is there.

    python3 nk_venv.py requirements.txt ../target/interop-venv
    python3 nk_venv.py requirements.txt ../target/interop-venv --check     # exit status 3: absent or outdated

Made anew only when the requirements' text has changed. Safe to run twice at the same time.
Needs nothing but Python 3.11 or newer with its venv module.
"""
import argparse
import fcntl
import pathlib
import shutil
import subprocess
import sys

MISSING = 3


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("requirements", type=pathlib.Path)
    ap.add_argument("venv", type=pathlib.Path)
    ap.add_argument("--check", action="store_true", help="change nothing")
    opts = ap.parse_args()
    if sys.version_info < (3, 11):
        sys.exit("Python 3.11 or newer is needed, this is %d.%d" % sys.version_info[:2])

    if is_current(opts.venv, opts.requirements):
        return 0
    if opts.check:
        return MISSING
    opts.venv.parent.mkdir(parents=True, exist_ok=True)
    with open(opts.venv.with_name(opts.venv.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_current(opts.venv, opts.requirements):
            make(opts.venv, opts.requirements)
    return 0


def is_current(venv, requirements):
    """Whether the venv was finished with this very text, for a Python that is still there."""
    try:
        return stamp(venv).read_text() == requirements.read_text() and (venv / "bin" / "python").exists()
    except OSError:
        return False


def make(venv, requirements):
    shutil.rmtree(venv, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(venv))
    run(str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements))
    stamp(venv).write_text(requirements.read_text())


def stamp(venv):
    return venv / "requirements.installed"


def run(*command):
    done = subprocess.run(command)
    if done.returncode:
        sys.exit("failed with status %d: %s" % (done.returncode, " ".join(command)))


if __name__ == "__main__":
    sys.exit(main())
