package order

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

// fieldOrderRef is the field by which an order of a label is found: two Sitoo
// accounts of one account in Rule count their orders each for itself.
const fieldOrderRef = "orderref"

// Ref names an order in its account, as it stands where orders of all labels are
// compared: its number, or "fi/210334" where there is a label. "" stays "".
func Ref(label, number string) string {
	if label == "" || number == "" {
		return number
	}
	return label + "/" + number
}

// EntryOf is Entry for an order of a label.
func EntryOf(o sitoo.Order, label, language string) []rule.Field {
	return withRef(Entry(o, language), label, o.ID)
}

// withRef adds what tells the entry from other labels' to its fields, next to its
// number.
func withRef(fields []rule.Field, label string, id int64) []rule.Field {
	if label == "" {
		return fields
	}
	ref := rule.Field{Group: Group, Name: fieldOrderRef, Type: rule.Text, Value: Ref(label, strconv.FormatInt(id, 10))}
	return slices.Insert(slices.Clone(fields), 1, ref)
}

// identifier returns the field and the value that an entry is found by.
func identifier(label string, id int64) (field, value string) {
	number := strconv.FormatInt(id, 10)
	if label == "" {
		return fieldOrderID, number
	}
	return fieldOrderRef, Ref(label, number)
}

// Find returns the entry of an order of an account's scope; ok is false if there is
// none. A miss counts against the account's error share.
func Find(ctx context.Context, r *rule.Session, subscriber int64, scope string, id int64) (e rule.Entry, ok bool, err error) {
	_, label := account.SplitScope(scope)
	field, value := identifier(label, id)
	e, ok, err = r.FindEntry(ctx, subscriber, Group, field, value)
	if err != nil || !ok || label != "" || own(e, label, id) {
		return e, ok, err
	}
	// Another label's order of the same number is in the way.
	for page := 1; page <= maxPages; page++ {
		entries, more, err := r.Entries(ctx, subscriber, Group, page, perPage)
		if err != nil {
			return rule.Entry{}, false, err
		}
		for _, e := range entries {
			if own(e, label, id) {
				return e, true, nil
			}
		}
		if !more {
			break
		}
	}
	return rule.Entry{}, false, nil
}

// RefOf returns the Ref of the order that an entry is of.
func RefOf(e rule.Entry) string {
	if ref := strings.TrimSpace(e.Values[fieldOrderRef].Text()); ref != "" {
		return ref
	}
	return strings.TrimSpace(e.Values[fieldOrderID].Text())
}

func own(e rule.Entry, label string, id int64) bool {
	return RefOf(e) == Ref(label, strconv.FormatInt(id, 10))
}

// shownID is how a customer card of a label names an order: by its number, and
// another label's so that no till takes it for one of its own to refund.
func shownID(e rule.Entry, label, number string) string {
	of, _, _ := strings.Cut(strings.TrimSpace(e.Values[fieldOrderRef].Text()), "/")
	if of == label {
		return number
	}
	return of + ":" + number
}
