"""Names of secrets, and words in or before a name that make something else of it. Lower case."""

LITERALS = (
    "passw", "pswd", "pasword", "pwd", "pw", "psw", "mdp", "psk", "passphrase", "passcode", "pass", "secret", "token", "key", "auth", "credential", "connectionstring",
    "connection_string", "conn_str", "session", "sessionid", "sessid", "connect.sid", "cookie", "signature", "salt", "seed", "mnemonic", "nonce", "login", "pin", "totp", "bearer",
)  # fmt: skip
"""A rule is tried where one of these stands."""
VENDORS = (
    "adafruit", "adobe", "airtable", "algolia", "alibaba", "aliyun", "asana", "atlassian", "jira", "confluence", "authress", "bittrex",
    "bitbucket", "beamer", "clojars", "codecov", "coinbase", "confluent", "contentful", "databricks", "datadog", "dd_api", "dnkey",
    "digitalocean", "doppler", "drone", "duffel", "dynatrace", "discord", "dropbox", "easypost", "etsy", "facebook", "fastly", "finicity",
    "finnhub", "flickr", "flutterwave", "frameio", "freshbooks", "gitter", "gocardless", "grafana", "heroku", "hubspot", "huggingface",
    "intercom", "artifactory", "jfrog", "kraken", "kucoin", "launchdarkly", "launch-darkly", "launch_darkly", "linear", "linkedin", "linked-in", "linked_in", "lob_", "mailgun", "mailchimp", "mapbox",
    "mattermost", "messagebird", "message-bird", "message_bird", "netlify", "newrelic", "new_relic", "new-relic", "nytimes", "newyorktimes", "new-york-times", "okta", "planetscale", "postman", "prefect", "pulumi",
    "rapidapi", "readme", "rubygems", "scalingo", "sendbird", "sendgrid", "sendinblue", "sentry", "shippo", "shopify", "slack", "snyk",
    "squarespace", "sumo", "telegram", "travis", "twitch", "twitter", "typeform", "vault", "yandex", "zendesk", "softlayer", "cloudant",
    "ibm", "cos_hmac", "cos-hmac", "square", "twilio", "stripe", "npm", "pypi", "gitlab", "github", "openai", "anthropic", "azure", "gcp", "aws",
    "cloudflare", "circleci", "buildkite", "bugsnag", "mixpanel", "amplitude", "segment", "pagerduty", "opsgenie", "elastic", "mongo",
    "supabase", "vercel", "render", "notion", "figma", "zoom", "plaid", "paypal", "braintree", "razorpay", "recaptcha", "firebase",
)  # fmt: skip

STRONG_KEYS = (
    "apikey", "accesskey", "secretkey", "privatekey", "authkey", "encryptionkey", "signingkey", "masterkey", "accountkey", "sharedkey",
    "storagekey", "appkey", "applicationkey", "clientkey", "consumerkey", "subscriptionkey", "licensekey", "deploykey", "servicekey",
    "adminkey", "serverkey", "integrationkey", "ingestkey", "hmackey", "aeskey", "cryptkey", "jwtkey", "securitykey", "accesskeysecret",
    "routingkey", "writekey", "readkey", "functionkey", "hostkey", "wifikey", "wi-fikey", "wlankey", "wpakey", "networkkey", "presharedkey", "personalkey", "primarykeysecret", "licencekey", "apisecret", "sdkkey",
)  # fmt: skip
"""Names with `key` that need nothing else to say secret."""

NO_SECRET = frozenset(
    ["id", "ids", "name", "names", "type", "types", "count", "counts", "len", "length", "url", "uri", "urls", "endpoint", "path", "file", "filename", "files", "dir", "folder", "field", "fields", "label", "labels", "hint", "policy", "expiry", "expires", "expiration", "expire", "ttl", "version", "format", "algorithm", "alg", "size", "limit", "limits", "max", "min", "regex", "pattern", "placeholder", "arn", "header", "headers", "prefix", "suffix", "alias", "provider", "manager", "store", "class", "classname", "usage", "used", "ref", "refs", "index", "map", "list", "ring", "chain", "board", "word", "words", "press", "event", "code", "codes", "pair", "pairs", "frame", "hash", "hashed", "digest", "checksum", "fingerprint", "strength", "reset", "required", "enabled", "disabled", "izer", "izers", "ize", "ized", "ization", "address", "budget", "rate", "price", "cost", "schema", "table", "column", "row", "text", "input", "output", "button", "form", "error", "errors", "message", "description", "title", "icon", "color", "status", "state", "validator", "validation", "length", "rules", "rule", "rotation", "lifetime", "scope", "scopes", "issuer", "audience", "kind", "mode", "method", "function", "callback", "handler", "service", "group", "role", "user", "username", "vault", "engine", "backend", "region", "location", "source", "target", "template", "display", "visible", "stream", "streams", "request", "requests", "response", "s_per", "per", "binding", "created", "updated", "at", "date", "time", "timestamp", "last", "first", "stage", "stages", "author", "authors", "authority", "origin", "rity", "ored", "orization_url", "matic", "ent", "cls", "branding"]
)  # fmt: skip
"""Behind: `token_count`."""
NO_SECRET_BEFORE = frozenset(
    ["max", "min", "num", "total", "count", "public", "pub", "primary", "foreign", "sort", "partition", "cache", "row", "index", "object", "lookup", "translation", "route", "idempotency", "hot", "event", "next", "prev", "previous", "page", "continuation", "sync", "prompt", "completion", "input", "output", "cached", "reasoning", "special", "pad", "eos", "bos", "unk", "sep", "mask", "stop", "tokens", "compound", "composite", "natural", "surrogate", "storage_path", "map", "dict", "json", "xml", "css", "group", "unique", "search", "by", "order", "hash", "shard", "range", "registry", "dom", "react", "list", "item", "menu", "shortcut", "arrow", "piano", "house", "turn", "mon", "tur", "don", "hockey", "jockey", "whis", "result", "limit", "more", "starting"]
)  # fmt: skip
"""Before: `primary_key`."""
NO_PASS = frozenset(
    {"bypass", "compass", "trespass", "overpass", "underpass", "encompass", "surpass", "boardingpass", "multipass"}
)
