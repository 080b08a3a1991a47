"""Everything that can go wrong, as one tree; each class says whose fault it is.

::

    ArenaError
    ├── UsageError            the user's: a name, a key, a number; exit code 2
    │   ├── UnknownName       a player, victim, data set or key that is not there
    │   ├── BadParameter      a parameter that a player lacks, or a value it cannot have
    │   ├── NeedUnmet         a matchup cannot give what a player needs
    │   ├── DataMissing       data that is not on this machine; says how to get it
    │   ├── RunFolderExists   a folder that would be overwritten
    │   ├── RunFolderBusy     a folder that another process is playing
    │   └── RunFolderChanged  a folder whose matches depend on something that is not as it was
    ├── QueryRefused          the attack's, and harmless: refused whole, nothing charged
    │   ├── InvalidQuery      shape, dtype, range, finiteness, account, explain
    │   ├── QueryTooLarge     more rows or bytes in one call than the oracle takes
    │   ├── BudgetExhausted   costs more than what remains
    │   ├── RequestConflict   a request id that was used with other content
    │   ├── MatchClosed       the match is over
    │   └── NotAuthorised     no token, a wrong one, or one that has expired
    ├── PlayerFault           ends the match with a verdict
    │   ├── AttackFault
    │   ├── DefenseFault      an answer off the simplex or not finite; a crash
    │   └── DeadlinePassed    a stage's time is over
    └── ArenaFault            ours, or the machine's: replayed, never blamed on a player
        ├── LedgerUnavailable the ledger cannot write (disk full, restart)
        ├── LedgerCorrupt     its hash chain does not close
        ├── Overloaded        too many calls at once; try again
        └── ServiceUnreachable  an oracle, cluster or tracking server that does not answer
"""

from __future__ import annotations


class ArenaError(Exception):
    """The root: everything that the arena raises on purpose."""


class UsageError(ArenaError):
    """The user asked for something that does not exist or cannot be done; nothing was started."""


class UnknownName(UsageError):
    """No player, victim, data set or key has this name; the message suggests the nearest one."""


class BadParameter(UsageError):
    """A parameter that a player does not have, or a value that the parameter cannot take."""


class NeedUnmet(UsageError):
    """A player needs something that its matchup cannot give."""


class DataMissing(UsageError):
    """A data set that is not on this machine."""


class RunFolderExists(UsageError):
    """A run folder that would be overwritten."""


class RunFolderBusy(UsageError):
    """A run folder that another process is playing."""


class RunFolderChanged(UsageError):
    """A run folder that cannot be continued: what its matches depend on is not as it was when it began."""


class QueryRefused(ArenaError):
    """A call that the oracle refused whole; nothing was charged."""


class InvalidQuery(QueryRefused):
    """Inputs of the wrong shape or dtype, outside [0, 1], not finite, empty, or of an account that is not there."""


class QueryTooLarge(QueryRefused):
    """More rows or bytes in one call than the oracle takes."""


class BudgetExhausted(QueryRefused):
    """The call costs more than what remains."""

    def __init__(self, message: str, *, remaining: int = 0) -> None:
        super().__init__(message)
        self.remaining = remaining


class RequestConflict(QueryRefused):
    """A request id that was already used with other content."""


class MatchClosed(QueryRefused):
    """The match is over: its oracle charges and answers nothing."""


class NotAuthorised(QueryRefused):
    """No token, a wrong token, or one whose match has ended: the same words for all three."""


class PlayerFault(ArenaError):
    """Something a player did that ends its match with a verdict."""


class AttackFault(PlayerFault):
    """The attack crashed, returned no clone, or one that cannot be scored."""


class DefenseFault(PlayerFault):
    """The defense crashed or answered off the simplex; the call was not charged."""


class DeadlinePassed(PlayerFault):
    """A stage took longer than its limit."""


class ArenaFault(ArenaError):
    """A fault of ours or of the machine: the match is replayed and no player is blamed."""


class LedgerUnavailable(ArenaFault):
    """The ledger cannot be written; the call was neither answered nor charged."""


class LedgerCorrupt(ArenaFault):
    """The ledger's hash chain or sums do not close."""


class Overloaded(ArenaFault):
    """Too many calls at once; try again with the same request id."""


class ServiceUnreachable(ArenaFault):
    """An oracle, cluster or tracking server does not answer."""
