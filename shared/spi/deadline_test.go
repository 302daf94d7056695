package spi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/rule"
)

// silent is a Rule that takes every request and never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// Whatever Rule does, a till has its answer within 8 seconds. The time is
// synctest's, so the test takes none.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make func(r *rig) lambda.Handler
		in   request
	}{
		"find":      {func(r *rig) lambda.Handler { return r.ContactFind(r.customers) }, request{QueryStringParameters: map[string]string{"key": "0701740605"}}},
		"get":       {func(r *rig) lambda.Handler { return r.ContactGet(r.customers) }, request{PathParameters: map[string]string{"contactid": "255934461"}}},
		"add":       {func(r *rig) lambda.Handler { return r.ContactAdd(r.customers) }, request{Body: `{"email":"ny@example.com","acceptedconsents":["11"]}`}},
		"update":    {func(r *rig) lambda.Handler { return r.ContactUpdate(r.customers) }, request{PathParameters: map[string]string{"contactid": "255934461"}, Body: `{"namefirst":"Ny"}`}},
		"consents":  {func(r *rig) lambda.Handler { return r.ConsentList(r.customers) }, request{}},
		"purchases": {func(r *rig) lambda.Handler { return r.PurchaseList() }, request{PathParameters: map[string]string{"contactid": "255934461"}}},
		"first":     {func(r *rig) lambda.Handler { return r.ContactLookup() }, request{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				c.in.Headers = map[string]string{"Authorization": "Bearer " + key}
				if name != "first" { // its account exists before Rule falls silent
					if _, err := r.Accounts.Authorize(t.Context(), key); err != nil {
						t.Fatal(err)
					}
				}
				client := rule.New(rule.Config{URL: "http://rule.example", HTTP: &http.Client{Transport: silent{}}})
				r.Rule = client
				r.Accounts.Verify = func(ctx context.Context, key string) error { return client.Session(key, time.Time{}, nil).Verify(ctx) }
				payload, err := json.Marshal(c.in)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				out, err := c.make(r).Invoke(t.Context(), payload)
				took := time.Since(start)
				var res response
				if err == nil {
					err = json.Unmarshal(out, &res)
				}
				if err != nil || res.StatusCode != 503 || len(res.Body) < 40 {
					t.Errorf("answer %s, %v", out, err)
				}
				if took < 3*time.Second || took > 8*time.Second {
					t.Errorf("it took %s, want two tries and no more than 8 s", took)
				}
			})
		})
	}
}
