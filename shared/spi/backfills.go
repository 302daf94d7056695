package spi

import (
	"context"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
)

// BackfillList answers GET /backfills/{backfillid}, and without an id all of
// the account's, those begun last first.
func (e *Edge) BackfillList(d *history.Desk) lambda.Handler {
	return e.handler("backfill-list", option{}, func(ctx context.Context, r *Request) (any, error) {
		if id := r.Path["backfillid"]; id != "" {
			return d.Status(ctx, r.Account.Scope(), id)
		}
		return d.List(ctx, r.Account.Scope())
	})
}

// BackfillControl answers POST /backfills/{backfillid}/pause, /resume and
// /cancel with the backfill as it is then. Each may be repeated.
func (e *Edge) BackfillControl(d *history.Desk) lambda.Handler {
	return e.handler("backfill-control", option{fresh: true}, func(ctx context.Context, r *Request) (any, error) {
		do := map[string]func(ctx context.Context, account, id string) (history.Status, error){
			"pause": d.Pause, "resume": d.Resume, "cancel": d.Cancel,
		}[r.Action]
		if do == nil {
			return nil, fault.New(fault.NotFound, "A backfill can be paused, resumed and cancelled.")
		}
		r.Note("action", r.Action)
		return do(ctx, r.Account.Scope(), r.Path["backfillid"])
	})
}

// action returns the last part of the route that a request came by, which tells
// operations of one function apart.
func action(in events.APIGatewayProxyRequest) string {
	return in.Resource[strings.LastIndex(in.Resource, "/")+1:]
}
