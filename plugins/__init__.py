"""The papers, one plugin each, importable as wtal_plugins.<name>."""
