package spi

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/parking"
)

// Key tells a merchant about one of the shop's API keys, without the key.
type Key struct {
	KeyID string `json:"keyid"`
	Last4 string `json:"last4"` // "" for a key too short to show any of it
	// Label is what followed the key in tokens, several separated by commas.
	Label        string    `json:"label"`
	FirstSeen    time.Time `json:"firstseen"`
	LastAccepted time.Time `json:"lastaccepted,omitzero"`
	RefusedSince time.Time `json:"refusedsince,omitzero"`
	// LastDelivered is when an order last came with it, and Waiting how many orders
	// wait because Rule refuses it.
	LastDelivered time.Time `json:"lastdelivered,omitzero"`
	Waiting       int       `json:"waiting"`
	ThisOne       bool      `json:"thisone,omitempty"` // the key of this call
}

// KeyList answers GET /keys: the shop's API keys, those seen first first. It
// releases nothing that waits.
func (e *Edge) KeyList(parked parking.Store) lambda.Handler {
	return e.handler("key-list", option{quiet: true, fresh: true}, func(ctx context.Context, r *Request) (any, error) {
		keys, err := e.Accounts.Keys(ctx, r.Account.ID)
		if err != nil {
			return nil, err
		}
		waiting, err := parking.Count(ctx, parked, r.Account.ID)
		if err != nil {
			return nil, err
		}
		out := []Key{}
		for _, k := range keys {
			row := Key{
				KeyID: k.ID, Last4: k.Last4, Label: strings.Trim(strings.Join(k.Labels, ", "), ", "), FirstSeen: k.FirstSeen,
				LastAccepted: k.Accepted, RefusedSince: k.RefusedSince, LastDelivered: k.Delivered, Waiting: waiting[k.ID], ThisOne: k.ID == r.visit.Key.ID,
			}
			if row.ThisOne { // by this very call
				row.LastAccepted, row.RefusedSince = e.Now().UTC(), time.Time{}
			}
			out = append(out, row)
		}
		return out, nil
	})
}

// Dropped is the answer to a key that was dropped.
type Dropped struct {
	KeyID  string `json:"keyid"`
	Status string `json:"status"` // dropped
}

// KeyDrop answers DELETE /keys/{keyid}: the key is dropped for good, whatever Rule
// says of it, and what waits for it is discarded. One that Rule still accepts is
// dropped with the header X-Confirm: drop only. It releases nothing that waits.
func (e *Edge) KeyDrop() lambda.Handler {
	return e.handler("key-drop", option{quiet: true, fresh: true}, func(ctx context.Context, r *Request) (any, error) {
		id := r.Path["keyid"]
		if id == "" || len(id) > 64 {
			return nil, fault.New(fault.NotFound, "The shop has no key with this id. GET /sitoo/keys lists them.")
		}
		if err := e.Accounts.Drop(ctx, r.visit, id, strings.EqualFold(r.Confirm, "drop")); err != nil {
			return nil, err
		}
		r.Note("key", id)
		return Dropped{id, "dropped"}, nil
	})
}
