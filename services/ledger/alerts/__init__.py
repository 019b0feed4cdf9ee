"""What people are told by Slack, webhook or e-mail (`general_settings.alerting`): found in the
book, told once, none lost.

    settings.py   which alerts, where to; pure
    detect.py     groups of the book's rows → alerts; pure
    deployments.py, users.py   regions, rests, models that end, fallbacks; what users spend; pure
    served.py     what the configuration says of deployments; pure
    rests.py      which deployments rest, as edges tell each other
    reports.py    sums of a day, a week, a month, as messages; pure
    channels.py   how a message is sent
    watch.py      that a ledger can't work, which the table can't tell
    run.py        one ledger at a time: read on, find, write into the table `alert`, send from there

Finding moves the position and writes the alerts in one transaction; sending takes them from the
table until every channel has them. An alert's id says what it is about and when, so that a fault is
one alert however many rows tell of it, whichever ledger reads them.
"""
