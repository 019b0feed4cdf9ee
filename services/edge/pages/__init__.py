"""The admin page and the model hub: rendered here, from what policy and the ledger answer to the
visitor's own session.

    site.py     the table of views: address → what loads it, what it is called, who sees it
    visitor.py  who is looking: the session in the cookie, the language, where the browser thinks it is
    api.py      questions to policy and ledger, with the session's key: a page can do no more than its visitor
    forms.py    what a browser sends
    render.py   Jinja2, the security headers, files that stay the same
    charts.py   SVG, as text
    words.py    one catalogue a language

No page holds state; no script but `static/app.js`; nothing is loaded from anywhere else.
"""  # noqa: W505
