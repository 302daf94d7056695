package fakesitoo

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// With SPI 2 the till page asks the same questions of CRM SPI v2: its calls are
// put into v2's words, and the answers back into the page's, which are v1's.

// tillCall is one call of the till page.
type tillCall struct {
	method, path, query string
	body                []byte
}

// members are a contact's plain members by v1's and v2's names, addressMembers
// those of an address after "invoice_" or "delivery_".
var (
	members = map[string]string{
		"contactid": "customer_id", "membernumber": "member_number", "email": "email", "namefirst": "name_first", "namelast": "name_last",
		"mobile": "mobile", "phone": "phone", "company": "company", "gender": "gender", "birthday": "birthday",
		"acceptedconsents": "consents", "voucherpasswords": "voucher_passwords",
	}
	addressMembers = map[string]string{
		"address": "address", "address2": "address2", "zip": "zip", "city": "city", "state": "state", "countryid": "country_id",
	}
	channels     = []string{"email", "sms", "mail"} // accepts_email and so on
	checkMembers = map[string]string{
		"bonuscheckid": "bonus_check_id", "promotionid": "promotion_id", "name": "name", "description": "description",
		"value": "value", "redeemed": "redeemed", "dateredeemed": "date_redeemed",
	}
	purchaseMembers = map[string]string{
		"transactionid": "transaction_id", "receiptid": "receipt_id", "date": "date", "storename": "store_name",
		"currencycode": "currency_code", "total": "total", "rows": "rows",
	}
	rowMembers = map[string]string{"productname": "product_name", "sku": "sku", "quantity": "quantity", "total": "total"}
)

type anyObject = map[string]any

// pick copies the members of v2 under v1's names.
func pick(in anyObject, names map[string]string) anyObject {
	out := anyObject{}
	for v1, v2 := range names {
		if v, has := in[v2]; has {
			out[v1] = v
		}
	}
	return out
}

// each applies f to the objects of a list; what is none is left out.
func each(list any, f func(anyObject) anyObject) []anyObject {
	out := []anyObject{}
	all, _ := list.([]any)
	for _, x := range all {
		if o, is := x.(anyObject); is {
			out = append(out, f(o))
		}
	}
	return out
}

// contactOf is v2's customer as v1's contact.
func contactOf(in anyObject) anyObject {
	out := pick(in, members)
	for _, kind := range []string{"invoice_", "delivery_"} {
		if a, is := in[kind+"address"].(anyObject); is {
			for v1, v := range pick(a, addressMembers) {
				out[kind+v1] = v
			}
		}
	}
	accepted, _ := in["accepts_communication"].([]any)
	for _, c := range channels {
		out["accepts_"+c] = slices.Contains(accepted, any(c))
	}
	offer := func(o anyObject) anyObject { return pick(o, checkMembers) }
	out["bonuschecks"], out["promotions"] = each(in["bonus_checks"], offer), each(in["promotions"], offer)
	return out
}

// customerOf is v1's contact as v2's customer, without the members it lacks.
func customerOf(in anyObject) anyObject {
	out := anyObject{}
	for v1, v2 := range members {
		if v, has := in[v1]; has && v1 != "contactid" {
			out[v2] = v
		}
	}
	if day, is := in["birthday"].(string); is {
		out["birthday"], _, _ = strings.Cut(day, "T")
	}
	for _, kind := range []string{"invoice_", "delivery_"} {
		address := anyObject{}
		for v1, v2 := range addressMembers {
			if v, has := in[kind+v1]; has {
				address[v2] = v
			}
		}
		if len(address) > 0 {
			out[kind+"address"] = address
		}
	}
	accepted, said := []string{}, false
	for _, c := range channels {
		yes, has := in["accepts_"+c].(bool)
		if said = said || has; yes {
			accepted = append(accepted, c)
		}
	}
	if said {
		out["accepts_communication"] = accepted
	}
	return out
}

// askV2 makes a call of the page by v2. The path that was asked is the second
// result.
func (s *Server) askV2(ctx context.Context, c tillCall) (delivered, string) {
	method, path, body := c.method, c.path, c.body
	var back func(any) any
	contact := func(x any) any {
		o, _ := x.(anyObject)
		return contactOf(o)
	}
	switch first, rest, _ := strings.Cut(strings.TrimPrefix(c.path, "/"), "/"); {
	case strings.HasSuffix(rest, "/transactions"):
		path = "/customers/" + rest
		back = func(x any) any {
			return each(x, func(o anyObject) anyObject {
				out := pick(o, purchaseMembers)
				out["rows"] = each(o["rows"], func(r anyObject) anyObject { return pick(r, rowMembers) })
				return out
			})
		}
	case first == "consents":
		back = func(x any) any {
			return each(x, func(o anyObject) anyObject {
				return pick(o, map[string]string{"consentid": "consent_id", "name": "name", "description": "description", "value": "value"})
			})
		}
	case first == "lookup_contacts":
		path, back = "/lookup?"+c.query, func(x any) any { return each(x, contactOf) }
	case rest == "" && method == http.MethodGet:
		q, _ := url.ParseQuery(c.query) // what cannot be read is not asked
		v := url.Values{"key": {q.Get("key")}, "key_type": {"mobile"}}
		if strings.Contains(q.Get("key"), "@") {
			v.Set("key_type", "email")
		}
		path, back = "/customers?"+v.Encode(), func(x any) any { return each(x, contactOf) }
	case method == http.MethodGet:
		path, back = "/customers/"+rest, contact
	default:
		path = strings.TrimSuffix("/customers/"+rest, "/")
		var in anyObject
		if json.Unmarshal(body, &in) == nil {
			body = succeeded(customerOf(in)).body
		}
		back = func(x any) any { o, _ := x.(anyObject); return o["customer_id"] }
	}
	d := s.callV2(ctx, method, path, body)
	var said any
	if raw, is := d.Body.(json.RawMessage); is && json.Unmarshal(raw, &said) == nil {
		if d.Status != http.StatusOK {
			back = func(any) any { return map[string]string{"message": d.message()} }
		}
		d.Body = json.RawMessage(succeeded(back(said)).body)
	}
	return d, path
}
