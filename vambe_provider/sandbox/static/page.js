// Fetches the page again and swaps the parts that only show things, so that what somebody is typing stays.
const shown = ["counts", "inbox", "found", "thread", "details", "faults", "requests"];
const PAUSE = 2000;
const gone = document.getElementById("gone");
let answered = Date.now();

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

// Times in the reader's own zone; the day only where it is not today.
function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    const today = moment.toDateString() === new Date().toDateString();
    element.textContent = (today ? "" : `${day.format(moment)}, `) + clock.format(moment);
    element.title = full.format(moment);
  }
}

const bottom = (box) => box && (box.scrollTop = box.scrollHeight);

function swap(old, now) {
  const atBottom = old.scrollHeight - old.scrollTop - old.clientHeight < 40;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...old.querySelectorAll("details[open][id]")].map((element) => element.id);
  const places = [...old.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
  old.innerHTML = now.innerHTML;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  old.querySelectorAll(".scroll").forEach((box, index) => ([box.scrollLeft, box.scrollTop] = places[index] ?? [0, 0]));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (old.id === "thread" && atBottom) bottom(old);
}

async function refresh() {
  const contact = document.body.dataset.contact;
  // The address of a form that was refused, or of a link to a conversation, is not the page's own.
  const url = new URL(location.pathname === "/" ? location.href : `/?view=${document.body.dataset.view}`, location.origin);
  if (contact) url.searchParams.set("contact", contact);
  try {
    const fresh = new DOMParser().parseFromString(await (await fetch(url)).text(), "text/html");
    localise(fresh);
    answered = Date.now();
    gone.hidden = true;
    // The first conversation of an empty inbox, or one that was merged or reset away.
    if (fresh.body.dataset.view === "inbox" && fresh.body.dataset.contact !== contact) return location.assign("/" + location.search);
    for (const id of shown) {
      const [old, now] = [document.getElementById(id), fresh.getElementById(id)];
      // A list in which somebody has unfolded something is compared without that.
      if (old && now && old.innerHTML.replaceAll(' open=""', "") !== now.innerHTML) swap(old, now);
    }
  } catch {
    gone.hidden = false;
    gone.querySelector("span").textContent = `${Math.round((Date.now() - answered) / 1000)} s`;
  }
}

localise(document);
bottom(document.getElementById("thread"));
setInterval(() => document.hidden || refresh(), PAUSE);
