"""`pronghorn keys FOLDER HOST...`: one folder of keys for the learner and one for each host.

    FOLDER/learner/        for the machine of the learner: its bus.keys
    FOLDER/hosts/HOST/     for HOST alone: copied there, it is bus.keys of what runs there

Each holds `own.key_secret`, `learner.key` and `admitted/` (see `common/bus/keys.py`). Everything but the
secrets is written anew from the secrets each time, so the command may be interrupted and given again.
"""

import os
import secrets
import shutil
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import zmq

from common.bus.keys import (
    ADMITTED_FOLDER,
    LEARNER,
    LEARNER_FILE,
    NAME_PATTERN,
    SECRET_FILE,
    KeyPair,
    fingerprint,
    read_pair,
)
from common.errors import ConfigurationError, PreflightError

HOSTS_FOLDER = "hosts"


def main(options: Namespace, overrides: Sequence[str]) -> int:
    """Make, list, rotate or revoke keys; the exit code."""
    if overrides:
        raise ConfigurationError(f"{overrides[0]}: `pronghorn keys` takes no settings")
    folder: Path = options.folder
    try:
        if options.list:
            _only(options, "--list")
            show(folder)
        elif options.rotate is not None:
            _only(options, "--rotate")
            rotate(folder, options.rotate)
        elif options.revoke is not None:
            _only(options, "--revoke")
            revoke(folder, options.revoke)
        else:
            make(folder, options.hosts)
    except OSError as error:
        raise PreflightError(f"{error.filename or folder}: {error.strerror}") from None
    return 0


def make(folder: Path, hosts: Sequence[str]) -> None:
    """Keys for the learner and `hosts`; those that are there stay. ConfigurationError for a bad name."""
    for host in hosts:
        _check_name(host)
        if host == LEARNER:
            raise ConfigurationError(f"host {host!r}: the learner has keys anyway; name its other hosts")
    # Without the learner's pair, but with no stranger: an interrupted command left it so.
    ours = {LEARNER, HOSTS_FOLDER}
    if folder.exists() and not _is_ours(folder) and {path.name for path in folder.iterdir()} - ours:
        raise ConfigurationError(f"{folder}: holds something else; name a new or empty folder")
    _new_folder(folder)
    before = set(_names(folder))
    for name in (LEARNER, *hosts):
        if name not in before:
            _write_pair(_home(folder, name), is_new=True)
    pairs = _publish(folder)
    for name in pairs:
        print(f"{name:20} {fingerprint(pairs[name].public)}  {'kept' if name in before else 'new'}")
    if set(pairs) - before - {LEARNER}:
        print(
            f"Copy each {folder / HOSTS_FOLDER}/HOST to HOST, keep its mode, and name it there as bus.keys."
        )


def show(folder: Path) -> None:
    """Print name and fingerprint of everybody who has keys here."""
    for name, pair in _pairs(folder).items():
        print(f"{name:20} {fingerprint(pair.public)}")


def rotate(folder: Path, name: str) -> None:
    """A new pair for `name`; the old one is admitted nowhere any more."""
    _require(folder, name)
    _write_pair(_home(folder, name), is_new=False)
    pair = _publish(folder)[name]
    print(f"{name:20} {fingerprint(pair.public)}  new")
    if name == LEARNER:
        print("Copy learner.key to every host, then start the learner and the actors again.")
    else:
        print(f"Copy {_home(folder, name)} to {name}, and admitted/ to every other machine that serves.")


def revoke(folder: Path, name: str) -> None:
    """`name` is admitted nowhere any more, and its keys are gone; a running learner cuts it off."""
    _check_name(name)
    if name == LEARNER:
        raise ConfigurationError("the learner cannot be revoked; --rotate learner gives it new keys")
    admitted = [_home(folder, holder) / ADMITTED_FOLDER / f"{name}.key" for holder in _pairs(folder)]
    if not any(file.exists() for file in admitted):
        _require(folder, name)
    # The secret first: with it, an interrupted command would be undone by the next one.
    (_home(folder, name) / SECRET_FILE).unlink(missing_ok=True)
    for file in admitted:
        file.unlink(missing_ok=True)
    shutil.rmtree(_home(folder, name), ignore_errors=True)
    print(f"{name:20} revoked; copy admitted/ to every other machine that serves")


# --- the folder ------------------------------------------------------------------------------------
def _home(folder: Path, name: str) -> Path:
    return folder / LEARNER if name == LEARNER else folder / HOSTS_FOLDER / name


def _is_ours(folder: Path) -> bool:
    return (folder / LEARNER / SECRET_FILE).is_file()


def _names(folder: Path) -> list[str]:
    """Everybody who has a pair, the learner first."""
    hosts = sorted(
        path.parent.name
        for path in (folder / HOSTS_FOLDER).glob(f"*/{SECRET_FILE}")
        if NAME_PATTERN.fullmatch(path.parent.name)
    )
    return [LEARNER, *hosts] if _is_ours(folder) else hosts


def _pairs(folder: Path) -> dict[str, KeyPair]:
    if not _is_ours(folder):
        raise ConfigurationError(f"{folder}: has no keys; `pronghorn keys {folder} HOST...` makes them")
    return {name: read_pair(_home(folder, name) / SECRET_FILE) for name in _names(folder)}


def _require(folder: Path, name: str) -> None:
    _check_name(name)
    if name not in (names := list(_pairs(folder))):
        raise ConfigurationError(f"host {name!r}: has no keys in {folder}; there are {', '.join(names)}")


def _publish(folder: Path) -> dict[str, KeyPair]:
    """Give every folder all public keys; what is right already stays untouched."""
    pairs = _pairs(folder)
    for name in pairs:
        home = _home(folder, name)
        _new_folder(home / ADMITTED_FOLDER)
        _write_public(home / LEARNER_FILE, pairs[LEARNER])
        for other, pair in pairs.items():
            _write_public(home / ADMITTED_FOLDER / f"{other}.key", pair)
    return pairs


def _write_pair(home: Path, *, is_new: bool) -> None:
    for folder in (home.parent, home):
        _new_folder(folder)
    public, secret = zmq.curve_keypair()
    text = (
        "# The secret key of this machine: nobody else may read this file.\n"
        f'curve\n    public-key = "{public.decode()}"\n    secret-key = "{secret.decode()}"\n'
    )
    _write(home / SECRET_FILE, text, is_new=is_new)


def _write_public(file: Path, pair: KeyPair) -> None:
    text = f'curve\n    public-key = "{pair.public.decode()}"\n'
    if not file.is_file() or file.read_text() != text:
        _write(file, text, is_new=False)


def _write(file: Path, text: str, *, is_new: bool) -> None:
    """All of `text` or nothing, for its owner alone; with `is_new` never over a file that is there."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(descriptor)
        if is_new:
            os.link(part, file)
        else:
            os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def _new_folder(folder: Path) -> None:
    """There, and nobody else's to read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _check_name(name: str) -> None:
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigurationError(
            f"host {name!r}: allowed are letters, digits, '.', '_' and '-', at most 63, no '.' first"
        )


def _only(options: Namespace, option: str) -> None:
    """With an option that says what to do, no hosts and no second such option."""
    if options.hosts or options.list + (options.rotate is not None) + (options.revoke is not None) > 1:
        raise ConfigurationError(f"{option}: takes no further hosts and no second option")
