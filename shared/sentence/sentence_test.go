package sentence_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sitoo-rule/shared/sentence"
)

// Every sentence is written in both languages, with the same arguments, as whole
// sentences that end with a full stop, and says more than "wrong".
func TestCatalogue(t *testing.T) {
	t.Parallel()
	argument := regexp.MustCompile(`\{\w+\}`)
	for _, code := range sentence.Codes() {
		if strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			t.Errorf("code %q", code)
		}
		var arguments [][]string
		for _, language := range []string{sentence.Swedish, sentence.English} {
			text, ok := sentence.Text(language, code, nil)
			if !ok || !strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text || strings.ContainsAny(text, "\r\n") {
				t.Errorf("%s in %s: %q", code, language, text)
			}
			list := argument.FindAllString(text, -1)
			slices.Sort(list)
			arguments = append(arguments, slices.Compact(list))
		}
		sv, en := arguments[0], arguments[1]
		for _, a := range sv { // the office reads more than the till
			if !slices.Contains(en, a) && a != "{field}" {
				t.Errorf("%s: the Swedish sentence has %v, the English one %v", code, sv, en)
			}
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	args := sentence.Args{sentence.Field: "mobile"}
	for _, tt := range []struct {
		language, code string
		args           sentence.Args
		want           string
	}{
		{"sv", "identifier_needed", nil, "E-postadress eller mobilnummer behövs."},
		{"", "identifier_needed", nil, "E-postadress eller mobilnummer behövs."},
		{"fi", "identifier_needed", nil, "E-postadress eller mobilnummer behövs."},
		{"en", "identifier_needed", nil, "An email address or a mobile number is needed."},
		{"sv", "phone_wrong", args, "Mobilnumret är inget telefonnummer. Skriv till exempel 070-174 06 05 eller +46701740605."},
		{"en", "phone_wrong", args, "The mobile number is not a phone number; something like 070-174 06 05 or +46701740605 is expected."},
		{"sv", "yes_or_no", sentence.Args{sentence.Field: "include_extended"}, "include_extended ska vara true eller false."},
		{"sv", "text_long", sentence.Args{sentence.Field: "namefirst", "count": 300, "most": 255}, "Förnamnet har 300 tecken; högst 255 får plats."},
		{"sv", "check_used_on", sentence.Args{sentence.What: "promotion", "date": "2026-03-02 10:00"}, "Kampanjen är redan använd, 2026-03-02 10:00."},
	} {
		if got, ok := sentence.Text(tt.language, tt.code, tt.args); got != tt.want || !ok {
			t.Errorf("%s in %q: %q, %v; want %q", tt.code, tt.language, got, ok, tt.want)
		}
	}
	if got, ok := sentence.Text("sv", "no_such_code", nil); ok || got != "" {
		t.Errorf("an unknown code gives %q", got)
	}
}

// The page for merchants and for who translates has every sentence about a file.
func TestSentencesAboutFilesAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/bonus-check-files.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, code := range sentence.Codes() {
		if !sentence.OfFile(code) {
			continue
		}
		n++
		en, _ := sentence.Text(sentence.English, code, nil)
		sv, _ := sentence.Text(sentence.Swedish, code, nil)
		if row := "| `" + code + "` | " + en + " | " + sv + " |\n"; !strings.Contains(string(page), row) {
			t.Errorf("the page lacks %s", row)
		}
	}
	if n < 40 {
		t.Errorf("%d sentences about files", n)
	}
}

// Which worksheet was read is told after any sentence about a file, in both
// languages; what a file is instead of a table is translated.
func TestAboutFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		language, code string
		args           sentence.Args
		want           string
	}{
		{"sv", "file_no_table", sentence.Args{sentence.Sheet: "Blad {cell}"}, "Tabellen är tom. En rad med rubriker väntas, och en rad för varje post under den. Bara det första synliga kalkylbladet läses, som är ”Blad {cell}”."},
		{"en", "file_no_table", sentence.Args{sentence.Sheet: "x", sentence.Others: 2}, "The table is empty. A line of headings is expected, and a row for each record below it. Only the first visible worksheet is read, which is “x”, and the workbook has 2 more. If the table is in another one, move that to the front, save the file and send it again."},
		{"sv", "file_formula", sentence.Args{"cell": "C7"}, "C7 innehåller en formel. Kopiera cellerna och klistra in dem som värden, spara filen och skicka den igen."},
		{"sv", "file_other", sentence.Args{sentence.What: "picture"}, "Filen är en bild och ingen tabell. Spara tabellen som .xlsx, .xls, .csv eller .txt (tabbavgränsad) och skicka den filen."},
	} {
		if got, _ := sentence.Text(tt.language, tt.code, tt.args); got != tt.want {
			t.Errorf("%s in %s: %q, want %q", tt.code, tt.language, got, tt.want)
		}
	}
}
