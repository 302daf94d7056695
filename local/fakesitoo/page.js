"use strict";
// Sells and gives back at a press, and keeps the list of orders up to date
// without a full reload.
(() => {
  const said = document.getElementById("said");
  let timer;

  async function look() {
    clearTimeout(timer);
    try {
      const res = await fetch("/", { cache: "no-store" });
      const next = new DOMParser().parseFromString(await res.text(), "text/html");
      const now = document.getElementById("orders");
      const then = next.getElementById("orders");
      if (res.ok && then && now.textContent !== then.textContent) now.replaceChildren(...then.childNodes);
    } catch { /* the stand-in is away: the next look tells */ }
    timer = setTimeout(() => (document.hidden ? (timer = setTimeout(look, 3000)) : look()), 3000);
  }

  async function sell(body, button) {
    button.disabled = true;
    try {
      const res = await fetch("/_sell", { method: "POST", body: JSON.stringify(body) });
      const out = await res.json();
      if (!res.ok) said.textContent = out.errortext;
      else {
        const to = out.connector ? " The connector said " + (out.connector.error || out.connector.status) + " to the copy." : " There is no connector.";
        said.textContent = "Order " + out.order.orderid + ", " + out.order.moneytotal_gross_all + " " + out.order.currencycode + "." + to;
      }
    } catch {
      said.textContent = "No answer.";
    }
    button.disabled = false;
    look();
  }

  document.getElementById("sell").addEventListener("submit", (e) => {
    e.preventDefault();
    const form = e.target;
    sell({ contactid: form.elements.contactid.value, payment: form.elements.payment.value }, e.submitter || form.querySelector("button"));
  });
  document.getElementById("orders").addEventListener("click", (e) => {
    const button = e.target.closest("[data-return]");
    if (button) sell({ creditorderid: Number(button.dataset.return) }, button);
  });
  timer = setTimeout(look, 3000);
})();
