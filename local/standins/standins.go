// Package standins serves what stands in for Rule and for Sitoo, with people and
// a shop that fit each other, for everything that serves the connector on this
// machine: in one process, deployed in an emulator, or in containers.
package standins

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"sitoo-rule/local/fakerule"
	"sitoo-rule/local/fakesitoo"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/rule"
)

// What the made-up shop has: old orders, and how many customers made them, of
// whom Rule knows some already.
const (
	orders    = 20_000
	buyers    = 400
	knownToUs = 300
)

// Options say where the stand-ins listen, and whose shop it is.
type Options struct {
	// Host is the address to listen at, 127.0.0.1 if "". Containers do not reach
	// that one.
	Host string
	// RulePort and SitooPort are "3001" and "3002" if "", and "0" for free ones.
	RulePort, SitooPort string
	// Key is the shop's Rule API key, fakerule.DefaultKey if "".
	Key string
	// Seed is the name of a file of made-up customers, in the form of
	// local/fakerule/seed.json, "" for the built-in ones.
	Seed string
	// SPI is which of Sitoo's interfaces the tills speak, "1" (or "") or "2".
	SPI string
}

// Customers are who buys in the made-up shop.
type Customers []fakesitoo.Customer

// Rule serves the stand-in for Rule until ctx ends, and returns its address and
// who the made-up shop's customers are.
func Rule(ctx context.Context, group *sync.WaitGroup, o Options) (url string, customers Customers, err error) {
	key := cmp.Or(o.Key, fakerule.DefaultKey)
	seed, from := fakerule.Seed(), ""
	if o.Seed != "" {
		f, err := os.Open(o.Seed)
		if err != nil {
			return "", nil, fmt.Errorf("RULE_SEED: %w", err)
		}
		defer f.Close()
		seed, from = f, "RULE_SEED "+o.Seed+": "
	}
	known := fakerule.New(fakerule.Options{Keys: []string{key}, Log: nil})
	if err := known.Load(seed); err != nil {
		return "", nil, fmt.Errorf("%s%w", from, err)
	}
	if from == "" {
		if err := known.Load(fakerule.WebShops()); err != nil {
			return "", nil, err
		}
	}
	l, err := Listen(o.Host, cmp.Or(o.RulePort, "3001"))
	if err != nil {
		return "", nil, err
	}
	Serve(ctx, group, l, known)
	url = "http://" + l.Addr().String()
	customers = customersOf(known.Subscribers(key))
	made := fakesitoo.MakeCustomers(buyers)[len(fakesitoo.DefaultCustomers()):]
	customers = append(customers, made...)
	if err := introduce(ctx, url, key, made[:knownToUs]); err != nil {
		return "", nil, err
	}
	known.Settle()
	return url, customers, nil
}

// Sitoo serves the stand-in for Sitoo until ctx ends: a shop with old orders of
// the customers, whose tills call the connector at that API URL. It returns its
// address.
func Sitoo(ctx context.Context, group *sync.WaitGroup, o Options, customers Customers, connector string) (url string, err error) {
	spi, err := strconv.Atoi(cmp.Or(o.SPI, "1"))
	if err != nil || spi < 1 || spi > 2 {
		return "", fmt.Errorf("SPI is %q, 1 or 2 is expected", o.SPI)
	}
	l, err := Listen(o.Host, cmp.Or(o.SitooPort, "3002"))
	if err != nil {
		return "", err
	}
	shop := fakesitoo.New(fakesitoo.Options{
		Orders: orders, Customers: customers, Connector: connector, Token: cmp.Or(o.Key, fakerule.DefaultKey), SPI: spi,
	})
	Serve(ctx, group, l, shop)
	group.Go(func() { shop.RunEvents(ctx) })
	return "http://" + l.Addr().String(), nil
}

// introduce makes customers known to Rule, with nothing but their address.
func introduce(ctx context.Context, ruleURL, key string, customers []fakesitoo.Customer) error {
	list := make([]rule.Upsert, len(customers))
	for i, c := range customers {
		list[i] = rule.Upsert{Email: c.Email}
	}
	r := rule.New(rule.Config{URL: ruleURL}).Session(key, time.Time{}, nil)
	if _, err := r.UpsertMany(ctx, list, []string{"Sitoo"}); err != nil {
		return fmt.Errorf("introduce the made-up customers: %w", err)
	}
	return nil
}

// customersOf makes those of Rule's made-up people the shop's customers who have
// been at a till: the tag says who has.
func customersOf(list []fakerule.Subscriber) []fakesitoo.Customer {
	var out []fakesitoo.Customer
	for _, s := range list {
		if !slices.Contains(s.Tags, customer.Tag) {
			continue
		}
		text := func(field string) string { f, _ := s.Field(field); return f.Value }
		out = append(out, fakesitoo.Customer{
			ContactID: strconv.FormatInt(s.ID, 10), Email: s.Email, Phone: s.Phone,
			MemberNumber: text("Sitoo-Contact.membernumber"), NameFirst: text("Sitoo-Contact.namefirst"), NameLast: text("Sitoo-Contact.namelast"),
			Address: text("Sitoo-Address.invoice_address"), Zip: text("Sitoo-Address.invoice_zip"), City: text("Sitoo-Address.invoice_city"),
		})
	}
	return out
}

// Listen takes a port of the address, 127.0.0.1 if host is "".
func Listen(host, port string) (net.Listener, error) {
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return nil, fmt.Errorf("%q is not a port", port)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port))
	if err != nil {
		return nil, fmt.Errorf("%w (PORT, RULE_PORT and SITOO_PORT choose others)", err)
	}
	return l, nil
}

// Serve serves h until ctx ends, and then for two seconds at the most.
func Serve(ctx context.Context, group *sync.WaitGroup, l net.Listener, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() { _ = server.Serve(l) })
	group.Go(func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close()
		}
	})
}
