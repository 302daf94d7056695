package order

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
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
	// Packed is Order, compressed: long orders would not fit otherwise.
	Packed []byte `json:"order_gzip,omitempty"`
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
)

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

// plain reports whether a queue takes the text as it is: SQS refuses a few
// characters.
func plain(b []byte) bool {
	if !utf8.Valid(b) {
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
