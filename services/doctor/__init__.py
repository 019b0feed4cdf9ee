"""Doctor: `python -m services.doctor` looks at what a service needs, with that service's
environment, and says what is wrong and what to do.

Owns: nothing. Takes in: the environment, the configuration file, what broker, database and services
answer. Gives out: a line a check, and an exit status. Never: changes anything, or shows a secret.
"""
