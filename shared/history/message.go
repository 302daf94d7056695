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
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sitoo-rule/shared/account"
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
	// The years that a period may touch.
	firstYear, lastYear = 1990, 2200
)

// Start is what support posts to begin a backfill.
type Start struct {
	Account      string // account id, and
	Label        string // the label of the shop, "" for none; or
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
// nil. The error is fault.Invalid, with a sentence for support, who see nothing
// else of it than the attribute reason of the message that was put aside.
//
// events/backfill-worker/schema/message.json describes what support posts. What
// it allows is taken here, but for what a schema cannot say: a day that does not
// exist, and a period that ends before it begins or is too long. Beyond it, null
// stands for a member that is left out, so does an empty text, and blanks around
// a text do not count.
func DecodeBackfill(body string) (*Start, *Step, error) {
	var members map[string]json.RawMessage
	err := json.Unmarshal([]byte(body), &members)
	if err == nil && members == nil {
		err = errors.New("it is null")
	}
	if err != nil {
		says, cause := noObject(body, err)
		return nil, nil, &fault.Error{Kind: fault.Invalid, Message: "The message " + says + `; an object such as {"account":"...","from":"2024-01-01","to":"2024-12-31"} is expected.`, Err: cause}
	}
	if _, ok := members["step"]; ok {
		var s Step
		err := json.Unmarshal([]byte(body), &s)
		if err == nil && (s.Account == "" || s.Job == "" || s.Run < 1 || s.Step < 0) {
			err = errors.New("account, job, run or step is missing")
		}
		if err != nil {
			return nil, nil, &fault.Error{Kind: fault.Invalid, Member: "step", Message: "is only in what a job posts to itself, and this is no such message; what support posts has no member step", Err: err}
		}
		return nil, &s, nil
	}
	s, err := decodeStart(members)
	return s, nil, err
}

// noObject says what is wrong with a message that is not a JSON object; err is
// what json says, which is returned where it tells more.
func noObject(body string, err error) (says string, cause error) {
	trimmed := strings.TrimSpace(body)
	if trimmed == "" {
		return "is empty", nil
	}
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	switch {
	case !ok:
		return "is " + kind(json.RawMessage(trimmed)) + " and not a JSON object", nil
	case syntax.Error() == "unexpected end of JSON input":
		return "is not JSON: it breaks off, a quotation mark, ] or } is missing at its end", nil
	}
	at := min(max(int(syntax.Offset)-1, 0), len(body)) // the offset counts bytes, the odd one too
	place := utf8.RuneCountInString(body[:at]) + 1
	switch odd, _ := utf8.DecodeRuneInString(body[at:]); {
	case strings.ContainsRune("“”„‟‘’«»", odd):
		return fmt.Sprintf(`is not JSON: character %d is a quotation mark as word processors make them, where a plain one (") is expected`, place), nil
	case odd >= utf8.RuneSelf:
		err = nil // it names the byte as if that were a letter
	}
	return fmt.Sprintf("is not JSON from character %d on", place), err
}

// kind says what a JSON value is, for a sentence.
func kind(v json.RawMessage) string {
	switch v[0] {
	case '"':
		return "a text"
	case '[':
		return "a list"
	case '{':
		return "an object"
	case 't', 'f', 'n':
		return string(v)
	default:
		return "a number"
	}
}

// known are the members of what support posts.
var known = []string{"account", "label", "sitooaccount", "from", "to", "dryrun", "orders", "customers"}

var (
	accountID = regexp.MustCompile(`^([1-9][0-9]{0,18}|[0-9a-f]{32})$`)
	// sitooID is what Sitoo's account ids are like where credentials are entered.
	sitooID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$`)
	dayForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

// What sentences say is expected.
const (
	ourAccount   = `the account's number in Rule such as "42", as the log lines show it`
	someLabel    = `the label after the slash of the shop's API token, such as "fi"`
	sitooAccount = `Sitoo's account id such as "90001"`
	someDay      = `a day such as "2024-01-31"`
	someOrders   = "a list such as [210334,210335]"
)

func decodeStart(members map[string]json.RawMessage) (*Start, error) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !slices.Contains(known, name) {
			return nil, fault.Bad(plain(name), "is not known; %s are", strings.Join(known, ", "))
		}
		if string(members[name]) == "null" {
			delete(members, name)
		}
	}
	// text returns a member, "" if it is left out.
	text := func(name, expected string) (string, error) {
		raw, ok := members[name]
		if !ok {
			return "", nil
		}
		var t string
		if json.Unmarshal(raw, &t) != nil {
			return "", fault.Bad(name, "is %s; a text in quotation marks is expected, %s", kind(raw), expected)
		}
		return strings.TrimSpace(t), nil
	}
	var s Start
	var err error
	if n, ok := whole(members["account"]); ok {
		s.Account = strconv.FormatInt(n, 10)
	} else if s.Account, err = text("account", ourAccount); err != nil {
		return nil, err
	}
	label, err := text("label", someLabel)
	if err != nil {
		return nil, err
	}
	var good bool
	if s.Label, good = account.ReadLabel(label); !good {
		return nil, fault.Bad("label", "is no label, 1 to 20 letters, digits or hyphens; %s is expected", someLabel)
	}
	if n, ok := whole(members["sitooaccount"]); ok {
		s.SitooAccount = strconv.FormatInt(n, 10)
	} else if s.SitooAccount, err = text("sitooaccount", sitooAccount); err != nil {
		return nil, err
	}
	switch {
	case s.Account == "" && s.SitooAccount == "":
		return nil, fault.Bad("account", "is missing, and so is sitooaccount; one of them is expected: %s, or %s", ourAccount, sitooAccount)
	case s.Account != "" && s.SitooAccount != "":
		return nil, fault.Bad("sitooaccount", "is there beside account; one of the two is expected")
	case s.SitooAccount != "" && !sitooID.MatchString(s.SitooAccount):
		return nil, fault.Bad("sitooaccount", "is not an account id; %s is expected", sitooAccount)
	case s.Account != "" && !accountID.MatchString(s.Account):
		return nil, fault.Bad("account", "is not an account id; %s is expected", ourAccount)
	case s.SitooAccount != "" && s.Label != "":
		return nil, fault.Bad("label", "is there beside sitooaccount; it belongs to account")
	}
	if raw, ok := members["dryrun"]; ok && json.Unmarshal(raw, &s.DryRun) != nil {
		return nil, fault.Bad("dryrun", "is %s; true or false is expected, without quotation marks", kind(raw))
	}
	who, err := text("customers", `"known" or "create"`)
	if err != nil {
		return nil, err
	}
	switch who {
	case "", "known":
	case "create":
		s.Create = true
	default:
		return nil, fault.Bad("customers", `is neither "known" nor "create"; one of them is expected, in small letters`)
	}
	from, err := text("from", someDay)
	if err != nil {
		return nil, err
	}
	to, err := text("to", someDay)
	if err != nil {
		return nil, err
	}
	if raw, ok := members["orders"]; ok {
		if from != "" || to != "" {
			return nil, fault.Bad("orders", "are there beside from or to; either orders, or from and to, are expected")
		}
		if s.Orders, err = orderNumbers(raw); err != nil {
			return nil, err
		}
		return &s, nil
	}
	if s.From, s.To, err = period(from, to); err != nil {
		return nil, err
	}
	return &s, nil
}

// orderNumbers reads the member orders.
func orderNumbers(raw json.RawMessage) ([]int64, error) {
	var list []json.RawMessage
	switch {
	case json.Unmarshal(raw, &list) != nil:
		return nil, fault.Bad("orders", "is %s; %s is expected", kind(raw), someOrders)
	case len(list) == 0:
		return nil, fault.Bad("orders", "is an empty list; 1 to %d order numbers are expected", maxOrders)
	case len(list) > maxOrders:
		return nil, fault.Bad("orders", "has %d order numbers; %d are the most in one message, so several are expected", len(list), maxOrders)
	}
	ids := make([]int64, len(list))
	for i, one := range list {
		n, ok := whole(one)
		switch {
		// What it is, and not what it says: that may be a personal number.
		case !ok && kind(one) == "a number":
			return nil, fault.Bad("orders", "has a number in place %d of %d that is not whole, or too large; %s is expected", i+1, len(list), someOrders)
		case !ok:
			return nil, fault.Bad("orders", "has %s in place %d of %d; numbers without quotation marks are expected, %s", kind(one), i+1, len(list), someOrders)
		case n < 1:
			return nil, fault.Bad("orders", "has a number below 1 in place %d of %d; %s is expected", i+1, len(list), someOrders)
		}
		ids[i] = n
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// whole reads a whole number that every program reads from JSON as it is.
// Spreadsheets and scripts write 210334.0, too, and a JSON schema knows no
// difference.
func whole(raw json.RawMessage) (int64, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53
}

// period reads the members from and to. What it returns ends where the day to
// does.
func period(from, to string) (begin, end time.Time, err error) {
	switch {
	case from == "" && to == "":
		return begin, end, fault.Bad("from, to", `are missing, and so are orders; two days such as "2024-01-01" and "2024-12-31", or order numbers, are expected`)
	case from == "":
		return begin, end, fault.Bad("from", "is missing beside to; the first day is expected, %s", someDay)
	case to == "":
		return begin, end, fault.Bad("to", "is missing beside from; the last day is expected, %s", someDay)
	}
	if begin, err = day("from", from); err != nil {
		return begin, end, err
	}
	if end, err = day("to", to); err != nil {
		return begin, end, err
	}
	if end.Before(begin) {
		return begin, end, fault.Bad("to", "is %s and before from, which is %s; the last day is expected", to, from)
	}
	end = end.AddDate(0, 0, 1) // the day itself is wanted, too
	if end.After(begin.AddDate(maxYears, 0, 1)) {
		return begin, end, fault.Bad("to", "is more than %d years after from; several messages with a shorter period each are expected", maxYears)
	}
	return begin, end, nil
}

func day(name, v string) (time.Time, error) {
	if !dayForm.MatchString(v) {
		return time.Time{}, fault.Bad(name, `is not a day; year, month and day are expected as in "2024-01-31", and no time of day`)
	}
	t, err := time.ParseInLocation(time.DateOnly, v, rule.Stockholm)
	switch {
	case err != nil:
		return time.Time{}, fault.Bad(name, "is %s, a day that does not exist; one of the calendar is expected", v)
	case t.Year() < firstYear || t.Year() > lastYear:
		return time.Time{}, fault.Bad(name, "is %s; a day from %d to %d is expected", v, firstYear, lastYear)
	}
	return t, nil
}

// plain returns a member's name as it may stand in a reason and in the log: what
// is no name could be anything, an address included.
func plain(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") != "" {
		return "?"
	}
	return cmp.Or(cut(name, 40), `""`)
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
	enc := json.NewEncoder(z)
	enc.SetEscapeHTML(false) // escapes would make it larger than what was measured
	if err := enc.Encode(orders); err != nil {
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
