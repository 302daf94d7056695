package account

// Settings is what a shop has chosen. The zero value of each is its default.
type Settings struct {
	// Consent says what is assumed of a customer who was not asked whether she
	// takes marketing: ConsentAsked (also ""), no, or ConsentImplied, yes.
	Consent string
	// Language is that of the texts which cashiers and customers read: "sv" (also
	// "") or "en".
	Language string
	// Country says how a phone number without a country code is read: two capital
	// letters, or "" for the connector's parameter Country.
	Country string
}

// The values of Settings.Consent.
const (
	ConsentAsked   = "asked"
	ConsentImplied = "implied"
)
