"""The version, said once: packaging and programs read it here."""

VERSION = "0.2.0"
