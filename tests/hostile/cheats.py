"""Attacks and defenses that cheat: each is the body of an entry, which says what it achieved by raising it."""

from __future__ import annotations

HONEST = """
        chosen = context.pool[torch.randperm(len(context.pool), generator=rng)[: self.rows]]
        oracle.query(chosen)
        return build("mlp", oracle.task, rng=rng).eval()
"""

READS_THE_HOST = """
        import importlib, os, socket, sys
        from pathlib import Path
        got = []

        def tries(what, attempt):
            try:
                found = attempt()
            except BaseException:
                return
            if found is not None and found is not False:
                got.append(f"{{what}}: {{found}}")

        for place in ("/etc/shadow", "/etc/passwd", "/root", "/home", "/work", "/var", "/proc/1/environ", "/proc/kcore"):
            tries(place, lambda: sorted(os.listdir(place)) if os.path.isdir(place) else open(place, "rb").read(9))
        for place in ("/x", "/usr/x", "/packages/arena/x.py", "/entries/x", "/run/arena/x", "/dev/x", __file__):
            tries("writes " + place, lambda: open(place, "w") and place)
        tries("unlinks the socket", lambda: os.unlink("/run/arena/oracle") or "done")
        tries("other entries", lambda: len(os.listdir("/entries")) > 1)
        tries("other processes", lambda: [p for p in os.listdir("/proc") if p.isdecimal() and int(p) not in (1, os.getpid())] or None)
        for name in ("ray", "mlflow", "matplotlib", "pytest"):
            tries("imports " + name, lambda: importlib.import_module(name))
        tries("labelled data", lambda: importlib.import_module("sklearn.datasets").load_digits().target[:3])
        for port in (50051, 6379, 8265, 5000, 22):
            tries(f"port {{port}}", lambda: socket.create_connection(("127.0.0.1", port), 0.2))
        tries("the network", lambda: socket.create_connection(("192.0.2.1", 80), 0.2))
        tries("names", lambda: socket.gethostbyname("example.org"))
        tries("shared memory", lambda: os.listdir("/dev/shm") or None)
        tries("is root", lambda: os.getuid() == 0)
        tries("the token of others", lambda: [k for k in os.environ if "TOKEN" in k or "SECRET" in k] or None)
        if got:
            raise RuntimeError("; ".join(got))
"""

PATCHES_ARENA = """
        import arena.metrics.fidelity, arena.oracle.ledger, arena.oracle.terms, arena.rpc.client
        from arena.match import clones
        arena.metrics.fidelity.agreement = lambda *a, **k: (10**6, 10**6)
        arena.oracle.ledger.check_budget = lambda *a, **k: None
        arena.oracle.terms.OracleTerms.price = lambda *a, **k: 0
        arena.rpc.client.RemoteOracle.remaining = property(lambda self: 10**6)
        clones.pack_clone.__defaults__ = None
"""

OVERSPENDS_IN_PARALLEL = """
        import threading

        def spend():
            for _ in range(40):
                try:
                    oracle.query(torch.rand(3, *oracle.task.shape))
                except Exception:
                    pass

        threads = [threading.Thread(target=spend) for _ in range(10)]
        [one.start() for one in threads]
        [one.join() for one in threads]
        return build("mlp", oracle.task, rng=rng).eval()
"""

REPLAYS_IDS = """
        import torch
        from arena.contracts import QueryBatch, RequestConflict
        from arena.rpc.codec import answer_from_message, query_to_message

        def ask(rows):
            message = query_to_message(b"the same request", QueryBatch(inputs=rows))
            return answer_from_message(oracle._connection.call(oracle._stub.Query, lambda: message)).posteriors

        first = ask(context.pool[:5])
        if not all(torch.equal(ask(context.pool[:5]), first) for _ in range(20)):
            raise RuntimeError("the same request got another answer")
        try:
            ask(context.pool[5:10])
            raise RuntimeError("another request got an answer under the same id")
        except RequestConflict:
            pass
        return build("mlp", oracle.task, rng=rng).eval()
"""

LEAVES_DAEMONS = """
        import os, time
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    while True:
                        time.sleep(60)
                os._exit(0)
"""

FLOODS = """
        import os
        held, blocks = [], b"x" * (1 << 20)
        for folder in ("/tmp", "/dev/shm"):
            try:
                for number in range(10_000):
                    with open(f"{{folder}}/{{number}}", "wb") as file:
                        file.write(blocks)
            except OSError:
                pass
        try:
            for _ in range(100_000):
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        [os.close(one) for one in held]
        for folder in ("/tmp", "/dev/shm"):
            [os.unlink(os.path.join(folder, name)) for name in os.listdir(folder)]
"""

PRINTS_WITHOUT_END = """
        import sys
        while True:
            sys.stderr.write("x" * 100_000)
"""

REMEMBERS = """
            import os
            from pathlib import Path
            for place in ("/tmp/seen", "/dev/shm/seen", "/var/tmp/seen", str(Path(__file__).parent / "seen")):
                try:
                    if os.path.exists(place) and len(calls) == 1:
                        raise SystemExit("I was here before")
                    open(place, "w").close()
                except OSError:
                    pass
"""

SHIPS_A_CLASSIFIER = """
        from pathlib import Path
        from safetensors.torch import load_file
        clone = build("mlp", oracle.task, rng=rng)
        clone.load_state_dict(load_file(Path(__file__).parent / "shipped.safetensors"))
        return clone.eval()
"""
