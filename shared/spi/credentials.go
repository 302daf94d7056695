package spi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// maxCredentials is more than credentials need.
const maxCredentials = 16 << 10

// Entered tells a merchant about the credentials for Sitoo, without the API id
// and the password: those are never shown again.
type Entered struct {
	// Status is kept; only in the answer to entering them.
	Status string `json:"status,omitempty"`
	// Account is the account's number in Rule, which support asks for, and Label the
	// shop's in it, "" for none.
	Account   string `json:"account"`
	Label     string `json:"label,omitempty"`
	Entered   bool   `json:"entered"`
	BaseURL   string `json:"baseurl,omitempty"`
	AccountID string `json:"accountid,omitempty"`
	Site      int64  `json:"site,omitempty"`
	SiteURL   string `json:"siteurl,omitempty"` // the site's address, if Sitoo says
	// Orders is how many orders Sitoo has, LastOrder the highest order id; nil
	// where Sitoo was not asked or does not say.
	Orders    *int      `json:"orders,omitempty"`
	LastOrder *int64    `json:"lastorder,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	LastUsed  time.Time `json:"lastused,omitzero"`
	Message   string    `json:"message,omitempty"`
}

func entered(a account.Account) Entered {
	at := a.Sitoo
	if at == nil {
		return Entered{Account: a.ID, Label: a.Label}
	}
	return Entered{Account: a.ID, Label: a.Label, Entered: true, BaseURL: at.BaseURL, AccountID: at.AccountID, Site: at.Site, Since: at.Since, LastUsed: at.Used}
}

// CredentialsPut answers PUT /credentials: the shop's credentials for Sitoo's
// REST API, which Sitoo is asked about before they are kept, in place of earlier
// ones. Wrong ones are 400 with what Sitoo answered, and nothing changes; after three
// of them there is a pause. A shop of another account is 409.
func (e *Edge) CredentialsPut(rest *sitoo.REST) lambda.Handler {
	return e.handler("credentials-put", option{body: maxCredentials, fresh: true, conflict: http.StatusConflict}, func(ctx context.Context, r *Request) (any, error) {
		creds, err := credentials(r.Body)
		if err != nil {
			return nil, err
		}
		if creds, err = rest.Check(creds); err != nil {
			return nil, wrongCredentials(err)
		}
		shop := rest.Shop(creds)
		right, err := e.Accounts.Attempt(ctx, r.Account, creds.AccountID)
		if err != nil {
			return nil, err
		}
		info, err := shop.Check(ctx)
		if !refusedBySitoo(err) {
			right()
		}
		r.Note("sitoo_requests", shop.Calls())
		if err != nil {
			if re, ok := errors.AsType[*sitoo.RESTError](err); ok {
				r.Note("sitoo_status", re.Status)
			}
			return nil, wrongCredentials(err)
		}
		kept, err := e.Accounts.Enter(ctx, r.Account, account.SitooAccess{BaseURL: creds.BaseURL, AccountID: creds.AccountID, Site: creds.Site}, creds.APIID, creds.Password)
		if err != nil {
			return nil, err
		}
		out := entered(kept)
		out.SiteURL, out.LastOrder = info.URL, &info.LastOrder
		if info.Orders >= 0 {
			out.Orders = &info.Orders
		}
		out.Status, out.Message = "kept", "Sitoo accepts the credentials, and they are kept."
		return out, nil
	})
}

// refusedBySitoo reports whether Sitoo has said that credentials are wrong: what was
// not tried there is no guess.
func refusedBySitoo(err error) bool {
	re, ok := errors.AsType[*sitoo.RESTError](err)
	return ok && re.Status >= 400 && re.Status < 500 && re.Status != http.StatusTooManyRequests
}

// wrongCredentials is the error of a check: what Sitoo refuses is the caller's
// input. It must not look like a refused API key of Rule's.
func wrongCredentials(err error) error {
	f := fault.As(err)
	switch f.Kind {
	case fault.Unauthorized, fault.NotFound:
		return fault.Wrap(fault.Invalid, err, "%s Nothing was kept.", f.Message)
	case fault.TooLarge:
		return fault.Wrap(fault.Unavailable, err, "%s Nothing was kept.", f.Message)
	case fault.Busy, fault.Unavailable:
		return &fault.Error{Kind: f.Kind, RetryAt: f.RetryAt, Message: f.Message + " Nothing was kept; try again in a moment.", Err: err}
	}
	return err
}

// CredentialsGet answers GET /credentials: whether there are any, since when,
// and when they were last used.
func (e *Edge) CredentialsGet() lambda.Handler {
	return e.handler("credentials-get", option{}, func(_ context.Context, r *Request) (any, error) {
		return entered(r.Account), nil
	})
}

// CredentialsDelete answers DELETE /credentials: there are none any more. It may
// be repeated.
func (e *Edge) CredentialsDelete() lambda.Handler {
	return e.handler("credentials-delete", option{fresh: true}, func(ctx context.Context, r *Request) (any, error) {
		if err := e.Accounts.Leave(ctx, r.Account); err != nil {
			return nil, err
		}
		r.Account.Sitoo = nil
		return entered(r.Account), nil
	})
}

// credentials reads a body that has passed sitoo.Check. What is wrong is named
// by its member, never quoted: it may be a password.
func credentials(body []byte) (sitoo.Credentials, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return sitoo.Credentials{}, fault.New(fault.Invalid, "The body is not a JSON object; one with baseurl, accountid, site, apiid and password is expected.")
	}
	var bad error
	text := func(name string) string {
		s, ok := scalar(members[name])
		if !ok && bad == nil {
			bad = fault.Bad(name, "is neither text nor a number, text is expected")
		}
		return s
	}
	c := sitoo.Credentials{BaseURL: text("baseurl"), AccountID: text("accountid"), APIID: text("apiid"), Password: text("password")}
	site := strings.TrimSpace(text("site"))
	if bad != nil {
		return sitoo.Credentials{}, bad
	}
	if site != "" {
		var err error
		if c.Site, err = strconv.ParseInt(site, 10, 64); err != nil {
			return sitoo.Credentials{}, fault.Bad("site", "is not a whole number, the site's eshopid, usually 1, is expected")
		}
	}
	return c, nil
}

// scalar returns a text or a number as text; a member that is absent or null is
// "".
func scalar(raw json.RawMessage) (string, bool) {
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if len(raw) > 0 && d.Decode(&v) != nil {
		return "", false
	}
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}
