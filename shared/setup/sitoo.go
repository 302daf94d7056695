package setup

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/sitoo"
)

// sitoo fills the lines about Sitoo.
func (x *run) sitoo(ctx context.Context, shop *sitoo.Shop) {
	if shop == nil {
		for i := lineSitoo; i < lineCount; i++ {
			x.skip(i, "There are no credentials for Sitoo, which only old orders need.")
		}
		x.lines[lineSitoo].Advice = "To bring old orders over, enter the credentials with PUT /sitoo/credentials."
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sitooTime)
	defer cancel()
	info, err := shop.Check(ctx)
	if err != nil {
		x.wrong(err)
		return
	}
	x.ok(lineSitoo, "Sitoo accepts the credentials.")
	x.ok(lineSite, "The account has site %s.", site(info))
	switch {
	case info.LastOrder == 0:
		x.ok(lineOrders, "The site's orders can be read; there is none yet.")
	case info.Orders < 0:
		x.ok(lineOrders, "The site's orders can be read, up to %d.", info.LastOrder)
	default:
		x.ok(lineOrders, "The site's orders can be read: there are %d, up to %d.", info.Orders, info.LastOrder)
	}
}

func site(info sitoo.ShopInfo) string {
	s := strconv.FormatInt(info.Site, 10)
	if info.URL != "" {
		s += " (" + info.URL + ")"
	}
	return s
}

// wrong fills the lines about Sitoo with why the shop's check has failed.
func (x *run) wrong(err error) {
	f := fault.As(err)
	re, answered := errors.AsType[*sitoo.RESTError](err)
	at := lineSitoo
	switch {
	case f.Member == "site" && !answered:
		at = lineSite
	case answered && re.What == "GET orders":
		at = lineOrders
	}
	if at > lineSitoo {
		x.ok(lineSitoo, "Sitoo accepts the credentials.")
	}
	if at > lineSite {
		x.ok(lineSite, "The account has the site.")
	}
	detail := f.Message
	if f.Member != "" {
		detail = fmt.Sprintf("%s %s.", f.Member, f.Message)
	}
	if f.Kind == fault.Internal || detail == "" {
		detail = "Sitoo could not be asked."
	}
	x.lines[at] = Line{Status: Failed, Detail: detail, Err: err}
	switch advice := &x.lines[at].Advice; {
	case f.Kind == fault.Busy: // a job that brings old orders over, for one
		x.lines[at].Status = Skipped
		*advice = "Run this check again when Sitoo has no other request under way"
		if !f.RetryAt.IsZero() {
			*advice += ", not " + until(f.RetryAt)
		}
		*advice += "."
	case f.Kind == fault.Unauthorized && at == lineOrders:
		*advice = "In Sitoo, give the API key the right to read orders (type Normal)."
	case f.Kind == fault.Unauthorized, f.Kind == fault.NotFound, f.Kind == fault.Invalid:
		*advice = "Enter the credentials for Sitoo anew, with PUT /sitoo/credentials."
	default:
		*advice = again
	}
	for i := at + 1; i < lineCount; i++ {
		x.skip(i, "An earlier line must be ok first.")
	}
}
