// Setup, people, data and queries. The pages work without it.
"use strict";
(() => {
  const all = (q, in_ = document) => [...in_.querySelectorAll(q)];

  // Ctrl+Enter, or Cmd+Enter, runs the query.
  all("[data-editor] textarea").forEach(t => t.addEventListener("keydown", e => {
    if (e.key !== "Enter" || !(e.ctrlKey || e.metaKey) || e.isComposing) return;
    e.preventDefault();
    t.form.requestSubmit(t.form.querySelector('button[value="run"]'));
  }));

  // A form that takes a while says so. That it is sent once is seen to for all
  // forms.
  document.addEventListener("submit", e => {
    const form = e.target, says = form.dataset.busy || (form.hasAttribute("data-editor") && "Running…");
    if (!says || e.defaultPrevented) return;
    if (e.submitter && e.submitter.value && !["run", "", "on"].includes(e.submitter.value)) return;
    const b = e.submitter || form.querySelector("button");
    if (!b) return;
    const was = b.textContent;
    b.textContent = says; b.setAttribute("aria-busy", "true");
    addEventListener("pageshow", p => { if (p.persisted) { b.textContent = was; b.removeAttribute("aria-busy"); } }, { once: true });
  });

  // How many tables are chosen, of those on the page and the others.
  const choose = document.querySelector("table.choose"), said = document.querySelector("[data-count]");
  if (choose && said) {
    const here = () => all('input[name="pick"]:checked', choose).length;
    const others = parseInt(said.textContent, 10) - here();
    choose.addEventListener("change", () => { said.textContent = (others + here()) + " chosen"; });
  }

  // What moves from second to second is asked for as often.
  const soon = () => {
    const mark = document.querySelector("[data-soon]");
    if (mark && !document.hidden) document.dispatchEvent(new Event("fairlead:refresh"));
    setTimeout(soon, mark ? 1500 : 5000);
  };
  if (document.querySelector("[data-soon]")) setTimeout(soon, 1500);

  // The problem, or the result, is where the reader goes on.
  if (location.hash === "#problem") document.getElementById("problem")?.focus();
})();
