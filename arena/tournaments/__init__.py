"""Presets that ship: one TOML a tournament."""
