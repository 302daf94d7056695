package order

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sitoo-rule/shared/bonus"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/rule"
	"sitoo-rule/shared/worker"
)

// A backfill's call for many customers is answered first and worked later. What a
// till sells in between has a newer day, which that call would set back until the
// customer's next order. So our table notes until when such a call may be worked,
// before it is sent, and an order that finds itself within that time queues one
// message that writes the table's day again afterwards.

// hop is how long such a message waits at the most before a new one takes its
// place: the alarm on the age of the queue's oldest message is for those that do
// not get on, and a queue hides a message for 15 minutes at the most.
const hop = 10 * time.Minute

// Again is what is queued to write the day of a customer's latest order once more.
type Again struct {
	Account    string `json:"account"`
	Subscriber int64  `json:"subscriber"`
	Order      int64  `json:"order"`       // which saw the need
	Due        int64  `json:"latestorder"` // from when on, Unix time in milliseconds
}

// DecodeAgain reads a queued message; ok is false for one of another kind, and the
// error is fault.Invalid for one that does not say whose day it is.
func DecodeAgain(body string) (m Again, ok bool, err error) {
	if err := json.Unmarshal([]byte(body), &m); err != nil || m.Due == 0 {
		return Again{}, false, nil
	}
	if m.Account == "" || m.Subscriber <= 0 {
		return m, true, fault.New(fault.Invalid, "The message does not say of which customer of which account the day of the latest order is to be written.")
	}
	return m, true, nil
}

// Again queues that the day of the customer's latest order is written once more at
// due; nothing if that is zero. It may be repeated.
func (d *Deliverer) Again(ctx context.Context, account string, sub, order int64, due time.Time) error {
	if due.IsZero() {
		return nil
	}
	body, err := json.Marshal(Again{Account: account, Subscriber: sub, Order: order, Due: due.UnixMilli()})
	if err == nil {
		err = d.Syncs.Send(ctx, worker.Message{Body: string(body), Group: account, Delay: min(max(due.Sub(d.Now()), 0), hop)})
	}
	if err != nil {
		return fmt.Errorf("queue the day of the customer's latest order: %w", err)
	}
	return nil
}

// WriteAgain does what a queued message is for: the day of the customer's latest
// order is written as our table has it. One that comes before its time is queued
// once more, and nobody is opened. It may be repeated.
func (d *Deliverer) WriteAgain(ctx context.Context, m Again, open func(context.Context) (*rule.Session, error)) error {
	if due := time.UnixMilli(m.Due); d.Now().Before(due) {
		return d.Again(ctx, m.Account, m.Subscriber, m.Order, due)
	}
	latest, err := d.Bonus.LatestOrder(ctx, bonus.Key{Account: m.Account, Subscriber: m.Subscriber}, "", time.Time{})
	if err != nil {
		return fmt.Errorf("read the customer's latest order: %w", err)
	}
	if latest.Day == "" {
		return nil
	}
	r, err := open(ctx)
	if err != nil {
		return err
	}
	return d.overwrite(ctx, r, m.Subscriber, lastOrder(latest.Day))
}
