// Package app puts a function together from its environment: it is the only
// place that knows every other. A function's main names what it is; everything
// it uses is built once, when the process starts.
package app

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
)

// Config is what a function reads from its environment. A function needs only
// some of it; what it needs and lacks is an error when it starts.
type Config struct {
	RuleURL           string // RULE_URL, Rule's base URL
	Country           string // COUNTRY, how phone numbers without a country code are read
	AccountsTable     string // ACCOUNTS_TABLE
	LedgerTable       string // LEDGER_TABLE
	ParkedTable       string // PARKED_TABLE
	OrdersQueue       string // ORDERS_QUEUE_URL
	OrdersDeadLetters string // ORDERS_DEAD_LETTERS_URL
	BonusTable        string // BONUS_TABLE
	BonusQueue        string // BONUS_QUEUE_URL
	BonusDeadLetters  string // BONUS_DEAD_LETTERS_URL
	ConsentsTable     string // CONSENTS_TABLE
	ImportsTable      string // IMPORTS_TABLE
	ImportsQueue      string // IMPORTS_QUEUE_URL
	ImportDeadLetters string // IMPORTS_DEAD_LETTERS_URL

	HistoryTable        string // HISTORY_TABLE
	BackfillQueue       string // BACKFILL_QUEUE_URL
	BackfillDeadLetters string // BACKFILL_DEAD_LETTERS_URL
	HistoryQueue        string // HISTORY_QUEUE_URL
	HistoryDeadLetters  string // HISTORY_DEAD_LETTERS_URL
	// SitooAnyHost, SITOO_ANY_HOST, lets credentials name any host: a stand-in on
	// this machine, say. In AWS nothing but Sitoo's hosts is called.
	SitooAnyHost bool
	// SitooHosts, SITOO_HOSTS, are hosts that credentials may name beside Sitoo's
	// known ones, in small letters, separated by commas.
	SitooHosts string

	// Retention, RETENTION_MONTHS, is how long the ledger and the books are kept;
	// 0 for the default.
	Retention order.Retention

	SecretsKey string // SECRETS_KEY_ID, the KMS key that seals API keys
	Region     string // AWS_REGION
	Endpoint   string // AWS_ENDPOINT_URL, an emulator's address
}

// FromEnv reads the environment and reports all that is wrong with it at once.
func FromEnv(getenv func(string) string) (Config, error) {
	c := Config{
		RuleURL: getenv("RULE_URL"), Country: strings.ToUpper(getenv("COUNTRY")),
		AccountsTable: getenv("ACCOUNTS_TABLE"), LedgerTable: getenv("LEDGER_TABLE"),
		OrdersQueue: getenv("ORDERS_QUEUE_URL"), OrdersDeadLetters: getenv("ORDERS_DEAD_LETTERS_URL"),
		BonusTable: getenv("BONUS_TABLE"), BonusQueue: getenv("BONUS_QUEUE_URL"), BonusDeadLetters: getenv("BONUS_DEAD_LETTERS_URL"),
		ConsentsTable: getenv("CONSENTS_TABLE"),
		ImportsTable:  getenv("IMPORTS_TABLE"), ImportsQueue: getenv("IMPORTS_QUEUE_URL"), ImportDeadLetters: getenv("IMPORTS_DEAD_LETTERS_URL"),
		ParkedTable: getenv("PARKED_TABLE"), SitooHosts: getenv("SITOO_HOSTS"),
		HistoryTable: getenv("HISTORY_TABLE"), SitooAnyHost: getenv("SITOO_ANY_HOST") == "true",
		BackfillQueue: getenv("BACKFILL_QUEUE_URL"), BackfillDeadLetters: getenv("BACKFILL_DEAD_LETTERS_URL"),
		HistoryQueue: getenv("HISTORY_QUEUE_URL"), HistoryDeadLetters: getenv("HISTORY_DEAD_LETTERS_URL"),
		SecretsKey: getenv("SECRETS_KEY_ID"), Region: getenv("AWS_REGION"), Endpoint: getenv("AWS_ENDPOINT_URL"),
	}
	var errs []error
	if c.RuleURL == "" {
		c.RuleURL = rule.DefaultURL
	}
	for _, v := range []struct{ name, url string }{
		{"RULE_URL", c.RuleURL},
		{"ORDERS_QUEUE_URL", c.OrdersQueue},
		{"ORDERS_DEAD_LETTERS_URL", c.OrdersDeadLetters},
		{"BONUS_QUEUE_URL", c.BonusQueue},
		{"BONUS_DEAD_LETTERS_URL", c.BonusDeadLetters},
		{"IMPORTS_QUEUE_URL", c.ImportsQueue},
		{"IMPORTS_DEAD_LETTERS_URL", c.ImportDeadLetters},
		{"BACKFILL_QUEUE_URL", c.BackfillQueue},
		{"BACKFILL_DEAD_LETTERS_URL", c.BackfillDeadLetters},
		{"HISTORY_QUEUE_URL", c.HistoryQueue},
		{"HISTORY_DEAD_LETTERS_URL", c.HistoryDeadLetters},
		{"AWS_ENDPOINT_URL", c.Endpoint},
	} {
		if u, err := url.Parse(v.url); v.url != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			errs = append(errs, fmt.Errorf("%s is not an http or https URL", v.name))
		}
	}
	if months := getenv("RETENTION_MONTHS"); months != "" {
		n, err := strconv.Atoi(months)
		if err != nil || n < 1 || n > 1200 {
			errs = append(errs, errors.New("RETENTION_MONTHS is not a number of months, such as 36"))
		}
		c.Retention = order.Retention(n)
	}
	if c.Country == "" {
		c.Country = "SE"
	}
	if len(c.Country) != 2 || strings.Trim(c.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		errs = append(errs, errors.New("COUNTRY is not a country code of two letters, such as SE"))
	}
	return c, errors.Join(errs...)
}

// Hosts returns SitooHosts one by one.
func (c Config) Hosts() []string {
	return strings.FieldsFunc(strings.ToLower(c.SitooHosts), func(r rune) bool { return r == ',' || r == ' ' })
}
