"use strict";
// The playground: a call as any client makes it, with the key of the form and without the page's cookie.
const form = document.getElementById("play");
const answer = document.getElementById("answer");
const facts = document.getElementById("facts");
const stop = document.getElementById("stop");
let running = null;

const put = (name, value) => {
  let cell = facts.querySelector(`[data-of="${name}"]`);
  if (!cell) {
    facts.append(document.createElement("dt"), document.createElement("dd"));
    facts.children[facts.children.length - 2].textContent = facts.dataset[name];
    cell = facts.lastElementChild;
    cell.dataset.of = name;
  }
  cell.textContent = value;
};

const ask = (path, key, more) => fetch(path, { credentials: "omit", headers: { Authorization: "Bearer " + key, "Content-Type": "application/json" }, ...more });

async function models() {
  if (!form.elements.key.value) return;
  const said = await ask("/v1/models", form.elements.key.value, {});
  if (!said.ok) return;
  const list = document.getElementById("models");
  list.replaceChildren(...(await said.json()).data.map(({ id }) => Object.assign(document.createElement("option"), { value: id })));
  if (!form.elements.model.value && list.options.length) form.elements.model.value = list.options[0].value;
}

function body() {
  const of = (name) => form.elements[name].value.trim();
  const messages = [{ role: "user", content: of("message") }];
  if (of("system")) messages.unshift({ role: "system", content: of("system") });
  const asked = { model: of("model"), messages, stream: true, stream_options: { include_usage: true } };
  for (const name of ["temperature", "max_tokens"]) if (of(name)) asked[name] = Number(of(name));
  return JSON.stringify(asked);
}

// What the book has of the call, as the page shows it to who is signed in: it follows by milliseconds.
async function recorded(id) {
  for (let tries = 0; tries < 20; tries += 1) {
    const said = await fetch("/ui/requests/" + encodeURIComponent(id) + "?wait=1");
    if (said.ok && !said.redirected) {
      const page = new DOMParser().parseFromString(await said.text(), "text/html");
      const named = (what, name) => [...page.querySelectorAll(what)].find((each) => each.textContent === facts.dataset[name]);
      const cost = named(".card span", "cost")?.nextElementSibling.textContent;
      const rows = named("section h2", "guardrails")?.parentElement.querySelectorAll("tbody tr") || [];
      const ran = [...rows].map(({ cells }) => cells[0].textContent + ": " + cells[2].textContent).join(", ");
      if (cost) return { cost, ran };
    }
    await new Promise((then) => setTimeout(then, 250));
  }
  return null;
}

async function read(said, begun) {
  const reader = said.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", first = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const event = JSON.parse(line.slice(6));
      if (event.error) answer.append("\n" + event.error.message);
      const text = event.choices?.[0]?.delta?.content;
      if (text) {
        if (!first) { first = performance.now(); put("first", (first - begun).toFixed(0) + " ms"); }
        answer.append(text);
      }
      if (event.usage) put("tokens", event.usage.prompt_tokens + " + " + event.usage.completion_tokens);
    }
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (running) running.abort();
  running = new AbortController();
  stop.disabled = false;
  answer.replaceChildren();
  facts.replaceChildren();
  const key = form.elements.key.value.trim(), begun = performance.now();
  try {
    const said = await ask("/v1/chat/completions", key, { method: "POST", body: body(), signal: running.signal });
    put("status", String(said.status));
    const id = said.headers.get("x-tollgate-request-id");
    if (id) put("id", id);
    if (!said.ok) answer.textContent = (await said.json()).error.message;
    else if ((said.headers.get("content-type") || "").startsWith("application/json")) answer.textContent = (await said.json()).choices[0].message.content;
    else await read(said, begun);
    put("took", (performance.now() - begun).toFixed(0) + " ms");
    const found = id ? await recorded(id) : null;
    if (found) {
      put("cost", found.cost);
      put("guardrails", found.ran || facts.dataset.none);
    }
  } catch (error) {
    if (error.name !== "AbortError") answer.append("\n" + error.message);
  }
  stop.disabled = true;
});
stop.addEventListener("click", () => running && running.abort());
form.elements.key.addEventListener("change", models);
models();
