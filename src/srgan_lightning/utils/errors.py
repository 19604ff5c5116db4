"""The exception for mistakes that a user can correct, and text that is safe to print."""

import re
import unicodedata
from typing import Final

#: Longest message in characters. Text quoted from a file may have megabytes. Longer messages lose their middle, not
#: their end.
MAX_LENGTH: Final = 3000


def printable(text: object) -> str:
    """Replace control characters, line ends and bidi marks by escape sequences, so that a terminal shows them as text.

    File names may contain any of them, and also bytes that are not text.
    """
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"  # spaces of all widths
        else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


class UserError(Exception):
    """A mistake that the user can correct: what is wrong, where, and what to do, in one paragraph.

    Commands print it and exit with code 1.
    """

    def __init__(self, message: str) -> None:
        # A DataLoader worker's exception arrives with the worker's traceback in front of the message.
        if message.startswith("Caught ") and "UserError: " in message:
            message = message.rsplit("UserError: ", 1)[1]
        if len(message) > MAX_LENGTH:
            message = f"{message[: MAX_LENGTH - 800]} [...] {message[-700:]}"
        # Quoted messages of other libraries may have line breaks, which become spaces. Other characters that a terminal
        # does not show as text are escaped.
        super().__init__(printable(re.sub(r"\s*\n\s*", " ", message.strip())))
