package order

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// Message is what travels from order-receive to order-worker.
type Message struct {
	Account string `json:"account"`
	Label   string `json:"label,omitempty"` // the shop's, see package account
	// Key is the id of the API key that it came with, whose verification it goes
	// by; a message posted by hand may leave it out.
	Key      string    `json:"key,omitempty"`
	Request  string    `json:"request"`  // id of the request that brought it
	Received time.Time `json:"received"` // stands in for an order's missing date
	// Order is Sitoo's order object as it came, less the personal number.
	Order json.RawMessage `json:"order,omitempty"`
	// Packed is Order, compressed: long orders would not fit otherwise, and one
	// that is no JSON could not be carried.
	Packed []byte `json:"order_gzip,omitempty"`
	// Omitted is how many rows were cut from Order, see Fit.
	Omitted int `json:"omitted,omitempty"`
	// Rest is what the rows that were cut add up to, see sitoo.Order.
	Rest []sitoo.Rest `json:"rest,omitempty"`
}

// Scope is the account and the label of the message, see account.Scope.
func (m Message) Scope() string { return account.Scope(m.Account, m.Label) }

const (
	// packAbove is the size above which an order is compressed. Shorter ones
	// stay readable for support.
	packAbove = 100_000
	// maxMessage is what SQS takes in one message (1 MiB), less room for the
	// attributes.
	maxMessage = 1<<20 - 4096
	// maxUnpacked bounds what a message may unpack to.
	maxUnpacked = 8 << 20
	// MaxSize is how many bytes an order has at the most when it is queued; the
	// door cuts a longer one, to leastQueued at the worst, where it does not
	// compress.
	MaxSize, leastQueued = 2 << 20, 64 << 10
	// AtOnce is how many bytes of orders a worker unpacks at the same moment.
	// Decoded, checked and made entries of, they take up to 18 times as much
	// memory, and order-worker has 512 MB.
	AtOnce = 8 << 20
)

// Fit is Encode for an order of any length: one over 2 MiB, or that the queue
// does not take, is cut (see sitoo.Lean). omitted is how many rows it lost; what
// they add up to goes along, so that the entry counts the whole order.
func (m Message) Fit() (text string, omitted int, err error) {
	whole := m.Order
	var all []sitoo.Rest
	for limit := MaxSize; ; limit /= 2 {
		if m.Order, m.Omitted = sitoo.Lean(whole, limit); m.Omitted > 0 {
			if all == nil {
				all = sums(whole)
			}
			m.Rest = less(all, sums(m.Order))
		}
		if text, err = m.Encode(); fault.KindOf(err) != fault.TooLarge || limit <= leastQueued {
			return text, m.Omitted, err
		}
	}
}

// sums adds an order's rows up by VAT rate, nil if there is none or it cannot be
// read.
func sums(raw []byte) []sitoo.Rest {
	o, err := sitoo.DecodeOrder(raw)
	if err != nil {
		return nil
	}
	var list []sitoo.Rest
	decimals := sitoo.Decimals(o.Currency)
	for _, i := range o.Items {
		n := slices.IndexFunc(list, func(s sitoo.Rest) bool { return s.Rate.Equal(i.VATPercent) })
		if n < 0 {
			if len(list) > maxRates {
				return nil // no receipt's
			}
			n, list = len(list), append(list, sitoo.Rest{Rate: i.VATPercent})
		}
		s := &list[n]
		s.Quantity, s.Net, s.VAT = s.Quantity.Add(i.Quantity), s.Net.Add(i.Net), s.VAT.Add(i.VAT)
		s.Discount = s.Discount.Add(grossDiscount(i, decimals))
	}
	return list
}

// less takes sums of rows from those of all rows of the order.
func less(all, some []sitoo.Rest) []sitoo.Rest {
	rest := slices.Clone(all)
	for _, s := range some {
		for n := range rest {
			if r := &rest[n]; r.Rate.Equal(s.Rate) {
				r.Quantity, r.Net, r.VAT, r.Discount = r.Quantity.Sub(s.Quantity), r.Net.Sub(s.Net), r.VAT.Sub(s.VAT), r.Discount.Sub(s.Discount)
			}
		}
	}
	return rest
}

// Weight returns how many bytes of an order a queued message unpacks to. It
// unpacks no more than a few kilobytes at a time, and never fails: a message that
// cannot be read weighs what it is long.
func Weight(body string) int {
	if !strings.Contains(body, `"order_gzip"`) {
		return len(body)
	}
	var m Message
	if json.Unmarshal([]byte(body), &m) != nil {
		return len(body)
	}
	z, err := gzip.NewReader(bytes.NewReader(m.Packed))
	if err != nil {
		return len(body)
	}
	n, _ := io.Copy(io.Discard, io.LimitReader(z, maxUnpacked+1)) // as far as it can be read
	return max(int(n), len(body))
}

// Encode returns the message as the text that is queued. fault.TooLarge if it
// does not fit the queue.
func (m Message) Encode() (string, error) {
	if len(m.Order) > packAbove || !plain(m.Order) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(m.Order); err != nil {
			return "", fmt.Errorf("compress order: %w", err)
		}
		if err := z.Close(); err != nil {
			return "", fmt.Errorf("compress order: %w", err)
		}
		m.Order, m.Packed = nil, b.Bytes()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return "", fmt.Errorf("encode message: %w", err)
	}
	if b.Len() > maxMessage {
		return "", fault.New(fault.TooLarge, "The order is too large: compressed it has %d bytes, at most %d are expected.", b.Len(), maxMessage)
	}
	return strings.TrimSpace(b.String()), nil
}

// plain reports whether a message takes the order as it is: SQS refuses a few
// characters, and what is no JSON, or is nested too deep for Go's, is not carried
// in JSON.
func plain(b []byte) bool {
	const room = "[[[[[[[[]]]]]]]]"
	if half := len(room) / 2; !utf8.Valid(b) || !json.Valid(slices.Concat([]byte(room[:half]), b, []byte(room[half:]))) {
		return false
	}
	return !strings.ContainsFunc(string(b), func(r rune) bool {
		return r == 0xFFFE || r == 0xFFFF || r < 0x20 && r != '\t' && r != '\n' && r != '\r'
	})
}

// DecodeMessage reads a queued message and unpacks the order. The error is
// fault.Invalid: a message that cannot be read never will be.
func DecodeMessage(body string) (Message, error) {
	var m Message
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return Message{}, fault.Wrap(fault.Invalid, err, "The message is not the JSON that order-receive queues.")
	}
	if len(m.Packed) > 0 {
		z, err := gzip.NewReader(bytes.NewReader(m.Packed))
		if err != nil {
			return Message{}, fault.Wrap(fault.Invalid, err, "order_gzip is not compressed with gzip.")
		}
		raw, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
		if err != nil || len(raw) > maxUnpacked {
			return Message{}, fault.Wrap(fault.Invalid, fmt.Errorf("%d bytes: %w", len(raw), err), "order_gzip does not unpack to an order.")
		}
		m.Order, m.Packed = raw, nil
	}
	if m.Account == "" {
		return Message{}, fault.Bad("account", "is missing, the account id is expected")
	}
	if len(m.Order) == 0 {
		return Message{}, fault.Bad("order", "is missing, Sitoo's order object is expected")
	}
	return m, nil
}
