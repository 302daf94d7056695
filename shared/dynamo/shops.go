package dynamo

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sitoo-rule/shared/account"
	"sitoo-rule/shared/awsfault"
)

// This file is what of the accounts table only functions for a merchant's own
// calls write: settings, Sitoo's credentials, whose a shop is; and counts that
// expire.

// SetSettings keeps what the shop has chosen.
func (s *Accounts) SetSettings(ctx context.Context, id, label string, v account.Settings) error {
	in := &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: item{"id": text(settingsPrefix + id)},
		ExpressionAttributeNames: map[string]string{"#consent": "consent", "#language": "language", "#country": account.Scope("country", label)},
	}
	set, remove := []string{}, []string{}
	for name, value := range map[string]string{"consent": v.Consent, "language": v.Language, "country": v.Country} {
		if value == "" {
			remove = append(remove, "#"+name)
			continue
		}
		set = append(set, "#"+name+" = :"+name)
		if in.ExpressionAttributeValues == nil {
			in.ExpressionAttributeValues = item{}
		}
		in.ExpressionAttributeValues[":"+name] = text(value)
	}
	in.UpdateExpression = aws.String(expression(set, remove))
	_, err := s.client.UpdateItem(ctx, in)
	return wrapAccount(awsfault.Wrap(err, "update item"), "set settings", "account "+id)
}

func expression(set, remove []string) string {
	slices.Sort(set)
	slices.Sort(remove)
	var parts []string
	if len(set) > 0 {
		parts = append(parts, "SET "+strings.Join(set, ", "))
	}
	if len(remove) > 0 {
		parts = append(parts, "REMOVE "+strings.Join(remove, ", "))
	}
	return strings.Join(parts, " ")
}

// SetSitoo keeps how a shop is read from Sitoo, nil removes it.
func (s *Accounts) SetSitoo(ctx context.Context, id, label string, a *account.SitooAccess) error {
	scope := account.Scope(id, label)
	i := item{"id": text(sitooPrefix + scope)}
	if a != nil {
		i["base"], i["account"], i["site"] = text(a.BaseURL), text(a.AccountID), number(a.Site)
		i["sealed"], i["since"] = &types.AttributeValueMemberB{Value: a.Sealed}, moment(a.Since)
		if !a.Used.IsZero() {
			i["used"] = moment(a.Used)
		}
	}
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(s.table), Item: i})
	return wrapAccount(awsfault.Wrap(err, "put item"), "set Sitoo's access", "account "+scope)
}

// UsedSitoo moves the time of the access's last use forward to at, never back.
func (s *Accounts) UsedSitoo(ctx context.Context, id, label string, at time.Time) error {
	const condition, update = "attribute_exists(#sealed) AND (attribute_not_exists(#used) OR #used < :to)", "SET #used = :to"
	_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: item{"id": text(sitooPrefix + account.Scope(id, label))},
		UpdateExpression: aws.String(update), ConditionExpression: aws.String(condition),
		ExpressionAttributeNames: names(condition, update), ExpressionAttributeValues: item{":to": moment(at)},
	})
	if _, ok := refused(err); ok {
		return nil
	}
	return wrapAccount(awsfault.Wrap(err, "update item"), "set use of Sitoo's access", "account "+account.Scope(id, label))
}

// The attributes of a Sitoo account's item: what follows the word is the site's
// eshopid and the environment, such as "owner/1/api.mysitoo.com".
const (
	ownerWord = "owner"
	homeWord  = "home"
	outWord   = "out"
)

func shopAttribute(word string, s account.Shop) string {
	return word + "/" + strconv.FormatInt(s.Site, 10) + "/" + s.Environment
}

// readClaims reads the item of a Sitoo account.
func readClaims(sitooAccount string, found item) ([]account.Claim, error) {
	claims := map[account.Shop]account.Claim{}
	r := reader{item: found}
	for name := range found {
		word, rest, _ := strings.Cut(name, "/")
		site, environment, ok := strings.Cut(rest, "/")
		n, err := strconv.ParseInt(site, 10, 64)
		if !ok || err != nil {
			continue
		}
		shop := account.Shop{Environment: environment, Account: sitooAccount, Site: n}
		c := claims[shop]
		c.Shop = shop
		switch word {
		case ownerWord:
			c.Scope = r.text(name)
		case homeWord:
			c.Home = r.text(name)
		case outWord:
			c.Out = r.set(name)
			slices.Sort(c.Out)
		}
		claims[shop] = c
	}
	if r.err != nil {
		return nil, damaged(r.err)
	}
	var list []account.Claim
	for _, c := range claims {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b account.Claim) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Site, b.Site))
	})
	return list, nil
}

// Claims returns whose the sites of a Sitoo account are or were, in order. The
// read is strongly consistent.
func (s *Accounts) Claims(ctx context.Context, sitooAccount string) ([]account.Claim, error) {
	key := shopPrefix + sitooAccount
	if len(key) > maxHash {
		return nil, nil // it comes from outside
	}
	found, err := s.get(ctx, key)
	if err != nil {
		return nil, awsfault.Wrap(err, "look for the owners of a shop")
	}
	list, err := readClaims(sitooAccount, found)
	return list, wrapAccount(err, "look for the owners", "a shop")
}

// Claim makes scope the shop's, where that may be.
func (s *Accounts) Claim(ctx context.Context, shop account.Shop, scope, instead string) (account.Claim, error) {
	id, _ := account.SplitScope(scope)
	values := item{":scope": text(scope), ":id": text(id)}
	condition := "(attribute_not_exists(#owner) OR #owner = :scope) AND NOT contains(#out, :id)"
	if instead != "" {
		condition = "(attribute_not_exists(#owner) OR #owner = :scope OR #owner = :instead) AND NOT contains(#out, :id)"
		values[":instead"] = text(instead)
	}
	out, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: item{"id": text(shopPrefix + shop.Account)},
		UpdateExpression: aws.String("SET #owner = :scope, #home = :scope"), ConditionExpression: aws.String(condition),
		// Not by names: the attributes have numbers and dots in them.
		ExpressionAttributeNames: map[string]string{
			"#owner": shopAttribute(ownerWord, shop), "#home": shopAttribute(homeWord, shop), "#out": shopAttribute(outWord, shop),
		},
		ExpressionAttributeValues: values, ReturnValues: types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	there, ok := refused(err)
	switch {
	case ok:
	case err != nil:
		return account.Claim{}, wrapAccount(awsfault.Wrap(err, "update item"), "claim a shop", "account "+scope)
	default:
		there = out.Attributes
	}
	claims, err := readClaims(shop.Account, there)
	if err != nil {
		return account.Claim{}, wrapAccount(err, "claim a shop", "account "+scope)
	}
	for _, c := range claims {
		if c.Shop == shop {
			return c, nil
		}
	}
	return account.Claim{}, wrapAccount(damaged(fmt.Errorf("no owner")), "claim a shop", "account "+scope)
}

// Release takes the shop from scope.
func (s *Accounts) Release(ctx context.Context, shop account.Shop, scope string, out bool) error {
	id, _ := account.SplitScope(scope)
	in := &dynamodb.UpdateItemInput{
		TableName: aws.String(s.table), Key: item{"id": text(shopPrefix + shop.Account)},
		UpdateExpression: aws.String("REMOVE #owner"), ConditionExpression: aws.String("#owner = :scope"),
		ExpressionAttributeNames:  map[string]string{"#owner": shopAttribute(ownerWord, shop)},
		ExpressionAttributeValues: item{":scope": text(scope)},
	}
	if out {
		in.UpdateExpression = aws.String("REMOVE #owner ADD #out :out")
		in.ExpressionAttributeNames["#out"] = shopAttribute(outWord, shop)
		in.ExpressionAttributeValues[":out"] = set(id)
	}
	_, err := s.client.UpdateItem(ctx, in)
	if _, ok := refused(err); ok {
		return nil
	}
	return wrapAccount(awsfault.Wrap(err, "update item"), "release a shop", "account "+scope)
}

// Attempt counts an attempt under a name.
func (s *Accounts) Attempt(ctx context.Context, name string, at time.Time) (time.Time, error) {
	at = time.UnixMilli(at.UnixMilli()).UTC()
	var until time.Time
	err := s.count(ctx, name, func(a account.Attempts) (next account.Attempts) {
		next, until = a.Next(at)
		return next
	})
	return until, wrapAccount(err, "count an attempt", name)
}

// Forgive takes back the last attempt that was counted under a name.
func (s *Accounts) Forgive(ctx context.Context, name string) error {
	return wrapAccount(s.count(ctx, name, account.Attempts.Back), "take an attempt back", name)
}

// count writes what change makes of the attempts under a name, unless another
// writes at the same time: then it looks again.
func (s *Accounts) count(ctx context.Context, name string, change func(account.Attempts) account.Attempts) error {
	stamp := rand.Text()
	for {
		found, err := s.get(ctx, attemptsPrefix+name)
		if err != nil {
			return awsfault.Wrap(err, "get item")
		}
		r := reader{item: found}
		before := account.Attempts{Count: int(r.number("count")), Last: r.moment("last"), Until: r.moment("until")}
		rev := r.number("rev")
		if r.err != nil {
			return damaged(r.err)
		}
		after := change(before)
		if after == before {
			return nil
		}
		i := item{
			"id": text(attemptsPrefix + name), "count": number(int64(after.Count)), "last": moment(after.Last), "rev": number(rev + 1), "stamp": text(stamp),
			"expires": number(later(after.Last, after.Until).Add(time.Hour).Unix()),
		}
		if !after.Until.IsZero() {
			i["until"] = moment(after.Until)
		}
		const condition = "attribute_not_exists(#rev) OR #rev = :rev"
		_, err = s.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: aws.String(s.table), Item: i, ConditionExpression: aws.String(condition),
			ExpressionAttributeNames: names(condition), ExpressionAttributeValues: item{":rev": number(rev)},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		})
		if there, ok := refused(err); ok && ctx.Err() == nil {
			if r := (reader{item: there}); r.text("stamp") == stamp {
				return nil // an earlier try, whose answer was lost
			}
			continue
		}
		return awsfault.Wrap(err, "put item")
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Park adds to what is counted as parked, if the limits allow it.
func (s *Accounts) Park(ctx context.Context, id string, count int, n int64, most account.Parked) (bool, error) {
	values := item{":count": number(int64(count)), ":bytes": number(n)}
	// The stamp tells a try whose answer was lost from another caller's.
	stamp := rand.Text()
	values[":stamp"] = text(stamp)
	condition := "attribute_exists(#id) AND (attribute_not_exists(#parkedstamp) OR NOT #parkedstamp = :stamp)"
	if count > 0 || n > 0 {
		condition += " AND (attribute_not_exists(#parked) OR #parked <= :mostcount AND #parkedbytes <= :mostbytes)"
		values[":mostcount"], values[":mostbytes"] = number(int64(most.Count-count)), number(most.Bytes-n)
		if count > most.Count || n > most.Bytes {
			return false, nil
		}
	}
	there, done, err := s.attempt(ctx, accountPrefix+id, "SET #parkedstamp = :stamp ADD #parked :count, #parkedbytes :bytes", condition, values)
	r := reader{item: there}
	return done || err == nil && r.text("parkedstamp") == stamp, wrapAccount(err, "count what is parked", "account "+id)
}

// Watch notes until when what is parked is looked after.
func (s *Accounts) Watch(ctx context.Context, id string, now, until time.Time) (bool, error) {
	stamp := rand.Text()
	there, done, err := s.attempt(ctx, accountPrefix+id, "SET #watched = :until, #watchedstamp = :stamp", "attribute_exists(#id) AND (attribute_not_exists(#watched) OR #watched <= :now)",
		item{":until": moment(until), ":now": moment(now), ":stamp": text(stamp)})
	r := reader{item: there}
	return done || err == nil && r.text("watchedstamp") == stamp, wrapAccount(err, "look after what is parked", "account "+id)
}

// Refuse remembers until when a key that Rule refused is not tried again. The
// last call wins.
func (s *Accounts) Refuse(ctx context.Context, id string, until time.Time) error {
	_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: aws.String(s.table),
		Item: item{
			"id":    text(refusedPrefix + id),
			"until": moment(until),
			// DynamoDB wants whole seconds; rounded up, the item is never
			// gone before its time.
			"expires": number(until.Add(time.Second - 1).Unix()),
		},
	})
	return awsfault.Wrap(err, "refuse key %s", id)
}

// Refused returns until when the key is not tried again, zero if that is not
// known. It may lie in the past: DynamoDB deletes late.
func (s *Accounts) Refused(ctx context.Context, id string) (time.Time, error) {
	found, err := s.get(ctx, refusedPrefix+id)
	if err != nil {
		return time.Time{}, awsfault.Wrap(err, "look for refusal of key %s", id)
	}
	if len(found) == 0 {
		return time.Time{}, nil
	}
	r := reader{item: found}
	r.must("until")
	until := r.moment("until")
	if r.err != nil {
		return time.Time{}, fmt.Errorf("look for refusal of key %s: %w", id, damaged(r.err))
	}
	return until, nil
}
