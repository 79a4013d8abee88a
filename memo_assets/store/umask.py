"""Who may read what the platform writes: the umask of its processes.

What belongs here: the setting and its check. Every process that writes sets it first: the command, the code location,
workers, the probe of a cluster's nodes. Texts and models of a study may be private, and so are its files unless
somebody says otherwise.
"""

import os
import re

UMASK_VARIABLE = "MEMO_UMASK"
PRIVATE = 0o077


class UmaskError(ValueError):
    """MEMO_UMASK is no umask that the platform can work with; the message says what was given and expected."""


def chosen_umask() -> int:
    """The umask of MEMO_UMASK, else 077: only the owner reads and writes.

    Raises:
        UmaskError: no octal number, or one that would keep the owner out of the own files.
    """
    given = os.environ.get(UMASK_VARIABLE, "")
    if not given:
        return PRIVATE
    if not re.fullmatch(r"0?0?[0-7]{1,2}", given):
        raise UmaskError(
            f"{UMASK_VARIABLE}={given!r} is no umask from 000 to 077; leave it out for files of your own, or set it to 027 "
            "where a group shares the warehouse"
        )
    return int(given, 8)


def set_umask() -> None:
    """Let this process and all that it starts create files by the chosen umask.

    Raises:
        UmaskError: as in `chosen_umask`.
    """
    os.umask(chosen_umask())
