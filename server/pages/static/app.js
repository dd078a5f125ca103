// Fairlead's pages work without this script. With it they stay fresh, times
// keep counting, and there are shortcuts and buttons that copy.
"use strict";
(() => {
  const $ = (q, in_ = document) => in_.querySelector(q);
  const all = (q, in_ = document) => [...in_.querySelectorAll(q)];

  // Times as seen from now.
  const unit = s => s < 60 ? Math.floor(s) + "s" : s < 3600 ? Math.floor(s / 60) + "m" : s < 172800 ? Math.floor(s / 3600) + "h" : Math.floor(s / 86400) + "d";
  const ages = (in_ = document) => all("time[data-ago]", in_).forEach(t => {
    const s = (Date.now() - Date.parse(t.dateTime)) / 1000;
    const text = s > -1 && s < 5 ? "just now" : s < 0 ? "in " + unit(-s) : unit(s) + " ago";
    if (t.textContent !== text) t.textContent = text;
  });

  // What only a script can do is hidden until there is one.
  const dress = (in_ = document) => {
    all("[data-copy]", in_).forEach(b => { b.hidden = !navigator.clipboard; });
    all("[data-help], [data-script]", in_).forEach(b => { b.hidden = false; });
    all("[data-noscript]", in_).forEach(b => { b.hidden = true; });
    all(".code[data-end]", in_).forEach(c => { c.scrollTop = c.scrollHeight; });
  };

  // Regions are put in place of the old ones when they differ. What somebody is
  // at (a field, an open details, a selection) is left alone or carried over.
  const busy = el => {
    const at = document.activeElement, marked = document.getSelection();
    return (el.contains(at) && at.matches("input, textarea, select")) ||
      (marked && !marked.isCollapsed && el.contains(marked.anchorNode));
  };
  const swap = (old, now) => {
    if (old.dataset.shown === undefined) old.dataset.shown = "";
    const open = new Set(all("details[open][id]", old).map(d => d.id));
    const focused = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
    all("details[id]", now).forEach(d => { if (open.has(d.id)) d.open = true; });
    dress(now); ages(now);
    old.replaceWith(now);
    if (focused) all("a[href]", now).find(a => a.getAttribute("href") === focused)?.focus();
  };
  const sources = new Map();
  let asking = false, again = false;
  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Fairlead-Fresh": "1" }, credentials: "same-origin", redirect: "manual" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      if (!answer.ok) return;
      const text = await answer.text();
      const page = new DOMParser().parseFromString(text, "text/html");
      for (const now of all("[data-live]", page)) {
        const old = document.getElementById(now.id);
        if (!old || busy(old)) continue;
        const is = now.outerHTML;
        if (sources.get(now.id) === is) continue;
        sources.set(now.id, is);
        swap(old, document.importNode(now, true));
      }
      if (page.body.dataset.version) document.body.dataset.version = page.body.dataset.version;
      document.title = page.title;
    } catch { /* the stream says that the daemon is gone */ } finally {
      asking = false;
      if (again) { again = false; setTimeout(refresh, 300); }
    }
  };

  document.addEventListener("fairlead:refresh", refresh);

  // The stream says when there is something new. A hidden page has none: a
  // browser opens only a few connections to one host.
  let stream = null, lost = null;
  const offline = on => {
    clearTimeout(lost);
    let note = $(".offline");
    if (!on) { note?.remove(); return; }
    lost = setTimeout(() => {
      if ($(".offline")) return;
      note = document.createElement("p");
      note.className = "offline"; note.setAttribute("role", "status");
      note.textContent = "Not connected. Trying again …";
      document.body.append(note);
    }, 4000);
  };
  const listen = () => {
    const topic = document.body.dataset.topic;
    if (!topic || stream || document.hidden) return;
    stream = new EventSource("/live?topic=" + encodeURIComponent(topic));
    stream.addEventListener("version", e => {
      offline(false);
      if (e.data !== document.body.dataset.version) setTimeout(refresh, Math.random() * 250);
    });
    stream.addEventListener("beat", refresh);
    stream.onopen = () => offline(false);
    stream.onerror = () => {
      offline(true);
      if (stream && stream.readyState === EventSource.CLOSED) { stream = null; setTimeout(listen, 20000); refresh(); }
    };
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = null; offline(false); } else { refresh(); listen(); }
  });
  addEventListener("pagehide", () => { stream?.close(); stream = null; });

  // Lines that are followed: container logs and the like. Text only.
  const follow = box => {
    const most = 5000;
    let ended = false, source = null;
    const open = () => { source = new EventSource(box.dataset.follow); };
    open();
    const near = () => box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    let lines = box.textContent ? box.textContent.split("\n").length : 0;
    source.addEventListener("line", e => {
      const stay = near();
      box.append(e.data + "\n");
      lines += e.data.split("\n").length;
      while (lines > most && box.childNodes.length > 1) { lines -= box.firstChild.textContent.split("\n").length - 1; box.firstChild.remove(); }
      if (stay) box.scrollTop = box.scrollHeight;
    });
    source.addEventListener("end", e => { ended = true; source.close(); state.textContent = e.data || "Ended"; });
    const state = document.getElementById(box.dataset.state) || document.createElement("span");
    source.onopen = () => { state.textContent = "Following"; };
    source.onerror = () => { if (!ended) state.textContent = "Connecting again …"; };
    addEventListener("pagehide", () => source.close());
  };

  // The log of what is done: each line comes once, with its number. The box is
  // laid out from its end, where it stays unless somebody scrolls up.
  const watchLog = box => {
    const list = $("ol", box), state = document.getElementById(box.dataset.state), newest = document.getElementById(box.dataset.newest);
    let source = null, ended = false, after = Number(box.dataset.after);
    const atEnd = () => Math.abs(box.scrollTop) < 24;
    const say = text => { if (state.textContent !== text) state.textContent = text; };
    const add = e => {
      if (e.type === "line" && Number(e.lastEventId) <= after) return;
      after = Number(e.lastEventId);
      const stays = atEnd(), height = box.scrollHeight;
      list.append(document.importNode($("li", new DOMParser().parseFromString("<ol>" + e.data + "</ol>", "text/html")), true));
      if (!stays) box.scrollTop -= box.scrollHeight - height;
      while (list.children.length > 1000) list.firstElementChild.remove();
      newest.hidden = atEnd();
    };
    const close = () => { source?.close(); source = null; };
    const open = () => {
      if (source || ended || document.hidden) return;
      source = new EventSource(box.dataset.log + "?after=" + after);
      source.addEventListener("line", add);
      source.addEventListener("missed", add);
      source.addEventListener("end", e => { ended = true; close(); say(e.data); });
      source.onopen = () => say("Following,");
      source.onerror = () => {
        say("Connecting again …");
        if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(open, 20000); }
      };
    };
    box.addEventListener("scroll", () => { newest.hidden = atEnd(); });
    newest.addEventListener("click", () => { box.scrollTop = 0; box.focus({ preventScroll: true }); });
    document.addEventListener("visibilitychange", () => { if (document.hidden) close(); else open(); });
    addEventListener("pagehide", close);
    open();
  };

  // Shortcuts: never in a field, never with a modifier.
  let went = 0;
  const go = { i: "/", e: "/events", d: "/data", q: "/query" };
  const tab = step => {
    const tabs = all(".tabs a"), at = tabs.findIndex(a => a.hasAttribute("aria-current"));
    tabs[at + step]?.click();
  };
  document.addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select, [contenteditable], dialog")) return;
    if (Date.now() - went < 1500 && go[e.key]) { went = 0; if ($(`.menu a[href="${go[e.key]}"]`)) location.assign(go[e.key]); return; }
    went = 0;
    switch (e.key) {
      case "g": went = Date.now(); return;
      case "r": refresh(); return;
      case "[": tab(-1); return;
      case "]": tab(1); return;
      case "?": $("#help").showModal(); break;
      case "/": { const f = $("[data-filter]") || $("main input:not([type=hidden]), main textarea"); if (!f) return; f.focus(); break; }
      default: return;
    }
    e.preventDefault();
  });
  document.addEventListener("click", async e => {
    const b = e.target.closest("button");
    if (!b) return;
    if (b.hasAttribute("data-help")) $("#help").showModal();
    if (b.hasAttribute("data-copy")) {
      const say = b.querySelector(".hush");
      try { await navigator.clipboard.writeText(b.dataset.copy); b.title = "Copied"; say.textContent = "Copied"; } catch { say.textContent = "Cannot copy here"; }
      setTimeout(() => { b.title = "Copy"; say.textContent = "Copy"; }, 2000);
    }
  });
  // A form is sent once.
  document.addEventListener("submit", e => {
    if (e.target.method === "dialog" || e.target.method === "get") return;
    if (e.target.dataset.sent) { e.preventDefault(); return; }
    e.target.dataset.sent = "1";
    setTimeout(() => { delete e.target.dataset.sent; }, 5000);
  });
  // Lists that are filtered as one types.
  document.addEventListener("input", e => {
    const list = e.target.dataset && e.target.dataset.filter && document.getElementById(e.target.dataset.filter);
    if (!list) return;
    const words = e.target.value.toLowerCase().split(/\s+/);
    all("[data-text]", list).forEach(x => { x.hidden = !words.every(w => x.dataset.text.toLowerCase().includes(w)); });
  });

  dress();
  ages();
  setInterval(ages, 5000);
  all("[data-follow]").forEach(follow);
  all("[data-log]").forEach(watchLog);
  listen();
})();
