package history

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

const (
	// maxOrders is how many orders one message may ask for.
	maxOrders = 1000
	// maxUnpacked bounds what the orders of a part may unpack to.
	maxUnpacked = 4 * maxPartSize
	// maxYears is the longest period of a job.
	maxYears = 30
)

// Start is what support posts to begin a backfill.
type Start struct {
	Account      string // account id, or
	SitooAccount string // Sitoo's account id
	Spec
}

// Step is what a job posts to itself to go on.
type Step struct {
	Account string `json:"account"`
	Job     string `json:"job"`
	Run     int    `json:"run"`
	Step    int    `json:"step"`
}

// Dedup makes a FIFO queue take the step once.
func (s Step) Dedup() string { return fmt.Sprintf("%s-%d-%d", s.Job, s.Run, s.Step) }

// DecodeBackfill reads a message of the backfill queue: one of the two is not
// nil. The error is fault.Invalid, with a sentence for support.
func DecodeBackfill(body string) (*Start, *Step, error) {
	var members map[string]json.RawMessage
	err := json.Unmarshal([]byte(body), &members)
	if err == nil && members == nil {
		err = errors.New("it is null")
	}
	if err != nil {
		return nil, nil, fault.Wrap(fault.Invalid, err, `The message is not a JSON object; one such as {"account":"...","from":"2024-01-01","to":"2024-12-31"} is expected.`)
	}
	if _, ok := members["step"]; ok {
		var s Step
		err := json.Unmarshal([]byte(body), &s)
		if err == nil && (s.Account == "" || s.Job == "" || s.Run < 1 || s.Step < 0) {
			err = errors.New("account, job, run or step is missing")
		}
		if err != nil {
			return nil, nil, fault.Wrap(fault.Invalid, err, "The message is neither what support posts nor what a job posts to itself.")
		}
		return nil, &s, nil
	}
	s, err := decodeStart(members)
	return s, nil, err
}

// known are the members of what support posts.
var known = []string{"account", "sitooaccount", "from", "to", "dryrun", "orders", "customers"}

var accountID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func decodeStart(members map[string]json.RawMessage) (*Start, error) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(known, name) {
			return nil, fault.Bad(cmp.Or(cut(name, 40), `""`), "is not known; %s are", strings.Join(known, ", "))
		}
	}
	var s Start
	text := func(name string) (string, error) {
		raw, ok := members[name]
		if !ok || string(raw) == "null" {
			return "", nil
		}
		var t string
		if json.Unmarshal(raw, &t) != nil {
			if _, err := strconv.ParseInt(string(raw), 10, 64); err == nil && name == "sitooaccount" {
				return string(raw), nil
			}
			return "", fault.Bad(name, "is not a text")
		}
		return strings.TrimSpace(t), nil
	}
	var err error
	if s.Account, err = text("account"); err != nil {
		return nil, err
	}
	if s.SitooAccount, err = text("sitooaccount"); err != nil {
		return nil, err
	}
	switch {
	case s.Account == "" && s.SitooAccount == "":
		return nil, fault.Bad("account", "is missing: the account id, 32 characters as the log lines show it, or sitooaccount is expected")
	case s.Account != "" && s.SitooAccount != "":
		return nil, fault.Bad("sitooaccount", "is there beside account; one of the two is expected")
	case s.Account != "" && !accountID.MatchString(s.Account):
		return nil, fault.Bad("account", "is not an account id; 32 characters 0-9 and a-f are expected, as the log lines show it")
	}
	if raw, ok := members["dryrun"]; ok && json.Unmarshal(raw, &s.DryRun) != nil {
		return nil, fault.Bad("dryrun", "is neither true nor false")
	}
	who, err := text("customers")
	if err != nil {
		return nil, err
	}
	switch who {
	case "", "known":
	case "create":
		s.Create = true
	default:
		return nil, fault.Bad("customers", "is neither known nor create")
	}
	from, ferr := text("from")
	to, terr := text("to")
	if ferr != nil || terr != nil {
		return nil, fault.Bad("from, to", "are not both days such as 2024-01-31")
	}
	if raw, ok := members["orders"]; ok && string(raw) != "null" {
		if from != "" || to != "" {
			return nil, fault.Bad("orders", "are there beside from and to; one of the two is expected")
		}
		if json.Unmarshal(raw, &s.Orders) != nil || len(s.Orders) == 0 || len(s.Orders) > maxOrders {
			return nil, fault.Bad("orders", "is not a list of 1 to %d order numbers", maxOrders)
		}
		slices.Sort(s.Orders)
		s.Orders = slices.Compact(s.Orders)
		if s.Orders[0] <= 0 {
			return nil, fault.Bad("orders", "has a number below 1")
		}
		return &s, nil
	}
	if s.From, err = day("from", from); err != nil {
		return nil, err
	}
	if s.To, err = day("to", to); err != nil {
		return nil, err
	}
	if s.To.Before(s.From) {
		return nil, fault.Bad("to", "is before from")
	}
	s.To = s.To.AddDate(0, 0, 1) // the day itself is wanted, too
	if s.To.After(s.From.AddDate(maxYears, 0, 1)) {
		return nil, fault.Bad("to", "is more than %d years after from", maxYears)
	}
	return &s, nil
}

func day(name, v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, fault.Bad(name, "is missing; a day such as 2024-01-31 is expected")
	}
	t, err := time.ParseInLocation(time.DateOnly, v, rule.Stockholm)
	if err != nil || t.Year() < 1990 || t.Year() > 2200 {
		return time.Time{}, fault.Bad(name, "is not a day; something like 2024-01-31 is expected")
	}
	return t, nil
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// JobID returns the id of the job that does what is asked: the same for the same.
func JobID(account string, s Spec) string {
	from, to := s.From.UTC(), s.To.UTC()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d\x00%t\x00%v\x00%t", account, from.Unix(), to.Unix(), s.DryRun, s.Orders, s.Create))
	return hex.EncodeToString(sum[:6])
}

// PartMessage is a part of a job on its way to the history worker.
type PartMessage struct {
	Account string `json:"account"`
	Job     string `json:"job"`
	Run     int    `json:"run"`
	Part    string `json:"part"`
	Request string `json:"request"` // the delivery that queued it
	Create  bool   `json:"create,omitempty"`
	Resend  bool   `json:"resend,omitempty"`
	// Packed are the orders, a JSON array of Sitoo's order objects less the
	// personal numbers, compressed.
	Packed []byte `json:"orders_gzip"`
}

// Pack puts orders into the message.
func (m *PartMessage) Pack(orders []json.RawMessage) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(orders); err != nil {
		return fmt.Errorf("pack orders: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("pack orders: %w", err)
	}
	m.Packed = b.Bytes()
	return nil
}

// DecodePart reads a queued part and its orders. The error is fault.Invalid.
func DecodePart(body string) (m PartMessage, orders []json.RawMessage, err error) {
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return PartMessage{}, nil, fault.Wrap(fault.Invalid, err, "The message is not the JSON that a backfill queues.")
	}
	if m.Account == "" || m.Job == "" || m.Part == "" || m.Run < 1 {
		return m, nil, fault.New(fault.Invalid, "The message does not name account, job, run and part.")
	}
	z, err := gzip.NewReader(bytes.NewReader(m.Packed))
	if err != nil {
		return m, nil, fault.Wrap(fault.Invalid, err, "orders_gzip is not compressed with gzip.")
	}
	raw, err := io.ReadAll(io.LimitReader(z, maxUnpacked+1))
	if err == nil && len(raw) > maxUnpacked {
		err = fmt.Errorf("it unpacks to over %d bytes", maxUnpacked)
	}
	if err != nil {
		return m, nil, fault.Wrap(fault.Invalid, err, "orders_gzip does not unpack.")
	}
	if err := json.Unmarshal(raw, &orders); err != nil {
		return m, nil, fault.Wrap(fault.Invalid, err, "orders_gzip does not hold an array of orders.")
	}
	return m, orders, nil
}
