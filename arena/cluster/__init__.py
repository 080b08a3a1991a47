"""The only folder that imports ray: plays matches on a Ray cluster."""
