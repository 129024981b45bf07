"""A missing method for one class of the simulator, put into its class file.

Objects of the simulator are equal when their ids are, and have no hash code that fits: sets of them are
walked in an order that depends on all that the JVM did before, and with it texts, temperatures and even
scores. The method makes the id the hash code, so the same actions give the same texts.
"""

from typing import Final

_SIZES: Final = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5}
"""Bytes of a constant by its tag; a text, of tag 1, tells its own. JVM specification, section 4.4."""
_TEXT: Final = 1
_TWO_SLOTS: Final = (5, 6)
_METHOD: Final = 10
_PUBLIC: Final = 1


def with_hash_code(code: bytes, identity: str) -> bytes:
    """The class with `public int hashCode()`, which is the low half of what its `long <identity>()` gives.

    ValueError when the class does not call that method itself, or has a hash code already.
    """
    constants, end = _constants(code)
    texts = {entry[3:]: index for index, entry in constants.items() if entry[0] == _TEXT}
    if b"hashCode" in texts:
        raise ValueError("the class has a hash code")
    called = _method(constants, identity.encode(), b"()J")
    # this, this.identity(), long to int, return it
    body = b"\x2a\xb6" + _short(called) + b"\x88\xac"
    count = _number(code, 8, 2)
    added = [b"hashCode", b"()I", b"Code"]
    name, kind, label = (_short(count + position) for position in range(3))
    attribute = _short(2) + _short(1) + len(body).to_bytes(4, "big") + body + _short(0) + _short(0)
    method = _short(_PUBLIC) + name + kind + _short(1) + label + len(attribute).to_bytes(4, "big") + attribute
    pool = code[10:end] + b"".join(b"\x01" + _short(len(text)) + text for text in added)
    methods = _members_end(code, end + 6 + 2 + 2 * _number(code, end + 6, 2))
    after = _members_end(code, methods)
    num_methods = _short(_number(code, methods, 2) + 1)
    start = code[:8] + _short(count + len(added)) + pool
    return start + code[end:methods] + num_methods + code[methods + 2 : after] + method + code[after:]


def _constants(code: bytes) -> tuple[dict[int, bytes], int]:
    """The constants by number, and where they end."""
    found: dict[int, bytes] = {}
    index, at = 1, 10
    while index < _number(code, 8, 2):
        tag = code[at]
        size = 3 + _number(code, at + 1, 2) if tag == _TEXT else _SIZES[tag]
        found[index] = code[at : at + size]
        index += 2 if tag in _TWO_SLOTS else 1
        at += size
    return found, at


def _method(constants: dict[int, bytes], name: bytes, kind: bytes) -> int:
    """The number of the method's constant; ValueError when there is none."""
    for index, entry in constants.items():
        if entry[0] == _METHOD:
            pair = constants[_number(entry, 3, 2)]
            if (constants[_number(pair, 1, 2)][3:], constants[_number(pair, 3, 2)][3:]) == (name, kind):
                return index
    raise ValueError(f"the class calls no method {name.decode()}{kind.decode()}")


def _members_end(code: bytes, at: int) -> int:
    """Behind the fields or methods that begin with their number at `at`."""
    count, at = _number(code, at, 2), at + 2
    for _ in range(count):
        attributes, at = _number(code, at + 6, 2), at + 8
        for _ in range(attributes):
            at += 6 + _number(code, at + 2, 4)
    return at


def _number(code: bytes, at: int, size: int) -> int:
    return int.from_bytes(code[at : at + size], "big")


def _short(number: int) -> bytes:
    return number.to_bytes(2, "big")
