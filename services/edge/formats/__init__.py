"""Formats: the client's side of a call, one file each (base.py says what a format is).

Owns: what a request, an answer and a stream of one wire look like. Sans-I/O.
Never: connects, waits, reads a clock, or knows which provider a call goes to.
"""
