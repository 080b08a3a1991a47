"""One match in one process: the open oracle, its ledger, and the transcript that is left of it."""
