package main

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sitoo-rule/local/session"
	"sitoo-rule/local/standins"
)

// The real template, deployed by its own files, with the real programs behind
// its own API: what the README tells a newcomer and a merchant to type works,
// word for word, and goes on working when the stack is deployed again and when a
// parameter is changed. It runs with `make test-deployed`; without an emulator
// there is nothing to deploy to.
//
// What is not played here is what the emulator's API Gateway does not know, the
// catch-all route and the gateway's own answers; local/gateway serves both, and
// they are tried there.
func TestDeployed(t *testing.T) {
	if os.Getenv("SITOO_RULE_DEPLOYED") == "" {
		return
	}
	t.Chdir("../..")
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	w, err := begin(t.Context(), &group, ".aws-sam/host", os.Getenv, standins.Options{RulePort: "0", SitooPort: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.deploy(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	sitoo, err := w.sitoo(t.Context(), &group)
	if err != nil {
		t.Fatal(err)
	}
	door, err := w.door(t.Context(), &group, "0")
	if err != nil {
		t.Fatal(err)
	}
	host := func(url string) string { return strings.TrimPrefix(url, "http://") }
	s := session.Session{
		Address: strings.NewReplacer("127.0.0.1:3000/sitoo", host(w.stack.api), "127.0.0.1:3000", host(door), "127.0.0.1:3001", host(w.rule), "127.0.0.1:3002", host(sitoo)),
		Make:    []string{"URL=" + w.stack.api, "AWS=1", "QUEUE_URL=" + w.stack.outputs["BackfillQueueUrl"]},
		Pause:   200 * time.Millisecond,
	}
	s.Leave = session.OneMonth(t, s.Make)
	s.Heading = func(t *testing.T, text string) {
		t.Helper()
		if text == "Old orders" {
			s.Customer(t)
		}
	}
	if played := s.Play(t, "README.md"); played.Commands < 17 || played.Answers < 15 {
		t.Errorf("the README has %d commands and %d answers", played.Commands, played.Answers)
	}

	api := w.stack.api
	if err := w.deploy(t.Context(), nil); err != nil {
		t.Fatalf("the same once more: %v", err)
	}
	if err := w.deploy(t.Context(), map[string]string{"Country": "NO"}); err != nil {
		t.Fatalf("with another country: %v", err)
	}
	if w.stack.api != api {
		t.Errorf("the API URL changes from %s to %s", api, w.stack.api)
	}
	// A number without a country code is now one of Norway.
	status, body := s.Curl(t, `curl -H 'Authorization: Bearer demo-key' -d '{"mobile":"070-174 06 91"}' `+api+`/contacts`)
	if status != http.StatusBadRequest || !strings.Contains(body, `"member":"mobile"`) {
		t.Errorf("a Swedish number in Norway: status %d: %s", status, body)
	}
	// What was there before is there.
	status, body = s.Curl(t, `curl -H 'Authorization: Bearer demo-key' '`+api+`/contacts/255934461?include_extended=true'`)
	if status != http.StatusOK || !strings.Contains(body, `"bonuscheckid":"bc-2011"`) || !strings.Contains(body, `"value":60.00`) {
		t.Errorf("a customer's card after the update: status %d: %s", status, body)
	}
}
