package spi

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/sitoo"
)

// This file is SPI v1: one handler per operation, each a codec around an
// operation of the domain.

// ContactFind answers GET /contacts?key=K&include_extended=: an array of the
// one contact with exactly that email address or phone number, or of none.
func (e *Edge) ContactFind(c *customer.Service, b *bonus.Service) lambda.Handler {
	return e.handler("contact-find", option{}, func(ctx context.Context, r *Request) (any, error) {
		extended, err := flagOf(r, "include_extended")
		if err != nil {
			return nil, err
		}
		found, ok, err := c.Find(ctx, r.Rule, r.Account, typed(r.Query["key"]))
		if err != nil {
			return nil, err
		}
		r.Note("found", ok)
		if !ok {
			return []sitoo.Card{}, nil
		}
		return []sitoo.Card{card(ctx, r, b, found, extended)}, nil
	})
}

// typed returns a search key as it was typed. A client that forgets to encode
// the "+" of a phone number or an email address sends what a query string reads
// as a space; neither kind of key can have one there.
func typed(key string) string {
	if trimmed := strings.TrimSpace(key); strings.Contains(trimmed, "@") {
		return strings.ReplaceAll(trimmed, " ", "+")
	}
	if len(key) > 1 && key[0] == ' ' && key[1] >= '1' && key[1] <= '9' {
		return "+" + key[1:]
	}
	return key
}

// ContactGet answers GET /contacts/{contactid}?include_extended=.
func (e *Edge) ContactGet(c *customer.Service, b *bonus.Service) lambda.Handler {
	return e.handler("contact-get", option{}, func(ctx context.Context, r *Request) (any, error) {
		id, err := contactID(r)
		if err != nil {
			return nil, err
		}
		extended, err := flagOf(r, "include_extended")
		if err != nil {
			return nil, err
		}
		found, err := c.Get(ctx, r.Rule, id)
		if err != nil {
			return nil, err
		}
		return card(ctx, r, b, found, extended), nil
	})
}

// ContactAdd answers POST /contacts with the new id as a JSON string.
func (e *Edge) ContactAdd(c *customer.Service) lambda.Handler {
	return e.handler("contact-add", option{body: maxBody, check: checkContact}, func(ctx context.Context, r *Request) (any, error) {
		in, err := contact(r.Body)
		if err != nil {
			return nil, err
		}
		id, known, err := c.Add(ctx, r.Rule, r.Account, in, r.ID)
		if err != nil {
			return nil, err
		}
		customer := "new"
		if known {
			customer = "known"
		}
		r.Note("contact", id, "customer", customer)
		return strconv.FormatInt(id, 10), nil
	})
}

// ContactUpdate answers PUT /contacts/{contactid} with the id as a JSON string.
func (e *Edge) ContactUpdate(c *customer.Service) lambda.Handler {
	return e.handler("contact-update", option{body: maxBody, check: checkContact}, func(ctx context.Context, r *Request) (any, error) {
		id, err := contactID(r)
		if err != nil {
			return nil, err
		}
		in, err := contact(r.Body)
		if err != nil {
			return nil, err
		}
		r.Note("contact", id)
		if err := c.Update(ctx, r.Rule, r.Account, id, in, r.ID); err != nil {
			return nil, err
		}
		return strconv.FormatInt(id, 10), nil
	})
}

// ContactLookup answers GET /lookup_contacts: Rule is no person register, so
// nobody is ever found there.
func (e *Edge) ContactLookup() lambda.Handler {
	return e.handler("contact-lookup", option{}, func(context.Context, *Request) (any, error) {
		return []sitoo.Card{}, nil
	})
}

// ConsentList answers GET /consents: Rule's preferences, where the account has
// them.
func (e *Edge) ConsentList(c *customer.Service) lambda.Handler {
	return e.handler("consent-list", option{}, func(ctx context.Context, r *Request) (any, error) {
		list, err := c.ConsentList(ctx, r.Rule, r.Account.ID)
		if err != nil {
			return nil, err
		}
		out := make([]sitoo.Consent, len(list))
		for i, v := range list {
			out[i] = sitoo.Consent{ID: v.ID, Name: v.Name, Description: v.Description, Value: v.Default}
		}
		return out, nil
	})
}

// PurchaseList answers GET /contacts/{contactid}/transactions: the latest 20,
// newest first.
func (e *Edge) PurchaseList() lambda.Handler {
	return e.handler("purchase-list", option{}, func(ctx context.Context, r *Request) (any, error) {
		id, err := contactID(r)
		if err != nil {
			return nil, err
		}
		list, err := order.Purchases(ctx, r.Rule, r.Log, id, r.Account.Label)
		if err != nil {
			return nil, err
		}
		out := make([]sitoo.Transaction, len(list))
		for i, b := range list {
			t := sitoo.Transaction{
				ID: b.OrderID, ReceiptID: b.ReceiptID, Date: b.Date.Format(time.RFC3339), StoreName: b.StoreName,
				Currency: b.Currency, Total: b.Total, Rows: []sitoo.TransactionRow{},
			}
			for _, p := range b.Products {
				t.Rows = append(t.Rows, sitoo.TransactionRow{ProductName: p.Name, SKU: p.SKU, Quantity: p.Quantity, Total: p.Total})
			}
			out[i] = t
		}
		return out, nil
	})
}

func flagOf(r *Request, name string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(r.Query[name])) {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	}
	return false, fault.SayBad(name, "yes_or_no")
}

// members are the text members that a contact of SPI v1 and the domain share,
// by the same names.
var members = func() []string {
	var names []string
	for _, m := range customer.TextMembers() {
		names = append(names, string(m))
	}
	return names
}()

func checkContact(body []byte) error { return sitoo.CheckContact(body, members) }

func contact(body []byte) (customer.Contact, error) {
	w, err := sitoo.DecodeContact(body, members)
	if err != nil {
		return customer.Contact{}, err
	}
	c := customer.Contact{Text: map[customer.Member]string{}, Flags: map[customer.Member]bool{}, Lists: map[customer.Member][]string{}}
	for name, v := range w.Strings {
		c.Text[customer.Member(name)] = v
	}
	for name, v := range w.Flags {
		c.Flags[customer.Member(name)] = v
	}
	for name, v := range w.Lists {
		c.Lists[customer.Member(name)] = v
	}
	return c, nil
}

func card(ctx context.Context, r *Request, b *bonus.Service, c customer.Contact, extended bool) sitoo.Card {
	out := sitoo.Card{ContactID: strconv.FormatInt(c.ID, 10), Extended: extended, Strings: map[string]string{}, Flags: map[string]bool{}, Lists: map[string][]string{}}
	for _, name := range members {
		out.Strings[name] = c.Text[customer.Member(name)]
	}
	// Sitoo writes a birthday as a moment.
	if day := out.Strings[string(customer.Birthday)]; day != "" {
		out.Strings[string(customer.Birthday)] = day + "T00:00:00Z"
	}
	for _, m := range []customer.Member{customer.AcceptsEmail, customer.AcceptsSMS, customer.AcceptsMail} {
		out.Flags[string(m)] = c.Flags[m]
	}
	for _, m := range []customer.Member{customer.Consents, customer.Vouchers} {
		out.Lists[string(m)] = c.Lists[m]
	}
	if !extended {
		return out
	}
	key := bonus.Key{Account: r.Account.ID, Subscriber: c.ID}
	checks, promotions := b.Card(ctx, key, bonus.Fields{Checks: c.BonusChecks, Promotions: c.Promotions})
	for _, o := range checks {
		// What a till takes off is the value: of a check that is used in part,
		// what is left.
		out.BonusChecks = append(out.BonusChecks, sitoo.BonusCheck{ID: o.ID, Name: o.Name, Description: o.Description, Value: json.Number(o.Left.StringFixed(2))})
	}
	for _, o := range promotions {
		out.Promotions = append(out.Promotions, sitoo.Promotion{ID: o.ID, Name: o.Name, Description: o.Description})
	}
	return out
}
