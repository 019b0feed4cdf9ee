"""The admin page, the login, and the model hub: for browsers, so none of it is in the API's
document.
"""

from shared.routes.route import Route


def _page(
    name: str,
    summary: str,
    *paths: str,
    methods: tuple[str, ...] = ("GET",),
    surface: str = "pages",
    public: bool = True,
) -> Route:
    """`public`: whoever comes may come; the page itself sees whose session it is."""
    return Route(
        name=name,
        methods=methods,
        paths=paths or (name,),
        surface=surface,
        groups=frozenset({"public_routes" if public else "own_routes"}),
        answer=None,
        summary=summary,
    )


ROWS = (
    _page("/sso/key/generate", "Begin a login at the identity provider", surface="sso"),
    _page("/sso/callback", "Come back from the identity provider", surface="sso"),
    _page("/sso/readiness", "Whether single sign-on is set up", surface="sso"),
    _page("/ui/login", "The login page", surface="sso"),
    _page("POST /ui/login", "Log in by password", "/ui/login", methods=("POST",), surface="sso"),
    _page("/ui/invitation", "Set a password, for who was invited", surface="sso"),
    _page("POST /ui/invitation", "Set it", "/ui/invitation", methods=("POST",), surface="sso"),
    _page("/ui/logout", "End the session", methods=("POST",), surface="sso"),
    _page("/ui/me", "Whose session it is", surface="sso", public=False),
    _page("/ui/static", "Style sheet, script and icon", "/ui/static/{version}/{file}"),
    _page("/ui/spend.csv", "The spend explorer's table"),
    _page("/ui", "A page", "/ui", "/ui/", "/ui/{page:path}"),
    _page("POST /ui", "A change by a page's form", "/ui/{page:path}", methods=("POST",)),
)
