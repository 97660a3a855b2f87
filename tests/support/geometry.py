"""What a browser has drawn of the page, measured: what is cut off, what lies on what, and what the first screen has."""

from typing import Any

from playwright.sync_api import Page

#: Each piece of text that can be seen, and what is wrong with where it is. `inside` and `outside` allow for rounding.
_MEASURE = """
() => {
  const faults = { clipped: [], overlapping: [], blocks: [], mute: [] };
  const name = (text) => text.trim().replace(/\\s+/g, " ").slice(0, 60);
  const inside = (a, b) =>
    a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
  const apart = (a, b) =>
    a.right <= b.left + 1 || a.left >= b.right - 1 || a.bottom <= b.top + 1 || a.top >= b.bottom - 1;
  const width = document.documentElement.clientWidth;
  // what cuts off what is inside an element, from the inside
  const known = new Map([[document.body, []]]);
  const framesOf = (box) => {
    if (!known.has(box)) {
      const outer = framesOf(box.parentElement), edge = box.getBoundingClientRect();
      const [left, top] = [edge.left + box.clientLeft, edge.top + box.clientTop];
      const frame = { left, top, right: left + box.clientWidth, bottom: top + box.clientHeight };
      known.set(box, getComputedStyle(box).overflowX === "visible" ? outer : [frame, ...outer]);
    }
    return known.get(box);
  };
  const seen = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const owner = text.parentElement;
    if (!text.data.trim() || owner.closest(".unseen, script, style, title")) continue;
    if (!owner.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    for (const whole of range.getClientRects()) {
      // of a line, the part in which its letters are
      const rect = { left: whole.left, right: whole.right, top: whole.top + whole.height * .2,
                     bottom: whole.bottom - whole.height * .2, text: name(text.data), owner };
      if (whole.width < 1) continue;
      let shown = true;
      for (const frame of framesOf(owner)) {
        if (apart(rect, frame)) { shown = false; break; }
        if (!inside(rect, frame)) faults.clipped.push(rect.text);
      }
      if (!shown) continue;
      if (rect.right > width + 1 || rect.left < -1) faults.clipped.push(rect.text);
      seen.push(rect);
    }
  }
  seen.sort((a, b) => a.top - b.top);
  seen.forEach((one, at) => {
    for (let next = at + 1; next < seen.length && seen[next].top < one.bottom; next++)
      if (!apart(one, seen[next])) faults.overlapping.push(one.text + " | " + seen[next].text);
  });
  const blocks = [...document.querySelectorAll(".block")].filter((one) => one.checkVisibility());
  const frames = blocks.map((one) => one.getBoundingClientRect());
  const readable = new Set(seen.map((rect) => rect.owner.closest(".who")?.parentElement));
  frames.forEach((one, at) => {
    for (let next = at + 1; next < frames.length; next++)
      if (!apart(one, frames[next])) faults.blocks.push(name(blocks[at].title) + " | " + name(blocks[next].title));
    if (one.width >= 20 && one.height >= 20 && !readable.has(blocks[at])) faults.mute.push(name(blocks[at].title));
  });
  const bottom = (selector) => {
    const found = [...document.querySelectorAll(selector)].find((one) => one.checkVisibility());
    return found ? found.getBoundingClientRect().bottom + scrollY : null;
  };
  return { ...faults, drawn: blocks.length, wide: frames.filter((one) => one.width >= 20).length,
           worst: bottom(".verdict li"), now: bottom(".now") ?? bottom(".now-list li"), list: bottom(".now-list"),
           sideways: document.documentElement.scrollWidth - width };
}
"""


def measured(page: Page) -> dict[str, Any]:
    """Return the faults of what is drawn, and where the worst problem and the present time end, in pixels."""
    found: dict[str, Any] = page.evaluate(_MEASURE)
    return found
