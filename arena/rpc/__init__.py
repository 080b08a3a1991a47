"""The only folder that imports grpc: oracles served to other processes, and the clients that play them."""
