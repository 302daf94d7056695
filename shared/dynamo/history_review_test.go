package dynamo_test

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"sitoo-rule/shared/dynamo"
	"sitoo-rule/shared/fault"
	"sitoo-rule/shared/history"
)

// A job that has outgrown its place can say so, and can be cancelled.
func TestReviewOutgrown(t *testing.T) {
	t.Parallel()
	h := dynamo.NewHistory(&table{}, "history")
	ctx := t.Context()
	j := history.Job{Account: "a", ID: "0123456789ab", Run: 1, State: history.Running, Phase: history.Reading, Created: time.Now(), Updated: time.Now()}
	for range 13_000 {
		j.Parts = append(j.Parts, rand.Text())
	}
	var err error
	for next := j; ; j = next {
		next.Parts = append(slices.Clip(next.Parts), rand.Text())
		next.Step++
		if err = h.Put(ctx, next); err != nil {
			break
		}
		next.Rev++
	}
	if fault.KindOf(err) != fault.TooLarge {
		t.Fatal(err)
	}
	ended := j
	ended.State, ended.Reason, ended.Since, ended.Ended = history.Failed, fault.As(err).Message, time.Now(), time.Now()
	if err := h.Put(ctx, ended); err != nil {
		t.Errorf("with %d parts it cannot say why it ends: %v", len(j.Parts), err)
	}
	desk := &history.Desk{Jobs: h, Now: time.Now}
	if _, err := desk.Cancel(ctx, "a", j.ID); err != nil && fault.KindOf(err) != fault.Conflict {
		t.Errorf("it cannot be cancelled: %v", err)
	}
}
