package rule_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
)

func FuzzSubscriber(f *testing.F) {
	for _, seed := range []string{
		`{"id":255934461,"email":"kund.ett@example.com","phone_number":null,"tags":[{"id":1,"name":"Sitoo"}],"suppressed":[{"dispatcher_type":"campaign"}]}`,
		`{"id":"7","phone":"+46701740605","suppressed":true,"tags":null}`, `{"id":-1}`, `null`, `[]`, `{"id":[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s rule.Subscriber
		if err := json.Unmarshal(b, &s); err == nil && s.ID < 0 {
			t.Errorf("id = %d", s.ID)
		}
	})
}

func FuzzEntry(f *testing.F) {
	for _, seed := range []string{record, `{"id":1,"values":null}`, `{"values":[{"field_name":"a","field_value":[1,"b"]}]}`, `null`, `{"values":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e rule.Entry
		if json.Unmarshal(b, &e) != nil {
			return
		}
		for name, v := range e.Values {
			if raw := v.JSON(); raw != nil && len(raw) > len(b) {
				t.Errorf("%s: JSON is longer than the record", name)
			}
			if text := v.Text(); len(v.List()) > len(text) {
				t.Errorf("%s: %d items in %q", name, len(v.List()), text)
			}
		}
	})
}

// A list that we write comes back as it was, in both forms that Rule sends.
func FuzzMultiple(f *testing.F) {
	f.Add("A", "B, C")
	f.Add("", "null")
	f.Add(`["A"]`, `\"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // Go's JSON replaces what is not UTF-8
		}
		array, err := json.Marshal([]string{a, b})
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(string(array))
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range []json.RawMessage{array, encoded} {
			if got := (rule.Value{Raw: raw}).List(); len(got) != 2 || got[0] != a || got[1] != b {
				t.Errorf("List of %s = %q, want %q and %q", raw, got, a, b)
			}
		}
	})
}

// Whatever a 429 says, the account waits between a second and an hour.
func FuzzRetryAfter(f *testing.F) {
	f.Add("2026-05-14 14:22:16", "Too Many Requests. You can continue at 2026-05-14 14:22:16.", "Thu, 14 May 2026 12:12:16 GMT", int64(1778760736))
	f.Add("2026-10-25 02:25:00", "", "", int64(1792890900))
	f.Add("600", "continue at ", "x", int64(0))
	f.Add("-1e400", "continue at 9999-99-99 99:99:99", "Mon, 01 Jan 0001 00:00:00 GMT", int64(-1))
	f.Add("9999-12-31 23:59:59", "", "", int64(0))
	f.Add("0000-01-01 00:00:00", "", "Fri, 31 Dec 9999 23:59:59 GMT", int64(0))
	f.Fuzz(func(t *testing.T, header, body, date string, now int64) {
		const year3000 = 32503680000
		if now < 0 || now > year3000 {
			return // no clock says that
		}
		if got := waitFor(t, time.Unix(now, 0), header, body, date); got < time.Second || got > time.Hour {
			t.Errorf("wait = %v, want a second to an hour", got)
		}
	})
}

// Whatever Rule answers, an error is a fault, short enough for a log, and
// without the key; and only a 2xx is a success.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"error":"BadRequest","message":"Some fields could not be validated","fields":{"email":["no"]}}`, `{"message":"no","errors":{"a":"b"}}`, `"Too Many Attempts."`,
		`<html>`, ``, `{"error":[`, `{"subscriber":{"id":1}}`, `{"groups":[{"fields":[{"key":"a.b"}]}]}`, `{"data":[` + record + `]}`, `{"error":{"code":"zq-key-qz"}}`, `[{"id":1}]`, `{"error":"zq-key-qz","fields":[]}`,
	} {
		for _, status := range []int{200, 204, 302, 400, 404, 429, 500} {
			f.Add(status, body)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return // no final status
		}
		const secret = "zq-key-qz"
		w := &wire{replies: []reply{answered(status, body)}}
		c := client(w, noon)
		for _, call := range calls {
			err := call.do(t.Context(), c.Session(secret, time.Time{}, nil))
			if err == nil {
				if status/100 != 2 && status != http.StatusNotFound {
					t.Errorf("%s: a %d is a success", call.name, status)
				}
				continue
			}
			e, ok := errors.AsType[*rule.Error](err)
			if _, isFault := errors.AsType[*fault.Error](err); !ok || !isFault {
				t.Fatalf("%s: %T is no fault around Rule's error", call.name, err)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(e.Text, secret) || strings.Contains(e.Code, secret) {
				t.Errorf("%s: %q (%q) holds the key", call.name, err, e.Text)
			}
			if len(e.Text) > 1000 || len(e.Code) > 100 {
				t.Errorf("%s: text of %d bytes, word of %d", call.name, len(e.Text), len(e.Code))
			}
		}
	})
}

// An identifier is one segment of the path, whatever is in it, and stays out of
// errors.
func FuzzIdentifier(f *testing.F) {
	for _, seed := range []string{"kund+ett@example.com", "+46701740605", "a/../b", "%2F", "?", "#", "å", "%s", "\x00", " "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if value == "tags" { // names a route of its own
			return
		}
		for _, who := range []rule.Identifier{rule.ByEmail(value), rule.ByPhone(value)} {
			s, w := session(answered(404, ""))
			_, err := s.Subscriber(t.Context(), who)
			if err == nil || !strings.HasSuffix(err.Error(), "GET /v2/subscribers/{}: status 404") {
				t.Errorf("error %q, want the route without %q", err, value)
			}
			path := w.requests[0].URL.EscapedPath()
			segment, ok := strings.CutPrefix(path, "/api/v2/subscribers/")
			if got, err := url.PathUnescape(segment); !ok || err != nil || got != value || strings.ContainsAny(segment, "/?#+@") {
				t.Errorf("path %q does not hold %q as one segment", path, value)
			}
			if by := w.requests[0].URL.Query(); len(by) != 1 || len(by["identified_by"]) != 1 {
				t.Errorf("query = %v, want identified_by alone", by)
			}
		}
	})
}
