"""Run folders: how they are made, found, resumed and shared by every command that plays."""
