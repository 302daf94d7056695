package sitoo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"sitoo-rule/shared/fault"
)

// Credentials are what a merchant enters to let us read a shop from Sitoo. They
// print without the password, however they are printed; their JSON has it.
type Credentials struct {
	BaseURL   string // as Sitoo's Backoffice shows it; see CheckBaseURL
	AccountID string
	Site      int64 // the site's eshopid, usually 1
	APIID     string
	Password  string
}

// String returns the credentials without the password.
func (c Credentials) String() string {
	return fmt.Sprintf("Sitoo account %s, site %d, API id %s", c.AccountID, c.Site, c.APIID)
}

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// Format writes String for every verb: %d of a struct would print its members.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is for slog: what String says.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

var (
	accountID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$`)
	// sitooHost is a host of Sitoo's REST API: the contract has seen api.mysitoo.com,
	// api-sandbox.mysitoo.com, and api130.mysitoo.com with other numbers. Other names
	// below mysitoo.com are shops' own.
	sitooHost = regexp.MustCompile(`^api(-sandbox|[0-9]{1,6})?\.mysitoo\.com$`)
	// printable is a text without blanks that fits in a header's Basic pair.
	printable = regexp.MustCompile(`^[!-~\p{L}\p{N}\p{P}\p{S}]+$`)
)

const expectedBaseURL = "something like https://api.mysitoo.com/v2/accounts/90001, as Sitoo shows it, is expected"

// CheckBaseURL returns a base URL as it is used: "https://" and the host, and
// "/v2/accounts/" and the account if the URL has them. It is an error, fault.Invalid
// with the member baseurl, if the URL is not https, not at one of the hosts or has
// anything else in it, such as a user, a port but 443, a query or another path.
// Nothing of a refused URL is in the error: it may hold a password.
func CheckBaseURL(raw string, hosts Hosts) (string, error) {
	refuse := func(why string) (string, error) { return "", fault.Bad("baseurl", "%s, %s", why, expectedBaseURL) }
	raw = strings.TrimSpace(raw)
	if raw == "" {
		return refuse("is missing")
	}
	if len(raw) > 300 {
		return refuse("is too long")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return refuse("is not a URL")
	case u.Scheme != "https" && !(hosts.Any && u.Scheme == "http"):
		return refuse("does not begin with https://")
	case u.User != nil:
		return refuse("has a user in it")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return refuse("goes on after the path")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case hosts.Any && host != "":
		if _, err := netip.ParseAddr(host); err != nil && !hostName.MatchString(host) {
			return refuse("has no host")
		}
		host = strings.ToLower(u.Host)
	case !hosts.allow(host):
		return refuse("is not at one of Sitoo's hosts, such as api.mysitoo.com, api-sandbox.mysitoo.com or api140.mysitoo.com")
	case port != "" && port != "443" || strings.HasSuffix(u.Host, ":"):
		return refuse("has a port in it")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	if rest, ok := strings.CutPrefix(path, "/v2/accounts/"); ok && accountID.MatchString(rest) {
		return u.Scheme + "://" + host + path, nil
	}
	if path != "" && path != "/v2" && path != "/v2/accounts" {
		return refuse("has another path than expected")
	}
	return u.Scheme + "://" + host, nil
}

// Hosts says where credentials may be sent: to Sitoo's known hosts, to More, which
// an operator has listed, or, for local use, to any host and port, over http too.
type Hosts struct {
	Any  bool
	More []string
}

func (h Hosts) allow(host string) bool {
	return sitooHost.MatchString(host) || slices.Contains(h.More, host)
}

// hostName is a name that can stand in a URL.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$`)

// Check returns the credentials as they are used: blanks around them are gone
// and BaseURL has the account, which AccountID need not repeat. The error is
// fault.Invalid with the member baseurl, accountid, site, apiid or password. It
// asks nobody: whether Sitoo accepts them, Shop.Check says.
func (c Credentials) Check(hosts Hosts) (Credentials, error) {
	c.AccountID, c.APIID, c.Password = strings.TrimSpace(c.AccountID), strings.TrimSpace(c.APIID), strings.TrimSpace(c.Password)
	base, err := CheckBaseURL(c.BaseURL, hosts)
	if err != nil {
		return Credentials{}, err
	}
	host, account, has := strings.Cut(base, "/v2/accounts/")
	if c.AccountID == "" {
		c.AccountID = account
	}
	switch {
	case c.AccountID == "":
		return Credentials{}, fault.Bad("accountid", "is missing, the account's number in Sitoo, such as 90001, is expected")
	case !accountID.MatchString(c.AccountID):
		return Credentials{}, fault.Bad("accountid", "is not an account's number, something like 90001 is expected")
	case has && account != c.AccountID:
		return Credentials{}, fault.Bad("accountid", "is another one than the base URL's, the same account in both is expected")
	case c.Site <= 0:
		return Credentials{}, fault.Bad("site", "is missing or below 1, the site's eshopid, usually 1, is expected")
	case !printable.MatchString(c.APIID) || len(c.APIID) > 200 || strings.Contains(c.APIID, ":"):
		return Credentials{}, fault.Bad("apiid", "is missing or not an API id, something like 90001-1 is expected")
	case !printable.MatchString(c.Password) || len(c.Password) > 500:
		return Credentials{}, fault.Bad("password", "is missing or not a password, the one that Sitoo generated is expected")
	}
	c.BaseURL = host + "/v2/accounts/" + c.AccountID
	return c, nil
}

// pingAfter is how long nothing may arrive on an HTTP/2 connection before it is
// asked whether it lives, and how long the answer may take. A server that takes
// long to list its orders answers a ping all the same.
const pingAfter = 2 * time.Second

// NewRESTHTTPClient returns an HTTP client for Sitoo that keeps its connection
// open and never follows a redirect. It does not connect to one of Sitoo's hosts
// at an address inside a network, which is where a forged name would lead.
func NewRESTHTTPClient() *http.Client {
	plain := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	outside := *plain
	outside.Control = func(_, address string, _ syscall.RawConn) error { return outsideOnly(address) }
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				// Anything but Sitoo's own host is the operator's choice: a proxy,
				// or a stand-in where AllowAnyHost lets one be.
				if host, _, err := net.SplitHostPort(address); err == nil && sitooHost.MatchString(strings.ToLower(host)) {
					return outside.DialContext(ctx, network, address)
				}
				return plain.DialContext(ctx, network, address)
			},
			ForceAttemptHTTP2:   true,
			TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     4 * time.Minute,
			// A connection that has died in silence is asked whether it lives,
			// or every request on it would wait for its time-out.
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

var errInside = errors.New("the name leads to an address inside a network")

// outsideOnly refuses an address and port that is not on the public network.
func outsideOnly(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedSpace.Contains(ip) {
		return errInside
	}
	return nil
}

// sharedSpace is for carriers' networks (RFC 6598); clouds use it inside, too.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")
