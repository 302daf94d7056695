package sitoo_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

func TestCheckBaseURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		raw       string
		want      string // "" if refused
		anyWanted string // with anyHost
	}{
		{"https://api.mysitoo.com/v2/accounts/90001", "https://api.mysitoo.com/v2/accounts/90001", "="},
		{" https://api140.mysitoo.com/v2/accounts/90001/ \n", "https://api140.mysitoo.com/v2/accounts/90001", "="},
		{"https://API-Sandbox.mysitoo.com", "https://api-sandbox.mysitoo.com", "="},
		{"https://api.mysitoo.com/", "https://api.mysitoo.com", "="},
		{"https://api.mysitoo.com/v2", "https://api.mysitoo.com", "="},
		{"https://api.mysitoo.com/v2/accounts/", "https://api.mysitoo.com", "="},
		{"https://a.b.mysitoo.com", "", "https://a.b.mysitoo.com"},
		{"https://api140.mysitoo.com", "https://api140.mysitoo.com", "="},
		{"https://api-sandbox.mysitoo.com", "https://api-sandbox.mysitoo.com", "="},
		{"HTTPS://api.mysitoo.com", "https://api.mysitoo.com", "="},
		{"https://api.mysitoo.com:443/v2", "https://api.mysitoo.com", "https://api.mysitoo.com:443"},

		{"http://127.0.0.1:3002", "", "http://127.0.0.1:3002"},
		{"http://127.0.0.1:3002/v2/accounts/90001", "", "http://127.0.0.1:3002/v2/accounts/90001"},
		{"http://[::1]:3002", "", "http://[::1]:3002"},
		{"http://sitoo:3002", "", "http://sitoo:3002"},
		{"https://169.254.169.254", "", "https://169.254.169.254"},
		{"https://mysitoo.com", "", "https://mysitoo.com"},
		{"http://api.mysitoo.com", "", "http://api.mysitoo.com"},
		{"https://api.mysitoo.com:8443", "", "https://api.mysitoo.com:8443"},
		{"https://notmysitoo.com", "", "https://notmysitoo.com"},
		{"https://api.mysitoo.com.example.com", "", "https://api.mysitoo.com.example.com"},
		{"https://example.com/api.mysitoo.com", "", ""},
		{"https://xmysitoo.com", "", "https://xmysitoo.com"},
		{"https://-.mysitoo.com", "", ""},
		{"https://.mysitoo.com", "", ""},
		{"https://api.mysitoo.com.", "", ""},
		{"https://api.mysitoo.com:", "", "https://api.mysitoo.com:"},
		{"https://api..mysitoo.com", "", "https://api..mysitoo.com"},

		{"", "", ""},
		{"90001", "", ""},
		{"api.mysitoo.com", "", ""},
		{"api.mysitoo.com:443", "", ""},
		{"ftp://api.mysitoo.com", "", ""},
		{"file:///etc/passwd", "", ""},
		{"//api.mysitoo.com", "", ""},
		{"https:api.mysitoo.com", "", ""},
		{"https://", "", ""},
		{"https://:443", "", ""},
		{"https://user:word@api.mysitoo.com", "", ""},
		{"https://api.mysitoo.com@example.com", "", ""},
		{"https://example.com\\@api.mysitoo.com", "", ""},
		{"https://example.com#.mysitoo.com", "", ""},
		{"https://example.com?.mysitoo.com", "", ""},
		{"https://api.mysitoo.com?", "", ""},
		{"https://api.mysitoo.com#", "", ""},
		{"https://api.mysitoo.com/v2/accounts/90001?x=1", "", ""},
		{"https://api.mysitoo.com/v2/accounts/90001/orders.json", "", ""},
		{"https://api.mysitoo.com/v2/accounts/../90001", "", ""},
		{"https://api.mysitoo.com/v2/accounts/..", "", ""},
		{"https://api.mysitoo.com/v2/accounts/9%2f1", "", ""},
		{"https://api.mysitoo.com/v3", "", ""},
		{"https://api.mysitoo.com//", "", ""},
		{"https://api.mysitoo.com/\x7f", "", ""},
		{"https://api%2emysitoo.com", "", ""},
		{"https://api。mysitoo.com", "", ""},
		{"https://" + strings.Repeat("a", 300) + ".mysitoo.com", "", ""},
	} {
		if tt.anyWanted == "=" {
			tt.anyWanted = tt.want
		}
		for anyHost, want := range map[bool]string{false: tt.want, true: tt.anyWanted} {
			got, err := sitoo.CheckBaseURL(tt.raw, sitoo.Hosts{Any: anyHost})
			if got != want || (err == nil) != (want != "") {
				t.Errorf("%q, any host %v: %q, %v, want %q", tt.raw, anyHost, got, err, want)
			}
			if err != nil && (fault.KindOf(err) != fault.Invalid || fault.As(err).Member != "baseurl" || strings.Contains(err.Error(), "word@")) {
				t.Errorf("%q: %v", tt.raw, err)
			}
		}
	}
}

func TestCredentialsCheck(t *testing.T) {
	t.Parallel()
	with := func(change func(*sitoo.Credentials)) sitoo.Credentials {
		c := demo
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		in     sitoo.Credentials
		member string // "" if they are accepted, as demo
	}{
		"as they are":                    {demo, ""},
		"base URL without the account":   {with(func(c *sitoo.Credentials) { c.BaseURL = "https://api140.mysitoo.com" }), ""},
		"account in the base URL only":   {with(func(c *sitoo.Credentials) { c.AccountID = " " }), ""},
		"blanks around them":             {with(func(c *sitoo.Credentials) { c.APIID, c.Password = " 90001-1\n", "\tdemo-password " }), ""},
		"another account":                {with(func(c *sitoo.Credentials) { c.AccountID = "90002" }), "accountid"},
		"no account":                     {with(func(c *sitoo.Credentials) { c.BaseURL, c.AccountID = "https://api.mysitoo.com", "" }), "accountid"},
		"an account that is a path":      {with(func(c *sitoo.Credentials) { c.BaseURL, c.AccountID = "https://api.mysitoo.com", "90001/../90002" }), "accountid"},
		"a base URL that is none":        {with(func(c *sitoo.Credentials) { c.BaseURL = "Sitoo" }), "baseurl"},
		"no site":                        {with(func(c *sitoo.Credentials) { c.Site = 0 }), "site"},
		"a site below 0":                 {with(func(c *sitoo.Credentials) { c.Site = -1 }), "site"},
		"no API id":                      {with(func(c *sitoo.Credentials) { c.APIID = "" }), "apiid"},
		"an API id with the password":    {with(func(c *sitoo.Credentials) { c.APIID = "90001-1:demo-password" }), "apiid"},
		"an API id of two lines":         {with(func(c *sitoo.Credentials) { c.APIID = "a\nb" }), "apiid"},
		"no password":                    {with(func(c *sitoo.Credentials) { c.Password = " " }), "password"},
		"a password with a control byte": {with(func(c *sitoo.Credentials) { c.Password = "a\x00b" }), "password"},
		"a password without end":         {with(func(c *sitoo.Credentials) { c.Password = strings.Repeat("a", 501) }), "password"},
	} {
		got, err := tt.in.Check(sitoo.Hosts{})
		if tt.member == "" {
			if err != nil || got != demo {
				t.Errorf("%s: %v, %v, want %v", name, got, err, demo)
			}
			continue
		}
		if fault.KindOf(err) != fault.Invalid || fault.As(err).Member != tt.member || strings.Contains(err.Error(), "demo-password") {
			t.Errorf("%s: %v, want it to name %s", name, err, tt.member)
		}
	}
}

// However credentials are printed, the password is not.
func TestCredentialsPrint(t *testing.T) {
	t.Parallel()
	const want = "Sitoo account 90001, site 1, API id 90001-1"
	if got := demo.String(); got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	if got := demo.GoString(); got != want {
		t.Errorf("GoString = %q, want %q", got, want)
	}
	s, _ := shop(says(200, ""))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t"} {
		for _, v := range []any{demo, &demo, []sitoo.Credentials{demo}, map[string]sitoo.Credentials{"a": demo}, struct{ C sitoo.Credentials }{demo}, s, *new(any)} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, "demo-password") || strings.Contains(got, fmt.Sprintf("%x", "demo-password")) || strings.Contains(got, "OTAwMDEt") {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
	for _, handler := range []func(*bytes.Buffer) slog.Handler{
		func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("x", "credentials", demo)
		if strings.Contains(b.String(), "demo-password") || !strings.Contains(b.String(), want) {
			t.Errorf("log: %s", b.String())
		}
	}
}

func TestOutsideOnly(t *testing.T) {
	t.Parallel()
	for address, outside := range map[string]bool{
		"185.3.48.1:443": true, "[2a02:750::1]:443": true, "100.63.255.255:443": true,
		"127.0.0.1:443": false, "10.0.0.1:443": false, "172.16.5.5:443": false, "192.168.1.1:443": false, "169.254.169.254:443": false,
		"100.64.0.1:443": false, "0.0.0.0:443": false, "224.0.0.1:443": false, "255.255.255.255:443": false,
		"[::1]:443": false, "[::]:443": false, "[fe80::1]:443": false, "[fd00:ec2::254]:443": false, "[::ffff:127.0.0.1]:443": false, "[::ffff:10.0.0.1]:443": false,
		"api.mysitoo.com:443": false, "": false,
	} {
		if err := sitoo.OutsideOnly(address); (err == nil) != outside {
			t.Errorf("%s: %v, want outside %v", address, err, outside)
		}
	}
}

// What is accepted leads to one of Sitoo's hosts over https, however it is read.
func FuzzCheckBaseURL(f *testing.F) {
	for _, seed := range []string{
		"https://api.mysitoo.com/v2/accounts/90001", "https://api.mysitoo.com:443", "https://a@api.mysitoo.com", "http://127.0.0.1", "https://example.com\\.mysitoo.com",
		"https://[::1]/.mysitoo.com", "https://api.mysitoo.com%00.example.com", "https://ａ.mysitoo.com", "https://api.mysitoo.com/v2/accounts/%2e%2e",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := sitoo.CheckBaseURL(raw, sitoo.Hosts{})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || len(raw) > 40 && strings.Contains(err.Error(), raw) {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme != "https" || !strings.HasSuffix(u.Host, ".mysitoo.com") || u.User != nil || u.Port() != "" || u.RawQuery+u.Fragment != "" {
			t.Errorf("%q is taken as %q (%v)", raw, got, err)
		}
		if _, err := netip.ParseAddr(u.Hostname()); err == nil || net.ParseIP(u.Hostname()) != nil {
			t.Errorf("%q is an address", got)
		}
		if again, err := sitoo.CheckBaseURL(got, sitoo.Hosts{}); err != nil || again != got {
			t.Errorf("%q checked again is %q, %v", got, again, err)
		}
	})
}
