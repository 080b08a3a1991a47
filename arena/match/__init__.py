"""One match in this process: victims, honest traffic, ledger, play, score; no network, no cluster."""
