package customer

import (
	"context"

	"sitoo-rule/shared/rule"
)

// first looks for someone whom this process has not found before, and who may not
// be there. Where many searches have missed it waits its turn, see
// rule.Session.MayMiss; those who were found lately do not.
func first(ctx context.Context, r *rule.Session, who rule.Identifier) (rule.Subscriber, error) {
	done, err := r.MayMiss(ctx)
	defer done()
	if err != nil {
		return rule.Subscriber{}, err
	}
	return r.Subscriber(ctx, who)
}
