package stack_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"sitoo-rule/local/fakerule"
)

// naughtyNames returns some hundreds of strings that have broken programs: invisible
// marks, other scripts, other languages of programs, numbers that are none.
func naughtyNames() []string {
	list := []string{
		"undefined", "null", "NULL", "(null)", "nil", "NaN", "Infinity", "-1", "0x0", "1e309", "1/0", "true", "hasOwnProperty", "__proto__", "constructor",
		"'; DROP TABLE subscribers; --", "1' OR '1'='1", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}", "%s%s%n", "../../etc/passwd",
		"$(reboot)", "`id`", "=cmd|' /C calc'!A0", "@SUM(1+1)", "+46", "--help", "\\", "\\u0041", "&amp;", "%00", "%0d%0a", "\"", "'", "''", "[]", "{}", "[object Object]",
		"Ω≈ç√∫˜µ≤≥÷", "åß∂ƒ©˙∆˚¬…æ", "田中さんにあげて下さい", "パーティーへ行かないか", "사회과학원", "اختبار النص", "עִבְרִית", "ไทย", "हिन्दी", "Ελληνικά", "Русский", "Ṱ̺̺̕o͞ ̷i̲̬͇̪͙n̝̗͕v̟̜̘̦͟o̶̙̰̠kè͚̮̺̪̹̱̤",
		"👩‍👩‍👧‍👦", "🇸🇪", "👋🏽", "☃", "️", "﷽", "ﬁ", "ß", "ẞ", "İ", "ı", "ﬀ", "𝕳𝖊𝖏", "ｆｕｌｌ", "Ǆ", "\u00a0", "\u2028x", "a\u2029b", "e\u0301", "\u202egnirts", "\ufeffbom", "a\u200bb", "a\u00adb",
		strings.Repeat("ö", 255), strings.Repeat("👋", 63), "O'Brien", "Anna-Karin", "von der Ask", "d'Été", "Ng", "X Æ A-12", "Nu11", "Test Test", "Anonym", "-", ".", "...", " x ", "a  b",
	}
	for r := rune(0xA1); r <= 0x24F; r++ {
		list = append(list, "K"+string(r)+"nd")
	}
	return list
}

// Whatever stands in a form, she is registered or refused with a sentence, found
// again, and her card shows what was typed.
func TestNaughtyNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{rule: fakerule.Options{Budget: 1 << 30, ErrorSample: 1 << 30}})
	all := naughtyNames()
	if len(all) < 400 {
		t.Fatalf("%d strings", len(all))
	}
	for i, s := range all {
		mail := fmt.Sprintf("kund.%d@example.com", i)
		a := r.call("POST", "/contacts", map[string]any{"email": mail, "namefirst": s, "invoice_city": s, "membernumber": s})
		if a.Status != 200 {
			var m struct{ Message, Code string }
			if err := json.Unmarshal([]byte(a.Body), &m); a.Status != 400 || err != nil || m.Code == "" || !strings.HasSuffix(m.Message, ".") || !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsControl(c) }) && len([]rune(s)) <= 255 {
				t.Errorf("%q: %d %s", s, a.Status, a.Body)
			}
			continue
		}
		found := r.want(r.call("GET", "/contacts?key="+mail, nil), 200).([]any)
		if len(found) != 1 {
			t.Errorf("%q: found %v", s, found)
			continue
		}
		if card := found[0].(map[string]any); card["namefirst"] != strings.TrimSpace(s) || card["invoice_city"] != strings.TrimSpace(s) {
			t.Errorf("%q: the card shows %q", s, card["namefirst"])
		}
		// The same as an identifier: never a 5xx, never somebody else.
		if a := r.call("POST", "/contacts", map[string]any{"mobile": s}); a.Status != 200 && a.Status != 400 {
			t.Errorf("mobile %q: %d %s", s, a.Status, a.Body)
		}
		if a := r.call("POST", "/contacts", map[string]any{"email": s}); a.Status != 400 {
			t.Errorf("email %q: %d %s", s, a.Status, a.Body)
		}
	}
}

// Bodies as tills have sent them.
func TestFoundAtTills(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for name, c := range map[string]struct {
		body string
		keys []string
	}{
		"078":       {`{"mobile":"078-100 06 66","namefirst":"Ny"}`, []string{"078-100+06+66", "%2B46781000666"}},
		"invisible": {`{"mobile":"\u202a070-174 06 66\u202c","namefirst":"Ny"}`, []string{"070-174+06+66", "%2B46701740666"}},
		"Sitoo's":   {`{"mobile":"+11223334455","namefirst":"Ny","acceptedconsents":["1","2"],"accepts_email":false}`, []string{"%2B11223334455"}},
		"IDN":       {`{"email":"Anna@Exämple.com","namefirst":"Anna"}`, []string{"anna@ex%C3%A4mple.com", "anna@xn--exmple-cua.com"}},
	} {
		id := r.want(r.call("POST", "/contacts", json.RawMessage(c.body)), 200)
		for _, key := range c.keys {
			found := r.want(r.call("GET", "/contacts?key="+key, nil), 200).([]any)
			if len(found) != 1 || found[0].(map[string]any)["contactid"] != id {
				t.Errorf("%s: %s finds %v, want %v", name, key, found, id)
			}
		}
	}
	// An order of the IDN address is hers.
	r.want(r.call("POST", "/transactions", json.RawMessage(`{"orderid":990005,"orderdate":1772442000,"moneytotal_gross_all":"106.00","email":"anna@exämple.com"}`)), 200)
	r.drain()
	if rec := r.ledger(990005); rec.State != "sent" {
		t.Errorf("ledger: %+v", rec)
	}
}
