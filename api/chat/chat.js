// The chat page: speaks the WebSocket of docs/generalbots.md. Whatever was said is put in as text, never as HTML.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const [log, typing, chips, notice, state, words, send] =
    ["log", "typing", "suggestions", "notice", "state", "words", "send"].map(byId);
  const main = document.querySelector("main");
  const spelled = (written) => {
    try {
      return decodeURIComponent(written);
    } catch {
      return written; // no address of ours: nobody has such a bot
    }
  };
  const bot = spelled(location.pathname.replace(/^\/chat\/?/, ""));
  const box = `crontalk-chat:${location.pathname}`;
  const FINAL = new Set([4401, 4403]);
  const SENTENCES = {
    unauthorized: "This token does not open a conversation, or not any more.",
    forbidden: "This conversation is not open to you.",
    rate_limited: "That was too fast. Wait a moment, then try again.",
    session_expired: "The earlier conversation has expired. This is a new one.",
  };

  const kept = read();
  let token = fromFragment() || kept.token || null;
  let socket = null;
  let place = null; // the session that is shown
  let ready = false;
  let tries = 0;
  let timer = 0;
  let live = null; // the message that is being written
  let awaited = null; // who we have said that we are: the connection is ours once that is answered
  let offered = null;
  const shown = new Set(); // ids of messages
  const waiting = new Map(); // own id → {text, item}
  let seen = -1;

  function read() {
    try { return JSON.parse(sessionStorage.getItem(box)) || {}; } catch { return {}; }
  }
  function keep() {
    try { sessionStorage.setItem(box, JSON.stringify(kept)); } catch { /* a frame without storage */ }
  }
  // The fragment never leaves the browser; it is taken out of the address so that it is not copied along.
  function fromFragment() {
    const found = new URLSearchParams(location.hash.slice(1)).get("token");
    if (found) history.replaceState(null, "", location.pathname);
    return found;
  }

  function connect() {
    clearTimeout(timer);
    say_state("Connecting …", "");
    const address = new URL(bot ? `/ws/${encodeURIComponent(bot)}` : "/ws", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    const mine = new WebSocket(address, ["crontalk"]);
    socket = mine;
    mine.onopen = () => {
      const secret = token || kept.resume;
      awaited = token ? "user" : kept.resume ? "visitor" : null;
      if (secret) mine.send(JSON.stringify({ type: "auth", token: secret, after: after(), deltas: true }));
    };
    mine.onmessage = (event) => { if (mine === socket) take(JSON.parse(event.data)); };
    mine.onclose = (event) => { if (mine === socket) closed(event.code); };
  }
  function after() {
    const session = place || (token ? null : kept.session);
    return session ? [`${session}:${Math.max(seen, 0)}`] : [];
  }
  function closed(code) {
    ready = false;
    settle();
    quiet();
    if (FINAL.has(code)) {
      say_state("Closed", "off");
      token = kept.token = kept.resume = null;
      keep();
      ask_for_token();
      return;
    }
    if (code === 4408) {
      say_state("Closed", "off");
      tell("This conversation has ended, since nothing was said for a while.", true);
      return;
    }
    if (code === 4409) {
      say_state("Closed", "off");
      tell("This conversation goes on in another window.", true);
      return;
    }
    say_state("Reconnecting …", "off");
    const wait = Math.min(30, 2 ** tries++) * 1000;
    timer = setTimeout(connect, wait * (0.5 + Math.random() / 2));
  }

  const TAKES = {
    status(frame) {
      if (frame.status === "delivered") return delivered(frame);
      if (frame.status === "resumed" && !frame.complete && token && place !== null) return again();
      if (frame.status !== "connected") return;
      const ours = awaited === "user" ? frame.authenticated : awaited === null || frame.resumed;
      if (!ours) { offered = frame; return; }
      awaited = null;
      if (frame.bot_name && frame.bot_name !== "default") name(frame.bot_name);
      welcome(frame);
    },
    message(frame) {
      if (place === null && token) begin(frame.session_id);
      if (frame.session_id !== place) return;
      seen = Math.max(seen, frame.seq ?? -1);
      if (shown.has(frame.message_id)) return;
      shown.add(frame.message_id);
      if (frame.sender === "bot" && live) { live.remove(); live = null; }
      show(frame.sender, frame.content, frame.timestamp, frame);
      if (frame.sender === "user") suggest([]);
    },
    typing(frame) { if (frame.session_id === place) compose(frame.active); },
    delta(frame) {
      if (frame.session_id !== place) return;
      if (!live) { live = show("bot", "", null, {}); live.classList.add("live"); live.setAttribute("aria-hidden", "true"); }
      live.querySelector("p").textContent += frame.content;
      typing.hidden = true;
      scroll();
    },
    suggestion(frame) { if (frame.session_id === place) suggest(frame.suggestions); },
    error(frame) {
      if (frame.error === "session_expired" && awaited === "visitor" && offered) {
        awaited = null;
        forget();
        welcome(offered);
        return tell(SENTENCES.session_expired);
      }
      if (frame.error === "unavailable" && awaited === "visitor") return socket.close(); // and asked again
      if (frame.session_id && frame.session_id !== place) return;
      if (frame.error === "turn_failed") compose(false);
      for (const [id, one] of waiting) { one.item.classList.add("failed"); waiting.delete(id); break; }
      tell(SENTENCES[frame.error] || frame.message);
    },
  };
  function take(frame) { if (Object.hasOwn(TAKES, frame.type)) TAKES[frame.type](frame); }

  function welcome(frame) {
    const session = frame.session_id;
    if (!frame.authenticated) { kept.resume = frame.resume; kept.session = session; keep(); }
    else { kept.token = token; keep(); }
    if (place !== null && session !== null && session !== place) forget();
    if (session !== null) begin(session);
    tries = 0;
    ready = true;
    say_state("Online", "on");
    quiet();
    settle();
    if (document.activeElement === document.body) words.focus();
    for (const [id, one] of waiting) push(id, one.text);
  }
  function begin(session) {
    if (place === session) return;
    place = session;
    if (token) past(session);
  }
  // More was missed than is told on coming back: the history has it.
  function again() {
    const session = place;
    if (waiting.size) return past(session);
    forget();
    begin(session);
  }
  // Who signs in sees what was said before.
  async function past(session) {
    const answer = await fetch(`/api/conversations/${session}/history?limit=100`, {
      headers: { Authorization: `Bearer ${token}` },
    }).catch(() => null);
    if (!answer || !answer.ok || session !== place) return;
    const { messages } = await answer.json();
    const fresh = messages.filter((one) => !shown.has(one.id));
    const first = log.firstChild;
    for (const one of fresh) { shown.add(one.id); show(one.sender, one.content, one.timestamp, one, first); }
    const last = messages.at(-1);
    if (last && last.sender === "bot" && last.suggestions && chips.hidden) suggest(last.suggestions);
  }
  function forget() {
    log.replaceChildren();
    shown.clear();
    seen = -1;
    live = null;
    place = null;
    suggest([]);
  }

  function speak(text) {
    const said = text.trim();
    if (!said || !ready) return;
    const id = crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2) + Date.now();
    const item = show("user", said, null, {});
    item.classList.add("waiting");
    waiting.set(id, { text: said, item });
    suggest([]);
    quiet();
    push(id, said);
  }
  // Sent again after a reconnection under the same id: it is stored once.
  function push(id, text) {
    socket.send(JSON.stringify({ type: "message", content: text, id, deltas: true, ...(place ? { session_id: place } : {}) }));
  }
  function delivered(frame) {
    const one = waiting.get(frame.id);
    if (place === null) place = frame.session_id;
    seen = Math.max(seen, frame.seq ?? -1);
    if (!one) return;
    waiting.delete(frame.id);
    if (shown.has(frame.message_id)) { one.item.remove(); return; }
    shown.add(frame.message_id);
    one.item.classList.remove("waiting");
    stamp(one.item, frame.timestamp);
  }

  function show(sender, text, at, more, before = null) {
    const item = document.createElement("li");
    const who = document.createElement("span");
    const body = document.createElement("p");
    item.className = `message ${sender === "user" ? "user" : "bot"}`;
    const last = before ? before.previousElementSibling : log.lastElementChild;
    if (!last || !last.classList.contains(sender === "user" ? "user" : "bot")) item.classList.add("turn");
    who.className = "unseen";
    who.textContent = sender === "user" ? "You said:" : `${byId("name").textContent} said:`;
    body.dir = "auto";
    body.textContent = text;
    item.append(who, body);
    for (const [condition, sentence] of [[more.attachments?.length, `Attachments: ${more.attachments?.length}`], [more.incomplete, "This answer is incomplete."]]) {
      if (!condition) continue;
      const note = document.createElement("span");
      note.className = "more";
      note.textContent = sentence;
      item.append(note);
    }
    if (at) stamp(item, at);
    const below = main.scrollHeight - main.scrollTop - main.clientHeight < 120;
    log.insertBefore(item, before);
    if (below || sender === "user") scroll();
    return item;
  }
  function stamp(item, at) {
    const time = document.createElement("time");
    time.dateTime = at;
    time.textContent = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    item.querySelector("time")?.remove();
    item.append(time);
  }
  function suggest(given) {
    chips.replaceChildren(...given.map(({ text, value }) => {
      const entry = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.onclick = () => { speak(value); words.focus(); };
      entry.append(button);
      return entry;
    }));
    chips.hidden = given.length === 0;
    scroll();
  }
  function compose(active) {
    typing.hidden = !active || live !== null;
    byId("typing-words").textContent = active ? `${byId("name").textContent} is typing` : "";
    scroll();
  }
  function name(said) {
    byId("name").textContent = said;
    byId("face").textContent = [...said.trim()][0]?.toUpperCase() || "";
    document.title = said;
  }
  function say_state(sentence, kind) {
    state.textContent = sentence;
    state.className = kind;
  }
  function tell(sentence, again = false) {
    byId("notice-words").textContent = sentence;
    byId("again").hidden = !again;
    notice.hidden = false;
    scroll();
  }
  function quiet() { notice.hidden = true; }
  function scroll() { main.scrollTop = main.scrollHeight; }
  function settle() {
    words.disabled = !ready && place === null;
    send.disabled = !ready || !words.value.trim();
    if (!ready) compose(false);
  }
  function grow() {
    words.style.height = "auto";
    words.style.height = `${words.scrollHeight + 3}px`;
    settle();
  }
  function ask_for_token() {
    byId("say").hidden = main.hidden = true;
    byId("key").hidden = false;
    say_state("Waiting for a token", "");
    byId("token").focus();
  }

  words.addEventListener("input", grow);
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      byId("say").requestSubmit();
    }
  });
  byId("say").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!ready || !words.value.trim()) return;
    speak(words.value);
    words.value = "";
    grow();
    words.focus();
  });
  byId("key").addEventListener("submit", (event) => {
    event.preventDefault();
    token = byId("token").value.trim();
    byId("token").value = "";
    if (!token) return;
    byId("key").hidden = true;
    forget(); // what another token opened is not this one's
    waiting.clear();
    byId("say").hidden = main.hidden = false;
    connect();
  });
  byId("again").addEventListener("click", () => {
    kept.resume = kept.session = null;
    keep();
    forget();
    connect();
  });
  window.addEventListener("online", () => { if (!ready && timer) connect(); });

  if (bot && bot !== "default" && !token) ask_for_token();
  else connect();
})();
