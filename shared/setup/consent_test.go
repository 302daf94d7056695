package setup_test

import (
	"errors"
	"testing"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/setup"
)

// The check says what the consent that the account has chosen does.
func TestConsent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		consent        string
		asked, unasked int
		err            error
		want           setup.Line
	}{
		"not asked":  {"", 2, 38, nil, setup.Line{Status: setup.OK, Detail: "38 of 40 customers registered this week were not asked: no campaign reaches them.", Advice: "Show the two boxes, email and text messages, in the till's form, or choose implied if your terms cover it."}},
		"one":        {account.ConsentAsked, 0, 1, nil, setup.Line{Status: setup.OK, Detail: "The one customer registered this week was not asked: no campaign reaches them.", Advice: "Show the two boxes, email and text messages, in the till's form, or choose implied if your terms cover it."}},
		"one of two": {account.ConsentAsked, 1, 1, nil, setup.Line{Status: setup.OK, Detail: "1 of 2 customers registered this week was not asked: no campaign reaches them.", Advice: "Show the two boxes, email and text messages, in the till's form, or choose implied if your terms cover it."}},
		"all asked":  {"", 40, 0, nil, setup.Line{Status: setup.OK, Detail: "All 40 customers registered this week were asked. Campaigns reach those who said yes."}},
		"nobody":     {"", 0, 0, nil, setup.Line{Status: setup.OK, Detail: "Nobody was registered this week. Campaigns reach those who say yes at the till."}},
		"implied":    {account.ConsentImplied, 0, 40, nil, setup.Line{Status: setup.OK, Detail: "Consent is implied: campaigns reach every customer who did not say no."}},
		"unknown":    {"", 0, 0, errors.New("no answer"), setup.Line{Status: setup.Skipped, Detail: "Whether customers are asked at the till is not known just now.", Advice: "Run this check again in a moment."}},
	} {
		got := setup.Consent(account.Account{Settings: account.Settings{Consent: c.consent}}, c.asked, c.unasked, c.err)
		c.want.Name, c.want.Err = "Consent", c.err
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
