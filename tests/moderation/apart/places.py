# ruff: noqa: E501 - one case a line
"""Where people put credentials in what they send to a model: files, commands, code, logs, tool
results, sentences.

A place is ``(rng, name, value) -> text``; ``name`` is the environment variable's name. Each holds
the value once. ``NAMED`` say what the value is, ``UNNAMED`` don't (only for values that tell by
themselves).
"""

import json
import random
from collections.abc import Callable

Place = Callable[[random.Random, str, str], str]


def words(name: str) -> list[str]:
    return [word.lower() for word in name.replace("-", "_").split("_") if word]


def human(name: str) -> str:
    """How somebody says it: OKTA_API_TOKEN is an "Okta API token"."""
    said = [word if word not in ("api", "aws", "id", "hf", "dd", "iam") else word.upper() for word in words(name)]
    return " ".join([said[0][:1].upper() + said[0][1:], *said[1:]])


def camel(name: str) -> str:
    first, *rest = words(name)
    return first + "".join(word.capitalize() for word in rest)


def snake(name: str) -> str:
    return "_".join(words(name))


def kebab(name: str) -> str:
    return "-".join(words(name))


def env_file(rng: random.Random, name: str, value: str) -> str:
    return f"# .env\nNODE_ENV=production\n{name}={value}\nPORT={rng.randrange(3000, 9000)}\n"


def env_quoted(_rng: random.Random, name: str, value: str) -> str:
    return f'DEBUG=false\n{name}="{value}"\nLOG_LEVEL=info'


def env_spaced(_rng: random.Random, name: str, value: str) -> str:
    return f"{name} = {value}\nREGION = eu-west-1"


def exported(_rng: random.Random, name: str, value: str) -> str:
    return (
        f"Why does this script not see the variable?\n\n```bash\nexport {name}={value}\n./deploy.sh --stage prod\n```"
    )


def fish(_rng: random.Random, name: str, value: str) -> str:
    return f"set -gx {name} {value}"


def powershell(_rng: random.Random, name: str, value: str) -> str:
    return f'PS C:\\app> $env:{name} = "{value}"\nPS C:\\app> npm run start'


def cmd_exe(_rng: random.Random, name: str, value: str) -> str:
    return f"C:\\> set {name}={value}\r\nC:\\> python main.py\r\n"


def docker_run(_rng: random.Random, name: str, value: str) -> str:
    return f"docker run -d --name app -e {name}={value} -p 8080:8080 example/app:1.4.2"


def dockerfile(_rng: random.Random, name: str, value: str) -> str:
    return f"FROM python:3.12-slim\nENV {name}={value}\nCOPY . /app\nCMD ['python', 'app.py']"


def compose_list(_rng: random.Random, name: str, value: str) -> str:
    return f"services:\n  web:\n    image: app:latest\n    environment:\n      - TZ=UTC\n      - {name}={value}\n"


def compose_map(_rng: random.Random, name: str, value: str) -> str:
    return f"services:\n  web:\n    environment:\n      TZ: UTC\n      {name}: {value}\n    ports: ['80:80']\n"


def yaml_plain(_rng: random.Random, name: str, value: str) -> str:
    return f"server:\n  port: 8080\n{snake(name)}: {value}\nretries: 3\n"


def yaml_quoted(_rng: random.Random, name: str, value: str) -> str:
    return f"app:\n  name: demo\n  {camel(name)}: '{value}'\n  replicas: 2\n"


def yaml_nested(_rng: random.Random, name: str, value: str) -> str:
    first, *rest = words(name)
    return f"integrations:\n  {first}:\n    enabled: true\n    {'_'.join(rest) or 'key'}: {value}\n  other:\n    enabled: false\n"


def kubernetes(_rng: random.Random, name: str, value: str) -> str:
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: app\ntype: Opaque\nstringData:\n  {kebab(name)}: {value}\n"
    )


def actions(_rng: random.Random, name: str, value: str) -> str:
    return f"jobs:\n  test:\n    runs-on: ubuntu-latest\n    env:\n      CI: true\n      {name}: {value}\n    steps:\n      - uses: actions/checkout@v4\n"


def json_flat(_rng: random.Random, name: str, value: str) -> str:
    return json.dumps({"service": "demo", "timeout": 30, snake(name): value, "debug": False})


def json_pretty(_rng: random.Random, name: str, value: str) -> str:
    return json.dumps({"service": {"name": "demo", camel(name): value}, "tags": ["a", "b"]}, indent=2)


def json_nested(_rng: random.Random, name: str, value: str) -> str:
    first, *rest = words(name)
    return json.dumps({first: {"_".join(rest) or "key": value, "region": "eu"}})


def json_in_json(_rng: random.Random, name: str, value: str) -> str:
    return json.dumps(
        {"tool": "read_file", "result": json.dumps({"path": "/app/config.json", "content": json.dumps({name: value})})}
    )


def json_in_string(_rng: random.Random, name: str, value: str) -> str:
    return json.dumps({"stdout": f"{name}={value}\nPATH=/usr/bin\n", "exit_code": 0})


def appsettings(_rng: random.Random, name: str, value: str) -> str:
    pascal = "".join(word.capitalize() for word in words(name))
    return '{\r\n  "Logging": { "LogLevel": "Warning" },\r\n  "' + pascal + '": "' + value + '"\r\n}'


def python_constant(_rng: random.Random, name: str, value: str) -> str:
    return f'import requests\n\n{name} = "{value}"\nresponse = requests.get(URL, timeout=10)\n'


def python_environ(_rng: random.Random, name: str, value: str) -> str:
    return f"os.environ['{name}'] = '{value}'\nclient = Client()"


def python_keyword(_rng: random.Random, name: str, value: str) -> str:
    return f'client = Client(base_url="https://api.example.com", {snake(name)}="{value}", timeout=5)'


def python_dict(_rng: random.Random, name: str, value: str) -> str:
    return f"config = {{'host': 'localhost', '{snake(name)}': '{value}', 'retries': 3}}"


def python_typed(_rng: random.Random, name: str, value: str) -> str:
    return f'class Settings(BaseSettings):\n    {snake(name)}: str = "{value}"\n    debug: bool = False\n'


def python_default(_rng: random.Random, name: str, value: str) -> str:
    return f'key = os.getenv("{name}", "{value}")'


def javascript(_rng: random.Random, name: str, value: str) -> str:
    return f"const {camel(name)} = '{value}';\nexport default {camel(name)};"


def javascript_object(_rng: random.Random, name: str, value: str) -> str:
    return f"export const config = {{\n  baseUrl: 'https://api.example.com',\n  {camel(name)}: `{value}`,\n}};"


def javascript_env(_rng: random.Random, name: str, value: str) -> str:
    return f'process.env.{name} = "{value}";\nrequire("./server");'


def typescript(_rng: random.Random, name: str, value: str) -> str:
    return f'const {name}: string = "{value}";'


def golang(_rng: random.Random, name: str, value: str) -> str:
    return f'package main\n\nconst {camel(name)} = "{value}"\n\nfunc main() {{ run() }}\n'


def golang_short(_rng: random.Random, name: str, value: str) -> str:
    return f'\t{camel(name)} := "{value}"\n\tclient := New({camel(name)})\n'


def rust(_rng: random.Random, name: str, value: str) -> str:
    return f'let {snake(name)} = "{value}".to_string();'


def java(_rng: random.Random, name: str, value: str) -> str:
    return f'private static final String {name} = "{value}";'


def properties(_rng: random.Random, name: str, value: str) -> str:
    return f"server.port=8443\napp.{'.'.join(words(name))}={value}\nspring.profiles.active=dev\n"


def ruby(_rng: random.Random, name: str, value: str) -> str:
    return f"ENV['{name}'] ||= '{value}'\nRails.application.initialize!"


def ruby_hash(_rng: random.Random, name: str, value: str) -> str:
    return f"Service.configure({snake(name)}: '{value}', sandbox: true)"


def php(_rng: random.Random, name: str, value: str) -> str:
    return f"<?php\ndefine('{name}', '{value}');\n"


def php_array(_rng: random.Random, name: str, value: str) -> str:
    return f"return [\n    'driver' => 'http',\n    '{snake(name)}' => '{value}',\n];"


def terraform(_rng: random.Random, name: str, value: str) -> str:
    return f'region = "eu-central-1"\n{snake(name)} = "{value}"\ninstance_count = 2\n'


def toml(_rng: random.Random, name: str, value: str) -> str:
    return f'[tool.demo]\nname = "x"\n{kebab(name)} = "{value}"\n'


def ini(_rng: random.Random, name: str, value: str) -> str:
    return f"[default]\nregion = us-east-1\n{snake(name)} = {value}\n"


def xml_attribute(_rng: random.Random, name: str, value: str) -> str:
    return f'<appSettings>\n  <add key="{name}" value="{value}" />\n</appSettings>'


def xml_element(_rng: random.Random, name: str, value: str) -> str:
    return f"<settings><{camel(name)}>{value}</{camel(name)}><timeout>30</timeout></settings>"


def header(_rng: random.Random, name: str, value: str) -> str:
    return f"curl -s https://api.example.com/v1/items -H 'X-{'-'.join(w.capitalize() for w in words(name))}: {value}' | jq ."


def flag(_rng: random.Random, name: str, value: str) -> str:
    return f"$ tool login --{kebab(name)} {value} --verbose"


def flag_equals(_rng: random.Random, name: str, value: str) -> str:
    return f"tool deploy --{kebab(name)}={value} --region eu"


def query(_rng: random.Random, name: str, value: str) -> str:
    return f"GET https://api.example.com/v2/data?limit=10&{snake(name)}={value}&format=json HTTP/1.1"


def log_line(rng: random.Random, name: str, value: str) -> str:
    return f"2026-03-0{rng.randrange(1, 9)}T10:22:0{rng.randrange(9)}Z DEBUG http.client request_id=77 {snake(name)}={value} status=401"


def log_repr(_rng: random.Random, name: str, value: str) -> str:
    return f"DEBUG:root:settings loaded: {{'host': 'db', '{name}': '{value}', 'ssl': True}}"


def diff(_rng: random.Random, name: str, value: str) -> str:
    return f"@@ -3,4 +3,4 @@ services:\n-{name}=\n+{name}={value}\n PORT=80"


def markdown_table(_rng: random.Random, name: str, value: str) -> str:
    return f"| Variable | Value |\n|---|---|\n| {name} | {value} |\n| REGION | eu |"


def markdown_item(_rng: random.Random, name: str, value: str) -> str:
    return f"Settings:\n- **{human(name)}**: `{value}`\n- **Region**: eu-west-1\n"


def printenv(_rng: random.Random, name: str, value: str) -> str:
    return f"$ printenv\nHOME=/root\n{name}={value}\nSHLVL=1\n"


def said_is(_rng: random.Random, name: str, value: str) -> str:
    return f"Hi! My {human(name)} is {value}, can you tell me why I get a 403?"


def said_colon(_rng: random.Random, name: str, value: str) -> str:
    return f"Please write the client for me.\n{human(name)}: {value}\nThe endpoint is https://api.example.com."


def said_quoted(_rng: random.Random, name: str, value: str) -> str:
    return f'I set the {human(name)} to "{value}" but the job still fails.'


def said_backticks(_rng: random.Random, name: str, value: str) -> str:
    return f"We use the {human(name)} `{value}` in staging."


NAMED: tuple[Place, ...] = (
    env_file, env_quoted, env_spaced, exported, fish, powershell, cmd_exe, docker_run, dockerfile, compose_list,
    compose_map, yaml_plain, yaml_quoted, yaml_nested, kubernetes, actions, json_flat, json_pretty, json_nested,
    json_in_json, json_in_string, appsettings, python_constant, python_environ, python_keyword, python_dict,
    python_typed, python_default, javascript, javascript_object, javascript_env, typescript, golang, golang_short,
    rust, java, properties, ruby, ruby_hash, php, php_array, terraform, toml, ini, xml_attribute, xml_element, header,
    flag, flag_equals, query, log_line, log_repr, diff, markdown_table, markdown_item, printenv, said_is, said_colon,
    said_quoted, said_backticks,
)  # fmt: skip


def bearer(_rng: random.Random, _name: str, value: str) -> str:
    return f'curl https://api.example.com/me -H "Authorization: Bearer {value}"'


def alone(_rng: random.Random, _name: str, value: str) -> str:
    return value


def asked(_rng: random.Random, _name: str, value: str) -> str:
    return f"what is {value} and is it safe to post?"


def in_a_list(_rng: random.Random, _name: str, value: str) -> str:
    return f'["alpha", "{value}", "omega"]'


def in_parentheses(_rng: random.Random, _name: str, value: str) -> str:
    return f"Rotate the old one ({value}) before Friday."


def in_chinese(_rng: random.Random, _name: str, value: str) -> str:
    return f"请帮我看看这个{value}是否还有效。"


def in_a_call(_rng: random.Random, _name: str, value: str) -> str:
    return f"login('{value}')\nrun()"


def in_csv(_rng: random.Random, _name: str, value: str) -> str:
    return f"id,owner,credential\n1,ada,{value}\n2,kurt,\n"


def at_the_end(_rng: random.Random, _name: str, value: str) -> str:
    return f"It answered 401. I tried with {value}."


def in_tool_output(_rng: random.Random, _name: str, value: str) -> str:
    return f"grep: config/prod.rb:14: match {value}\nexit 0"


UNNAMED: tuple[Place, ...] = (
    bearer,
    alone,
    asked,
    in_a_list,
    in_parentheses,
    in_chinese,
    in_a_call,
    in_csv,
    at_the_end,
    in_tool_output,
)
