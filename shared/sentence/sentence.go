// Package sentence is the one catalogue of what the product says to cashiers
// and merchants, in Swedish and in English. A sentence is known by its code, and
// may have arguments; who shows it, at the edge or on a page, renders it in the
// reader's language.
package sentence

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The languages that every sentence is written in.
const (
	Swedish = "sv"
	English = "en"
)

// Args are the arguments of a sentence, by name. They are never personal, never
// secret, and made of JSON's plain types.
type Args map[string]any

// Text returns the sentence of a code in a language, Swedish unless it is
// English that is asked for. ok is false for a code that is not in the catalogue.
func Text(language, code string, args Args) (text string, ok bool) {
	words, ok := catalogue[code]
	if !ok {
		words, ok = files[code]
	}
	if !ok {
		return "", false
	}
	if about := sheetCode(code, args); about != "" {
		text, _ = Text(language, about, args)
		words.sv, words.en = words.sv+" "+text, words.en+" "+text
	}
	text = words.sv
	if language == English {
		text = words.en
	}
	if !strings.Contains(text, "{") {
		return text, true
	}
	replace := make([]string, 0, 2*len(args))
	for name, v := range args {
		value := fmt.Sprint(v)
		if n, ok := v.(float64); ok { // read back from JSON
			value = strconv.FormatFloat(n, 'f', -1, 64)
		}
		label, known := labels[value]
		if !known {
			label, known = kinds[value]
		}
		if known && (name == Field || name == What) {
			if value = label.sv; language == English {
				value = label.en
			}
		}
		replace = append(replace, "{"+name+"}", value)
	}
	return strings.NewReplacer(replace...).Replace(text), true
}

// Field is the argument that names a member of what was sent; a sentence has the
// words for it that a cashier sees in the form.
const Field = "field"

// What is the argument that says whether a sentence is about a bonus check
// ("bonuscheck") or a promotion ("promotion").
const What = "what"

// OfFile reports whether a sentence is about a file as a whole: those are told in
// both languages.
func OfFile(code string) bool {
	_, ok := files[code]
	return ok
}

// Codes returns every code, in alphabetical order.
func Codes() []string {
	list := make([]string, 0, len(catalogue))
	for _, all := range []map[string]words{catalogue, files} {
		for code := range all {
			list = append(list, code)
		}
	}
	slices.Sort(list)
	return list
}

// words are one text in every language.
type words struct{ sv, en string }
