"""The view `request_book` for some days: only their tables are looked at, and planned for. Of a
year of days each is a table of its own, and the view, which looks for a provisional row's end in
all of them, takes longer to be planned than to be answered."""


def of_days(first: str, last: str) -> str:
    """A table expression, to be followed by `AS <name>`.

    Args:
        first, last: both days, as SQL.
    """
    within = f"BETWEEN {first} AND {last}"
    return (
        f"(SELECT * FROM request_log AS l WHERE l.day {within} AND (NOT l.provisional OR NOT EXISTS"  # noqa: S608 - our own names
        f" (SELECT FROM request_log AS f WHERE f.day {within} AND f.day = l.day AND f.id = l.id AND NOT f.provisional)))"
    )
