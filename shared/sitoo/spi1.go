package sitoo

import (
	"bytes"
	"encoding/json"
	"slices"

	"sitoo-rule/shared/fault"
)

// Contact is a CrmContact of SPI v1. Strings holds the text members that were
// sent, by name; what was absent is not in it. Null counts as absent.
type Contact struct {
	Strings map[string]string
	Flags   map[string]bool
	Lists   map[string][]string
}

var (
	flagMembers = []string{"accepts_email", "accepts_sms", "accepts_mail"}
	listMembers = []string{"acceptedconsents", "voucherpasswords"}
	// ignoredMembers are members of a contact that are ours to answer, never
	// to be told; and the personal number, which is not even read.
	ignoredMembers = []string{"contactid", "personalid", "bonuschecks", "promotions"}
)

// CheckContact is CheckKnown for a CrmContact with the text members in known.
func CheckContact(body []byte, known []string) error {
	read := slices.DeleteFunc(slices.Concat(known, flagMembers, listMembers), func(name string) bool { return slices.Contains(ignoredMembers, name) })
	return CheckKnown(body, read...)
}

// DecodeContact reads a CrmContact, keeping only the text members in known.
// body has passed CheckContact.
func DecodeContact(body []byte, known []string) (Contact, error) {
	var err error
	o := newObject(body, "", &err)
	if err != nil {
		return Contact{}, fault.Say(fault.Invalid, "body_not_object")
	}
	c := Contact{Strings: map[string]string{}, Flags: map[string]bool{}, Lists: map[string][]string{}}
	for _, name := range flagMembers {
		// An empty string says nothing about a consent.
		if _, ok := o.raw(name); ok && o.text(name) != "" {
			c.Flags[name] = o.flag(name)
		}
	}
	for _, name := range listMembers {
		// An empty string is as good as an absent member; [] empties the list.
		if raw, ok := o.raw(name); ok && string(raw) != `""` {
			c.Lists[name] = o.strings(name)
		}
	}
	for _, name := range known {
		if slices.Contains(flagMembers, name) || slices.Contains(listMembers, name) || slices.Contains(ignoredMembers, name) {
			continue
		}
		if _, ok := o.raw(name); ok {
			c.Strings[name] = o.text(name)
		}
	}
	return c, err
}

// Card is a CrmContact as SPI v1 is answered. Bonus checks and promotions are
// there only when the till asked for the extended members.
type Card struct {
	ContactID   string
	Strings     map[string]string // every text member, "" where unknown
	Flags       map[string]bool
	Lists       map[string][]string
	Extended    bool
	BonusChecks []BonusCheck
	Promotions  []Promotion
}

// BonusCheck is a CrmBonusCheck.
type BonusCheck struct {
	ID           string      `json:"bonuscheckid"`
	Name         string      `json:"name"`
	Description  string      `json:"description"`
	Value        json.Number `json:"value"`
	Redeemed     bool        `json:"redeemed"`
	DateRedeemed *string     `json:"dateredeemed"`
}

// Promotion is a CrmPromotion.
type Promotion struct {
	ID          string `json:"promotionid"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Redeemed    bool   `json:"redeemed"`
}

// Transaction is a CrmTransaction, one purchase or return of a customer.
type Transaction struct {
	ID        string           `json:"transactionid"`
	ReceiptID string           `json:"receiptid"`
	Date      string           `json:"date"`
	StoreName string           `json:"storename"`
	Currency  string           `json:"currencycode"`
	Total     string           `json:"total"`
	Rows      []TransactionRow `json:"rows"`
}

// TransactionRow is a row of a CrmTransaction.
type TransactionRow struct {
	ProductName string `json:"productname"`
	SKU         string `json:"sku"`
	Quantity    string `json:"quantity"`
	Total       string `json:"total"`
}

// Consent is a consent of SPI v1.
type Consent struct {
	ID          string `json:"consentid"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Value       bool   `json:"value"`
}

// MarshalJSON writes the card with contactid first and all other members in
// alphabetical order. storeexternalid is null when unknown, all other texts are
// empty strings.
func (c Card) MarshalJSON() ([]byte, error) {
	m := map[string]any{}
	for name, v := range c.Strings {
		m[name] = v
		if name == "storeexternalid" && v == "" {
			m[name] = nil
		}
	}
	for name, v := range c.Flags {
		m[name] = v
	}
	for name, v := range c.Lists {
		if v == nil {
			v = []string{}
		}
		m[name] = v
	}
	if c.Extended {
		m["bonuschecks"] = append([]BonusCheck{}, c.BonusChecks...)
		m["promotions"] = append([]Promotion{}, c.Promotions...)
	}
	m["personalid"] = "" // a member of the contract; never kept, so never known
	rest, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	id, err := json.Marshal(c.ContactID)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{[]byte(`{"contactid":`), id, []byte(","), rest[1:]}, nil), nil
}
