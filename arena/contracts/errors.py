"""All errors as one tree; each class says whose fault it is.

::

    ArenaError
    ├── UsageError            the user's fault: a wrong name, key or value; exit code 2
    │   ├── UnknownName       no player, victim, data set or key has this name
    │   ├── BadParameter      a player has no such parameter, or it cannot have this value
    │   ├── NeedUnmet         the matchup does not give what a player needs
    │   ├── DataMissing       data are not on this machine; the message says how to get them
    │   ├── RunFolderExists   a folder would be overwritten
    │   ├── RunFolderBusy     another process is playing in a folder
    │   ├── RunFolderChanged  something that a folder's results depend on has changed
    │   └── SandboxUnavailable  code that nobody trusts cannot be run here, because no sandbox works
    ├── QueryRefused          the attack's fault, without consequences: refused whole, not charged
    │   ├── InvalidQuery      wrong shape, dtype, range, account or explain flag, or not finite
    │   ├── QueryTooLarge     more rows or bytes in one call than the oracle allows
    │   ├── BudgetExhausted   the call costs more than what remains
    │   ├── RequestConflict   the request id was used before with different content
    │   ├── MatchClosed       the match is over
    │   └── NotAuthorised     no token, a wrong one, or an expired one
    ├── PlayerFault           a player's fault, which ends the match with a verdict
    │   ├── AttackFault       the attack crashed, or its clone cannot be scored
    │   ├── DefenseFault      the defense crashed, or an answer was off the simplex or not finite
    │   └── DeadlinePassed    a stage exceeded its time limit
    └── ArenaFault            our fault or the machine's: the match is replayed, no player is blamed
        ├── LedgerUnavailable the ledger cannot be written (disk full, restart)
        ├── LedgerCorrupt     the ledger's hash chain or its totals are wrong
        ├── Overloaded        too many calls at once; try again
        └── ServiceUnreachable  an oracle, a cluster or a tracking server does not answer
"""

from __future__ import annotations


class ArenaError(Exception):
    """The base class of every error that the arena raises on purpose."""


class UsageError(ArenaError):
    """The user asked for something that does not exist or cannot be done; nothing was started."""


class UnknownName(UsageError):
    """No player, victim, data set or key has this name; the message suggests the nearest one."""


class BadParameter(UsageError):
    """A parameter that a player does not have, or a value that the parameter cannot take."""


class NeedUnmet(UsageError):
    """A player needs something that its matchup cannot give."""


class DataMissing(UsageError):
    """A data set is not on this machine; the message says how to get it."""


class RunFolderExists(UsageError):
    """A run folder would be overwritten."""


class RunFolderBusy(UsageError):
    """Another process is playing in the run folder."""


class RunFolderChanged(UsageError):
    """A run cannot be continued, because something that its results depend on has changed since it began."""


class SandboxUnavailable(UsageError):
    """Code that nobody trusts cannot be run on this machine, because no sandbox works here."""


class QueryRefused(ArenaError):
    """The oracle refused a call as a whole; nothing was charged."""


class InvalidQuery(QueryRefused):
    """Inputs have a wrong shape or dtype, are empty, not finite or outside [0, 1], or the account does not exist."""


class QueryTooLarge(QueryRefused):
    """A call has more rows or bytes than the oracle allows."""


class BudgetExhausted(QueryRefused):
    """The call costs more than what remains."""

    def __init__(self, message: str, *, remaining: int = 0) -> None:
        super().__init__(message)
        self.remaining = remaining


class RequestConflict(QueryRefused):
    """A request id was used before with different content."""


class MatchClosed(QueryRefused):
    """The match is over: its oracle answers and charges no more queries."""


class NotAuthorised(QueryRefused):
    """The call has no token, a wrong one, or that of a match that has ended; the message is the same for all three."""


class PlayerFault(ArenaError):
    """A fault of a player, which ends its match with a verdict."""


class AttackFault(PlayerFault):
    """The attack crashed, or returned no clone that can be scored."""


class DefenseFault(PlayerFault):
    """The defense crashed or answered off the simplex; the call was not charged."""


class DeadlinePassed(PlayerFault):
    """A stage exceeded its time limit."""


class ArenaFault(ArenaError):
    """A fault of this software or of the machine: the match is replayed, and no player is blamed."""


class LedgerUnavailable(ArenaFault):
    """The ledger cannot be written; the call was neither answered nor charged."""


class LedgerCorrupt(ArenaFault):
    """The ledger's hash chain or its totals are wrong."""


class Overloaded(ArenaFault):
    """Too many calls at once; try again with the same request id."""


class ServiceUnreachable(ArenaFault):
    """An oracle, cluster or tracking server does not answer."""
