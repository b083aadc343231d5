// Fetches the page again and swaps the parts that only show things, so that what somebody is typing stays.
const shown = ["counts", "inbox", "thread", "details"];
const bottom = (box) => box && (box.scrollTop = box.scrollHeight);

async function refresh() {
  try {
    const url = new URL(location.href);
    if (document.body.dataset.contact) url.searchParams.set("contact", document.body.dataset.contact);
    const fresh = new DOMParser().parseFromString(await (await fetch(url)).text(), "text/html");
    if (!document.body.dataset.contact && fresh.body.dataset.contact) return location.reload();
    for (const id of shown) {
      const [old, now] = [document.getElementById(id), fresh.getElementById(id)];
      if (!old || !now || old.innerHTML === now.innerHTML) continue;
      const atBottom = old.scrollHeight - old.scrollTop - old.clientHeight < 40;
      old.innerHTML = now.innerHTML;
      if (id === "thread" && atBottom) bottom(old);
    }
    document.getElementById("counts").title = "";
  } catch {
    document.getElementById("counts").title = "The sandbox does not answer";
  }
}

bottom(document.getElementById("thread"));
setInterval(() => document.hidden || refresh(), 2000);
