"""What a terminal is sent: names and messages of others never as control characters."""

import pickle

import pytest

from srgan_lightning.errors import UserError, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo 1.png", "photo 1.png"),
        ("Grüße, 写真　1.png 😀", "Grüße, 写真　1.png 😀"),
        ("\x1b[2J\r\t\x00", r"\x1b[2J\r\t\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("a\u202egnp.exe\u2028", r"a\u202egnp.exe\u2028"),
        (b"a\xff".decode(errors="surrogateescape"), r"a\udcff"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    assert str(UserError(f"{text} is bad.")) == f"{shown} is bad."


def test_a_user_error_is_one_paragraph() -> None:
    error = UserError("It does not fit: Error(s):\n\tMissing key(s): a\n\n  Unexpected: b\n")
    assert str(error) == "It does not fit: Error(s): Missing key(s): a Unexpected: b"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    wrapped = UserError(
        "Caught UserError in DataLoader worker process 0.\nTraceback:\nx.UserError: a\x1b.png is bad.\n"
    )
    assert str(wrapped) == r"a\x1b.png is bad."
