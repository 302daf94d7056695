package stack_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sitoo-rule/shared/sentence"

	"sitoo-rule/shared/order"
	"sitoo-rule/shared/worker"
)

// Whatever is sent, the till gets a clear answer: what is wrong, which member,
// what is expected; and nothing is written or queued.
func TestBadInput(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	redeemPath := bonusPath(hundred)
	contact := func(member string, v any) string {
		b, _ := json.Marshal(map[string]any{"email": "ny@example.com", member: v})
		return string(b)
	}
	bad := func(change func(o map[string]any)) string {
		b, _ := json.Marshal(sale(1, func(o map[string]any) { of("255934461")(o); change(o) }))
		return string(b)
	}

	for name, c := range map[string]struct {
		method, path, body string
		status             int
		says               []string // in the message
	}{
		"not JSON":               {"POST", "/contacts", `email=ny@example.com`, 400, []string{"not JSON", "JSON object is expected"}},
		"broken off":             {"POST", "/contacts", `{"email":"ny@exa`, 400, []string{"not JSON"}},
		"an array":               {"POST", "/contacts", `["email"]`, 400, []string{"not an object"}},
		"a string":               {"POST", "/contacts", `"ny@example.com"`, 400, []string{"not an object"}},
		"null":                   {"POST", "/contacts", `null`, 400, []string{"not an object"}},
		"two objects":            {"POST", "/contacts", `{"email":"ny@example.com"}{}`, 400, []string{"goes on after"}},
		"no body":                {"POST", "/contacts", "", 400, []string{"no body"}},
		"deep":                   {"POST", "/contacts", `{"email":` + strings.Repeat("[", 150_000) + strings.Repeat("]", 150_000) + `}`, 400, []string{"email", "nested"}},
		"over 1 MB":              {"POST", "/contacts", contact("namefirst", strings.Repeat("x", 1<<20)), 413, []string{"at most 1048576"}},
		"member twice":           {"POST", "/contacts", `{"email":"a@example.com","email":"b@example.com"}`, 400, []string{"email", "twice"}},
		"invalid UTF-8":          {"POST", "/contacts", "{\"email\":\"\xff@example.com\"}", 400, []string{"UTF-8"}},
		"control character":      {"POST", "/contacts", contact("namefirst", "A\nB"), 400, []string{"namefirst", "control character"}},
		"escape character":       {"POST", "/contacts", contact("invoice_city", "A\u0000B"), 400, []string{"invoice_city", "control character"}},
		"a long name":            {"POST", "/contacts", contact("namefirst", long), 400, []string{"namefirst", "10000 characters", "255"}},
		"a name that is a list":  {"POST", "/contacts", contact("namefirst", []string{"A"}), 400, []string{"namefirst", "text is expected"}},
		"an email that is none":  {"POST", "/contacts", contact("email", "ny@"), 400, []string{"email", "anna@example.com"}},
		"two emails":             {"POST", "/contacts", contact("email", "a@example.com,b@example.com"), 400, []string{"email"}},
		"email with line break":  {"POST", "/contacts", contact("email", "a@example.com\r\nBcc: b@example.com"), 400, []string{"email"}},
		"a mobile that is none":  {"POST", "/contacts", contact("mobile", "12"), 400, []string{"mobile", "070-174 06 05"}},
		"a phone with letters":   {"POST", "/contacts", contact("phone", "070-KUNDEN"), 400, []string{"phone"}},
		"a country by name":      {"POST", "/contacts", contact("invoice_countryid", "Sverige"), 400, []string{"invoice_countryid", "SE"}},
		"a birthday in words":    {"POST", "/contacts", contact("birthday", "i maj"), 400, []string{"birthday", "1986-05-15"}},
		"a flag in words":        {"POST", "/contacts", contact("accepts_email", "kanske"), 400, []string{"accepts_email", "true or false"}},
		"consents not a list":    {"POST", "/contacts", contact("acceptedconsents", map[string]any{"a": 1}), 400, []string{"acceptedconsents"}},
		"a consent in a list":    {"POST", "/contacts", contact("acceptedconsents", []any{[]any{1}}), 400, []string{"acceptedconsents[0]"}},
		"nobody to find":         {"POST", "/contacts", `{"namefirst":"Ny","email":" ","mobile":"","phone":null}`, 400, []string{"email, mobile, phone", "is needed"}},
		"email and phone of two": {"POST", "/contacts", `{"email":"kund.tre@example.com","mobile":"070-174 06 05"}`, 400, []string{"two different customers"}},
		"id with a slash":        {"GET", "/contacts/1%2F2", "", 400, []string{"contactid", "255934461"}},
		"id with a sign":         {"GET", "/contacts/+255934461", "", 400, []string{"contactid"}},
		"negative id":            {"PUT", "/contacts/-1", `{"namefirst":"x"}`, 400, []string{"contactid"}},
		"id of words":            {"GET", "/contacts/kund/transactions", "", 400, []string{"contactid"}},
		"id too long":            {"GET", "/contacts/99999999999999999999", "", 400, []string{"contactid"}},
		"id zero":                {"GET", "/contacts/0", "", 400, []string{"contactid"}},
		"unknown id":             {"PUT", "/contacts/999", `{"namefirst":"x"}`, 404, []string{"no customer"}},
		"extended in words":      {"GET", "/contacts?key=0701740605&include_extended=ja", "", 400, []string{"include_extended"}},
		"last identifier":        {"PUT", "/contacts/255934463", `{"email":""}`, 400, []string{"at least one must stay"}},
		"email of another":       {"PUT", "/contacts/255934461", `{"email":"kund.tre@example.com"}`, 400, []string{"belongs to another", "Nothing was changed"}},
		"phone of another":       {"PUT", "/contacts/255934463", `{"mobile":"0701740605"}`, 400, []string{"belongs to another"}},
		"order that is a list":   {"POST", "/transactions", `[` + bad(func(map[string]any) {}) + `]`, 400, []string{"not an object"}},
		"order without a number": {"POST", "/transactions", bad(func(o map[string]any) { delete(o, "orderid") }), 400, []string{"orderid", "is missing"}},
		"order number null":      {"POST", "/transactions", bad(func(o map[string]any) { o["orderid"] = nil }), 400, []string{"orderid", "is missing"}},
		"order number in words":  {"POST", "/transactions", bad(func(o map[string]any) { o["orderid"] = "ett" }), 400, []string{"orderid", "210334"}},
		"order number negative":  {"POST", "/transactions", bad(func(o map[string]any) { o["orderid"] = -4 }), 400, []string{"orderid", "above 0"}},
		"order number with part": {"POST", "/transactions", bad(func(o map[string]any) { o["orderid"] = 1.5 }), 400, []string{"orderid"}},

		"redeem an array":          {"POST", redeemPath, `[1]`, 400, []string{"not an object"}},
		"redeem a string":          {"POST", redeemPath, `"60"`, 400, []string{"not an object"}},
		"redeem a number":          {"PUT", redeemPath, `60`, 400, []string{"not an object"}},
		"redeem a form":            {"POST", redeemPath, `remaining=60`, 400, []string{"not JSON", "JSON object is expected"}},
		"redeem, broken off":       {"POST", redeemPath, `{"remaining":`, 400, []string{"not JSON"}},
		"redeem, two objects":      {"POST", redeemPath, `{}{}`, 400, []string{"goes on after"}},
		"redeem, a member twice":   {"POST", redeemPath, `{"remaining":1,"remaining":2}`, 400, []string{"remaining", "twice"}},
		"redeem, invalid UTF-8":    {"POST", redeemPath, "{\"orderid\":\"\xff\"}", 400, []string{"UTF-8"}},
		"redeem, over 64 KB":       {"POST", redeemPath, `{"comment":"` + strings.Repeat("x", 64<<10) + `"}`, 413, []string{"at most 65536"}},
		"redeem, deep":             {"POST", redeemPath, `{"remaining":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`, 400, []string{"remaining", "nested"}},
		"remaining in words":       {"POST", redeemPath, `{"remaining":"fyrtio"}`, 400, []string{"remaining", "123.50"}},
		"remaining below 0":        {"POST", redeemPath, `{"remaining":-1}`, 400, []string{"remaining", "below 0"}},
		"remaining without end":    {"POST", redeemPath, `{"remaining":"1e999999999"}`, 400, []string{"remaining"}},
		"remaining NaN":            {"POST", redeemPath, `{"remaining":"NaN"}`, 400, []string{"remaining"}},
		"remaining a list":         {"POST", redeemPath, `{"remaining":[40]}`, 400, []string{"remaining"}},
		"remaining an object":      {"PUT", redeemPath, `{"remaining":{"amount":40}}`, 400, []string{"remaining"}},
		"remaining true":           {"POST", redeemPath, `{"remaining":true}`, 400, []string{"remaining"}},
		"more than there is":       {"POST", redeemPath, `{"remaining":"100.01"}`, 400, []string{"remaining is 100.01", "only 100.00 is left"}},
		"nothing used":             {"POST", redeemPath, `{"remaining":100}`, 400, []string{"remaining", "use nothing"}},
		"a date of use in words":   {"POST", redeemPath, `{"dateredeemed":"i dag"}`, 400, []string{"dateredeemed", "2026-03-02T09:00:00Z"}},
		"a date of use in a list":  {"POST", redeemPath, `{"dateredeemed":["2026-03-02"]}`, 400, []string{"dateredeemed"}},
		"an order that is a list":  {"POST", redeemPath, `{"orderid":[4711]}`, 400, []string{"orderid"}},
		"an order that is true":    {"POST", redeemPath, `{"orderid":true}`, 400, []string{"orderid", "210334"}},
		"an order with spaces":     {"POST", redeemPath, `{"orderid":"47 11"}`, 400, []string{"orderid"}},
		"an order too long":        {"POST", redeemPath, `{"orderid":"` + long + `"}`, 400, []string{"orderid", "at most 64"}},
		"restore an array":         {"DELETE", redeemPath, `[1]`, 400, []string{"not an object"}},
		"restore by a bad order":   {"DELETE", redeemPath + "?orderid=47%2011", "", 400, []string{"orderid"}},
		"restore what is not used": {"DELETE", redeemPath, "", 400, []string{"was not used", "nothing to take back"}},
		"a check of nobody":        {"POST", "/contacts/999/bonuschecks/x/redeem", "", 404, []string{"no customer"}},
		"a check of an odd id":     {"POST", "/contacts/kund/bonuschecks/x/redeem", "", 400, []string{"contactid", "255934461"}},
		"a check of a huge id":     {"DELETE", "/contacts/99999999999999999999/bonuschecks/x/redeem", "", 400, []string{"contactid"}},
		"an unknown check":         {"POST", "/contacts/255934464/bonuschecks/nix/redeem", "", 404, []string{"no bonus check"}},
		"an unknown promotion":     {"POST", "/contacts/255934464/promotions/nix/redeem", "", 404, []string{"no promotion"}},
		"a check as a promotion":   {"POST", "/contacts/255934464/promotions/BC-2026-0001/redeem", "", 404, []string{"no promotion"}},
		"a huge check id":          {"POST", "/contacts/255934464/bonuschecks/" + strings.Repeat("9", 4000) + "/redeem", "", 404, []string{"no bonus check"}},
		"an unknown unicode id":    {"POST", "/contacts/255934464/bonuschecks/v%C3%A5r%20%F0%9F%98%80/redeem", "", 404, []string{"no bonus check"}},
		"an id of bad UTF-8":       {"DELETE", "/contacts/255934464/bonuschecks/%FF%00/redeem", "", 404, []string{"no bonus check"}},
		"an id with a slash":       {"POST", "/contacts/255934464/bonuschecks/..%2F..%2Fx/redeem", "", 404, []string{"no bonus check"}},
		"an id of spaces":          {"POST", "/contacts/255934464/bonuschecks/%20/redeem", "", 404, []string{"no bonus check"}},
		"no check id":              {"POST", "/contacts/255934464/bonuschecks//redeem", "", 404, []string{"no such URL"}},
		"look at a redeem":         {"GET", redeemPath, "", 404, []string{"no such URL"}},
		"patch a redeem":           {"PATCH", redeemPath, `{}`, 404, []string{"no such URL"}},
		"after redeem":             {"POST", redeemPath + "/again", `{}`, 404, []string{"no such URL"}},
		"the checks alone":         {"GET", "/contacts/255934464/bonuschecks", "", 404, []string{"no such URL"}},
		"one check alone":          {"DELETE", "/contacts/255934464/bonuschecks/BC-2026-0001", "", 404, []string{"no such URL"}},
		"look at the upload":       {"GET", "/bonuschecks", "", 404, []string{"no such URL"}},
		"put the upload":           {"PUT", "/bonuschecks", "email", 404, []string{"no such URL"}},
		"post to the imports":      {"POST", "/bonuschecks/imports", "email", 404, []string{"no such URL"}},
		"delete an import":         {"DELETE", "/bonuschecks/imports/x", "", 404, []string{"no such URL"}},
		"below an import":          {"GET", "/bonuschecks/imports/x/rows", "", 404, []string{"no such URL"}},
		"an unknown import":        {"GET", "/bonuschecks/imports/nix", "", 404, []string{"no import with that id"}},
		"a huge import id":         {"GET", "/bonuschecks/imports/" + strings.Repeat("x", 4000), "", 404, []string{"no import with that id"}},
		"a unicode import id":      {"GET", "/bonuschecks/imports/%C3%A5%2F%00", "", 404, []string{"no import with that id"}},

		"no file":                    {"POST", "/bonuschecks", "", 400, []string{"The file is empty"}},
		"a file of spaces":           {"POST", "/bonuschecks", " \r\n\t ", 400, []string{"The file is empty"}},
		"a file of a BOM":            {"POST", "/bonuschecks", "\uFEFF", 400, []string{"The file is empty"}},
		"headings alone":             {"POST", "/bonuschecks", "email;bonuscheckid;value\n", 400, []string{"no rows below its headings"}},
		"no headings":                {"POST", "/bonuschecks", "kund.ett@example.com;bc-1;100\n", 400, []string{"neither an email address nor a phone number", "headings"}},
		"nobody in the columns":      {"POST", "/bonuschecks", "bonuscheckid;value\nbc-1;100\n", 400, []string{"neither an email address nor a phone number"}},
		"no check in the columns":    {"POST", "/bonuschecks", "email;value\nny@example.com;100\n", 400, []string{"have no bonus checks", "bonuscheckid"}},
		"no value in the columns":    {"POST", "/bonuschecks", "email;bonuscheckid\nny@example.com;bc\n", 400, []string{"heading value is expected"}},
		"two columns of one thing":   {"POST", "/bonuschecks", "email;E-post;bonuscheckid;value\nny@example.com;;bc;1\n", 400, []string{"A email and B E-post both hold the email address"}},
		"both kinds of columns":      {"POST", "/bonuschecks", "email;bonuscheckid;bonuschecks\nny@example.com;bc;[]\n", 400, []string{"one of them is expected"}},
		"JSON for a file":            {"POST", "/bonuschecks", `{"email":"ny@example.com"}`, 400, []string{"JSON and not a table", ".csv"}},
		"a page for a file":          {"POST", "/bonuschecks", "<!DOCTYPE html><html><p>hej</p></html>", 400, []string{"."}},
		"a picture":                  {"POST", "/bonuschecks", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", 400, []string{".xlsx"}},
		"a PDF":                      {"POST", "/bonuschecks", "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", 400, []string{"."}},
		"a broken workbook":          {"POST", "/bonuschecks", "PK\x03\x04\x14\x00", 400, []string{".xlsx"}},
		"a broken old workbook":      {"POST", "/bonuschecks", "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1 and more", 400, []string{".xls"}},
		"a row without a customer":   {"POST", "/bonuschecks", "email;bonuscheckid;value\n;bc;1\n", 400, []string{"Nothing was imported", "1 row cannot"}},
		"a personal number":          {"POST", "/bonuschecks", "phone;bonuscheckid;value\n19121212-1212;bc;1\n", 400, []string{"Nothing was imported"}},
		"JSON that is none":          {"POST", "/bonuschecks", "email\tbonuschecks\nny@example.com\t[{]\n", 400, []string{"Nothing was imported"}},
		"a control character":        {"POST", "/bonuschecks", "email;bonuscheckid;value\nny@example.com;b\x01c;1\n", 400, []string{"line 2", "control character"}},
		"a cell too long":            {"POST", "/bonuschecks", "email;bonuscheckid;value\nny@example.com;bc;" + strings.Repeat("1", 65_001), 413, []string{"C2", "65000 characters"}},
		"columns without end":        {"POST", "/bonuschecks", strings.Repeat("a;", 100) + "email\n", 413, []string{"100 columns"}},
		"rows without end":           {"POST", "/bonuschecks", "email;bonuscheckid;value\n" + strings.Repeat("ny@example.com;bc;1\n", 100_001), 413, []string{"100000 rows", "Split it"}},
		"a file over 4 MiB":          {"POST", "/bonuschecks", strings.Repeat("x", 4<<20+1), 413, []string{"4194305 bytes", "at most 4194304", "Split it", "make import"}},
		"the most that Lambda takes": {"POST", "/bonuschecks", strings.Repeat("x", 4_600_000), 413, []string{"at most 4194304", "Split it"}},
		"more than Lambda takes":     {"POST", "/bonuschecks", strings.Repeat("x", 5<<20), 413, []string{"split the file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, options{seeded: true})
			r.want(r.call("GET", "/lookup_contacts", nil), 200)
			before, _ := json.Marshal(r.rule.Subscribers(key))
			var body any
			if c.body != "" || c.method != "GET" {
				body = c.body
			}
			a := r.call(c.method, c.path, body)
			m := r.want(a, c.status).(map[string]any)
			message, _ := m["message"].(string)
			// A cashier reads Swedish by default; who reads English is told the same.
			code, _ := m["code"].(string)
			args, _ := m["args"].(map[string]any)
			english, known := sentence.Text(sentence.English, code, args)
			if known {
				message += " " + english
			}
			member, _ := m["member"].(string)
			for _, s := range c.says {
				if !strings.Contains(message+" "+member, s) {
					t.Errorf("message %q does not say %q", message, s)
				}
			}
			if m["error"] == "" || !strings.HasSuffix(message, ".") {
				t.Errorf("body %s", a.Body)
			}
			if after, _ := json.Marshal(r.rule.Subscribers(key)); !bytes.Equal(before, after) {
				t.Error("something was written in Rule")
			}
			// What keeps campaigns from a new customer is queued before it is known
			// whether she is made; it finds nobody then.
			syncs := len(r.bonusQueue().Messages())
			if c.method == "POST" && c.path == "/contacts" {
				syncs = 0
			}
			if n := len(r.orders().Messages()) + syncs + len(r.parts().Messages()); n != 0 {
				t.Error("something was queued")
			}
			if n := len(r.allImports()); n != 0 {
				t.Errorf("%d imports were begun", n)
			}
			for _, secret := range []string{"ny@example.com", "kund.tre", "740605"} {
				if strings.Contains(r.logs.String(), secret) {
					t.Errorf("the log has %q", secret)
				}
			}
		})
	}
}

// What the connector does not read refuses no registration, no edit and no
// redemption: a member that it does not know may be deep, doubled and of any type.
func TestUnknownMembersRefuseNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for i, odd := range []string{
		`"x":1,"x":{"y":1,"y":[]}`, `"x":` + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000), "\"x\":\"\xff\"",
		`"personalid":{"a":1},"personalid":[]`, `"bonuschecks":[{"a":1,"a":2}]`, `"contactid":{},"contactid":"7"`,
	} {
		id := r.want(r.call("POST", "/contacts", fmt.Sprintf(`{%s,"email":"ny.%d@example.com"}`, odd, i)), 200).(string)
		r.want(r.call("PUT", "/contacts/"+id, fmt.Sprintf(`{"namefirst":"Ny",%s}`, odd)), 200)
		if i == 1 {
			odd = `"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
		}
		r.want(r.call("POST", bonusPath(hundred), fmt.Sprintf(`{"orderid":%d,%s}`, 9000+i, odd)), 200)
		r.want(r.call("DELETE", bonusPath(hundred), fmt.Sprintf(`{%s,"orderid":%d}`, odd, 9000+i)), 200)
	}
}

// A file that is refused as a whole is told by a stable code, in both languages;
// a switch that is not known, or not understood, imports nothing.
func TestFilesAreRefusedInBothLanguages(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	const good = "email;bonuscheckid;value\nny@example.com;bc;1\n"
	for name, c := range map[string]struct{ query, body, code, english, swedish string }{
		"a picture":       {"", "\x89PNG\r\n\x1a\n", "file_other", "The file is a picture and not a table", "Filen är en bild och ingen tabell"},
		"headings alone":  {"", "email;bonuscheckid;value\n", "file_no_rows", "file has no rows below its headings.", "Filen har inga rader"},
		"no headings":     {"", "a;b\n1;2\n", "file_no_person", "columns have neither an email address nor a phone number", "varken e-postadress eller telefonnummer"},
		"two columns":     {"", "email;E-post;bonuscheckid;value\na@example.com;;b;1\n", "file_column_twice", "columns A email and B E-post both hold the email address", "A email och B E-post"},
		"read wrongly":    {"", "email;bonuscheckid;value;namn\na@example.com;b;1;VÃ¥rcheck\n", "file_misread", "D2 holds letters", "D2 har bokstäver"},
		"one bad row":     {"", "email;bonuscheckid;value\na@example.com;b;x\n", "file_row_bad", "1 row cannot be read", "en rad går inte att läsa"},
		"nothing":         {"", " ", "file_empty", "The file is empty", "Filen är tom"},
		"withdraw":        {"?withdraw=true", good, "file_withdraw", "cannot be withdrawn", "kan inte dras tillbaka"},
		"withdraw, empty": {"?withdraw", good, "file_withdraw", "cannot be withdrawn", "kan inte dras tillbaka"},
		"withdraw, maybe": {"?withdraw=maybe", good, "file_withdraw", "cannot be withdrawn", "kan inte dras tillbaka"},
		"dryrun, maybe":   {"?dryrun=maybe", good, "file_switch", "dryrun is neither true nor false", "dryrun ska vara true eller false"},
		"dry_run":         {"?dry_run=maybe", good, "file_switch_unknown", "dry_run is not known", "dry_run är ingen känd"},
		"preview":         {"?preview=1", good, "file_switch_unknown", "preview is not known", "preview är ingen känd"},
		"both":            {"?dryrun=true&withdraw=true", good, "file_withdraw", "cannot be withdrawn", "kan inte dras tillbaka"},
	} {
		m := r.want(r.call("POST", "/bonuschecks"+c.query, c.body), 400).(map[string]any)
		en, _ := m["message"].(string)
		sv, _ := m["message_sv"].(string)
		if m["code"] != c.code || !strings.Contains(en, c.english) || !strings.Contains(sv, c.swedish) || strings.ContainsAny(en+sv, "{}") {
			t.Errorf("%s: %v", name, m)
		}
	}
	if n := len(r.parts().Messages()); n != 0 || len(r.allImports()) != 0 {
		t.Errorf("%d messages, imports %v", n, r.allImports())
	}
	for _, query := range []string{"?withdraw=false", "?source=crm", "?dryrun=false"} {
		r.want(r.call("POST", "/bonuschecks"+query, good), 202)
	}
}

// A form that holds no file, or not one, gets a sentence that says what is
// expected.
func TestBadForms(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	part := func(disposition, content string) string {
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + content + "\r\n"
	}
	file := part(`name="file"; filename="a.csv"`, "email;bonuscheckid;value\r\nny@example.com;bc;1")
	for name, c := range map[string]struct {
		kind, body string
		status     int
		says       string
	}{
		"no boundary":    {"multipart/form-data", file + "--b--\r\n", 400, "not multipart/form-data as its header says"},
		"another":        {"multipart/form-data; boundary=c", file + "--b--\r\n", 400, "holds no file"},
		"no file":        {"multipart/form-data; boundary=b", part(`name="file"`, "email") + "--b--\r\n", 400, "holds no file"},
		"nothing":        {"multipart/form-data; boundary=b", "--b--\r\n", 400, "holds no file"},
		"no body":        {"multipart/form-data; boundary=b", "", 400, "-F file=@"},
		"two files":      {"multipart/form-data; boundary=b", file + file + "--b--\r\n", 400, "more than one file"},
		"broken off":     {"multipart/form-data; boundary=b", file[:len(file)-10], 400, "breaks off"},
		"an empty file":  {"multipart/form-data; boundary=b", part(`name="file"; filename="a.csv"`, "") + "--b--\r\n", 400, "The file is empty"},
		"fields galore":  {"multipart/form-data; boundary=b", strings.Repeat(part(`name="x"`, "y"), 1000) + file + "--b--\r\n", 400, "holds no file"},
		"over 4 MiB":     {"multipart/form-data; boundary=b", part(`name="f"; filename="a.csv"`, strings.Repeat("x", 4<<20+1)) + "--b--\r\n", 413, "Split it"},
		"just a picture": {"multipart/form-data; boundary=b", part(`name="f"; filename="a.xlsx"`, "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR") + "--b--\r\n", 400, ".xlsx"},
	} {
		req := r.request(http.MethodPost, "/bonuschecks", c.body)
		req.Header.Set("Content-Type", c.kind)
		a := r.send(req)
		m := r.want(a, c.status).(map[string]any)
		if message, _ := m["message"].(string); !strings.Contains(message, c.says) || !strings.HasSuffix(message, ".") {
			t.Errorf("%s: message %q, want one that says %q", name, message, c.says)
		}
	}
	if n := len(r.parts().Messages()); n != 0 || len(r.allImports()) != 0 {
		t.Errorf("%d messages, imports %v", n, r.allImports())
	}
}

// Merchants choose the ids of bonus checks, and tills put them into a URL.
func TestOddCheckIDs(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	for i, id := range []string{"vår 2026", "50 % på allt", "a/b", "?x=1#y", "😀", "100%25", "..", "a+b", "redeem", strings.Repeat("9", 100)} {
		if err := r.rule.SetField(key, 255934464, 0, "Sitoo-Contact.bonuschecks", []any{map[string]any{"bonuscheckid": id, "value": "100.00"}}); err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"orderid":%d,"remaining":"40"}`, i+1)
		m := r.want(r.redeem("POST", bonusPath(url.PathEscape(id)), body), 200).(map[string]any)
		if m["bonuscheckid"] != id || r.inRule(id)["remaining"] != "40.00" {
			t.Errorf("%q: %v, in Rule %v", id, m, r.inRule(id))
		}
		r.want(r.redeem("DELETE", bonusPath(url.PathEscape(id)), ""), 200)
		if got := r.shown()[id]; got != "100.00" {
			t.Errorf("%q: taken back, the card shows %q", id, got)
		}
	}
}

// What is unusual, but can only mean one thing, is taken.
func TestLiberalInput(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	// A BOM, another content type, a base64 body, numbers for strings, nulls,
	// unknown members.
	req := r.request("POST", "/contacts", "\uFEFF"+`{"email":"bom@example.com","membernumber":77,"accepts_email":"1","namelast":null,"what":{"is":["this"]},"acceptedconsents":null}`)
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	id := r.want(r.send(req), 200).(string)
	card := r.want(r.call("GET", "/contacts/"+id, nil), 200).(map[string]any)
	if card["membernumber"] != "77" || card["namelast"] != "" {
		t.Errorf("card %v", card)
	}
	// A plus that was not encoded arrives as a space.
	r.want(r.call("POST", "/contacts", map[string]any{"email": "a+b@example.com"}), 200)
	for _, query := range []string{"key=+46701740605", "key=+46+70-174+06+05", "key=a+b@example.com", "key=%20070-174%2006%2005"} {
		if found := r.want(r.call("GET", "/contacts?"+query, nil), 200).([]any); len(found) != 1 {
			t.Errorf("%s finds %v", query, found)
		}
	}
	// A name that is no header and no markup for anybody.
	evil := `"><script>alert(1)</script>%0d%0aX-Evil: 1`
	r.want(r.call("PUT", "/contacts/"+id, map[string]any{"namefirst": evil}), 200)
	a := r.call("GET", "/contacts?key="+url.QueryEscape("bom@example.com"), nil)
	if a.Header.Get("X-Evil") != "" || r.want(a, 200).([]any)[0].(map[string]any)["namefirst"] != evil {
		t.Errorf("answer %v %s", a.Header, a.Body)
	}
	for money, want := range map[string]string{"-0.00": "0.00", "12,50": "12.50", "12.345": "12.35", "+7": "7.00", "": "0.00", " 1.00 ": "1.00"} {
		const oid = 800000
		r2 := newRig(t, options{seeded: true})
		r2.want(r2.call("POST", "/transactions", sale(oid, func(o map[string]any) { of("255934461")(o); o["moneytotal_gross_all"] = money })), 200)
		r2.drain()
		entries := r2.rule.Entries(key, 255934461, order.Group)
		if got := entries[len(entries)-1].Value("total"); got != want {
			t.Errorf("money %q is %q in Rule, want %q", money, got, want)
		}
	}
	// Whole numbers and amounts as strings, a date in words of its own.
	r.want(r.call("POST", "/transactions", sale(0, func(o map[string]any) {
		of(" 255934461 ")(o)
		o["orderid"], o["orderdate"], o["moneytotal_gross_all"] = "800001", "2026-03-01T12:00:00Z", 12.5
		o["orderitems"].([]any)[0].(map[string]any)["quantity"] = "2.000"
	})), 200)
	// No date at all: the moment it came. A character that queues do not take.
	r.want(r.call("POST", "/transactions", sale(800002, func(o map[string]any) {
		of("255934461")(o)
		delete(o, "orderdate")
		o["orderitems"].([]any)[0].(map[string]any)["productname"] = "Tröja \uFFFE"
	})), 200)
	r.drain()
	for id, date := range map[string]string{"800001": "2026-03-01 13:00:00", "800002": "2026-03-02 10:00:00"} {
		found := false
		for _, e := range r.rule.Entries(key, 255934461, order.Group) {
			if e.Value("orderid") == id {
				found = true
				if got := e.Value("orderdate"); got != date {
					t.Errorf("order %s: date %s, want %s", id, got, date)
				}
			}
		}
		if !found {
			t.Errorf("order %s is not in Rule", id)
		}
	}
}

// A header that tries to add another never gets past the door, and raw bytes on
// the wire get an answer.
func TestRawBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	host := strings.TrimPrefix(r.api.URL, "http://")
	for name, raw := range map[string]string{
		"token with an encoded line break": "GET /sitoo/contacts?key=0701740605&apikey=demo-key%0d%0aX-Evil:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"token of 10 KB":                   "GET /sitoo/contacts?key=0701740605 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + strings.Repeat("k", 10_000) + "\r\n\r\n",
		"token in Latin-1":                 "GET /sitoo/contacts?key=0701740605 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer n\xe5got\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, raw)
		var b bytes.Buffer
		_, _ = b.ReadFrom(conn)
		_ = conn.Close()
		if !strings.HasPrefix(b.String(), "HTTP/1.1 401") || !strings.Contains(b.String(), `"unauthorized"`) || strings.Contains(b.String(), "X-Evil") {
			t.Errorf("%s: %s", name, b.String())
		}
	}
	if n := len(r.routes()); n != 0 {
		t.Errorf("%d requests reached Rule", n)
	}
	if a := r.send(r.request(http.MethodGet, "/contacts", nil)); a.Status != 200 || a.Body != "[]" {
		t.Errorf("a search without a key: %d %s", a.Status, a.Body)
	}
}

// A message that can never be handled ends in the dead-letter queue with its
// reason, and its batch mates are done.
func TestPoison(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	r.want(r.call("POST", "/transactions", sale(1, of("255934461"))), 200)
	r.drain()
	good, err := order.Message{Account: r.id, Received: r.clock.Now(), Order: mustJSON(t, sale(900001, of("255934461")))}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	poison := map[string]string{ // body: what the reason says
		"hello":                      "not the JSON that order-receive queues",
		`{}`:                         "account",
		`{"account":"` + r.id + `"}`: "order",
		`{"account":"` + r.id + `","order":{"orderid":"x"}}`:                                                   "orderid",
		`{"account":"` + r.id + `","order_gzip":"AAAA"}`:                                                       "order_gzip",
		`{"account":"00000000000000000000000000000000","order":{"orderid":1}}`:                                 "no account",
		`{"account":"` + r.id + `","order_gzip":"` + zipped(`{"orderid":900002,"email":"kund.ett@exam`) + `"}`: "breaks off or goes wrong at byte",
		`{"account":"` + r.id + `","order":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`:     "not an object",
	}
	for body := range poison {
		if err := r.orders().Send(t.Context(), worker.Message{Body: body, Group: "by-hand"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.orders().Send(t.Context(), worker.Message{Body: good, Group: r.id}); err != nil {
		t.Fatal(err)
	}
	r.drain()
	if got := r.ledger(900001).State; got != order.Sent {
		t.Errorf("the batch mate is %s, want sent", got)
	}
	aside := r.deadLetters().Messages()
	if len(aside) != len(poison) {
		t.Errorf("%d messages were put aside, want %d", len(aside), len(poison))
	}
	for _, m := range aside {
		if want := poison[m.Body]; want == "" || !strings.Contains(m.Attributes[worker.Reason], want) {
			t.Errorf("put aside %.60s with reason %q, want one that says %q", m.Body, m.Attributes[worker.Reason], want)
		}
	}
	if n := len(r.orders().Messages()); n != 0 {
		t.Errorf("%d messages are left on the queue", n)
	}
}

// An order that makes the worker panic every time is put aside when it is six
// hours old, and the ledger says so; once the defect is mended, it goes through
// when it is moved back.
func TestDefect(t *testing.T) {
	t.Parallel()
	r := newRig(t, options{seeded: true})
	var broken atomic.Bool
	broken.Store(true)
	r.Ledger.Fail = func(op string) error {
		if op == "Note" && broken.Load() {
			panic("a defect")
		}
		return nil
	}
	const id = 950000
	r.want(r.call("POST", "/transactions", sale(id, of("255934461"))), 200)
	r.drain()
	for range 6 {
		r.later(4 * time.Minute)
	}
	if n := len(r.deadLetters().Messages()); n != 0 {
		t.Fatalf("put aside when minutes old")
	}
	// The queue's clock is the machine's, the worker's stands still.
	r.clock.Advance(time.Since(r.clock.Now()))
	r.later(7 * time.Hour)
	aside := r.deadLetters().Messages()
	if len(aside) != 1 || !strings.Contains(aside[0].Attributes[worker.Reason], "panic") {
		t.Fatalf("put aside: %+v", aside)
	}
	if rec := r.ledger(id); rec.State != order.Failed || !strings.Contains(rec.Reason, "panic") {
		t.Errorf("ledger: %+v", rec)
	}
	if n := len(r.orders().Messages()); n != 0 {
		t.Errorf("%d messages are left on the queue", n)
	}
	broken.Store(false)
	if err := r.orders().Send(t.Context(), worker.Message{Body: aside[0].Body, Group: aside[0].Group}); err != nil {
		t.Fatal(err)
	}
	r.drain()
	if rec := r.ledger(id); rec.State != order.Sent || rec.Reason != "" {
		t.Errorf("after the redrive: %+v", rec)
	}
}

func mustJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// zipped compresses an order as a message carries what is no JSON.
func zipped(order string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(order))
	_ = z.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}
