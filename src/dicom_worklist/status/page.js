(() => {
  const EACH = 60000;
  const place = (id) => document.getElementById(id);
  const main = document.querySelector("main");

  // ---- how old the page is
  const age = () => Date.now() - Date.parse(place("written").dateTime);
  const look = () => {
    // a page of the future is one on a device whose clock is behind: it would not see an old one
    place("stale").hidden = age() >= -EACH && age() <= place("written").dataset.limit * 1000;
    document.documentElement.classList.toggle("old", !place("stale").hidden || !place("away").hidden);
  };
  look();
  setInterval(look, 5000);

  // ---- a count shows the bookings of its state alone
  const choose = (state) => {
    if (state) main.dataset.only = state;
    else delete main.dataset.only;
    place("only").hidden = !state;
    place("only-what").textContent = state ? state.replace("-", " ") : "";
    for (const link of document.querySelectorAll("[data-state]")) {
      link.setAttribute("role", "button");
      link.setAttribute("aria-pressed", link.dataset.state === state);
    }
  };
  const press = (event) => {
    const link = event.target.closest("[data-state], #all");
    if (!link) return;
    event.preventDefault();
    choose(link.dataset.state === main.dataset.only ? "" : link.dataset.state || "");
  };
  document.addEventListener("click", press);
  document.addEventListener("keydown", (event) => { if (event.key === " ") press(event); });
  addEventListener("hashchange", () => {
    const target = place(location.hash.slice(1));
    if (target && !target.checkVisibility()) choose("");
    target?.scrollIntoView();
  });
  choose("");

  // ---- the open page becomes the new one: what stays is not touched, so it keeps focus and place
  const OURS = new Set(["open", "data-only", "role", "aria-pressed"]);
  const key = (one) => one.id || one.dataset?.key || "";
  const same = (one, other) => one.nodeName === other.nodeName && key(one) === key(other);
  const renew = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) if (!OURS.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
      if (!OURS.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    let next = old.firstChild;
    const free = new Set(old.children);
    for (const one of [...fresh.childNodes]) {
      const found = key(one) ? [...free].find((other) => same(other, one)) : next && same(next, one) ? next : null;
      if (found) {
        free.delete(found);
        if (found === next) next = next.nextSibling;
        else old.insertBefore(found, next);
        renew(found, one);
      } else old.insertBefore(document.importNode(one, true), next);
    }
    while (next) {
      const after = next.nextSibling;
      next.remove();
      next = after;
    }
  };
  const become = (fresh) => {
    const focused = document.activeElement, { top, bottom } = focused.getBoundingClientRect();
    const seen = focused !== document.body && bottom > 0 && top < innerHeight;
    // what is looked at stays where it is on the screen, unless that is the top of the page
    const mark = seen ? focused : document.elementFromPoint(innerWidth / 2, innerHeight / 2)?.closest("[id], [data-key]");
    const before = mark?.getBoundingClientRect().top;
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    for (const part of ["header", "main", "footer"]) renew(document.querySelector(part), fresh.querySelector(part));
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    choose(main.dataset.only || "");
    look();
    if (scrollY && mark?.isConnected) scrollBy(0, mark.getBoundingClientRect().top - before);
  };
  document.documentElement.style.overflowAnchor = "none";

  // ---- each minute it asks for itself
  let busy = false;
  const follow = async () => {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(EACH / 2) });
      const fresh = new DOMParser().parseFromString(answer.ok ? await answer.text() : "", "text/html");
      if (!fresh.getElementById("written")) throw new Error(answer.statusText);
      if (fresh.querySelector("script").text !== document.querySelector("script").text) return location.reload();
      place("away").hidden = true;
      become(fresh);
    } catch {
      place("away").hidden = false;
      place("away-since").textContent ||= new Date().toTimeString().slice(0, 5);
      look();
    } finally {
      if (place("away").hidden) place("away-since").textContent = "";
      busy = false;
    }
  };
  // where it may not ask, such as in a file, it is loaded again; who reads with the keyboard is not interrupted for a while
  const opened = Date.now();
  const still = () => document.activeElement !== document.body || !getSelection().isCollapsed;
  const reload = () => still() && Date.now() - opened < 3 * EACH || location.reload();
  setInterval(self.origin === "null" ? reload : follow, EACH);
  if (self.origin !== "null") document.addEventListener("visibilitychange", () => document.hidden || age() < EACH || follow());
})();
