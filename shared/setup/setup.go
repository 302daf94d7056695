package setup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/customer"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/order"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/sitoo"
)

const (
	// sitooTime is what Sitoo may take, stepsTime all but the removal, and
	// removeTime that: together less than the 25 s that the whole may.
	sitooTime  = 6 * time.Second
	stepsTime  = 15 * time.Second
	removeTime = 8 * time.Second

	defaultPause = time.Second

	// phone is one of the numbers that the Swedish authority keeps for examples:
	// nobody has it.
	phone = "+46701740699"

	// The test customer's address is mailPrefix, when the check began, and what
	// makes it nobody else's. Mail to that domain reaches nobody (RFC 2606).
	mailPrefix = "sitoo-rule-setup-check-"
	mailDomain = "@example.com"
	mailTime   = "20060102t150405z"
	// leftAfter is when a test customer that is still there is what an earlier
	// check could not remove, and not that of one that is at work.
	leftAfter = 2 * time.Minute

	bonusField = "bonuschecks"
	orderField = "orderid"
	checkID    = "setup-check"
)

// Check tries a shop's set-up. It is safe for concurrent use.
type Check struct {
	Now func() time.Time
	// NewID returns lower-case letters and digits that are never the same twice.
	NewID func() string
	// Pause is the wait before Rule is asked once more for what it does not show
	// yet, 1 s if zero, none if negative.
	Pause time.Duration
}

// run is one check.
type run struct {
	*Check
	a     account.Account
	r     *rule.Session
	lines [lineCount]Line

	schema rule.Schema // nil if it is not known
	fields []rule.Field
	email  string
	phone  string // "" if the test customer has none
	id     int64  // the test customer's, 0 if it is not known
	// written says that the test customer may be in Rule, unsure that this is not
	// certain.
	written, unsure bool
}

// Run tries everything with r, which is a's session, and with shop, nil if the
// merchant has entered no credentials for Sitoo. The lines are always the same,
// in the same order. It takes at most 23 s, and about a dozen requests to Rule
// of which one is a miss.
//
// The test customer is removed again whatever happened before, also if ctx has
// ended; if that fails, a line says what is left. No automation starts, and no
// other customer is touched. While Rule wants no calls, none is made.
func (c *Check) Run(ctx context.Context, a account.Account, r *rule.Session, shop *sitoo.Shop) []Line {
	x := &run{Check: c, a: a, r: r}
	steps, cancel := context.WithTimeout(ctx, stepsTime)
	defer cancel()
	x.sitoo(steps, shop)
	x.rule(steps)
	lines := x.lines[:]
	for i := range lines {
		lines[i].Name = names[i]
	}
	return lines
}

// rule fills the lines about Rule.
func (x *run) rule(ctx context.Context) {
	// During a block the session makes no request, not this one either.
	if err := x.r.Verify(ctx); err != nil {
		x.refused(lineKey, err)
		if fault.KindOf(err) != fault.Unauthorized { // that the key is bad is not known
			x.lines[lineKey].Detail = "Whether the key is good is not known. " + x.lines[lineKey].Detail
		}
		x.rest("The API key must be ok first.")
		return
	}
	x.ok(lineKey, "Rule accepts the API key.")
	x.groups(ctx)
	x.email = mailPrefix + x.Now().UTC().Format(mailTime) + "-" + strings.ToLower(x.NewID()) + mailDomain
	x.number(ctx)
	// A defect must not leave somebody behind either.
	defer func() {
		x.remove(ctx)
		x.rest("An earlier line must be ok first.")
	}()
	if !x.write(ctx) {
		return
	}
	x.read(ctx)
	if x.id != 0 {
		x.card(ctx)
		x.order(ctx)
	}
}

// rest skips the lines about Rule that say nothing yet.
func (x *run) rest(why string) {
	for i := range lineSitoo {
		if x.lines[i].Status == "" {
			x.skip(i, "%s", why)
		}
	}
}

func find(err error) (*rule.Error, bool) { return errors.AsType[*rule.Error](err) }

func key(f rule.Field) string { return f.Group + "." + f.Name }

// known reports whether Rule has a field, and with the type that it should have.
func (x *run) known(f rule.Field) (there, right bool) {
	kind, there := x.schema[f.Group][f.Name]
	return there, kind == "" || kind == f.Type || kind == "single" && f.Type == rule.Text
}

// groups fills the line about groups and fields, and decides which fields the
// test customer gets: all but those whose type Rule would refuse.
func (x *run) groups(ctx context.Context) {
	x.fields = customer.Schema()
	var err error
	if x.schema, err = x.r.Customizations(ctx); err != nil {
		x.schema = nil
		x.refused(lineFields, err)
		return
	}
	var without []string
	for _, g := range []string{customer.ContactGroup, customer.AddressGroup, order.Group} {
		if x.schema[g] == nil {
			without = append(without, g)
		}
	}
	all := slices.Concat(customer.Schema(), order.Schema())
	var wrong, lost []string
	have := 0
	for _, f := range all {
		switch there, right := x.known(f); {
		case there && !right:
			wrong = append(wrong, fmt.Sprintf("%s is %s and must be %s", key(f), clean(string(x.schema[f.Group][f.Name])), f.Type))
		case there:
			have++
		case f.Group == order.Group && x.a.Schema >= order.SchemaVersion && (f.Type == rule.Date || f.Type == rule.DateTime):
			// The types were given at the first order. Whoever writes an entry now
			// makes a field by its value alone, and a date becomes a text.
			lost = append(lost, fmt.Sprintf("%s (%s) is missing", key(f), f.Type))
		}
	}
	x.fields = slices.DeleteFunc(x.fields, func(f rule.Field) bool { there, right := x.known(f); return there && !right })
	switch {
	case len(wrong)+len(lost) > 0:
		x.fail(lineFields, strings.Join(append(wrong, lost...), "; ")+".",
			"In Rule, under custom fields, remove each field of another type and make those of type text, date or datetime anew with the type that stands here; the connector makes multiple and json ones by itself.")
	case len(without) == 3:
		x.ok(lineFields, "None of the groups %s was in Rule yet. The first customer and the first order make them; here this check did.", strings.Join(without, ", "))
	case len(without) > 0:
		x.ok(lineFields, "%d of %d fields are there, with the right types. Not there yet: %s; whatever is written first makes a group, such as this check.", have, len(all), strings.Join(without, ", "))
	case have < len(all):
		x.ok(lineFields, "%d of %d fields are there, with the right types; the others are made when they are first needed.", have, len(all))
	default:
		x.ok(lineFields, "All %d fields are there, with the right types.", have)
	}
}

// clean keeps a word of Rule's short.
func clean(s string) string {
	const most = 20
	return string([]rune(s)[:min(len([]rune(s)), most)])
}

// number decides whether the test customer gets a phone number: somebody who
// has it already would be changed. It is asked for as a till would.
func (x *run) number(ctx context.Context) {
	sub, err := x.r.Subscriber(ctx, rule.ByPhone(phone))
	if err == nil {
		began, ours := beganAt(sub.Email)
		switch {
		case !ours:
			x.skip(linePhone, "Somebody in Rule has the number %s that is kept for tests.", phone)
			return
		case x.Now().Sub(began) < leftAfter:
			x.skip(linePhone, "Another check is at work, and its test customer has the number.")
			return
		}
		// What an earlier check could not remove.
		err = x.r.Delete(ctx, rule.ByID(sub.ID))
	}
	switch {
	case err == nil || fault.KindOf(err) == fault.NotFound:
		x.phone = phone
	default:
		detail, _ := said(err)
		x.lines[linePhone] = Line{Status: Failed, Detail: "Whether somebody has the number for tests is not known. " + detail, Advice: again, Err: err}
	}
}

// beganAt reads when the check began that made up an address; ok is false for
// an address of anybody else.
func beganAt(email string) (at time.Time, ok bool) {
	rest, ours := strings.CutPrefix(strings.ToLower(email), mailPrefix)
	rest, here := strings.CutSuffix(rest, mailDomain)
	began, _, _ := strings.Cut(rest, "-")
	at, err := time.Parse(mailTime, began)
	return at, ours && here && err == nil
}

// offers is the bonus check that the test customer has.
const offers = `[{"bonuscheckid":"` + checkID + `","name":"Set-up check","description":"","value":"100.00","remaining":"100.00","redeemed":false}]`

// value is what the test customer's field holds.
func value(f rule.Field) any {
	switch f.Type {
	case rule.Date:
		return "1996-02-29" // a birthday that hardly ever comes
	case rule.Multiple:
		return []string{"Set-up check", "Åäö, 2"}
	case rule.JSON:
		if f.Name == bonusField {
			return json.RawMessage(offers)
		}
		return json.RawMessage(`[]`)
	}
	switch customer.Member(f.Name) {
	case customer.AcceptsEmail, customer.AcceptsSMS, customer.AcceptsMail:
		return "false"
	case customer.Phone, customer.Mobile:
		return phone
	case customer.InvoiceCountry, customer.DeliveryCountry:
		return "SE"
	}
	return "Set-up check åäö"
}

// write makes the test customer, as bulk work does, which starts nothing. It
// reports whether it is there.
func (x *run) write(ctx context.Context) bool {
	if ctx.Err() != nil {
		x.fail(lineCustomer, "The time for this check was up.", again)
		return false
	}
	for i := range x.fields {
		x.fields[i].Value = value(x.fields[i])
	}
	x.written = true
	many, err := x.r.UpsertMany(ctx, []rule.Upsert{{Email: x.email, Phone: x.phone, Fields: x.fields}}, []string{customer.Tag})
	if err != nil {
		x.written, x.unsure = rule.Uncertain(err), true
		x.refused(lineCustomer, err)
		return false
	}
	if len(many.Subscribers) == 1 && strings.EqualFold(many.Subscribers[0].Email, x.email) {
		x.id = many.Subscribers[0].ID
	}
	x.ok(lineCustomer, "Written, as %s.", x.email)
	return true
}

// look asks Rule for what was written; it may take a moment to show.
func (x *run) look(ctx context.Context, ask func() (shown bool, err error)) (bool, error) {
	shown, err := ask()
	missing := err == nil && !shown || err != nil && fault.KindOf(err) == fault.NotFound
	if missing && x.wait(ctx) {
		shown, err = ask()
	}
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return shown, err
}

// wait waits for Pause; false if ctx ends first.
func (x *run) wait(ctx context.Context) bool {
	pause := cmp.Or(x.Pause, defaultPause)
	if pause < 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read finds the test customer the ways a till does, and the tag.
func (x *run) read(ctx context.Context) {
	var sub rule.Subscriber
	shown, err := x.look(ctx, func() (bool, error) {
		var err error
		sub, err = x.r.Subscriber(ctx, rule.ByEmail(x.email))
		return err == nil && strings.EqualFold(sub.Email, x.email), err
	})
	switch {
	case err != nil:
		x.refused(lineEmail, err)
	case !shown:
		x.fail(lineEmail, "Rule does not find the customer that it has just taken.", again)
	default:
		x.id = sub.ID
		x.ok(lineEmail, "Rule finds the test customer.")
		if sub.Tagged(customer.Tag) {
			x.ok(lineTags, "The test customer has the tag %s; %s and %s come with orders.", customer.Tag, order.PurchaseTag, order.ReturnTag)
		} else {
			x.fail(lineTags, "The test customer did not get the tag "+customer.Tag+".", "Look in Rule whether the tag can be given to a subscriber, and run this check again.")
		}
	}
	if x.phone == "" {
		return
	}
	var by rule.Subscriber
	shown, err = x.look(ctx, func() (bool, error) {
		var err error
		by, err = x.r.Subscriber(ctx, rule.ByPhone(x.phone))
		return err == nil && strings.EqualFold(by.Email, x.email) && by.Phone == x.phone, err
	})
	switch {
	case err != nil:
		x.refused(linePhone, err)
	case !shown:
		x.fail(linePhone, "Rule does not find the test customer by the number.", again)
	default:
		x.id = by.ID
		x.ok(linePhone, "Rule finds the test customer.")
	}
}

// card reads the test customer's fields, and the bonus check among them as a
// till would show it.
func (x *run) card(ctx context.Context) {
	var values rule.Values
	var other []string
	_, err := x.look(ctx, func() (bool, error) {
		var err error
		values, err = x.r.Fields(ctx, x.id, customer.ContactGroup, customer.AddressGroup)
		other = nil
		for _, f := range x.fields {
			if f.Name != bonusField && !same(f, values[f.Group][f.Name]) {
				other = append(other, key(f))
			}
		}
		return err == nil && len(other) == 0, err
	})
	checked := slices.ContainsFunc(x.fields, func(f rule.Field) bool { return f.Name == bonusField })
	switch {
	case err != nil:
		x.refused(lineCard, err)
	case values == nil:
		x.fail(lineCard, "Rule shows no fields of the customer that it has just taken.", again)
	case len(other) > 0:
		x.fail(lineCard, "Rule does not show what was written in "+strings.Join(other, ", ")+".", again)
	default:
		x.ok(lineCard, "%d fields are as they were written.", len(x.fields)-1)
		if !checked {
			x.ok(lineCard, "%d fields are as they were written.", len(x.fields))
		}
	}
	if !checked {
		x.fail(lineBonus, "The field for bonus checks, "+customer.ContactGroup+"."+bonusField+", has another type than json in Rule, so none can be kept.",
			"Remove the field in Rule, under custom fields; the connector makes it anew.")
		return
	}
	if err != nil {
		x.refused(lineBonus, err)
		return
	}
	list, err := bonus.Parse(bonus.Check, values[customer.ContactGroup][bonusField].JSON())
	shown, _ := bonus.Card(list, bonus.Book{}, x.Now())
	if err != nil || len(shown) != 1 || shown[0].ID != checkID || !shown[0].Left.Equal(decimal.NewFromInt(100)) {
		x.fail(lineBonus, "The bonus check of the test customer is not on the card as it was written.", again)
		return
	}
	x.ok(lineBonus, "The test customer's bonus check is on the card.")
}

// same reports whether Rule shows a field as it was written, in any of the ways
// in which it shows a type.
func same(f rule.Field, v rule.Value) bool {
	switch want := f.Value.(type) {
	case []string:
		// Rule's own pages join them with commas.
		got := v.List()
		return slices.Equal(got, want) || strings.Join(got, ", ") == strings.Join(want, ", ")
	case json.RawMessage:
		var a, b any
		return json.Unmarshal(want, &a) == nil && json.Unmarshal(v.JSON(), &b) == nil && reflect.DeepEqual(a, b)
	case string:
		if f.Type == rule.Date { // perhaps with a time of midnight
			return strings.HasPrefix(v.Text(), want)
		}
		return v.Text() == want
	}
	return false
}

// order writes two entries, of which a group that keeps no history shows one.
// The first entry makes the group, and only one of this kind makes it right.
func (x *run) order(ctx context.Context) {
	for id := range int64(2) {
		if ctx.Err() != nil {
			x.fail(lineOrder, "The time for this check was up.", again)
			return
		}
		entry := slices.DeleteFunc(order.Entry(x.sale(id+1), x.a.Settings.Language), func(f rule.Field) bool {
			// A field that an entry makes has whatever type its value looks like:
			// the first order gives them their types, and not this check.
			there, right := x.known(f)
			return f.Name != orderField && (!there || !right)
		})
		if err := x.r.AppendEntry(ctx, x.id, order.Group, entry); err != nil {
			x.refused(lineOrder, err)
			return
		}
	}
	var shown [2]bool
	overwritten := false
	_, err := x.look(ctx, func() (bool, error) {
		list, _, err := x.r.Entries(ctx, x.id, order.Group, 1, 10)
		shown = [2]bool{}
		for _, e := range list {
			overwritten = overwritten || e.Overwritten
			for id := range shown {
				shown[id] = shown[id] || e.Values[orderField].Text() == strconv.Itoa(id+1)
			}
		}
		return shown[0] && shown[1] || overwritten, err
	})
	switch {
	case err != nil:
		x.refused(lineOrder, err)
		return
	case !shown[1]:
		x.fail(lineOrder, "Rule does not show the order that it has just taken.", again)
		return
	}
	x.ok(lineOrder, "Written and read back, without a tag that starts anything.")
	switch {
	case overwritten || !shown[0]:
		x.fail(lineHistory, "The group "+order.Group+" is not historical, so each order takes the place of the one before.",
			"Switch the group "+order.Group+" to historical in Rule, under custom fields.")
	case x.schema != nil && x.schema[order.Group] == nil:
		x.ok(lineHistory, "The group %s now exists, made by this check, and is historical.", order.Group)
	default:
		x.ok(lineHistory, "The group %s is historical: every order stays.", order.Group)
	}
}

// sale is an order with a value for every type of field.
func (x *run) sale(id int64) sitoo.Order {
	hundred, twenty := decimal.NewFromInt(100), decimal.NewFromInt(20)
	return sitoo.Order{
		ID: id, Date: x.Now(), State: sitoo.StateClosed, Type: sitoo.TypeOrder, PaymentState: sitoo.Unsaid, Currency: "SEK",
		Net: hundred.Sub(twenty), VAT: twenty, Total: hundred, Additional: map[string]string{"store-name": "Set-up check", "pos-receiptid": checkID},
		Items: []sitoo.Item{{
			ID: "1", Name: "Set-up check", SKU: checkID, Quantity: decimal.NewFromInt(1), Units: decimal.NewFromInt(1),
			VATPercent: decimal.NewFromInt(25), Net: hundred.Sub(twenty), VAT: twenty,
		}},
		Payments: []sitoo.Payment{{Name: "Set-up check", Amount: hundred}},
	}
}

// remove takes the test customer away, in its own time: what went before may
// have used up all there was.
func (x *run) remove(ctx context.Context) {
	if !x.written {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	who := rule.ByEmail(x.email)
	if x.id != 0 {
		who = rule.ByID(x.id)
	}
	const tries = 3
	var err error
	for try := 1; ; try++ {
		err = x.r.Delete(ctx, who)
		kind := fault.KindOf(err)
		// That there is none can be because Rule works later than it answers.
		if err == nil || kind != fault.NotFound && kind != fault.Unavailable || try == tries || !x.wait(ctx) {
			break
		}
	}
	switch {
	case err == nil:
		x.ok(lineRemoved, "The test customer is gone from Rule.")
	case fault.KindOf(err) == fault.NotFound && x.unsure:
		x.ok(lineRemoved, "There is no test customer in Rule. If Rule takes late what it did not answer, delete %s there.", x.email)
	case fault.KindOf(err) == fault.NotFound:
		x.ok(lineRemoved, "The test customer is gone from Rule.")
	default:
		detail, _ := said(err)
		x.lines[lineRemoved] = Line{Status: Failed, Detail: "The test customer may still be in Rule. " + detail, Advice: "Delete the subscriber " + x.email + " in Rule.", Err: err}
	}
}
