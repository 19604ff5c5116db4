"""The one exception for mistakes a user can mend."""


class UserError(Exception):
    """What is wrong, where, and what to do, in one paragraph. Entry points print it and exit with code 1."""

    def __init__(self, message: str) -> None:
        # A DataLoader worker's exception arrives with the worker's traceback in front of our sentence.
        if message.startswith("Caught ") and "UserError: " in message:
            message = message.rsplit("UserError: ", 1)[1].strip()
        super().__init__(message)
