package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sitoo-rule/local/contract"
	"sitoo-rule/local/session"
)

// What the README tells a newcomer to type works, word for word, with AWS=1, the
// real adapters against an emulator; only the ports are others here. It runs with
// `make test-aws`; without an emulator there is nothing to test here.
func TestReadmeOverAWS(t *testing.T) {
	if _, ok := contract.Emulator(t); !ok {
		return
	}
	readme(t, map[string]string{"AWS": "1", "AWS_ENDPOINT_URL": os.Getenv("AWS_ENDPOINT_URL")})
}

// What the README tells a newcomer to type works, word for word, with `make
// sam-api`; only the ports are others here, and the shop's credentials name the
// address that containers reach. It runs with `make test-sam-local`; without Docker
// there is nothing to test here.
func TestReadmeInDocker(t *testing.T) {
	program := os.Getenv("SITOO_RULE_SAM")
	if program == "" {
		return
	}
	readme(t, map[string]string{"SAM": program, "SAM_BUILD": os.Getenv("SAM_BUILD"), "AWS_ENDPOINT_URL": os.Getenv("AWS_ENDPOINT_URL")})
}

func readme(t *testing.T, env map[string]string) {
	t.Helper()
	t.Chdir("../..")
	printed := begin(t, env)
	ports := addresses(printed)
	if len(ports) != 3 {
		t.Fatalf("addresses printed: %v", ports)
	}
	shop, pause := ports["Sitoo"], time.Duration(0)
	if env["SAM"] != "" {
		pause = 200 * time.Millisecond
		for _, line := range printed {
			if m := regexp.MustCompile(`^Sitoo, in Docker +http://(\S+)`).FindStringSubmatch(line); m != nil {
				shop = m[1]
			}
		}
	}
	s := session.Session{
		Pause:   pause,
		Address: strings.NewReplacer(`"baseurl":"http://127.0.0.1:3002`, `"baseurl":"http://`+shop, "127.0.0.1:3000", ports["API"], "127.0.0.1:3001", ports["Rule"], "127.0.0.1:3002", ports["Sitoo"]),
		Make:    []string{"URL=http://" + ports["API"] + "/sitoo"},
		// A whole job over the emulator's wire is TestHistoryOverAWS.
		Leave: func(line string) bool {
			return env["AWS"] != "" && (strings.HasPrefix(line, "make ") || strings.Contains(line, "/backfills") || strings.Contains(line, "/_queues/"))
		},
	}
	if env["SAM"] != "" {
		s.Leave = session.OneMonth(t, s.Make)
	}
	seen := false
	s.Heading = func(t *testing.T, text string) {
		t.Helper()
		// Rule's page shows first who was written to last.
		if text == "Old orders" {
			seen = true
			s.Customer(t)
		}
	}
	if played := s.Play(t, "README.md"); !seen || played.Commands < 17 || played.Answers < 15 {
		t.Errorf("the README has %d commands and %d answers; customer looked at: %v", played.Commands, played.Answers, seen)
	}
}

// begin starts everything on free ports, with env for the rest, and returns the
// lines that it printed before it was ready. It ends with the test.
func begin(t *testing.T, env map[string]string) (printed []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	out, in := io.Pipe()
	go func() {
		err := run(ctx, func(name string) string {
			if strings.HasSuffix(name, "PORT") {
				return "0"
			}
			return env[name]
		}, in, io.Discard)
		_ = in.Close()
		ended <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
		printed = append(printed, lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return printed
}

// addresses finds hosts and ports in what was printed, by API, Rule and Sitoo.
func addresses(printed []string) map[string]string {
	ports := map[string]string{}
	for _, line := range printed {
		if m := regexp.MustCompile(`^(API|Rule|Sitoo).*?http://(127\.0\.0\.1:\d+)`).FindStringSubmatch(line); m != nil {
			ports[m[1]] = m[2]
		}
	}
	return ports
}

// With RULE_KEY the made-up shop has that key: what is printed works, the till
// sends it, and no other key does.
func TestRuleKey(t *testing.T) {
	t.Chdir("../..")
	printed := begin(t, map[string]string{"RULE_KEY": "another-key"})
	ports := addresses(printed)
	var try string
	for _, line := range printed {
		if _, after, ok := strings.Cut(line, "try:  "); ok {
			try = after
		}
		if strings.HasPrefix(line, "API ") && !strings.HasSuffix(line, "the API token another-key") {
			t.Errorf("it prints %q", line)
		}
	}
	if status, body := curl(t, try); status != 200 || !strings.Contains(body, "255934461") {
		t.Errorf("%s\nstatus %d: %s", try, status, body)
	}
	if status, body := curl(t, strings.Replace(try, "another-key", "demo-key", 1)); status != 401 {
		t.Errorf("with the usual key: status %d: %s", status, body)
	}
	if status, body := curl(t, `curl -d '{"contactid":"255934461"}' http://`+ports["Sitoo"]+`/_sell`); status != 200 || !strings.Contains(body, `"status":"queued"`) {
		t.Errorf("a purchase: status %d: %s", status, body)
	}
}

// curl types a line of curl's.
func curl(t *testing.T, line string) (status int, body string) {
	t.Helper()
	return session.Session{}.Curl(t, line)
}

// Bad settings are said in words, before anything is served.
func TestBadSettings(t *testing.T) {
	t.Chdir("../..")
	for name, env := range map[string]map[string]string{
		"port in words":   {"PORT": "tre"},
		"port too high":   {"PORT": "70000"},
		"seed missing":    {"PORT": "0", "RULE_SEED": "no-such-file.json"},
		"rule not a URL":  {"PORT": "0", "SITOO_PORT": "0", "RULE_URL": "app.rule.io"},
		"AWS, no region":  {"PORT": "0", "RULE_PORT": "0", "SITOO_PORT": "0", "AWS": "1"},
		"a broken seed":   {"PORT": "0", "RULE_SEED": "go.mod"},
		"rule port taken": {"PORT": "0", "RULE_PORT": "x"},
		"no such SPI":     {"PORT": "0", "RULE_PORT": "0", "SITOO_PORT": "0", "SPI": "3"},
	} {
		for _, v := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"} {
			t.Setenv(v, "")
		}
		t.Setenv("AWS_CONFIG_FILE", os.DevNull)
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
		ctx, cancel := context.WithCancel(t.Context())
		err := run(ctx, func(n string) string { return env[n] }, readyFails{t, cancel}, io.Discard)
		cancel()
		if err == nil || len(fmt.Sprint(err)) < 15 {
			t.Errorf("%s: %v", name, err)
		}
		if file := env["RULE_SEED"]; file != "" && err != nil {
			if text := err.Error(); strings.Count(text, file) != 1 || strings.Count(text, "seed:") > 1 || !strings.Contains(text, "RULE_SEED") {
				t.Errorf("%s: %q, want the variable and the file, once", name, text)
			}
		}
	}
}

// readyFails fails a test in which the stack gets ready.
type readyFails struct {
	t    *testing.T
	stop func()
}

func (r readyFails) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "ready") {
		r.t.Error("ready, with settings that are wrong")
		r.stop()
	}
	return len(p), nil
}

// What a cashier does on the till page works, through to the card: find, register,
// edit, sell with a bonus check, give back.
func TestTillPage(t *testing.T) {
	t.Chdir("../..")
	till := "http://" + addresses(begin(t, nil))["Sitoo"]
	do := func(line, want string) string {
		t.Helper()
		status, body := curl(t, strings.Replace(line, "/_", till+"/_", 1))
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s\nstatus %d: %s\nwant %s", line, status, body, want)
		}
		return body
	}
	if _, page := curl(t, "curl "+till+"/till"); !strings.Contains(page, "Telefon eller e-post") {
		t.Errorf("the till page: %s", page)
	}
	do("curl '/_till/crm/contacts?key=070-174+06+91'", `[]`)
	id := strings.Trim(do(`curl -d '{"mobile":"070-174 06 91","namefirst":"Ny","email":""}' /_till/crm/contacts`, `"2559348`), `"`)
	do(`curl -X PUT -d '{"invoice_city":"Umeå"}' /_till/crm/contacts/`+id, id)
	do(`curl '/_till/crm/contacts?key=0046701740691'`, `"invoice_city":"Umeå"`)
	do(`curl '/_till/crm/contacts/255934464?include_extended=true'`, `"bonuscheckid":"BC-2026-0001","name":"Bonuscheck 100 kr","description":"Gäller hela sortimentet","value":100.00`)
	sale := `curl -d '{"contactid":"255934464","redeem":true,"rows":[{"sku":"CF-250","discount":"56.00","bonuscheckid":"BC-2026-0001","remaining":"44.00"}]}' /_sell`
	sold := regexp.MustCompile(`"orderid":(\d+)`).FindStringSubmatch(do(sale, `"used":56.00,"remaining":44.00`))[1]
	do(`curl '/_till/crm/contacts/255934464?include_extended=true'`, `"value":44.00`)
	do(`curl -d '{"creditorderid":`+sold+`}' /_sell`, `"status":"queued"`)
	for _, look := range [][2]string{
		{`curl /_till/crm/contacts/255934464/transactions`, `"transactionid":"` + sold + `"`},
		{`curl '/_till/crm/contacts/255934464?include_extended=true'`, `"value":100.00`}, // the return gave it back
	} {
		found := false
		for range 20_000 { // the order worker may still be at it
			if _, body := curl(t, strings.Replace(look[0], "/_", till+"/_", 1)); strings.Contains(body, look[1]) {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("%s does not say %s", look[0], look[1])
		}
	}
}

// The commands of docs/stand-ins.md work, word for word.
func TestStandInsPage(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile("docs/stand-ins.md")
	if err != nil {
		t.Fatal(err)
	}
	ports := addresses(begin(t, nil))
	address := strings.NewReplacer("127.0.0.1:3001", ports["Rule"], "127.0.0.1:3002", ports["Sitoo"])
	commands := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "curl ") {
			continue
		}
		commands++
		if status, body := curl(t, address.Replace(line)); status != 200 {
			t.Errorf("%s\nstatus %d: %.300s", line, status, body)
		}
	}
	if commands < 14 {
		t.Errorf("the page has %d commands", commands)
	}
}
