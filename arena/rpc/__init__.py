"""The only folder that imports grpc: serves oracles to other processes, and connects attacks to them."""
