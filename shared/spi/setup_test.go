package spi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/google/go-cmp/cmp"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/memory"
	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/setup"
	"sitoo-rule/shared/sitoo"
)

// setupCheck is the function, reading the shop as the product does.
func (r *shopRig) setupCheck() lambda.Handler {
	c := &setup.Check{Now: func() time.Time { return now }, NewID: func() string { return "id1" }, Pause: -1}
	return r.SetupCheck(c, new(memory.Consents), func(ctx context.Context, a account.Account) (*sitoo.Shop, error) {
		id, password, err := r.Accounts.Access(ctx, a)
		if err != nil {
			return nil, err
		}
		return r.rest.Shop(sitoo.Credentials{BaseURL: a.Sitoo.BaseURL, AccountID: a.Sitoo.AccountID, Site: a.Sitoo.Site, APIID: id, Password: password}), nil
	})
}

func (r *shopRig) report(h lambda.Handler) (out setup.Report, states string) {
	r.t.Helper()
	answer := invoke(r.t, h, get("", nil))
	if answer.StatusCode != 200 {
		r.t.Fatalf("%d %s", answer.StatusCode, answer.Body)
	}
	d := json.NewDecoder(strings.NewReader(answer.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		r.t.Fatal(err)
	}
	for _, l := range out.Lines {
		states += l.Status[:1]
	}
	for _, secret := range secrets {
		if strings.Contains(answer.Body, secret) || strings.Contains(r.logs.String(), secret) {
			r.t.Errorf("%q is shown: %s\n%s", secret, answer.Body, r.logs)
		}
	}
	return out, states
}

func TestSetupCheck(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	h := r.setupCheck()
	if out, states := r.report(h); out.Status != "ok" || states != "ooooooooooossso" {
		t.Errorf("without credentials: %s %s: %+v", out.Status, states, out.Lines)
	}
	if n := r.asked.Load(); n != 0 {
		t.Errorf("%d requests to Sitoo without credentials", n)
	}
	if out := r.call("PUT", key, members(nil)); out.StatusCode != 200 {
		t.Fatal(out.Body)
	}
	if out, states := r.report(h); out.Status != "ok" || states != "ooooooooooooooo" {
		t.Errorf("with credentials: %s %s: %+v", out.Status, states, out.Lines)
	}
	line := r.logs.line(t, "done")
	if line["operation"] != "setup-check" || line["failed"] != 0.0 || line["sitoo_requests"] != 2.0 || line["outcome"] != "ok" {
		t.Errorf("log %v", line)
	}

	// What fails is a line, and support reads why.
	r.rule.DefineHistorical(key, "Sitoo-Order", false)
	before := r.rule.Subscribers(key)
	if out, states := r.report(h); out.Status != "failed" || states != "oofoooooooooooo" {
		t.Errorf("not historical: %s %s: %+v", out.Status, states, out.Lines)
	}
	r.rule.SetFault(func(q *http.Request, _ []byte) *fakerule.Fault {
		if q.Method == "DELETE" {
			return &fakerule.Fault{Status: 500}
		}
		return nil
	})
	out, states := r.report(h)
	if out.Status != "failed" || states[10] != 'f' || r.logs.line(t, "set-up check")["line"] != "Removed again" || r.logs.line(t, "done")["failed"] != 2.0 {
		t.Errorf("%s %s: %+v, log %s", out.Status, states, out.Lines, r.logs)
	}
	if strings.Contains(r.logs.String(), "@") {
		t.Errorf("an address is in the log: %s", r.logs)
	}
	after := r.rule.Subscribers(key)
	left := after[len(after)-1]
	if diff := cmp.Diff(before, after[:len(after)-1]); diff != "" || !strings.Contains(out.Lines[10].Advice, left.Email) {
		t.Errorf("people (-before +after):\n%s\nleft: %s, told: %s", diff, left.Email, out.Lines[10].Advice)
	}
	if got := r.rule.Automations(key); len(got) > 0 {
		t.Errorf("automations: %v", got)
	}
}

func TestSetupCheckRefused(t *testing.T) {
	t.Parallel()
	r := newShopRig(t)
	h := r.setupCheck()
	in := get("", nil)
	delete(in.Headers, "Authorization")
	if out := invoke(t, h, in); out.StatusCode != 401 {
		t.Errorf("no key: %d %s", out.StatusCode, out.Body)
	}
	in.Headers["Authorization"] = "Bearer unknown-key"
	if out := invoke(t, h, in); out.StatusCode != 401 {
		t.Errorf("an unknown key: %d %s", out.StatusCode, out.Body)
	}
	r.report(h) // the account is known now
	r.rule.RevokeKey(key)
	out := invoke(t, h, get("", nil))
	if f := failure(t, out); out.StatusCode != 401 || f.Error != "unauthorized" {
		t.Errorf("a key that Rule takes no more: %d %s", out.StatusCode, out.Body)
	}
	r.rule.ResetRequests()
	if out := invoke(t, h, get("", nil)); out.StatusCode != 401 || len(r.rule.Requests()) > 0 {
		t.Errorf("the same again: %d, %d requests; want none", out.StatusCode, len(r.rule.Requests()))
	}
}

// Credentials that cannot be opened are no verdict on the set-up.
func TestSetupCheckShop(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err    error
		status int
	}{
		"removed meanwhile": {fault.New(fault.NotFound, "The merchant has entered no credentials for Sitoo."), 200},
		"cannot be opened":  {errors.New("no such key"), 503},
	} {
		r := newShopRig(t)
		if out := r.call("PUT", key, members(nil)); out.StatusCode != 200 {
			t.Fatal(out.Body)
		}
		c := &setup.Check{Now: func() time.Time { return now }, NewID: func() string { return "id1" }, Pause: -1}
		h := r.SetupCheck(c, new(memory.Consents), func(context.Context, account.Account) (*sitoo.Shop, error) { return nil, tt.err })
		if out := invoke(t, h, get("", nil)); out.StatusCode != tt.status {
			t.Errorf("%s: %d %s, want %d", name, out.StatusCode, out.Body, tt.status)
		}
	}
}

// A Rule that answers nothing after the key is known leaves time for an answer.
func TestSetupCheckInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newShopRig(t)
		h := r.setupCheck()
		r.report(h)
		r.rule.SetFault(func(*http.Request, []byte) *fakerule.Fault { return &fakerule.Fault{Kind: fakerule.FaultHang} })
		began := time.Now()
		out, states := r.report(h)
		if took := time.Since(began); took > 25*time.Second || out.Status != "failed" {
			t.Errorf("%s after %v: %+v", states, took, out.Lines)
		}
	})
}
