package bonus

import (
	"strconv"
	"strings"
)

// Args are what is particular to one Failure, 0 and "" for what it is not about.
type Args struct {
	Row   int `json:"row,omitempty"`   // another row of the file
	Check int `json:"check,omitempty"` // of the JSON in a cell, from 1
	Has   int `json:"has,omitempty"`   // characters, or bonus checks
	Limit int `json:"limit,omitempty"`
	// Status is that of Rule's answer.
	Status int    `json:"status,omitempty"`
	Value  string `json:"value,omitempty"` // as the cell has it, unless it could be about a person
}

// reasons are why rows are bad, by code, in English and in Swedish. The English
// ones about a column begin with it; {value} is as the cell has it, and
// in both languages a noun if it is not shown. Codes stay as they are: callers
// translate by them.
var reasons = map[string]struct{ english, swedish string }{
	"characters": {"has characters in it that are not text; type the cell again", "Cellen innehåller tecken som inte är text. Skriv om den."},
	"person":     {"There is neither an email address nor a phone number in this row.", "Raden saknar både e-post och mobilnummer."},

	"email":            {"is not a whole email address", "E-postadressen är inte fullständig."},
	"email_differs":    {"is not the same as in row {row}, which has the same phone number", "Samma mobilnummer har en annan e-postadress på rad {row}."},
	"phone":            {"is not a phone number", "Det här är inget telefonnummer. Skriv till exempel 070-174 06 05."},
	"phone_differs":    {"is not the same as in row {row}, which has the same email address", "Samma e-post har ett annat mobilnummer på rad {row}."},
	"phone_scientific": {"is a number in scientific notation, of which digits are lost; format the column as text, enter the phone numbers again and save the file", "Kalkylprogrammet har gjort om numret så att siffror saknas. Formatera kolumnen som text, skriv in numren igen och spara filen."},
	"personal_number":  {"is a personal identity number, which is not sent to Rule; a phone number is expected", "Personnummer skickas inte till Rule. Skriv ett mobilnummer."},

	"id_missing":    {"is missing, the id of the bonus check is expected", "Checkens nummer saknas."},
	"id_long":       {"has more than {limit} characters", "Checkens nummer har fler än {limit} tecken."},
	"id_scientific": {"{cell} is an id in scientific notation, of which digits are lost; format the column as text, enter the ids again and save the file", "Kalkylprogrammet har gjort om numret till {cell}, så att siffror saknas. Formatera kolumnen som text, skriv in numren igen och spara filen."},
	"id_rounded":    {"is an id whose digits after the fifteenth are all 0, as those of every long id in the file; the spreadsheet has lost them; format the column as text, enter the ids again and save the file", "Alla långa nummer i filen slutar med nollor efter femton siffror: kalkylprogrammet har tappat resten. Formatera kolumnen som text, skriv in numren igen och spara filen."},

	"text_long":      {"has {has} characters, at most {limit} are expected", "Texten har {has} tecken. Högst {limit} får plats."},
	"value_missing":  {"is missing, an amount such as 100 or 49,50 is expected", "Beloppet saknas. Skriv till exempel 100 eller 49,50."},
	"amount":         {"{cell} is not an amount such as 100 or 49,50", "Beloppet går inte att läsa. Skriv till exempel 100 eller 49,50."},
	"percent":        {"{cell} is a percentage; a bonus check is worth an amount such as 100 or 49,50", "Det här är en procentsats. En bonuscheck är värd ett belopp, till exempel 100 eller 49,50."},
	"currency":       {"is in another currency than row {row}; amounts are expected in the shop's own", "Beloppet är i en annan valuta än på rad {row}. Skriv alla i butikens egen."},
	"zero":           {"is 0, a bonus check is expected to be worth something", "Beloppet är 0. En bonuscheck måste vara värd något."},
	"remaining_over": {"{cell} is more than the value", "Det som är kvar är mer än checken är värd."},
	"redeemed_left":  {"says that the bonus check is used, but something is left of it", "Checken är markerad som använd, men något är kvar av den."},
	"redeemed":       {"is neither true nor false, yes nor no", "Skriv ja eller nej."},
	"date":           {"{cell} is not a date such as 2026-12-31", "Datumet går inte att läsa. Skriv till exempel 2026-12-31."},
	"date_ambiguous": {"{cell} could be two dates; write it as 2026-12-31", "Datumet kan betyda två olika dagar. Skriv till exempel 2026-12-31."},
	"date_number":    {"{cell} is how a spreadsheet counts days; format the column as a date and save the file again", "Det här är kalkylprogrammets dagnummer. Formatera kolumnen som datum och spara filen igen."},
	"period":         {"is before validfrom", "Slutdatumet är före startdatumet."},
	"check":          {"The bonus check cannot be read: {value}.", "Checken går inte att läsa: {value}."},
	"json":           {"is not a JSON array of bonus checks", "Det här är ingen JSON-lista med bonuscheckar."},
	"json_quotes":    {"is JSON with typographic quotation marks; write straight ones (\"), and turn off the program's smart quotes", "JSON-texten har typografiska citattecken. Skriv raka (\") och stäng av programmets smarta citattecken."},
	"json_single":    {"is JSON with single quotation marks; write double ones (\")", "JSON-texten har enkla citattecken. Skriv dubbla (\")."},
	"json_cut":       {"is JSON that is cut off: a spreadsheet's cell holds 32,767 characters; save the file as text (.txt or .csv) from where the JSON is whole", "JSON-texten är avklippt: en cell rymmer 32 767 tecken. Spara filen som text (.txt eller .csv) där texten är hel."},
	"json_count":     {"has {has} bonus checks, at most {limit} are expected", "Cellen har {has} bonuscheckar. Högst {limit} får plats."},
	"json_check":     {"bonus check {check} cannot be read: {value}", "Check {check} går inte att läsa: {value}."},
	"json_zero":      {"of bonus check {check}, the value is 0", "Check {check} är värd 0."},
	"json_redeemed":  {"of bonus check {check}, redeemed is neither true nor false", "Check {check}: redeemed är varken true eller false."},
	"json_left":      {"of bonus check {check}, redeemed says that it is used, but something is left of it", "Check {check} är markerad som använd, men något är kvar av den."},
	"json_period":    {"of bonus check {check}, validto is before validfrom", "Check {check}: slutdatumet är före startdatumet."},
	"contradicts":    {"Row {row} says something else about the same bonus check of the same customer.", "Rad {row} säger något annat om samma check för samma kund."},
	"given_up":       {"The import was given up. {value}", "Importen gavs upp. Skicka filen igen."},
	"rule_conflict":  {"In Rule, the email address and the phone number belong to two subscribers.", "I Rule hör e-postadressen och mobilnumret till två olika personer."},
	"rule_phone":     {"Rule does not accept the phone number.", "Rule tar inte emot mobilnumret."},
	"rule_email":     {"Rule does not accept the email address.", "Rule tar inte emot e-postadressen."},
	"rule_status":    {"Rule refuses the customer (status {status}).", "Rule tar inte emot kunden (status {status})."},
	"rule_refuses":   {"Rule refuses the customer.", "Rule tar inte emot kunden."},
	"rule_hides":     {"Rule does not tell what bonus checks the customer has.", "Rule svarar inte på vilka bonuscheckar kunden har."},
	"rule_damaged":   {"The customer's bonus checks cannot be read: in Rule, the field Sitoo-Contact.bonuschecks is not a JSON array.", "Kundens bonuscheckar går inte att läsa: fältet Sitoo-Contact.bonuschecks i Rule är ingen JSON-lista."},
	"rule_full":      {"With those that Rule has already, the customer's bonus checks have more than 60000 characters.", "Med dem som redan finns i Rule har kundens bonuscheckar fler än 60 000 tecken."},
	"rule_checks":    {"Rule does not accept the bonus checks.", "Rule tar inte emot bonuscheckarna."},
	"book_full":      {"The customer has used more bonus checks than can be kept count of.", "Kunden har använt fler bonuscheckar än vad som kan räknas."},

	"rows_over":       {"The customer has more than {limit} rows.", "Kunden har fler än {limit} rader."},
	"checks_over":     {"The customer gets more than {limit} bonus checks.", "Kunden får fler än {limit} bonuscheckar."},
	"characters_over": {"The customer's bonus checks have more than {limit} characters together.", "Kundens bonuscheckar har tillsammans fler än {limit} tecken."},
}

// failure returns why a row is bad, in words.
func failure(row int, column, code string, a Args) Failure {
	fill := func(text, cell string) string {
		if a.Value != "" {
			cell = `"` + a.Value + `"`
		}
		n := strconv.Itoa
		return strings.NewReplacer("{row}", n(a.Row), "{check}", n(a.Check), "{has}", n(a.Has), "{limit}", n(a.Limit), "{status}", n(a.Status), "{value}", a.Value, "{cell}", cell).Replace(text)
	}
	r := reasons[code]
	return Failure{Row: row, Column: column, Code: code, Args: a, Reason: strings.TrimSpace(fill(r.english, "the value")), Swedish: strings.TrimSpace(fill(r.swedish, "något annat"))}
}
