"use strict";
const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const framed = window.parent !== window;

// What a decision changed is said on the page that shows the result.
const NOTE = "vambe-said";
const said = find("#said");
const say = (text) => { said.textContent = text; };
if (sessionStorage.getItem(NOTE)) {
  say(sessionStorage.getItem(NOTE));
  sessionStorage.removeItem(NOTE);
  find("#main").focus();
}

// Airflow's frame may not open windows and, before 3.3, not download; its page may.
const mayDownload = framed && window.frameElement?.sandbox.contains("allow-downloads");
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-out]");
  if (!link || !framed || (mayDownload && link.hasAttribute("download"))) return;
  event.preventDefault();
  window.parent.open(link.href, "_blank", "noopener");
});
if (!framed) all("a[data-out]:not([download])").forEach((link) => { link.target = "_blank"; });

// Times are UTC; the visitor's own time is in the tooltip.
const localTimes = (root) => all("time", root).forEach((one) => {
  one.title = new Date(one.dateTime).toLocaleString();
});
localTimes(document);

async function post(path, body) {
  let reply;
  try {
    reply = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("Airflow does not answer. Nothing is known to have changed; load the page again.");
  }
  if (reply.ok) return reply;
  const answer = await reply.json().catch(() => ({}));
  if (reply.status === 401) throw new Error("You are not signed in any more. Sign in, then try again.");
  throw new Error(answer.message || `Airflow answered ${reply.status}. Load the page again.`);
}

// Find a person: the number is in the body of the request, so that no address and no log has it.
const person = find("form[data-person]");
person?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = find("#phone", person);
  try {
    const reply = await post("person", { ledger: person.dataset.person, phone: field.value });
    const found = find("#found");
    found.innerHTML = await reply.text();
    find("nav.states").hidden = true;
    localTimes(found);
    field.value = "";
    say(`${all("tbody tr", found).length} tickets to this person are shown.`);
  } catch (error) {
    say(error.message);
  }
});

// Decisions
const dialog = find("#confirm");
if (dialog) {
  let asked = null;

  const ask = (decision, tickets) => {
    const words = find(`template[data-decision-text="${decision}"]`);
    asked = { decision, tickets };
    find("#confirm-title").textContent = words.dataset.title;
    find("#confirm-text").textContent = words.content.textContent;
    const shown = tickets.slice(0, 10).map((ticket) => ticket.text);
    if (tickets.length > shown.length) shown.push(`and ${tickets.length - shown.length} more`);
    find("#confirm-keys").replaceChildren(...shown.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    find("#confirm-contact").hidden = decision !== "sent" || tickets.length !== 1;
    find("#contact").value = "";
    find("#confirm-error").textContent = "";
    dialog.showModal();
    find("#confirm-no").focus();
  };

  const ticketOf = (element) => ({
    key: element.dataset.ticket,
    account: element.dataset.account,
    seen: element.dataset.seen,
    text: element.dataset.text,
  });

  find("#confirm-no").addEventListener("click", () => dialog.close());
  find("form", dialog).addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = find("#confirm-yes");
    button.disabled = true;
    try {
      const reply = await post("decide", {
        ledger: dialog.dataset.ledger,
        decision: asked.decision,
        contact: find("#contact").value.trim() || null,
        tickets: asked.tickets.map(({ key, account, seen }) => ({ key, account, seen })),
      });
      sessionStorage.setItem(NOTE, (await reply.json()).message);
      location.reload();
    } catch (error) {
      find("#confirm-error").textContent = error.message;
      button.disabled = false;
    }
  });

  const boxes = () => all("input[data-ticket]");
  const chosen = () => boxes().filter((box) => box.checked);
  const bar = find(".bulk");
  const refresh = () => {
    const now = chosen();
    bar.hidden = now.length === 0;
    find("#chosen").textContent = `${now.length} chosen:`;
    all("button[data-decision]", bar).forEach((button) => {
      button.hidden = !now.every((box) => box.dataset.allowed.split(" ").includes(button.dataset.decision));
    });
  };
  if (bar) {
    document.addEventListener("change", (event) => { if (event.target.matches("input[data-ticket]")) refresh(); });
    refresh();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-decision]");
    if (!button) return;
    const single = button.closest("[data-ticket]");
    ask(button.dataset.decision, single ? [ticketOf(single)] : chosen().map(ticketOf));
  });
}
