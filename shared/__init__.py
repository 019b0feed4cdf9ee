"""What the services agree on: the structs on the bus, and the few tools each of them needs.

Owns: facts, requests, grants, subjects, configuration, errors, money. Nothing here knows a service;
every service may import from here, and services never import each other. Modules that decide
(`grant`, `money`, `facts`) do no I/O; `bus`, `feed` and `service` do.
"""
