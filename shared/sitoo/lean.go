package sitoo

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxRows is more than any receipt has.
	maxRows = 20_000
	// maxText is how many characters of a text Lean keeps, maxNumber how long a
	// number may be, and maxKeys how many bytes of additional data an order or a
	// row may have.
	maxText, maxNumber, maxKeys = 1000, 100, 16 << 10
)

// bonusKeys are where a row names the bonus check or the promotion that it was
// discounted with.
var bonusKeys = []string{"customcrm-bonuscheckid", "crm-bonuscheckid", "customcrm-promotionid", "crm-promotionid"}

const originalRow = "pos-originalsales-orderitemid"

// firstKeys are the additional data that the connector reads, which are kept
// before those of integrators.
var firstKeys = append([]string{
	"customcrm-contactid", "crm-customerid", "pos-receiptid", "pos-originalsales-orderid", "pos-timezone", "store-name", "store-externalid",
	"product-group-name", originalRow,
}, bonusKeys...)

// proofMembers are what counts of a row that tells of a bonus check.
var proofMembers = []string{"orderitemid", "quantity", "decimalquantitytotal", "vatvalue", "moneydiscount", "moneyitemtotal_net", "moneyitemtotal_vat", "additionaldata"}

// Lean returns an order's JSON within about limit bytes, and how many of its rows
// were omitted for that. An order that is not larger, and has no more than 20,000
// rows, stays as it is. Of a larger one the members are kept that the connector
// reads, texts up to 1,000 characters, and of the rows first those that tell of a
// bonus check or say which row they take back, then the others in their order.
// body has an order's number; one that breaks off is cut.
func Lean(body []byte, limit int) (lean json.RawMessage, omitted int) {
	var u unread
	o, err := newLoose(body, "", nil, &u)
	switch {
	case errors.Is(err, errNoObject):
		return body, 0
	case err != nil && len(body) <= limit:
		return body, 0
	case err != nil:
		id, _ := o.number()
		return append([]byte(`{"orderid":`+strconv.FormatInt(id, 10)+`,`), bytes.TrimPrefix(body[:limit], []byte{'{'})...), 0
	}
	rows := o.rows("orderitems")
	if len(body) <= limit && len(rows) <= maxRows {
		return body, 0
	}
	head := o.keep(orderMembers)
	for i, raw := range o.rows("payments") {
		if p, err := newLoose(raw, "", nil, &u); err == nil && i < 100 {
			head.add("payments", p.keep(paymentMembers).encode())
		}
	}
	kept, omitted := leanRows(rows, limit-len(head.encode()))
	for _, raw := range kept {
		head.add("orderitems", raw)
	}
	return head.encode(), omitted
}

// leanRows returns what is kept of the rows, in their order, within about limit
// bytes; of what tells of bonus checks, twice that.
func leanRows(rows []json.RawMessage, limit int) (kept []json.RawMessage, omitted int) {
	lean := make([]json.RawMessage, len(rows))
	telling := make([]bool, len(rows))
	size, proofs := 0, 0
	var u unread
	objects := 0
	for i, raw := range rows {
		o, err := newLoose(raw, "", nil, &u)
		if err != nil {
			continue
		}
		objects++
		data := o.texts("additionaldata")
		telling[i] = slices.ContainsFunc(bonusKeys, func(k string) bool { return data[k] != "" }) || data[originalRow] != ""
		lean[i] = o.keep(itemMembers).encode()
		if telling[i] && proofs+len(lean[i]) > limit {
			lean[i] = o.keep(proofMembers).encode()
		}
		if telling[i] {
			proofs += len(lean[i]) + 1
		}
	}
	size = min(proofs, limit)
	proofs = 0
	full := false
	for i := range lean {
		switch n := len(lean[i]) + 1; {
		case lean[i] == nil:
		case telling[i] && proofs+n <= 2*limit:
			proofs += n
			kept = append(kept, lean[i])
		case telling[i]:
		case !full && size+n <= limit && len(kept) < maxRows:
			size += n
			kept = append(kept, lean[i])
		default:
			full = true
		}
	}
	return kept, objects - len(kept)
}

// leanObject is an object that is being made; its arrays are made last.
type leanObject struct {
	b      bytes.Buffer
	arrays map[string][]json.RawMessage
	names  []string
}

func (l *leanObject) set(name string, value []byte) {
	if l.b.Len() > 0 {
		l.b.WriteByte(',')
	}
	l.b.Write(quote(name))
	l.b.WriteByte(':')
	l.b.Write(value)
}

func (l *leanObject) add(name string, value json.RawMessage) {
	if l.arrays == nil {
		l.arrays = map[string][]json.RawMessage{}
	}
	if _, there := l.arrays[name]; !there {
		l.names = append(l.names, name)
	}
	l.arrays[name] = append(l.arrays[name], value)
}

func (l *leanObject) encode() json.RawMessage {
	out := append([]byte{'{'}, l.b.Bytes()...)
	for _, name := range l.names {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, quote(name)...), ':', '[')
		for i, raw := range l.arrays[name] {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, raw...)
		}
		out = append(out, ']')
	}
	return append(out, '}')
}

// keep returns the members that are named, but for arrays, as far as they can be
// read and are no longer than what is read of them.
func (o loose) keep(known []string) *leanObject {
	var l leanObject
	for _, name := range known {
		if name == "additionaldata" {
			if data := leanData(o.texts(name)); data != nil {
				l.set(name, data)
			}
			continue
		}
		if raw, ok := o.raw(name); ok {
			if value := leanValue(raw); value != nil {
				l.set(name, value)
			}
		}
	}
	return &l
}

// leanValue returns a text or a number, nil for what is neither or is too long.
func leanValue(raw json.RawMessage) []byte {
	switch {
	case raw[0] == '"':
		s, ok := unquote(raw)
		if !ok {
			return nil
		}
		return quote(firstCharacters(s, maxText))
	case raw[0] == '{' || raw[0] == '[' || len(raw) > maxNumber || !json.Valid(raw):
		return nil
	}
	return raw
}

// leanData returns additional data, what the connector reads first.
func leanData(data map[string]string) []byte {
	var l leanObject
	keys := make([]string, 0, len(data))
	for k := range data {
		if !slices.Contains(firstKeys, k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range append(firstKeys[:len(firstKeys):len(firstKeys)], keys...) {
		v, there := data[k]
		if v = firstCharacters(v, maxText); there && v != "" && l.b.Len()+len(k)+len(v) < maxKeys {
			l.set(k, quote(v))
		}
	}
	if l.b.Len() == 0 {
		return nil
	}
	return l.encode()
}

// firstCharacters returns the beginning of a text.
func firstCharacters(s string, n int) string {
	if len(s) <= n {
		return s
	}
	count := 0
	for i := range s {
		if count == n {
			return strings.ToValidUTF8(s[:i], "\uFFFD")
		}
		count++
	}
	return s
}
