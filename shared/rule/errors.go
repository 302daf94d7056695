package rule

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"sitoo-rule/shared/fault"
)

// Error is what Rule answered instead of what was asked. It is for the log: no
// key is in it, but Rule's own words may quote what was sent, so it is never
// shown to a caller.
type Error struct {
	What   string              // method and route, without identifiers
	Status int                 // HTTP status, 0 if there was no answer
	Code   string              // Rule's machine word, e.g. "DuplicateSubscriber"
	Text   string              // what went wrong, in Rule's words or ours
	Fields map[string][]string // Rule's messages per member, if it named any
	// Uncertain is true when Rule may have carried out the request all the
	// same: it was sent, and no proper refusal came back.
	Uncertain bool

	ours bool // Text is ours, without anything that Rule said
}

// Error returns the route, the status and Rule's machine word. Rule's sentences
// stay out: they can repeat an email address.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("rule: " + e.What)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": status %d", e.Status)
	}
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if len(e.Fields) > 0 {
		names := make([]string, 0, len(e.Fields))
		for name := range e.Fields {
			names = append(names, name)
		}
		slices.Sort(names)
		b.WriteString(" (" + strings.Join(names, ", ") + ")")
	}
	if e.ours {
		b.WriteString(": " + e.Text)
	}
	return b.String()
}

// Names reports whether Rule's refusal names a member, such as "phone_number".
func (e *Error) Names(member string) bool {
	for name := range e.Fields {
		if name == member || strings.HasSuffix(name, "."+member) {
			return true
		}
	}
	return false
}

// Entries returns which subscribers of an UpsertMany a refusal is about, by
// their places in the list, ascending; none if it does not say. Rule names them
// as "subscribers.3.phone_number" (assumed).
func (e *Error) Entries() []int {
	var list []int
	for name := range e.Fields {
		parts := strings.Split(name, ".")
		if len(parts) < 2 || parts[0] != "subscribers" || strings.Trim(parts[1], "0123456789") != "" {
			continue
		}
		if i, err := strconv.Atoi(parts[1]); err == nil && i < maxBulk {
			list = append(list, i)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// WithoutRefused returns fields less those that a refusal is about. dropped is
// false if err is no refusal of custom fields, or does not say which. Rule names
// a field by its key, by its name or by its place in the request (assumed:
// "fields.3.type", "groups.0.values.3.value").
func WithoutRefused(err error, fields []Field) (keep []Field, dropped bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok || fault.KindOf(err) != fault.Invalid {
		return fields, false
	}
	for i, f := range fields {
		if !e.refuses(f, i) {
			keep = append(keep, f)
		}
	}
	return keep, len(keep) < len(fields)
}

// refuses reports whether the refusal is about the i-th field sent.
func (e *Error) refuses(f Field, i int) bool {
	place := strconv.Itoa(i)
	for name := range e.Fields {
		if name == f.Group+"."+f.Name || name == f.Name {
			return true
		}
		parts := strings.Split(name, ".")
		for j := 1; j < len(parts); j++ {
			if (parts[j-1] == "fields" || parts[j-1] == "values") && parts[j] == place {
				return true
			}
		}
	}
	return false
}

// Uncertain reports whether err leaves open if Rule carried out the request.
func Uncertain(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Uncertain
}

// kinds maps a status to a kind; any other 4xx is Invalid, anything else
// Unavailable.
var kinds = map[int]fault.Kind{
	http.StatusUnauthorized: fault.Unauthorized, http.StatusNotFound: fault.NotFound,
	http.StatusConflict: fault.Conflict, http.StatusRequestEntityTooLarge: fault.TooLarge,
	http.StatusRequestTimeout: fault.Unavailable,
	// Not in Rule's documentation: what stands in front of it, perhaps. It must
	// not cost an order.
	http.StatusForbidden: fault.Unavailable,
}

// words maps Rule's machine words to the status they come with, for answers
// of 200 that carry an error member.
var words = map[string]int{
	"NotAuthorized": 401, "SubscriberNotFound": 404, "DuplicateSubscriber": 409,
	"DuplicateTag": 409, "BadRequest": 400, "LimitExceed": 400,
}

func kindOf(status int) fault.Kind {
	if k, ok := kinds[status]; ok {
		return k
	}
	if status/100 == 4 {
		return fault.Invalid
	}
	return fault.Unavailable
}

// envelope is the union of v2's and v3's error bodies. Its members are read one
// by one: PHP writes an empty map as [], and a member out of shape must not hide
// that there is an error.
type envelope struct {
	Error   json.RawMessage `json:"error"`
	Message json.RawMessage `json:"message"`
	Fields  json.RawMessage `json:"fields"`
	Errors  json.RawMessage `json:"errors"`
}

// said returns Rule's machine word and its sentence. Code is empty if what
// stands in the word's place is a sentence.
func (e envelope) said() (code, text string) {
	code, text = word(e.Error), Value{e.Message}.Text()
	if !machineWord(code) {
		code, text = "", cmp.Or(text, code)
	}
	return code, text
}

// refused reads the error of an answer whose status is not 2xx.
func refused(what string, status int, answer []byte, redact *strings.Replacer) error {
	e := &Error{What: what, Status: status, Uncertain: status/100 == 5}
	var env envelope
	var bare string
	switch {
	case json.Unmarshal(answer, &env) == nil:
		e.Code, e.Text = env.said()
		e.Fields = messages(redact, env.Fields, env.Errors)
	case json.Unmarshal(answer, &bare) == nil:
		e.Text = bare
	default:
		e.Text = http.StatusText(status)
	}
	e.Code, e.Text = redact.Replace(e.Code), cut(redact.Replace(e.Text), maxText)
	kind := kindOf(status)
	if kind == fault.Invalid && e.taken() {
		kind = fault.Conflict
	}
	return &fault.Error{Kind: kind, Err: e}
}

// taken reports whether a refusal says that somebody else has the email address
// or the phone number: v3 says so in the words of its framework (assumed).
func (e *Error) taken() bool {
	said := []string{e.Text}
	for _, member := range []string{"email", "phone_number", "phone"} {
		for name, messages := range e.Fields {
			if name == member || strings.HasSuffix(name, "."+member) {
				said = append(said, messages...)
			}
		}
	}
	return slices.ContainsFunc(said, func(s string) bool {
		s = strings.ToLower(s)
		return strings.Contains(s, "already been taken") || strings.Contains(s, "already exists") || strings.Contains(s, "already taken")
	})
}

// refusedInside finds the error that a 2xx answer can carry: a member "error",
// or nothing but a JSON string.
func refusedInside(what string, status int, answer []byte, redact *strings.Replacer) error {
	trimmed := bytes.TrimSpace(answer)
	if len(trimmed) == 0 {
		return nil
	}
	switch trimmed[0] {
	case '"':
		var bare string
		if json.Unmarshal(trimmed, &bare) != nil {
			return nil // not JSON: the decoder says so
		}
		return &fault.Error{Kind: fault.Unavailable, Err: &Error{
			What: what, Status: status, Text: cut(redact.Replace(bare), maxText), Uncertain: true,
		}}
	case '{':
		var env envelope
		if json.Unmarshal(trimmed, &env) != nil || word(env.Error) == "" {
			return nil
		}
		code, text := env.said()
		as, known := words[code]
		e := &Error{
			What: what, Status: status, Code: redact.Replace(code), Text: cut(redact.Replace(text), maxText),
			Fields: messages(redact, env.Fields, env.Errors), Uncertain: !known,
		}
		if !known {
			return &fault.Error{Kind: fault.Unavailable, Err: e}
		}
		return &fault.Error{Kind: kindOf(as), Err: e}
	}
	return nil
}

// word returns what a member "error" says, "" if it says that there is none:
// absent, null, false, 0 or empty.
func word(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return ""
	}
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		for _, name := range []string{"code", "message"} {
			if s, ok := v[name].(string); ok && s != "" {
				return s
			}
		}
		if len(v) == 0 {
			return ""
		}
	case []any:
		if len(v) == 0 {
			return ""
		}
	case nil:
		return ""
	default:
		if v == false || v == 0.0 {
			return ""
		}
	}
	return string(raw)
}

// machineWord reports whether s is a word for programs, such as BadRequest:
// nothing that could be a sentence, an address or a number.
func machineWord(s string) bool {
	return len(s) <= 60 && strings.ContainsFunc(s, unicode.IsLetter) && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	})
}

func messages(redact *strings.Replacer, maps ...json.RawMessage) map[string][]string {
	var all map[string][]string
	for _, encoded := range maps {
		var m map[string]json.RawMessage
		if json.Unmarshal(encoded, &m) != nil {
			continue // [] for none, or absent
		}
		for name, raw := range m {
			var many []string
			if json.Unmarshal(raw, &many) != nil {
				var one string
				_ = json.Unmarshal(raw, &one) // neither: the name alone still helps
				many = []string{one}
			}
			if all == nil {
				all = map[string][]string{}
			}
			for i := range many {
				many[i] = redact.Replace(many[i])
			}
			all[redact.Replace(name)] = many
		}
	}
	return all
}

// maxText is how much is kept of what Rule says.
const maxText = 300

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// redactor replaces a key, plain and as it stands in a URL: Rule's ready-made
// links (meta.next) repeat it.
func redactor(key string) *strings.Replacer {
	if key == "" {
		return strings.NewReplacer()
	}
	return strings.NewReplacer(key, "[key]", url.QueryEscape(key), "[key]", url.PathEscape(key), "[key]")
}

const (
	defaultBlock = 10 * time.Minute // what Rule's blocks last
	minBlock     = time.Second
	// maxBlock keeps a garbled answer from silencing an account for long.
	maxBlock = time.Hour
)

// TimeLayout is how Rule writes a date and time, local to Stockholm.
const TimeLayout = "2006-01-02 15:04:05"

// retryAt reads from a 429 when the account may call again. Retry-After comes
// as seconds (documented), as an HTTP date, or as a Stockholm timestamp (seen
// live); the v3 body repeats the timestamp. Of several values the longest wait
// counts. The answer's Date tells Rule's clock, so that ours may be off. What
// cannot be read is the ten minutes that Rule's blocks last, and no wait is
// shorter than a second or longer than an hour.
func retryAt(h http.Header, body []byte, now time.Time) time.Time {
	clocks := []time.Time{now}
	if d, err := http.ParseTime(h.Get("Date")); err == nil {
		clocks = []time.Time{d, now}
	}
	wait, known := time.Duration(0), false
	read := func(value string) {
		if d, ok := waitOf(strings.Trim(value, " \t\""), clocks); ok {
			wait, known = max(wait, d), true
		}
	}
	for _, v := range h.Values("Retry-After") {
		if read(v); !known { // joined by a proxy; a date has a comma in it, too
			for part := range strings.SplitSeq(v, ",") {
				read(part)
			}
		}
	}
	if m := continueAt.FindSubmatch(body); m != nil && !known {
		read(string(m[1]))
	}
	if !known {
		wait = defaultBlock
	}
	return now.Add(min(max(wait, minBlock), maxBlock))
}

// continueAt finds the timestamp in the sentence of a 429's body.
var continueAt = regexp.MustCompile(`(?i)continue at:?\s+(\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?)`)

// localLayouts are how Rule writes when to come back, and how it might.
var localLayouts = []string{TimeLayout, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"}

// absurd is how far from both clocks a moment is no answer to the question.
const absurd = 24 * time.Hour

// waitOf reads one value; clocks are Rule's, where it is known, and ours.
func waitOf(value string, clocks []time.Time) (time.Duration, bool) {
	if secs, err := strconv.ParseFloat(value, 64); err == nil {
		if !(secs >= 0 && secs < 1e6) {
			return 0, false
		}
		return time.Duration(secs * float64(time.Second)), true
	}
	var waits []time.Duration
	for _, clock := range clocks {
		wait, ok := until(value, clock)
		if !ok {
			return 0, false
		}
		if wait > -absurd && wait < absurd {
			return wait, true
		}
		waits = append(waits, wait)
	}
	return waits[0], waits[0] > 0
}

// until returns how far a moment lies ahead of a clock.
func until(value string, clock time.Time) (time.Duration, bool) {
	if t, err := http.ParseTime(value); err == nil {
		return t.Sub(clock), true
	}
	for _, layout := range []string{time.RFC1123Z, time.RFC3339, "2006-01-02 15:04:05Z07:00"} {
		if t, err := time.Parse(layout, value); err == nil {
			return t.Sub(clock), true
		}
	}
	for _, layout := range localLayouts {
		if t, err := time.ParseInLocation(layout, value, Stockholm); err == nil {
			return untilLocal(t, clock), true
		}
	}
	return 0, false
}

// untilLocal is for a moment of Stockholm's. In the hour that comes twice in
// October the text does not say which of the two it means: it is the one that
// lies ahead and is a block's length.
func untilLocal(t, clock time.Time) time.Duration {
	wait := t.Sub(clock)
	for _, shift := range []time.Duration{time.Hour, -time.Hour} {
		twin := t.Add(shift).In(Stockholm).Format(TimeLayout) == t.In(Stockholm).Format(TimeLayout)
		other := wait + shift
		if twin && (wait < 0 || wait > 2*defaultBlock) && other >= 0 && other <= 2*defaultBlock {
			return other
		}
	}
	return wait
}
