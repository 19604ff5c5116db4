"""The exception for mistakes that a user can correct, and text that is safe to print."""

import re
import unicodedata
from typing import Final

#: Characters of a message. Text from a file may be megabytes: the middle is cut, and the advice at the end kept.
MAX_LENGTH: Final = 3000


def printable(text: object) -> str:
    """Escape what a terminal would obey and not show: control characters, line ends, changes of direction.

    File names may hold any of them, also bytes that are no text.
    """
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"  # spaces of all widths
        else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


class UserError(Exception):
    """What is wrong, where, and what to do, in one paragraph. Entry points print it and exit with code 1."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker's exception arrives with the worker's traceback in front of our sentence.
        if message.startswith("Caught ") and "UserError: " in message:
            message = message.rsplit("UserError: ", 1)[1]
        if len(message) > MAX_LENGTH:
            message = f"{message[: MAX_LENGTH - 800]} [...] {message[-700:]}"
        # Messages of other libraries, quoted in ours, have lines; no name in them may reach the terminal as it is.
        super().__init__(printable(re.sub(r"\s*\n\s*", " ", message.strip())))
