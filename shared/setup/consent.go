package setup

import (
	"fmt"

	"sitoo-rule/shared/account"
)

// Consent is the line about whom campaigns reach: what the account has chosen,
// and of the customers who were registered in the last seven days how many were
// asked at the till and how many were not. err is why that is not known.
func Consent(a account.Account, asked, unasked int, err error) Line {
	l := Line{Name: "Consent", Status: OK}
	all := asked + unasked
	switch {
	case err != nil:
		l.Status, l.Err = Skipped, err
		l.Detail, l.Advice = "Whether customers are asked at the till is not known just now.", "Run this check again in a moment."
	case a.Settings.Consent == account.ConsentImplied:
		l.Detail = "Consent is implied: campaigns reach every customer who did not say no."
	case all == 0:
		l.Detail = "Nobody was registered this week. Campaigns reach those who say yes at the till."
	case unasked == 0:
		l.Detail = fmt.Sprintf("%s asked. Campaigns reach those who said yes.", were("All", asked, all))
	default:
		l.Detail = fmt.Sprintf("%s not asked: no campaign reaches them.", were(fmt.Sprint(unasked), unasked, all))
		l.Advice = "Show the two boxes, email and text messages, in the till's form, or choose implied if your terms cover it."
	}
	return l
}

// were begins a sentence about some of the customers of the week.
func were(some string, n, all int) string {
	if all == 1 {
		return "The one customer registered this week was"
	}
	verb := "were"
	if n == 1 {
		verb = "was"
	}
	if some == "All" {
		return fmt.Sprintf("All %d customers registered this week were", all)
	}
	return fmt.Sprintf("%s of %d customers registered this week %s", some, all, verb)
}
