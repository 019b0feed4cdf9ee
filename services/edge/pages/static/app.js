"use strict";
// Conveniences; everything works without them: copy a key, ask before something that can't be undone, choose a filter at once, look again.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  field.select();
  const done = () => { button.textContent = button.dataset.done; };
  if (navigator.clipboard) navigator.clipboard.writeText(field.value).then(done, () => {});
});
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !window.confirm(question)) event.preventDefault();
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});
const live = document.querySelector("main[data-live]");
if (live) {
  const place = live.querySelector("[data-fresh]");
  const look = async () => {
    const busy = document.hidden || place.contains(document.activeElement) || !window.getSelection().isCollapsed;
    if (!busy) {
      const said = await fetch(location.href).catch(() => null);
      if (said && said.ok && !said.redirected) {
        const fresh = new DOMParser().parseFromString(await said.text(), "text/html").querySelector("[data-fresh]");
        if (fresh) place.replaceChildren(...fresh.childNodes);
      }
    }
    setTimeout(look, live.dataset.live * 1000);
  };
  setTimeout(look, live.dataset.live * 1000);
}
