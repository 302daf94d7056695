package bonus

import (
	"strings"
	"unicode"
)

// columns are what columns can hold, and the headings that say so in English,
// Swedish, Norwegian, Danish and Finnish, as plain writes them. Those that are
// weak count only in a table without another one for the same, earlier ones first.
var columns = []struct {
	member         string
	noun           string
	headings, weak string
}{
	{columnEmail, "the email address", `email emailaddress epost epostadress mejl mejladress mail mailadress
		eposti epostadresse mailadresse emailadress emailadresse sahkoposti sahkopostiosoite sposti emailosoite`, ""},
	{columnPhone, "the phone number", `phone phonenumber mobile mobilephone mobilenumber mobil mobilnummer mobiltelefon telefon telefonnummer tel
		phonenr phoneno mobilenr mobileno telno cellphone cell mobilnr mobiltelefonnummer telefonnr telnr telnummer tlf tlfnr tfn tfnnr mob mobiltlf
		puhelin puhelinnumero puh puhnro puhelinnro matkapuhelin matkapuhelinnumero kannykka gsm`, ""},
	{
		memberCheckID, "the bonus check's id", `bonuscheckid checkid checknummer bonuschecknummer
		checknr checkno bonuscheckno bonuschecknr checknumber bonuschecknumber bonuscheckidnummer checkidnummer bonuscheckkod checkkod chequeid chequenumber bonuschequeid
		sjekkid sjekknummer sjekknr bonussjekkid bonussjekknummer bonussjekknr
		sekinnumero sekkinumero sekkinro bonussekinnumero bonussekkinumero sekintunnus bonussekintunnus`,
		`id kupongkod kupongnummer vouchercode voucherid vouchernumber couponcode couponid tunnus`,
	},
	{memberName, "the bonus check's name", `name namn titel rubrik navn nimi`, "title tittel overskrift otsikko checkname bonuscheckname checknamn checknavn"},
	{memberDescription, "the description", `description beskrivning beskrivelse kuvaus selite`, "text"},
	{memberValue, "the value", `value amount belopp varde summa belop belob verdi sum arvo maara bonusbelopp checkbelopp checkvarde bonusvarde checkvalue bonusamount`, ""},
	{memberRemaining, "what is left", `remaining kvar aterstar saldo gjenstar resterende restbelop restbelob restvardi restvarde restverdi tilbage balance jaljella kvarvarande`, "rest"},
	{memberRedeemed, "whether it is used", `redeemed inlost anvand innlost indlost brukt brugt kaytetty lunastettu used`, ""},
	{memberDateRedeemed, "when it was used", `dateredeemed inlostdatum inlosningsdatum anvanddatum redeemeddate dateused useddate
		innlostdato indlostdato indlosningsdato innlosningsdato bruktdato brugtdato kayttopaiva lunastuspaiva`, ""},
	{
		memberFrom, "the first day", `validfrom giltigfran giltigtfran startdatum giltigfrom giltigtfrom giltigfom giltigtfom giltigfranochmed giltigtfranochmed gallerfran gallerfrom gallerfom gallerfranochmed
		giltigfrandatum forstadag forstagiltighetsdag startdate validfromdate firstday validsince
		gyldigfra gyldigfom gyldigfraogmed galderfra gjelderfra startdato gyldigfradato forstedag
		voimassaalkaen voimassaoloalkaa alkaa alkupaiva alkamispaiva alkupvm`,
		`fom franochmed fran from fra fraogmed start alkaen borjar`,
	},
	{
		memberTo, "the last day", `validto giltigtill giltigttill slutdatum expires utgar giltigtom giltigttom giltigtillochmed giltigttillochmed gallertill gallertom gallertillochmed
		giltigtilldatum sistadag sistagiltighetsdag sistadatum sistagiltigadag utgangsdatum forfaller forfallodatum forfallodag upphor garut loperut anvandsenast anvandfore giltigtills giltigtillomed stoppdatum
		validuntil validthru validthrough validtill validtodate enddate lastday expiry expirydate expiration expirationdate expiresat expireson expiredate useby
		gyldigtil gyldigtom gyldigtilogmed galdertil gjeldertil sluttdato slutdato gyldigtildato utloper utlopsdato udlober udlobsdato sistedag sidstedag sistegyldigedag sidstegyldigedag
		voimassaasti voimassasaakka voimassaolopaattyy paattyy paattymispaiva loppupaiva loppupvm vanhenee viimeinenvoimassaolopaiva viimeinenpaiva`,
		`tom tillochmed till to til tilogmed slut slutt end until saakka asti`,
	},
	{columnChecks, "all bonus checks of a customer", "bonuschecks sitoocontactbonuschecks bonuscheckar bonussjekker bonussekit", ""},
}

// known returns what headings say that their columns hold, and how many ranks
// they have.
func known() (all map[string]meaning, ranks int) {
	all = map[string]meaning{}
	for _, c := range columns {
		for _, h := range strings.Fields(c.headings) {
			all[h] = meaning{c.member, 0}
		}
		for i, h := range strings.Fields(c.weak) {
			all[h] = meaning{c.member, i + 1}
			ranks = max(ranks, i+2)
		}
	}
	return all, ranks
}

// meaning is the member that a heading means, and how weak it is: 0 if it is not.
type meaning struct {
	member string
	rank   int
}

// hints are what may stand behind a heading, as plain writes it: units, forms and
// whether the column may be empty.
const hints = " kr sek nok dkk isk eur € inkr isek krona kronor kroner obligatorisk obligatoriskt obligatorisktfalt required mandatory frivillig frivilligt valfri valfritt optional pakollinen" +
	" datum dato date paiva pvm aaaammdd yyyymmdd ddmmyyyy ddmmaaaa ppkkvvvv text nummer number "

// plain brings a heading to the form in which it is looked up: lower case,
// without spaces, marks, accents and what hints at the form of the cells.
func plain(heading string) string {
	heading = strings.TrimSpace(heading)
	if open := strings.LastIndexAny(heading, "(["); open > 0 && strings.HasSuffix(strings.TrimRight(heading, " *:"), closing[heading[open]]) {
		if inside := letters(heading[open:]); strings.Contains(hints, " "+inside+" ") {
			heading = heading[:open]
		}
	}
	for _, unit := range []string{" i kr", " i SEK", " kr", " SEK", ", kr", ", SEK"} {
		if n := len(heading) - len(unit); n > 0 && strings.EqualFold(heading[n:], unit) {
			heading = heading[:n]
			break
		}
	}
	return letters(heading)
}

// closing are the brackets that end what others begin.
var closing = map[byte]string{'(': ")", '[': "]"}

// letters returns a heading in lower case, without spaces, marks and accents.
func letters(heading string) string {
	return strings.Map(func(r rune) rune {
		switch r = unicode.ToLower(r); {
		case r == 'å', r == 'ä', r == 'æ':
			return 'a'
		case r == 'ö', r == 'ø':
			return 'o'
		case r == 'é', r == 'è':
			return 'e'
		case strings.ContainsRune("-_.:*,;/()[]'’\"‐‑–#", r), unicode.IsSpace(r), unicode.Is(unicode.Mn, r), !unicode.IsPrint(r):
			return -1
		}
		return r
	}, heading)
}
