"use strict";
// The till as a cashier sees it. It makes the calls of Sitoo's Custom CRM SPI v1,
// one for one; the stand-in passes them on with the shop's token. All text of
// others is put in as text.
(() => {
  const at = (id) => document.getElementById(id);
  const el = (tag, attrs, ...children) => {
    const node = document.createElement(tag);
    for (const [k, v] of Object.entries(attrs || {})) {
      if (k === "click") node.addEventListener("click", v);
      else if (v === true) node.setAttribute(k, "");
      else if (v !== false && v != null) node.setAttribute(k, v);
    }
    node.append(...children.filter((c) => c != null && c !== false));
    return node;
  };
  const kr = (n) => Number(n).toLocaleString("sv-SE", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) + " kr";
  const ore = (amount) => Math.round(Number(amount) * 100);
  const amount = (o) => (o / 100).toFixed(2);
  const say = (id, text, bad) => { at(id).textContent = text; at(id).classList.toggle("bad", Boolean(bad)); };

  let shop = { products: [] };
  let contact = null; // on the sale, as the connector gave it
  let cart = []; // {product, quantity}
  let checks = new Map(); // bonus checks to be used, by id
  let promotions = new Set();
  let consents = [];
  let purchases = null; // null: not answered

  // call asks the connector and notes it. It returns the answer, or throws an
  // error with what the cashier is told and the member that is wrong.
  async function call(method, path, body) {
    const started = performance.now();
    let status = 0, answer = null, asked = method + " " + path;
    try {
      const res = await fetch("/_till/crm" + path, { method, body: body && JSON.stringify(body), headers: body ? { "Content-Type": "application/json" } : {} });
      status = res.status;
      asked = res.headers.get("X-Till-Call") || asked;
      answer = await res.json();
    } catch { /* said below: there is no answer, or none that can be read */ }
    note(asked, status, performance.now() - started);
    if (status === 200) return answer;
    const said = (answer && (answer.message || answer.errortext)) || "Inget svar.";
    throw Object.assign(new Error(said), { status, member: answer && answer.member });
  }

  function note(what, status, ms) {
    at("log").prepend(el("tr", {}, el("td", {}, what), el("td", {}, String(status || "–")), el("td", {}, Math.round(ms) + " ms")));
    while (at("log").children.length > 15) at("log").lastChild.remove();
  }

  // Finding

  at("find").addEventListener("submit", async (e) => {
    e.preventDefault();
    const key = at("key").value.trim();
    if (!key) return;
    say("found", "Söker …");
    at("card").replaceChildren();
    try {
      const list = await call("GET", "/contacts?include_extended=false&key=" + encodeURIComponent(key));
      if (list.length) {
        say("found", "");
        await attach(list[0].contactid);
        return;
      }
      say("found", "Ingen kund har " + key + ".");
      const outside = await call("GET", "/lookup_contacts?key=" + encodeURIComponent(key));
      const filled = outside[0] || (key.includes("@") ? { email: key } : { mobile: key });
      at("card").replaceChildren(el("div", { class: "row" }, el("button", { type: "button", class: "main", click: () => form(filled) }, "Registrera ny kund")));
    } catch (err) {
      say("found", err.message, true);
    }
  });

  // attach puts a customer on the sale and shows the card.
  async function attach(id) {
    contact = await call("GET", "/contacts/" + encodeURIComponent(id) + "?include_extended=true");
    checks = new Map();
    promotions = new Set();
    purchases = null;
    card();
    draw();
    await history(id);
  }

  async function history(id) {
    try {
      purchases = await call("GET", "/contacts/" + encodeURIComponent(id) + "/transactions");
    } catch (err) {
      purchases = err;
    }
    if (contact && contact.contactid === id) card();
  }

  function detach() {
    contact = null;
    checks = new Map();
    promotions = new Set();
    at("card").replaceChildren();
    at("key").value = "";
    say("found", "");
    draw();
    at("key").focus();
  }

  // The card

  const shownMembers = [
    ["membernumber", "Medlemsnummer"], ["mobile", "Mobil"], ["email", "E-post"], ["phone", "Telefon"], ["company", "Företag"],
    ["invoice_address", "Adress"], ["invoice_zip", "Postnummer"], ["invoice_city", "Ort"], ["birthday", "Födelsedag"],
  ];

  const nameOf = (c) => [c.namefirst, c.namelast].filter(Boolean).join(" ") || c.mobile || c.email || "Kund " + c.contactid;

  function card() {
    const facts = el("dl");
    for (const [member, label] of shownMembers) {
      if (contact[member]) facts.append(el("div", {}, el("dt", {}, label), el("dd", {}, member === "birthday" ? contact[member].slice(0, 10) : contact[member])));
    }
    const yes = [["accepts_email", "e-post"], ["accepts_sms", "sms"], ["accepts_mail", "post"]].filter(([m]) => contact[m]).map(([, label]) => label);
    facts.append(el("div", {}, el("dt", {}, "Tar emot reklam"), el("dd", {}, yes.join(", ") || "nej")));
    at("card").replaceChildren(
      el("div", { class: "name" }, nameOf(contact)), facts,
      el("div", { class: "row" }, el("button", { type: "button", click: () => form(contact) }, "Ändra"), el("button", { type: "button", click: detach }, "Ta bort från köpet")),
      ...offers(), ...bought(),
    );
  }

  function offers() {
    const parts = [];
    const toggle = (set, id, value) => {
      if (set.has(id)) set.delete(id);
      else if (set instanceof Map) set.set(id, value);
      else set.add(id);
      card();
      draw();
    };
    const list = (title, items, set, key) => {
      if (!items || !items.length) return;
      const ul = el("ul");
      for (const item of items) {
        const used = set.has(item[key]);
        ul.append(el("li", { class: "line" },
          el("span", {}, el("strong", {}, item.name || item[key]), el("br"), el("span", { class: "soft" }, item.description || "")),
          el("button", { type: "button", "aria-pressed": String(used), disabled: Boolean(item.redeemed), click: () => toggle(set, item[key], item) },
            item.value != null ? kr(item.value) + (used ? " används" : "") : used ? "Används" : "Använd")));
      }
      parts.push(el("h3", {}, title), ul);
    };
    list("Bonuscheckar", contact.bonuschecks, checks, "bonuscheckid");
    list("Erbjudanden", contact.promotions, promotions, "promotionid");
    return parts;
  }

  function bought() {
    if (purchases === null) return [el("h3", {}, "Senaste köp"), el("p", { class: "soft" }, "Hämtar …")];
    if (purchases instanceof Error) return [el("h3", {}, "Senaste köp"), el("p", { class: "say bad" }, purchases.message)];
    if (!purchases.length) return [el("h3", {}, "Senaste köp"), el("p", { class: "soft" }, "Inga köp än.")];
    const ul = el("ul");
    for (const p of purchases.slice(0, 10)) {
      const rows = (p.rows || []).map((r) => r.quantity + " " + r.productname).join(", ");
      ul.append(el("li", { class: "line" },
        el("span", {}, el("strong", {}, (p.date || "").slice(0, 10) + " " + (p.storename || "")), el("br"), el("span", { class: "soft" }, rows, el("br"), "Kvitto " + (p.receiptid || p.transactionid))),
        el("span", { class: "row" }, el("span", { class: "money" }, kr(p.total)),
          !(p.rows || []).some((r) => Number(r.quantity) < 0) && /^\d+$/.test(p.transactionid) && el("button", { type: "button", click: (e) => giveBack(p, e.currentTarget) }, "Återköp"))));
    }
    return [el("h3", {}, "Senaste köp"), ul];
  }

  // Registering and editing

  const newMembers = [["mobile", "Mobil", "tel"], ["email", "E-post", "email"], ["namefirst", "Förnamn", "text"], ["namelast", "Efternamn", "text"]];
  const moreMembers = [["phone", "Telefon", "tel"], ["invoice_address", "Adress", "text"], ["invoice_zip", "Postnummer", "text"], ["invoice_city", "Ort", "text"], ["birthday", "Födelsedag", "date"], ["company", "Företag", "text"]];
  const ticks = [["accepts_email", "Reklam via e-post"], ["accepts_sms", "Reklam via sms"], ["accepts_mail", "Reklam via post"]];
  // Sitoo sends every member of a new contact, the unused ones empty.
  const empty = Object.fromEntries(["membernumber", "email", "namefirst", "namelast", "personalid", "company", "companyid", "phone", "mobile",
    ...["invoice", "delivery"].flatMap((k) => ["address", "address2", "zip", "city", "state", "countryid"].map((m) => k + "_" + m)), "gender", "birthday"].map((m) => [m, ""]));

  async function form(from) {
    const known = Boolean(from.contactid);
    try {
      consents = await call("GET", "/consents");
    } catch { consents = []; }
    const fields = el("div", { class: "fields" });
    for (const [member, label, type] of known ? [...newMembers, ...moreMembers] : newMembers) {
      const value = String(from[member] || "");
      // No type=email: what is wrong is said by the connector, as at a till.
      fields.append(el("label", {}, label, el("input", { name: member, type: type === "email" ? "text" : type, value: type === "date" ? value.slice(0, 10) : value, autocomplete: "off" })));
    }
    const accepted = from.acceptedconsents || [];
    const boxes = [
      ...ticks.map(([member, label]) => el("label", { class: "tick" }, el("input", { type: "checkbox", name: member, checked: Boolean(from[member]) }), label)),
      ...consents.map((c) => el("label", { class: "tick" }, el("input", { type: "checkbox", name: "consent", value: c.consentid, checked: known ? accepted.includes(c.consentid) : Boolean(c.value) }), c.name)),
    ];
    const node = el("form", { class: "edit" }, el("h3", {}, known ? "Ändra kund" : "Ny kund"), fields, ...boxes,
      el("div", { class: "row" }, el("button", { class: "main" }, known ? "Spara" : "Registrera"), el("button", { type: "button", click: () => (contact ? card() : detach()) }, "Avbryt")));
    node.addEventListener("submit", (e) => { e.preventDefault(); save(node, from); });
    say("found", "");
    at("card").replaceChildren(node);
    node.querySelector("input").focus();
  }

  async function save(node, from) {
    const body = from.contactid ? { ...from } : { ...empty };
    for (const name of ["contactid", "bonuschecks", "promotions"]) delete body[name];
    for (const input of node.querySelectorAll(".fields input")) {
      input.removeAttribute("aria-invalid");
      body[input.name] = input.type === "date" && input.value ? input.value + "T00:00:00Z" : input.value.trim();
    }
    for (const [member] of ticks) body[member] = node.elements[member].checked;
    body.acceptedconsents = [...node.querySelectorAll("[name=consent]:checked")].map((i) => i.value);
    try {
      const id = await call(from.contactid ? "PUT" : "POST", "/contacts" + (from.contactid ? "/" + encodeURIComponent(from.contactid) : ""), body);
      await attach(id);
      say("found", from.contactid ? "Kunden är ändrad." : "Kunden är registrerad.");
    } catch (err) {
      say("found", err.message, true);
      const wrong = err.member && node.elements[err.member];
      if (wrong && wrong.focus) { wrong.setAttribute("aria-invalid", "true"); wrong.focus(); }
    }
  }

  // Selling

  function add(product, n) {
    const line = cart.find((l) => l.product.sku === product.sku);
    if (line) line.quantity += n;
    else cart.push({ product, quantity: n });
    cart = cart.filter((l) => l.quantity > 0);
    say("paid", "");
    draw();
  }

  // rows spreads the chosen checks over the rows of the sale: a check pays as
  // much of each row as is left of both, a row having one check.
  function rows() {
    const left = [...checks.values()].map((c) => ({ id: c.bonuscheckid, name: c.name, left: ore(c.value) }));
    const out = cart.map((l) => ({ sku: l.product.sku, quantity: l.quantity, gross: ore(l.product.price) * l.quantity }));
    for (const check of left) {
      const row = out.filter((r) => !r.bonuscheckid).sort((a, b) => b.gross - a.gross)[0];
      if (!row) break;
      const paid = Math.min(check.left, row.gross);
      Object.assign(row, { bonuscheckid: check.id, name: check.name, paid, discount: amount(paid), remaining: amount(check.left - paid) });
    }
    const free = [...promotions];
    for (const row of out) if (free.length && !row.promotionid) row.promotionid = free.shift();
    return out;
  }

  function draw() {
    const sold = rows();
    const unplaced = [...checks.values()].filter((c) => !sold.some((r) => r.bonuscheckid === c.bonuscheckid));
    const list = el("ul");
    let sum = 0;
    cart.forEach((l, i) => {
      const r = sold[i];
      sum += r.gross - (r.paid || 0);
      list.append(el("li", {}, el("div", { class: "line" }, el("span", {}, l.product.name),
        el("span", { class: "row" },
          el("button", { type: "button", "aria-label": "En mindre " + l.product.name, click: () => add(l.product, -1) }, "−"), el("span", { class: "money" }, String(l.quantity)),
          el("button", { type: "button", "aria-label": "En till " + l.product.name, click: () => add(l.product, 1) }, "+"), el("span", { class: "money" }, kr(r.gross / 100)))),
      r.paid && el("div", { class: "line soft" }, el("span", {}, r.name || "Bonuscheck"), el("span", { class: "money" }, "−" + kr(r.paid / 100)))));
    });
    const pay = (how, label, main) => el("button", { type: "button", class: main && "main", disabled: !cart.length || unplaced.length > 0, click: () => sell(how) }, label);
    at("cart").replaceChildren(
      el("h3", {}, contact ? "Köp av " + nameOf(contact) : "Köp utan kund"), list,
      cart.length ? el("div", { class: "line sum" }, el("span", {}, "Att betala"), el("span", { class: "money" }, kr(sum / 100))) : el("p", { class: "soft" }, "Tryck på en vara."),
      unplaced.length ? el("p", { class: "say" }, "Lägg till en vara för varje bonuscheck.") : "",
      el("div", { class: "row" }, pay("card", "Kort", true), pay("cash", "Kontant")));
  }

  // who is what the till writes of the customer on the order.
  const who = () => (contact ? { contactid: contact.contactid, membernumber: contact.membernumber, email: contact.email, phone: contact.mobile || contact.phone, namefirst: contact.namefirst, namelast: contact.namelast } : {});

  async function post(body) {
    const started = performance.now();
    const res = await fetch("/_sell", { method: "POST", body: JSON.stringify(body) });
    const out = await res.json();
    const ms = performance.now() - started;
    for (const use of out.redeemed || []) note("POST " + new URL(use.url).pathname, use.status, ms);
    if (out.connector) note("POST " + new URL(out.connector.url).pathname, out.connector.status, ms);
    if (!res.ok) {
      note("köp", res.status, ms);
      throw new Error(out.errortext);
    }
    return out;
  }

  function receipt(out, what) {
    const o = out.order;
    let text = what + ": kvitto " + o.additionaldata["pos-receiptid"] + ", " + kr(o.moneytotal_gross_all) + ".";
    const failed = out.connector && (out.connector.error || out.connector.status !== 200);
    if (failed) text += " Kopian kom inte fram: " + (out.connector.error || out.connector.status) + ".";
    say("paid", text, failed);
  }

  async function sell(payment) {
    at("cart").querySelectorAll("button").forEach((b) => { b.disabled = true; });
    const body = { ...who(), payment, redeem: true, rows: rows().map(({ sku, quantity, discount, bonuscheckid, promotionid, remaining }) => ({ sku, quantity, discount, bonuscheckid, promotionid, remaining })) };
    try {
      receipt(await post(body), "Köpet är klart");
      cart = [];
      await again();
    } catch (err) {
      say("paid", "Köpet är inte gjort. " + err.message, true);
    }
    draw();
  }

  async function giveBack(purchase, button) {
    button.disabled = true;
    try {
      receipt(await post({ ...who(), creditorderid: Number(purchase.transactionid) }), "Återköpet är klart");
      await again();
    } catch (err) {
      say("paid", "Återköpet är inte gjort. " + err.message, true);
      button.disabled = false;
    }
  }

  // again shows the card as it is now, and once more when the order has had the
  // time to get to Rule.
  async function again() {
    if (!contact) return;
    const id = contact.contactid;
    await attach(id).catch((err) => say("found", err.message, true));
    setTimeout(() => { if (contact && contact.contactid === id && !document.querySelector("form.edit") && !checks.size && !promotions.size) attach(id).catch(() => {}); }, 2500);
  }

  (async () => {
    try {
      shop = await (await fetch("/_till/shop")).json();
    } catch {
      say("paid", "Butiken svarar inte.", true);
    }
    at("shop").textContent = (shop.store || "") + (shop.connector ? "" : " – ingen koppling är inställd");
    for (const p of shop.products) {
      at("goods").append(el("button", { type: "button", click: () => add(p, 1) }, p.name, el("small", {}, kr(p.price))));
    }
    draw();
    at("key").focus();
  })();
})();
